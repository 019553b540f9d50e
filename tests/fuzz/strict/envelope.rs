//! The file of a key: what `lf` accepts is JSON, and serde_json reads the same from it.
#![no_main]

mod json;

use local_keys::fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(printed) = fuzz::envelope(bytes) else { return };
    let given = json::strict(std::str::from_utf8(bytes).unwrap());
    let (Some(given), Some(printed)) = (given, json::strict(&printed)) else { return };
    for member in ["v", "alg", "kdf", "salt", "iv", "ciphertext", "tag"] {
        assert_eq!(given[member], printed[member], "{member}");
    }
    for member in ["id", "provider", "label", "createdAt"] {
        assert_eq!(given["meta"][member], printed["meta"][member], "{member}");
    }
});

//! The list of pairings: what `lf` accepts is JSON, and serde_json reads the same from it.
#![no_main]

mod json;

use local_keys::fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(printed) = fuzz::pairings(bytes) else { return };
    let given = json::strict(std::str::from_utf8(bytes).unwrap());
    let (Some(given), Some(printed)) = (given, json::strict(&printed)) else { return };
    assert_eq!(given["v"], printed["v"]);
    let [given, printed] = [&given, &printed].map(|list| list["pairings"].as_array().unwrap());
    assert_eq!(given.len(), printed.len());
    for (given, printed) in given.iter().zip(printed) {
        for (member, value) in printed.as_object().unwrap() {
            assert_eq!(&given[member], value, "{member}");
        }
    }
});

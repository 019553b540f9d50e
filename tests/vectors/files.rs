//! The vectors of `envelopes/`; the README.md beside this says what is what.

use base64ct::{Base64, Encoding};
use miniserde::{Deserialize, json};

#[derive(Deserialize)]
pub(crate) struct FileVector {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) passphrase: String,
    file: Option<String>,
    base64: Option<String>,
    end: Option<String>,
    times: Option<u32>,
    pub(crate) expect: String,
    pub(crate) value: Option<String>,
    pub(crate) label: Option<String>,
}

impl FileVector {
    /// What the file of the key holds.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let encoded = self.base64.as_ref().map(|text| Base64::decode_vec(text).unwrap());
        let mut bytes = encoded.or(self.file.clone().map(String::into_bytes)).unwrap();
        let end = self.end.as_deref().unwrap_or_default();
        bytes.extend(end.repeat(self.times.unwrap_or(0) as usize).bytes());
        bytes
    }
}

/// All families, each vector named by its family too.
pub(crate) fn all() -> Vec<FileVector> {
    let families = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/envelopes");
    let families = std::fs::read_dir(families).unwrap().map(|file| file.unwrap().path());
    let vectors = families.flat_map(|family| {
        let text = std::fs::read_to_string(&family).unwrap();
        let vectors: Vec<FileVector> = json::from_str(&text).unwrap();
        vectors.into_iter().map(move |mut vector| {
            vector.name = format!("{}: {}", family.display(), vector.name);
            vector
        })
    });
    vectors.collect()
}

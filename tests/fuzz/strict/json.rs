//! JSON as serde_json reads it (RFC 8259).

use std::sync::LazyLock;

use fancy_regex::{Captures, Regex};
use serde_json::Value;
use serde_json::value::RawValue;

/// The text as a value; `None` if it is nested too deeply for serde_json. Half a surrogate pair, which
/// the grammar allows in a string, is no text in Rust: U+FFFD takes its place.
pub fn strict(text: &str) -> Option<Value> {
    // The grammar alone, whatever the strings mean and however deep it goes.
    let raw: Result<Box<RawValue>, _> = serde_json::from_str(text);
    let fault = raw.err();
    assert!(fault.is_none(), "accepted, and no JSON: {fault:?}");
    let value = serde_json::from_str(text).or_else(|_| serde_json::from_str(&mended(text)));
    match value {
        Ok(value) => Some(value),
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(error) => panic!("accepted, and no JSON: {error}"),
    }
}

fn mended(text: &str) -> String {
    let mend = |found: &Captures<'_>| match found.name("half") {
        Some(_) => format!("{}\u{FFFD}", &found["before"]),
        None => found[0].to_owned(),
    };
    ESCAPE.replace_all(text, mend).into_owned()
}

/// A pair of surrogates or half of one, behind an even number of backslashes.
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?xi) (?<before> (?<!\\) (?:\\\\)* )
        (?: \\u d[89ab][0-9a-f]{2} \\u d[c-f][0-9a-f]{2} | (?<half> \\u d[89a-f][0-9a-f]{2} ) )";
    Regex::new(pattern).unwrap()
});

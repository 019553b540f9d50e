//! A dotenv file: Node's dotenv reads every value that `lf` reads, as the same.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fancy_regex::Regex;
use local_keys::fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(values) = fuzz::dotenv(bytes) else { return };
    if values.is_empty() {
        return;
    }
    let read = node(std::str::from_utf8(bytes).unwrap());
    for (name, value) in values {
        assert_eq!(read.get(&name), Some(&value), "{name}");
    }
});

/// What `dotenv.parse` of dotenv 17 returns: its expression, in the terms of Rust (a blank and the end of
/// a line are not the same characters in JavaScript).
fn node(text: &str) -> BTreeMap<String, String> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut values = BTreeMap::new();
    for found in LINE.captures_iter(&text) {
        let Ok(found) = found else { return values };
        let value = found.get(2).map_or("", |value| value.as_str());
        let value = value.trim_matches(is_blank);
        let quote = value.chars().next();
        let mut value = unquoted(value);
        if quote == Some('"') {
            value = value.replace("\\n", "\n").replace("\\r", "\r");
        }
        values.insert(found[1].to_owned(), value);
    }
    values
}

/// `value.replace(/^(['"`])([\s\S]*)\1$/gm, '$2')`
fn unquoted(value: &str) -> String {
    QUOTED.replace_all(value, "$2").into_owned()
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ' | '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202F}' | '\u{205F}' | '\u{3000}' | '\u{FEFF}')
}

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"^\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:#.*)?(?:$|$)"#;
    Regex::new(&in_rust(pattern)).unwrap()
});

static QUOTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&in_rust(r#"^(['"`])([\s\S]*)\1$"#)).unwrap());

/// An expression of JavaScript with the flag `m` and without `u`.
fn in_rust(pattern: &str) -> String {
    let ends = r"\n\r\u{2028}\u{2029}";
    let blank =
        r"\t-\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";
    let begin = format!("(?:\\A|(?<=[{ends}]))");
    let end = format!("(?:\\z|(?=[{ends}]))");
    let pattern = pattern.strip_prefix('^').unwrap();
    let pattern = pattern.replace(r"[\w.-]", "[A-Za-z0-9_.-]").replace(r"[\s\S]", "[^a&&a]");
    let pattern = pattern.replace(".*", &format!("[^{ends}]*")).replace('$', &end);
    let pattern = pattern.replace(r"\s", &format!("[{blank}]")).replace("[^a&&a]", "(?s:.)");
    begin + &pattern
}

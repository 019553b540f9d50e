//! Text that is wiped on drop and never printed: passphrases, key values, tokens.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Secret text. `Debug` shows `Secret(..)`; the one way in is [`Secret::expose`].
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// Takes bytes over. `None` if they are not UTF-8; they are wiped then too.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Secret> {
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| error.into_bytes().zeroize());
        text.ok().map(Secret::new)
    }

    /// The text itself. Every caller of this is a place to audit.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is it the same text? Not for what a stranger presents: the time tells how much of it is right.
    pub(crate) fn same(&self, other: &Secret) -> bool {
        self.0 == other.0
    }

    /// Drops one trailing newline (LF or CR LF), as a pipe from `echo` or a file has it.
    pub(crate) fn drop_trailing_newline(&mut self) {
        for end in ['\n', '\r'] {
            if !self.0.ends_with(end) {
                break;
            }
            self.0.pop();
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Does this look like, or hold, an API key that somebody typed where everybody can read it?
///
/// A guess by public prefixes, and by an unbroken run of letters and digits that is longer than any
/// id of ours.
pub(crate) fn looks_like_secret(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut pieces = text.split(|c| !is_inside(c)).map(|piece| piece.trim_matches('-'));
    let is_key = |piece: &str| {
        let begins = PREFIXES.split(' ').any(|prefix| piece.starts_with(prefix));
        let holds = TELLING.split(' ').any(|prefix| piece.contains(prefix));
        piece.len() >= 16 && (begins || holds)
    };
    let is_long = |piece: &str| {
        let mut runs = piece.split(['-', '_']);
        runs.any(|run| run.len() > 40 && run.contains(|c: char| c.is_ascii_digit()))
    };
    // The one prefix that has a dot.
    let mut dotted = text.split(|c| !is_inside(c) && c != '.');
    dotted.any(|word| word.starts_with("AQ.") && word.len() >= 16)
        || pieces.any(|piece| is_key(piece) || is_long(piece))
}

/// Text from outside, fit for an error message: as [`printable`], at most 64 characters, and nothing
/// of it where it looks like a secret.
pub(crate) fn shown(text: &str) -> String {
    if looks_like_secret(text) {
        return "(not shown, because it looks like a secret)".to_owned();
    }
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

/// One line of text that cannot drive a terminal: control characters and what reorders text are escaped.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, "", |c| c.escape_unicode().to_string())
}

/// The same for a text of many lines, which may have tabs.
pub(crate) fn printable_lines(text: &str) -> String {
    escaped(text, "\n\t", |c| c.escape_unicode().to_string())
}

/// The same for lines of JSON, which mean what they meant.
pub(crate) fn printable_json(json: &str) -> String {
    let unit = |unit: &mut u16| format!("\\u{unit:04x}");
    escaped(json, "\n", |c| c.encode_utf16(&mut [0; 2]).iter_mut().map(unit).collect())
}

fn escaped(text: &str, kept: &str, escape: impl Fn(char) -> String) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && !kept.contains(c) {
            true => safe.push_str(&escape(c)),
            false => safe.push(c),
        }
    }
    safe
}

/// Characters that move a terminal's cursor or reorder what a person reads, or that nobody sees.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

const MAX_SHOWN: usize = 64;

const PREFIXES: &str = "sk- sk_ pk_ rk_ AIza gsk_ xai- hf_ r8_ pplx- ghp_ gho_ \
    github_pat_ AKIA fw_ eyJ csk- jina_ nvapi- tgp_v1_ tvly-";
/// Those that mean a key in the middle of a word as well.
const TELLING: &str = "sk-proj- sk-ant- sk-or- github_pat_ AIzaSy sk_live_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("sk-hidden".into())), "Secret(..)");
    }

    #[test]
    fn the_same_text_is_the_same_and_no_other_is() {
        for (one, other, same) in [("a", "a", true), ("a", "b", false), ("a", "ab", false)] {
            assert_eq!(Secret::new(one.into()).same(&Secret::new(other.into())), same, "{other}");
        }
    }

    #[test]
    fn bytes_are_text_or_nothing() {
        let text =
            |bytes: &[u8]| Secret::from_bytes(bytes.to_vec()).map(|it| it.expose().to_owned());
        assert_eq!(text("sk-ü".as_bytes()).as_deref(), Some("sk-ü"));
        assert_eq!(text(b"sk-\xff"), None);
    }

    #[test]
    fn one_trailing_newline_goes_and_no_more() {
        for (given, kept) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
            ("", ""),
        ] {
            let mut secret = Secret::new(given.to_owned());
            secret.drop_trailing_newline();
            assert_eq!(secret.expose(), kept, "{given:?}");
        }
    }

    #[test]
    fn keys_are_recognised_and_names_are_not() {
        for key in [
            "sk-proj-abcdefghijkl",
            "gsk_0123456789abcdef",
            "AIzaSyA-0123456789",
            &"0a".repeat(32),
            "--sk-abcdefghijklmnop",
            "-ksk-proj-abcdef0123456789",
            "OPENAI_API_KEY=sk-abcdef0123456789",
            "Bearer:sk-ant-api03-abcdef0123",
            "AQ.0123456789abc",
            &format!("{}-x", "a1".repeat(21)),
            &format!("{}1", "a".repeat(40)),
        ] {
            assert!(looks_like_secret(key), "{key}");
            assert!(!shown(key).contains(&key[4..]), "{key}");
        }
        for name in [
            "Prod",
            "sk-short",
            "sk-0123456789ab",
            "AQ.0123456789ab",
            "0123AQ.0123456789",
            &"a1".repeat(20),
            &"a".repeat(41),
            "a-word-that-names-a-sk-key",
            "mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-",
            "my long label with many words, 2 of 3 for work",
            "production-openai-key-for-team-alpha-2026-q1",
            "https://platform.openai.com/api-keys#team42",
        ] {
            assert!(!looks_like_secret(name), "{name}");
        }
    }

    #[test]
    fn what_is_shown_cannot_drive_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
        assert_eq!(printable_lines("a\tb\n\u{85}\r"), "a\tb\n\\u{85}\\u{d}");
        assert_eq!(printable_json("\"\u{7f}\u{e0041}ü\"\n"), "\"\\u007f\\udb40\\udc41ü\"\n");
        assert_eq!(printable("a\u{61c}b\u{ad}c\u{e0041}"), "a\\u{61c}b\\u{ad}c\\u{e0041}");
        assert_eq!(shown(&"ü".repeat(65)).chars().count(), 65, "64 and an ellipsis");
    }
}

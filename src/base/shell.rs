//! How shells write a word: out of its quotes, and back into them. Nothing is expanded or run.

use std::iter::Peekable;
use std::str::Chars;

/// What a word means as it was typed, as far as quotes and backslashes go, and which quote is open.
pub(crate) fn unquote(typed: &str) -> (String, Option<char>) {
    word(&mut typed.chars().peekable(), |_| false)
}

/// The words of a command line; `None` if a quote is left open.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
    let mut rest = line.trim().chars().peekable();
    let mut words = Vec::new();
    while rest.peek().is_some() {
        let (text, open) = word(&mut rest, char::is_whitespace);
        if open.is_some() {
            return None;
        }
        words.push(text);
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
    }
    Some(words)
}

/// Reads a word up to a character outside of quotes that ends it, or to the end.
fn word(rest: &mut Peekable<Chars<'_>>, ends: fn(char) -> bool) -> (String, Option<char>) {
    let (mut text, mut quote) = (String::new(), None);
    while let Some(c) = rest.next_if(|c| quote.is_some() || !ends(*c)) {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            // Nothing behind it yet: it is the half of something.
            ('\\', None) => text.extend(rest.next()),
            ('\\', Some('"')) => {
                text.push(rest.next_if(|c| IN_DOUBLE.contains(*c)).unwrap_or(c));
            }
            _ => text.push(c),
        }
    }
    (text, quote)
}

/// Text as it is typed into bash where that quote is open, so that it means itself and nothing else.
pub(crate) fn quote(text: &str, quote: Option<char>) -> String {
    let mut typed = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_plain = !c.is_ascii() || c.is_ascii_alphanumeric() || PLAIN.contains(c);
        match quote {
            None if !is_plain || (at == 0 && text.starts_with('~')) => {
                typed.extend(['\\', c]);
            }
            Some('\'') if c == '\'' => typed.push_str(r"'\''"),
            // An interactive bash looks for its history in double quotes too, backslash or not.
            Some('"') if c == '!' => typed.push_str("\"'!'\""),
            Some('"') if IN_DOUBLE.contains(c) => typed.extend(['\\', c]),
            _ => typed.push(c),
        }
    }
    typed
}

/// Text as one word in quotes, for a command that a person copies.
pub(crate) fn quoted(text: &str) -> String {
    if cfg!(windows) {
        return format!("\"{text}\"");
    }
    format!("'{}'", quote(text, Some('\'')))
}

/// A hint, with commands that this system has.
pub(crate) fn hint(text: &str) -> String {
    let pairs = if cfg!(windows) { COMMANDS } else { &[] };
    pairs.iter().fold(text.to_owned(), |text, (unix, windows)| text.replace(unix, windows))
}

/// Unix's commands and those of Windows, the longer first.
const COMMANDS: &[(&str, &str)] =
    &[(": rm -r ", ": rmdir /s "), (": rm ", ": del "), ("| lpr", "| Out-Printer")];
/// ASCII characters beside letters and digits that mean themselves anywhere in an argument.
const PLAIN: &str = "-_./,+@:=%";
/// What a backslash escapes in double quotes.
const IN_DOUBLE: &str = "$`\"\\";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_a_shell_reads_it() {
        for (typed, text, open) in [
            ("Prod", "Prod", None),
            (r"My\ Pr", "My Pr", None),
            (r"My\", "My", None),
            ("\"My Pr", "My Pr", Some('"')),
            ("'My Pr", "My Pr", Some('\'')),
            ("'a'\\''b'", "a'b", None),
            ("--label=\"a $", "--label=a $", Some('"')),
            (r#""a\$\`\"\\\n""#, r#"a$`"\\n"#, None),
            ("'a\"b'\"c'd\"", "a\"bc'd", None),
            ("$(touch x)", "$(touch x)", None),
        ] {
            assert_eq!(unquote(typed), (text.to_owned(), open), "{typed}");
        }
    }

    #[test]
    fn a_line_is_split_at_blanks_outside_of_quotes() {
        for (line, expected) in [
            ("", Some(vec![])),
            ("  ", Some(vec![])),
            ("op read op://a/b", Some(vec!["op", "read", "op://a/b"])),
            ("  a\t b\n", Some(vec!["a", "b"])),
            (r#"a 'b c' "d e"f g\ h"#, Some(vec!["a", "b c", "d ef", "g h"])),
            ("a '' b", Some(vec!["a", "", "b"])),
            ("a $HOME; b | c", Some(vec!["a", "$HOME;", "b", "|", "c"])),
            ("a 'b", None),
            ("a \"b", None),
        ] {
            let words = words(line);
            let words: Option<Vec<&str>> =
                words.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(words, expected, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "Prod",
            "My Prod",
            "a'b\"c",
            "$(touch x) `y` \\ $HOME",
            "~",
            "日本 語",
            "a!b",
            "{a,b}*?[#",
        ] {
            for (open, begin, end) in
                [(None, "", ""), (Some('\''), "'", "'"), (Some('"'), "\"", "\"")]
            {
                let typed = format!("{begin}{}{end}", quote(text, open));
                assert_eq!(unquote(&typed), (text.to_owned(), None), "{typed}");
            }
        }
    }
}

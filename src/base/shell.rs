//! How shells write a word: out of its quotes, and back into them. Nothing is expanded or run.

/// What a word is inside of, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    /// Of nothing.
    None,
    /// Of an open `'`.
    Single,
    /// Of an open `"`.
    Double,
}

/// What a word means as it was typed, as far as quotes and backslashes go, and which quote is open.
pub(crate) fn unquote(typed: &str) -> (String, Quote) {
    let (mut text, mut quote) = (String::new(), Quote::None);
    let mut rest = typed.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\'', Quote::None) => quote = Quote::Single,
            ('"', Quote::None) => quote = Quote::Double,
            ('\'', Quote::Single) | ('"', Quote::Double) => quote = Quote::None,
            // Nothing behind it yet: it is the half of something.
            ('\\', Quote::None) => text.extend(rest.next()),
            ('\\', Quote::Double) => match rest.next_if(|c| IN_DOUBLE.contains(*c)) {
                Some(escaped) => text.push(escaped),
                None => text.push(c),
            },
            _ => text.push(c),
        }
    }
    (text, quote)
}

/// Text as it is typed into bash where that quote is open, so that it means itself and nothing else.
pub(crate) fn quote(text: &str, quote: Quote) -> String {
    let mut typed = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_plain = !c.is_ascii() || c.is_ascii_alphanumeric() || PLAIN.contains(c);
        match quote {
            Quote::None if !is_plain || (at == 0 && text.starts_with('~')) => {
                typed.extend(['\\', c]);
            }
            Quote::Single if c == '\'' => typed.push_str(r"'\''"),
            // An interactive bash looks for its history in double quotes too, backslash or not.
            Quote::Double if c == '!' => typed.push_str("\"'!'\""),
            Quote::Double if IN_DOUBLE.contains(c) => typed.extend(['\\', c]),
            _ => typed.push(c),
        }
    }
    typed
}

/// Text as one word in single quotes, for a command that a person copies.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", quote(text, Quote::Single))
}

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
            ("Prod", "Prod", Quote::None),
            (r"My\ Pr", "My Pr", Quote::None),
            (r"My\", "My", Quote::None),
            ("\"My Pr", "My Pr", Quote::Double),
            ("'My Pr", "My Pr", Quote::Single),
            ("'a'\\''b'", "a'b", Quote::None),
            ("--label=\"a $", "--label=a $", Quote::Double),
            (r#""a\$\`\"\\\n""#, r#"a$`"\\n"#, Quote::None),
            ("'a\"b'\"c'd\"", "a\"bc'd", Quote::None),
            ("$(touch x)", "$(touch x)", Quote::None),
        ] {
            assert_eq!(unquote(typed), (text.to_owned(), open), "{typed}");
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
            for (open, begin, end) in [
                (Quote::None, "", ""),
                (Quote::Single, "'", "'"),
                (Quote::Double, "\"", "\""),
            ] {
                let typed = format!("{begin}{}{end}", quote(text, open));
                assert_eq!(unquote(&typed), (text.to_owned(), Quote::None), "{typed}");
            }
        }
    }
}

//! Parses dotenv files. A line that shells and the dotenv libraries read differently is an error and is
//! not guessed at. Variables are not expanded and commands are not run.

use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// One line that sets a variable, or an error.
#[derive(Debug)]
pub(crate) struct Line {
    /// The first is 1.
    pub(crate) number: usize,
    /// The variable, where that much could be read.
    pub(crate) name: Option<String>,
    /// Its value, or what is wrong with the line; the reason never repeats the line.
    pub(crate) value: Result<Secret, &'static str>,
}

/// Reads a whole file. Blank lines and comments are left out; a value in quotes may have several lines.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let mut rest = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let (mut lines, mut number) = (Vec::new(), 1);
    while !rest.is_empty() {
        let (line, mut after) = rest.split_once('\n').unwrap_or((rest, ""));
        if !matches!(line.trim_start().bytes().next(), None | Some(b'#')) {
            let name = name(line);
            let value = name.and_then(|(_, at)| value(&rest[at..]));
            let value = value.map(|(value, behind)| {
                after = behind;
                value
            });
            let name = name.ok().map(|(name, _)| name.to_owned());
            lines.push(Line { number, name, value });
        }
        number += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    lines
}

/// The name that a line sets, and where its value begins.
fn name(line: &str) -> Result<(&str, usize), &'static str> {
    let (left, _) = line.split_once('=').ok_or("it has no equals sign")?;
    let name = left.trim();
    let name = match name.strip_prefix("export") {
        Some(name) if name.starts_with([' ', '\t']) => name.trim_start(),
        _ => name,
    };
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_digit = |c: char| c.is_ascii_digit();
    if name.is_empty() || name.starts_with(is_digit) || !name.chars().all(is_inside) {
        return Err("what is before the equals sign is no name");
    }
    Ok((name, left.len() + 1))
}

/// The value at the start of the text, and what is behind its line.
fn value(text: &str) -> Result<(Secret, &str), &'static str> {
    let start = text.trim_start_matches([' ', '\t']);
    let (value, behind) = match start.bytes().next() {
        Some(b'\'') => {
            let (value, behind) = start[1..].split_once('\'').ok_or(UNCLOSED)?;
            (Secret::new(value.to_owned()), behind)
        }
        Some(b'"') => quoted(&start[1..])?,
        Some(b'`') => return Err("a backtick means different things to different programs"),
        _ => return bare(text),
    };
    let (tail, after) = behind.split_once('\n').unwrap_or((behind, ""));
    let is_comment = tail.starts_with([' ', '\t']) && tail.trim_start().starts_with('#');
    if tail.trim().is_empty() || is_comment {
        Ok((value, after))
    } else {
        Err("something follows the closing quote")
    }
}

/// Without quotes: to the end of the line, or to a blank and a `#`.
fn bare(text: &str) -> Result<(Secret, &str), &'static str> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let (value, comment) = line.split_once('#').unzip();
    let value = value.unwrap_or(line);
    if comment.is_some() && !value.ends_with([' ', '\t']) {
        return Err("a # in it means different things to different programs; quotes settle that");
    }
    let value = value.trim();
    // Some programs end the line at a lone CR, and read what follows as another variable.
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err("a control character in it means different things to different programs");
    }
    for (at, _) in value.match_indices('$') {
        refuse_reference(&value[at + 1..])?;
    }
    Ok((Secret::new(value.to_owned()), after))
}

/// Between double quotes, from behind the first to behind the last.
fn quoted(text: &str) -> Result<(Secret, &str), &'static str> {
    let mut value = Zeroizing::new(String::with_capacity(text.len().min(MAX_LINE)));
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Secret::new(std::mem::take(&mut *value)), &text[at + 1..])),
            '\\' => match chars.next().ok_or(UNCLOSED)?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => {
                if c == '$' {
                    refuse_reference(&text[at + 1..])?;
                }
                value.push(c);
            }
        }
    }
    Err(UNCLOSED)
}

/// `$NAME`, `${NAME}` and `$(command)` are expanded by some programs and kept by others.
fn refuse_reference(behind: &str) -> Result<(), &'static str> {
    if behind.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '(')) {
        return Err("it refers to something else with a $; single quotes say that it does not");
    }
    Ok(())
}

const UNCLOSED: &str = "its quote is not closed";
/// Bytes that are allocated at first.
const MAX_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line as `number name=value`, or `number name!` for one that cannot be read.
    fn read(text: &str) -> Vec<String> {
        let shown = |line: Line| {
            let name = line.name.unwrap_or_default();
            match line.value {
                Ok(value) => format!("{} {name}={}", line.number, value.expose()),
                Err(_) => format!("{} {name}!", line.number),
            }
        };
        parse(text).into_iter().map(shown).collect()
    }

    #[test]
    fn a_line_sets_a_variable() {
        for (text, value) in [
            ("A=b", "b"),
            ("A=b\r\n", "b"),
            ("\u{feff}A=b\n", "b"),
            ("  export  A = b  ", "b"),
            ("export\tA=b", "b"),
            ("A=", ""),
            ("A= # nothing", ""),
            ("A=b # comment", "b"),
            ("A=b c=d", "b c=d"),
            ("A=b'c\"d", "b'c\"d"),
            ("A=b\\n", "b\\n"),
            ("A=a$1$", "a$1$"),
            ("A='b # c' # d", "b # c"),
            ("A='b\\n$C'", "b\\n$C"),
            ("A=''", ""),
            ("A=\"b # c\"\t# d", "b # c"),
            (r#"A="\n\r\t\"\\\$\`\x""#, "\n\r\t\"\\$`\\x"),
            ("A=\"b\nc\"", "b\nc"),
            ("A='b\n\nc'\r\n", "b\n\nc"),
            ("A=ü\u{a0}", "ü"),
        ] {
            assert_eq!(read(text), [format!("1 A={value}")], "{text:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_spoils_only_itself() {
        for (text, first) in [
            ("A", "1 !"),
            ("export A", "1 !"),
            ("=b", "1 !"),
            ("1A=b", "1 !"),
            ("A B=c", "1 !"),
            ("exportA B=c", "1 !"),
            ("Ä=b", "1 !"),
            ("A: b", "1 !"),
            ("A='b", "1 A!"),
            ("A=\"b\\", "1 A!"),
            ("A=\"b\"c", "1 A!"),
            ("A='b' c", "1 A!"),
            ("A=`b`", "1 A!"),
            ("A='b'#c", "1 A!"),
            ("A=b#c", "1 A!"),
            ("A=#c", "1 A!"),
            ("A=$B", "1 A!"),
            ("A=b${B}", "1 A!"),
            ("A=\"$(cat b)\"", "1 A!"),
            ("A=b\rC=d", "1 A!"),
            ("A=b\0", "1 A!"),
        ] {
            assert_eq!(read(&format!("{text}\nB=c\n")), [first, "2 B=c"], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let text = "# one\n\nA=b\n  # four\nB='5\n6\n7'\nC\r\n\"\nD=e";
        assert_eq!(read(text), ["3 A=b", "5 B=5\n6\n7", "8 !", "9 !", "10 D=e"]);
        assert_eq!(read("A=\"b\nB=\"c\"\nC=d"), ["1 A!", "2 B=c", "3 C=d"]);
        assert!(read("").is_empty() && read("\n \n#\n\u{feff}").len() == 1);
    }

    #[test]
    fn nothing_panics_on_any_text() {
        let pieces = [
            "A", "=", "\"", "'", "\\", "\n", "\r\n", "#", " ", "$", "{", "export ", "ü",
            "\u{feff}", "`", "\0", "\u{a0}",
        ];
        let mut state: u32 = 1;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..state % 24 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let lines = parse(&text);
            let is_ordered = lines.is_sorted_by(|a, b| a.number < b.number);
            let last = lines.last().map_or(0, |line| line.number);
            assert!(is_ordered && last <= text.matches('\n').count() + 1, "{text:?}");
        }
    }
}

//! Parses dotenv files. A line counts only if bash, python-dotenv and Node's dotenv read the same
//! value from it, and a shell does nothing else. Any other is an error and is not guessed at.
//! (tests/dotenv.rs: `where_they_differ_the_line_is_named_and_nothing_of_it_is_stored`)

use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// One line that sets a variable, or an error.
pub(crate) struct Line {
    /// The first is 1.
    pub(crate) number: usize,
    /// The variable, where that much could be read. A line that is an error may set several, and is
    /// there once for each.
    pub(crate) name: Option<String>,
    /// Its value, or what is wrong with the line; the reason never repeats the line.
    pub(crate) value: Result<Secret, &'static str>,
}

/// Reads a whole file. Blank lines and comments are left out; a value in quotes may have several lines.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    // An editor's byte order mark and CR LF are the whole file's, and no line's.
    let text = Zeroizing::new(text.strip_prefix('\u{FEFF}').unwrap_or(text).replace("\r\n", "\n"));
    let (mut lines, mut number, mut at, mut taken) = (Vec::new(), 1, 0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let line = rest.split('\n').next().unwrap_or_default();
        let begin = line.trim_start();
        // Some programs end a comment where others do not.
        let is_blank = begin.is_empty() || (begin.starts_with('#') && !line.contains(LINE_ENDS));
        let mut length = line.len() + 1;
        match assignment(rest) {
            _ if is_blank => {}
            Ok((name, value, behind)) if at >= taken => {
                length = rest.len() - behind.len();
                lines.push(Line { number, name: Some(name.to_owned()), value: Ok(value) });
            }
            read => {
                let reason = read.err().filter(|_| at >= taken);
                let mut names = names(line, &lines);
                let is_nameless = names.is_empty() && reason.is_some();
                names.extend(is_nameless.then_some(None));
                let value = || Err(reason.unwrap_or(TAKEN));
                lines.extend(names.into_iter().map(|name| Line { number, name, value: value() }));
                let framed = format!("^{}$", line.trim());
                let is_cut = line.contains('(') && !line.contains(')');
                let is_block = is_cut || BLOCKS.iter().any(|part| framed.contains(part));
                // To Node's dotenv a line begins behind each of these, and its quotes go on, too.
                let begins = line.match_indices(LINE_ENDS).map(|(begin, _)| begin);
                let ends = begins.chain([0]).map(|begin| at + begin + extent(&rest[begin..]));
                taken = if is_block { usize::MAX } else { ends.fold(taken, usize::max) };
            }
        }
        number += rest.bytes().take(length).filter(|byte| *byte == b'\n').count();
        at += length;
    }
    lines
}

/// The name and the value at the start of the text, and what is behind their lines.
fn assignment(text: &str) -> Result<(&str, Secret, &str), &'static str> {
    let start = text.trim_start_matches(BLANKS);
    let exported = start.strip_prefix("export").filter(|rest| rest.starts_with(BLANKS));
    let start = exported.map_or(start, |rest| rest.trim_start_matches(BLANKS));
    let pair = start.split_once('=').filter(|(name, _)| !name.contains('\n'));
    let (name, text) = pair.ok_or("it has no equals sign")?;
    if !is_name(name) {
        return Err("the part before the equals sign is not a name; a shell allows no space there");
    }
    let (value, behind) = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(&text[1..], quote)?,
        _ => bare(text, exported.is_some())?,
    };
    let (tail, after) = behind.split_once('\n').unwrap_or((behind, ""));
    let comment = tail.trim_start_matches(BLANKS);
    if value.contains(['\r', '\0']) || comment.contains(LINE_ENDS) {
        Err("programs read an invisible character in it differently")
    } else if comment.is_empty() || (comment.starts_with('#') && tail.starts_with(BLANKS)) {
        Ok((name, Secret::new(value.to_owned()), after))
    } else {
        Err("something follows the value; put quotes around all of it")
    }
}

/// To the closing quote: the value, and what is behind it.
fn quoted(text: &str, quote: char) -> Result<(&str, &str), &'static str> {
    let (value, behind) = text.split_once(quote).ok_or("its quote is not closed")?;
    let is_double = quote == '"';
    let is_escape = |c| is_double && ESCAPED.contains(c);
    // Of two backslashes, and of one before the quote, the second begins an empty piece.
    if value.split('\\').skip(1).any(|behind| behind.is_empty() || behind.starts_with(is_escape)) {
        return Err("programs read a backslash in it differently");
    }
    // python-dotenv expands ${NAME} in single quotes, too.
    let is_template = value.split_once("${").is_some_and(|(_, name)| name.contains('}'));
    let is_command = is_double && (is_reference(value) || value.contains('`'));
    if is_template || is_command { Err(SPECIAL) } else { Ok((value, behind)) }
}

/// Without quotes: to the first blank.
fn bare(text: &str, is_exported: bool) -> Result<(&str, &str), &'static str> {
    let (value, behind) = text.split_at(text.find([' ', '\t', '\n']).unwrap_or(text.len()));
    // Only behind export, bash makes two words of A={b,c}.
    let is_special = |c| "\"'`\\;&|<>()#".contains(c) || (c == '{' && is_exported);
    let is_home = value.starts_with('~') || value.contains(":~");
    if is_reference(value) || is_home || value.contains(is_special) {
        return Err(SPECIAL);
    }
    if value.starts_with(is_blank) || value.ends_with(is_blank) {
        return Err("only some programs keep an invisible character at its edge");
    }
    Ok((value, behind))
}

/// Is there a `$NAME`, `${NAME}`, `$(command)`, `$1` or the like?
fn is_reference(value: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphanumeric() || "_{([@*#?$!-".contains(c);
    // Of two dollar signs, the second begins an empty piece.
    value.contains("$$") || value.split('$').skip(1).any(|behind| behind.starts_with(begins))
}

/// The names that a refused line may set: each before an equals sign, and where there is none, those
/// that an earlier line has set. Other words may be pieces of a secret.
fn names(line: &str, above: &[Line]) -> Vec<Option<String>> {
    let is_known = |name: &str| above.iter().any(|line| line.name.as_deref() == Some(name));
    let own = |name: &str| Some(name.to_owned());
    let Some((text, _)) = line.rsplit_once('=') else {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        return words.filter(|word| is_known(word)).map(own).collect();
    };
    let is_break = |c: char| is_blank(c) || BREAKS.contains(&c);
    let names = text.split('=').enumerate().filter_map(|(at, piece)| {
        let piece = piece.trim_end_matches(|c| is_blank(c) || c == '\'' || c == '"');
        let (before, word) = piece.rsplit_once(is_break).unwrap_or(("", piece));
        let name = word.split(['+', '[']).next().filter(|name| is_name(name))?;
        let is_upper = !before.is_empty() && !name.contains(|c: char| c.is_ascii_lowercase());
        (at == 0 || is_upper || is_known(name)).then_some(own(name))
    });
    // Node's dotenv takes a colon for an equals sign, and finds that in the next line, too.
    let colons = line.rsplit_once(':').map_or("", |(text, _)| text).split(':');
    let ends = colons.chain(line.split(LINE_ENDS)).map(|piece| piece.trim_end_matches(is_blank));
    let words = ends.filter_map(|piece| piece.rsplit(is_break).next());
    names.chain(words.filter(|word| is_known(word)).map(own)).collect()
}

/// A blank to one of the three, at least.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1C}'..='\u{1F}' | '\u{FEFF}')
}

pub(crate) fn is_name(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_inside) && text.starts_with(|c: char| !c.is_ascii_digit())
}

/// How much of the text some program may take for the refused line at its start: quotes go on, and
/// so does a backslash at the end of a line. A quote that is never closed takes its own line alone; but one
/// behind a backslash closes it for Node's dotenv, if no other does. To that, of two backslashes before a
/// quote the second belongs to the quote; to a shell, to the first.
fn extent(text: &str) -> usize {
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |length| at + length + 1);
    let until = |is_shell: bool| {
        let (mut quote, mut before, mut chars) = (None, ' ', text.char_indices());
        while let Some((at, c)) = chars.next() {
            let is_escape = c == '\\' && (is_shell || chars.as_str().starts_with(QUOTES));
            match quote {
                None if c == '\n' || (c == '#' && BLANKS.contains(&before)) => return line_end(at),
                Some(_) | None if is_escape => drop(chars.next()),
                None if QUOTES.contains(&c) => quote = Some(c),
                Some(open) if open == c => quote = None,
                Some(_) | None => {}
            }
            before = c;
        }
        quote.map_or(text.len(), |open: char| text.rfind(open).map_or(text.len(), line_end))
    };
    until(true).max(until(false))
}

const SPECIAL: &str = "programs read a character in it differently; single quotes may help";
const TAKEN: &str = "it may belong to an earlier line that lf cannot read";
const BLANKS: [char; 2] = [' ', '\t'];
const QUOTES: [char; 3] = ['\'', '"', '`'];
/// Ends of a line to some programs, and to others a character as any other.
const LINE_ENDS: [char; 3] = ['\r', '\u{2028}', '\u{2029}'];
/// What may stand before a name, beside blanks.
const BREAKS: [char; 6] = [';', '&', '|', '(', '"', '\''];
/// What a backslash between double quotes changes for one of the three, or (the `!`) for zsh.
const ESCAPED: &str = "$`\n'abfnrtv!";
/// What a refused line has, with `^` and `$` for its ends, when a shell decides by it whether the
/// lines behind it count. Node's dotenv takes the next line for the value of a name with a colon.
#[rustfmt::skip]
const BLOCKS: [&str; 13] = [
    "^if ", "^for ", "^while ", "^until ", "^case ", "^function ", "^return", "^exit",
    "{$", "|$", "&&$", "<<", ":$",
];

#[cfg(test)]
mod tests {
    use super::*;
    use miniserde::json::{self, Object, Value};
    use std::collections::BTreeMap;

    #[test]
    fn what_a_refused_line_may_take_with_it_ends_where_every_program_has_ended() {
        for (text, length) in [
            ("a", 1),
            ("a\nb\n", 2),
            ("abc #d\ne\n", 7),
            ("ab#c'\nd'\ne", 9),
            ("ab 'c\nd'e\nf", 10),
            ("ab\\\nc\nd", 6),
            ("abc'd\ne\n", 6),
            ("abc'd\\'\ne\\'\nf\ng", 12),
            ("ab\nc'\n", 3),
            ("ab 'c'\nd'e'\n", 7),
            ("a\"b\n'\"\nc", 7),
        ] {
            assert_eq!(extent(text), length, "{text:?}");
        }
    }

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

    /// What bash, python-dotenv and Node's dotenv make of many texts (tests/dotenv/read.sh).
    const READINGS: &str = include_str!("../../tests/dotenv/readings.json");
    /// The three keep this backslash; zsh at a prompt does not.
    const BUT: &str = "K1_API_KEY=\"\\!\"\n";

    fn values(row: &Object, reader: &str) -> BTreeMap<String, String> {
        let Value::Object(values) = &row[reader] else { panic!("{reader}") };
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            _ => String::new(), // python-dotenv has names without a value
        };
        let values = values.iter().map(|(name, value)| (name.clone(), text(value)));
        values.filter(|(_, value)| !value.is_empty()).collect()
    }

    #[test]
    fn a_value_is_what_three_readers_agree_on_and_nothing_else() {
        let rows: Vec<Object> = json::from_str(READINGS).unwrap();
        let (mut agreed, mut differing) = (0, 0);
        for row in &rows {
            let Value::String(text) = &row["text"] else { panic!() };
            let [bash, python, node] = ["bash", "python", "node"].map(|name| values(row, name));
            let is_all = matches!(row["isAll"], Value::Bool(true));
            let mut here = BTreeMap::new();
            for Line { name, value, .. } in parse(text) {
                let Some(name) = name else { continue };
                here.remove(&name);
                if let Some(value) = value.ok().filter(|value| !value.expose().is_empty()) {
                    here.insert(name, value.expose().to_owned());
                }
            }
            if is_all && bash == python && bash == node && text != BUT {
                assert_eq!(here, bash, "{text:?}");
                agreed += 1;
            } else {
                for (name, value) in &here {
                    // Where bash fails in the middle, the lines behind have no other value.
                    let same = |reader: &BTreeMap<_, _>| reader.get(name) == Some(value);
                    let is_same = same(&python) && same(&node) && (same(&bash) || !is_all);
                    assert!(is_same, "{text:?} {name} {bash:?} {python:?} {node:?}");
                }
                differing += 1;
            }
        }
        assert!(agreed > 146 && differing > 146, "{agreed} {differing}");
    }

    #[test]
    fn a_line_that_cannot_be_read_names_every_key_that_it_may_set() {
        for (text, lines) in [
            ("A", "1 !"),
            ("export A=a B=b", "1 A! 1 B!"),
            ("export A=a; export B=b", "1 A! 1 B!"),
            ("A = b", "1 A!"),
            ("A+=b", "1 A!"),
            ("'A'=b", "1 A!"),
            ("=b", "1 !"),
            ("1A=b", "1 !"),
            ("A.B=c", "1 !"),
            ("A='MII hunter2==; x'y", "1 A!"),
            ("A=a\nunset A", "1 A=a 2 A!"),
            ("A=a\nexport A B", "1 A=a 2 A!"),
            ("A=a\nhunter2", "1 A=a 2 !"),
            ("A=it's\nB=b\nC=c'\nD=d", "1 A! 2 B! 3 C! 4 D=d"),
            ("A=b\\\nB=c\nD=d", "1 A! 2 B! 3 D=d"),
            ("A=My App (x)\nD=d", "1 A! 2 D=d"),
            ("if false; then\nA=a\nfi\nD=d", "1 ! 2 A! 4 D!"),
        ] {
            assert_eq!(read(text).join(" "), lines, "{text:?}");
        }
    }

    #[test]
    fn a_quote_behind_a_lone_carriage_return_goes_on_too() {
        let text = "A=\"\rC=\"\u{1f}a\nB=b\n\"\nD=d";
        assert_eq!(read(text), ["1 A!", "1 C!", "2 B!", "4 D=d"]);
    }

    #[test]
    fn a_refused_value_that_ends_with_the_file_goes_on_to_its_quote() {
        assert_eq!(read("A=\"$x\nB=b\n\""), ["1 A!", "2 B!"]);
        assert_eq!(read("A=\"$x\nB=b\n"), ["1 A!", "2 B=b"], "it is never closed");
    }

    #[test]
    fn an_escaped_quote_closes_a_value_where_no_other_does() {
        // Found by fuzzing: Node's dotenv takes all four lines for the value of A.
        assert_eq!(read("A='a\\'\nB=b\nc\\'\nC=c"), ["1 A!", "2 B!", "4 C=c"]);
        // And here three; for a shell, the second backslash is what the first one keeps.
        assert_eq!(read("A=\"a\\\\\"\nB=b\nC=c\"\nD=d"), ["1 A!", "2 B!", "3 C!", "4 D=d"]);
        assert_eq!(read("A=\"a\\\\\" \"\nB=b\"\nD=d"), ["1 A!", "2 B!", "3 D=d"]);
    }

    #[test]
    fn a_name_whose_equals_sign_is_in_the_next_line_is_named_too() {
        // Found by fuzzing: Node's dotenv reads b for A.
        assert_eq!(read("A=c\n=_\rA\r\n=b\nB=d"), ["1 A=c", "2 A!", "3 !", "4 B=d"]);
        assert_eq!(read("A=c\nB=\"$A\""), ["1 A=c", "2 B!"]);
    }

    #[test]
    fn a_name_behind_any_blank_or_before_a_colon_is_named_too() {
        for line in ["\u{b}A=\"b\"c", "\u{a0}export\u{c}A\u{feff}=\"b\"c", "A: b=c", "x: y\rA: b=c"]
        {
            let refused = read(&format!("A=a\n{line}"));
            assert!(refused.contains(&"2 A!".to_owned()), "{line:?} {refused:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let text = "# one\n\nA=b\r\n  # four\nB='5\n6\n7'\nC\r\n\"\nD=e";
        assert_eq!(read(text), ["3 A=b", "5 B=5\n6\n7", "8 !", "9 !", "10 D=e"]);
        assert_eq!(read("A=\"b\nB=\"c\"\nC=d"), ["1 A!", "2 B!", "3 C=d"]);
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
            let is_ordered = lines.is_sorted_by(|a, b| a.number <= b.number);
            let last = lines.last().map_or(0, |line| line.number);
            assert!(is_ordered && last <= text.matches('\n').count() + 1, "{text:?}");
        }
    }
}

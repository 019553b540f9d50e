//! The recovery sheet: a master passphrase on paper, in lines that detect a mistyped character.
//!
//! A line is its number, up to 20 symbols of Crockford's base32 in groups of five, and two symbols
//! that check the line and its number. The symbols of all lines together are the passphrase's bytes,
//! and five more that check the whole. Both checks are the first bits of a SHA-256 digest.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::{Secret, Timestamp, printable};
use crate::error::{Error, Result};

/// The sheet, as text to print.
pub(crate) fn print(passphrase: &Secret, now: Timestamp) -> Result<Secret> {
    let text = passphrase.expose();
    if text.len() > MOST_BYTES {
        return Err(Error::PassphraseInvalid(format!(
            "the master passphrase has {} bytes; a sheet has room for {MOST_BYTES}",
            text.len()
        )));
    }
    let mut symbols = Zeroizing::new(encode(text.as_bytes()));
    symbols.extend(check::<WHOLE>(text.as_bytes()));
    // Allocated once: a string that grows leaves unwiped copies.
    let mut sheet = Zeroizing::new(String::with_capacity(2048 + 4 * text.len()));
    let _ = writeln!(sheet, "{TITLE}, version 1, printed {now}\n\n{WARNING}");
    for (number, line) in (1..).zip(symbols.chunks(LINE)) {
        let _ = write!(sheet, "    {number:2}  ");
        for group in line.chunks(GROUP) {
            sheet.push(' ');
            sheet.extend(group.iter().map(|symbol| letter(*symbol)));
        }
        sheet.push_str("   ");
        sheet.extend(check_line(number, line).map(letter));
        sheet.push('\n');
    }
    let _ = write!(sheet, "\n{HOW}");
    if printable(text) == text {
        let _ = writeln!(sheet, "\n{PLAIN}\n    {text}");
    }
    Ok(Secret::new(std::mem::take(&mut *sheet)))
}

/// Is this a whole sheet, and not the passphrase itself?
pub(crate) fn is_sheet(text: &Secret) -> bool {
    text.expose().trim_start_matches(['\u{feff}', ' ', '\n', '\r']).starts_with(TITLE)
}

/// The passphrase of a sheet, or of its numbered lines alone.
pub(crate) fn read(text: &Secret) -> Result<Secret> {
    let mut reader = Reader::default();
    for line in text.expose().lines().filter(|line| number_of(line).is_some()) {
        reader.line(line)?;
        // Reading stops here: the passphrase itself may follow, and may begin with a number.
        if let Some(passphrase) = reader.passphrase() {
            return Ok(passphrase);
        }
    }
    invalid(&format!("line {} or one after it is missing", reader.next()))
}

/// Reads a sheet line by line, as a person types it.
#[derive(Default)]
pub(crate) struct Reader {
    symbols: Zeroizing<Vec<u8>>,
    lines: usize,
}

impl Reader {
    /// The number of the line that comes next.
    pub(crate) fn next(&self) -> usize {
        self.lines + 1
    }

    /// Takes the next line, with or without its number.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        let number = self.next();
        if self.symbols.len() >= MOST_BYTES * 2 {
            return invalid("it has too many lines");
        }
        let rest = match number_of(line) {
            Some((given, rest)) if given == number => rest,
            // A larger one is a line's first group, without its number.
            Some((given @ ..100, _)) => {
                return invalid(&format!("line {given} is in the place of line {number}"));
            }
            Some(_) | None => line,
        };
        let blanks = [' ', '\t', '-', '\r'];
        let symbols = rest.chars().filter(|c| !blanks.contains(c)).map(symbol);
        let symbols = Zeroizing::new(symbols.collect::<Option<Vec<u8>>>().unwrap_or_default());
        let is_sound = |(line, checks): &(&[u8], &[u8; CHECK])| {
            (1..=LINE).contains(&line.len()) && check_line(number, line) == **checks
        };
        let Some((line, _)) = symbols.split_last_chunk().filter(is_sound) else {
            return invalid(&format!("line {number} has a mistyped, missing or extra character"));
        };
        self.symbols.extend_from_slice(line);
        self.lines = number;
        Ok(())
    }

    /// The passphrase, once all lines are there.
    pub(crate) fn passphrase(&self) -> Option<Secret> {
        let (symbols, whole) = self.symbols.split_last_chunk::<WHOLE>()?;
        let bytes = Zeroizing::new(decode(symbols)?);
        (check::<WHOLE>(&bytes) == *whole).then(|| Secret::from_bytes(bytes.to_vec()))?
    }
}

/// A line's number, and what follows it, if it begins with one.
fn number_of(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.trim().split_once([' ', '\t'])?;
    Some((number.parse().ok()?, rest))
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    regroup(bytes, 8, 5, (8 * bytes.len()).div_ceil(5))
}

/// `None` if the padding bits are not zero, or too many.
fn decode(symbols: &[u8]) -> Option<Vec<u8>> {
    let bytes = regroup(symbols, 5, 8, symbols.len() * 5 / 8);
    (encode(&bytes) == symbols).then_some(bytes)
}

/// The bits of numbers of `from` bits each, as `count` numbers of `to` bits; zeros where they end.
fn regroup(numbers: &[u8], from: usize, to: usize, count: usize) -> Vec<u8> {
    let bit = |at: usize| numbers.get(at / from).unwrap_or(&0) >> (from - 1 - at % from) & 1;
    let number = |at: usize| (0..to).fold(0, |number, n| number << 1 | bit(to * at + n));
    (0..count).map(number).collect()
}

fn check_line(number: usize, symbols: &[u8]) -> [u8; CHECK] {
    let mut text = Zeroizing::new(number.to_string().into_bytes());
    text.push(b' ');
    text.extend_from_slice(symbols);
    check(&text)
}

fn check<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = encode(&Sha256::digest(bytes));
    std::array::from_fn(|at| digest[at])
}

fn letter(symbol: u8) -> char {
    char::from(ALPHABET[usize::from(symbol)])
}

/// The symbol of a typed character; O is read as 0, I and L as 1.
fn symbol(typed: char) -> Option<u8> {
    let upper = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        upper => upper,
    };
    (0..32).find(|symbol| letter(*symbol) == upper)
}

fn invalid<T>(reason: &str) -> Result<T> {
    Err(Error::InvalidSheet(reason.to_owned()))
}

const TITLE: &str = "lf recovery sheet";
const WARNING: &str = include_str!("sheet/warning.txt");
const HOW: &str = include_str!("sheet/how.txt");
const PLAIN: &str = include_str!("sheet/plain.txt");
/// Without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP: usize = 5;
const LINE: usize = 20;
const CHECK: usize = 2;
const WHOLE: usize = 5;
const MOST_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-fQx0aBcDeFg";

    fn sheet(passphrase: &str) -> String {
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let sheet = print(&Secret::new(passphrase.to_owned()), now).unwrap();
        sheet.expose().to_owned()
    }

    fn read_back(text: &str) -> std::result::Result<String, String> {
        let read = read(&Secret::new(text.to_owned()));
        read.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
    }

    fn numbered(sheet: &str) -> Vec<&str> {
        sheet.lines().filter(|line| number_of(line).is_some()).collect()
    }

    #[test]
    fn every_passphrase_comes_back_from_its_sheet() {
        for passphrase in [
            PASSPHRASE,
            "correct horse battery staple",
            "Üretim anahtarı 🔐 本番",
            "with\na newline",
            "1 2",
            &"x".repeat(MOST_BYTES),
        ] {
            let text = sheet(passphrase);
            assert!(is_sheet(&Secret::new(text.clone())));
            assert_eq!(read_back(&text).as_deref(), Ok(passphrase));
            let lines = numbered(&text).join("\n");
            assert_eq!(read_back(&lines).as_deref(), Ok(passphrase), "the lines alone");
            let typed = lines.to_lowercase().replace('0', "o").replace('1', "l");
            let mut reader = Reader::default();
            let mut typed = typed.lines();
            while reader.passphrase().is_none() {
                let (_, rest) = typed.next().unwrap().trim().split_once(' ').unwrap();
                reader.line(&rest.replace(' ', "-")).unwrap();
            }
            assert_eq!(reader.passphrase().unwrap().expose(), passphrase);
        }
    }

    #[test]
    fn every_mistyped_missing_extra_or_swapped_character_is_caught() {
        let text = numbered(&sheet(PASSPHRASE)).join("\n");
        let chars: Vec<char> = text.chars().collect();
        let refused = |changed: &[char], what: &str| {
            let changed: String = changed.iter().collect();
            assert!(read_back(&changed).is_err(), "{what}: {changed}");
        };
        for at in 0..chars.len() {
            if !chars[at].is_ascii_alphanumeric() {
                continue;
            }
            for other in ALPHABET.iter().map(|symbol| char::from(*symbol)).chain(['U', '!', '8']) {
                let mut changed = chars.clone();
                changed[at] = other;
                if symbol(other) != symbol(chars[at]) {
                    refused(&changed, "another character");
                }
            }
            let mut changed = chars.clone();
            changed.remove(at);
            refused(&changed, "one left out");
            let mut changed = chars.clone();
            changed.insert(at, chars[at]);
            refused(&changed, "one twice");
            if at + 1 < chars.len()
                && chars[at + 1].is_ascii_alphanumeric()
                && chars[at + 1] != chars[at]
            {
                let mut changed = chars.clone();
                changed.swap(at, at + 1);
                refused(&changed, "two swapped");
            }
        }
    }

    #[test]
    fn a_sheet_stays_as_it_was_printed() {
        let lines = "1   CDQQ4 WK5CD T20T3 FE9SP   1F\n2   A832C 5T78S BJF4G 76X31   QQ\n3   E1P6A RJXWP   2D";
        assert_eq!(read_back(lines).as_deref(), Ok("correct horse battery staple"));
        assert!(!is_sheet(&Secret::new("correct horse battery staple".to_owned())));
    }

    #[test]
    fn a_line_without_its_number_may_begin_with_digits() {
        for passphrase in ["ABacus and what else is on it", PASSPHRASE] {
            let text = sheet(passphrase);
            let mut reader = Reader::default();
            for line in numbered(&text) {
                let (_, rest) = line.trim().split_once(' ').unwrap();
                reader.line(rest.trim()).unwrap();
            }
            assert_eq!(reader.passphrase().unwrap().expose(), passphrase);
        }
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let text = sheet(PASSPHRASE);
        let lines = numbered(&text);
        let (good, last) = (lines[..2].join("\n"), lines.len());
        let bad = lines[2].replacen(&lines[2].trim()[3..4], "U", 1);
        assert!(read_back(&format!("{good}\n{bad}")).unwrap_err().contains("line 3"));
        assert!(read_back(&good).unwrap_err().contains("line 3 or one after it is missing"));
        let swapped = format!("{}\n{}\n", lines[1], lines[0]);
        assert!(read_back(&swapped).unwrap_err().contains("line 2 is in the place of line 1"));
        assert!(read_back("").unwrap_err().contains("line 1"));
        assert_eq!(last, 4);
    }
}

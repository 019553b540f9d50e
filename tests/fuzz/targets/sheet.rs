//! A recovery sheet.

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::vault::sheet::{Reader, is_sheet, print, read};

/// Takes a sheet, and takes the same text for a passphrase.
///
/// 1. What a sheet has is on the sheet that is printed of it.
/// 2. A passphrase comes back from its sheet, typed line by line, too.
/// 3. A sheet with one other character, which the text chooses, is refused.
pub fn sheet(bytes: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Ok(passphrase) = read(&secret(text)) {
        comes_back(passphrase.expose());
    }
    if bytes.len() > 1024 {
        assert!(print(&secret(text), time()).is_err(), "a sheet has room for 1,024 bytes");
    } else if bytes.len() <= 256 {
        let sheet = comes_back(text);
        refuses_a_slip(&sheet, bytes);
    }
    Some(())
}

/// The numbered lines of the sheet of this passphrase.
fn comes_back(passphrase: &str) -> String {
    let sheet = print(&secret(passphrase), time()).unwrap();
    assert!(is_sheet(&sheet));
    assert_eq!(read(&sheet).unwrap().expose(), passphrase);
    let lines = sheet.expose().lines().skip(5).take_while(|line| !line.is_empty());
    let mut reader = Reader::default();
    let mut typed = String::new();
    for line in lines {
        assert!(reader.passphrase().is_none(), "it is not whole yet");
        typed += &format!("{}\n", line.trim());
        reader.line(&line.to_lowercase()).unwrap();
    }
    assert_eq!(reader.passphrase().unwrap().expose(), passphrase);
    typed
}

/// Changes one symbol of the sheet to another one.
fn refuses_a_slip(sheet: &str, bytes: &[u8]) {
    let [at, symbol] = [bytes.first(), bytes.last()].map(|byte| usize::from(*byte.unwrap_or(&0)));
    let mut chars: Vec<char> = sheet.chars().collect();
    let at = at * 7 % chars.len();
    let other = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[symbol % 32].into();
    if chars[at].is_whitespace() || chars[at] == other {
        return;
    }
    chars[at] = other;
    let changed: String = chars.into_iter().collect();
    assert!(read(&secret(&changed)).is_err(), "{changed}");
}

fn time() -> Timestamp {
    Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

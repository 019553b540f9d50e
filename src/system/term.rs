//! Asks a person at the terminal: for a secret, unseen, or for a confirmation.

use std::io::{self, Read};

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::host;
use zeroize::Zeroizing;

/// What may come right behind the line that is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The next answer, typed ahead.
    Answers,
    /// Nothing: of several lines that were pasted, the shell would show, run and record the others.
    Nothing,
}

/// Asks for a secret of at most `limit` bytes; what is typed or pasted is not shown.
pub(crate) fn ask_secret(what: &str, limit: usize, behind: Behind) -> Result<Secret> {
    let prompt = format!("{what} (not shown, end with Enter): ");
    let mut typed = read_unseen(&prompt, limit, behind)?;
    drop_marks(&mut typed);
    // An arrow key would become part of a value that nobody sees.
    if typed.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Error::Refused {
            sentence: "an editing key that means nothing here was typed, and would have become part of it; nothing was stored".to_owned(),
            hint: "type it again with Backspace, Ctrl-W and Ctrl-U alone, or pass it through a pipe".to_owned(),
        });
    }
    Secret::from_bytes(std::mem::take(&mut *typed)).ok_or(Error::InvalidKey)
}

fn drop_marks(typed: &mut Vec<u8>) {
    for mark in PASTE_MARKS {
        while let Some(at) = typed.windows(mark.len()).position(|window| window == mark) {
            typed.drain(at..at + mark.len());
        }
    }
}

/// Asks a question; only a `yes` that is typed after it is one.
pub(crate) fn confirm(question: &str) -> Result<()> {
    let mut answer = Vec::new();
    let mut input = host::input().map_err(unreadable)?;
    // What was typed before a question was read is no answer to it. Where this fails there is no
    // terminal, and nothing was typed. (tests/master.rs: `a_yes_typed_before_the_question_is_no_answer`)
    #[cfg(unix)]
    let _ = rustix::termios::tcflush(&input, rustix::termios::QueueSelector::IFlush);
    host::eprint(&format!("{question} Type yes to go on: "));
    let mut byte = [0];
    // Byte by byte: what follows the line is not ours.
    while answer.len() < 64 && input.read(&mut byte).map_err(unreadable)? == 1 && byte != [b'\n'] {
        answer.extend(byte);
    }
    match answer.trim_ascii() {
        b"yes" => Ok(()),
        _ => Err(Error::Aborted),
    }
}

/// How many columns standard output has, if it is a terminal that says so.
#[cfg(unix)]
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(host::output().ok()?).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

#[cfg(not(unix))]
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Reads a line key by key. The terminal's own line editing would stop at 4,095 bytes, and a Ctrl-C
/// that kills us would leave it without echo.
#[cfg(unix)]
fn read_unseen(prompt: &str, limit: usize, behind: Behind) -> Result<Zeroizing<Vec<u8>>> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
    use rustix::termios::{tcgetattr, tcsetattr};

    let mut input = host::input().map_err(unreadable)?;
    let terminal = input.try_clone().map_err(unreadable)?;
    let set =
        |modes: &Termios| tcsetattr(&terminal, OptionalActions::Now, modes).map_err(unreadable);
    let before = tcgetattr(&terminal).map_err(unreadable)?;
    let mut unseen = before.clone();
    unseen.local_modes -=
        LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
    unseen.special_codes[SpecialCodeIndex::VMIN] = 1;
    unseen.special_codes[SpecialCodeIndex::VTIME] = 0;
    set(&unseen)?;
    // Only now: whoever waits for the prompt before typing must not be seen either.
    host::eprint(prompt);
    let mut typed = read_keys(&mut input, limit);
    host::eprint("\n");
    if behind == Behind::Nothing && typed.is_ok() {
        // Reads what is there, until nothing has come for a tenth of a second.
        unseen.special_codes[SpecialCodeIndex::VMIN] = 0;
        unseen.special_codes[SpecialCodeIndex::VTIME] = 1;
        let mut rest = Zeroizing::new(Vec::new());
        let is_set = set(&unseen).is_ok();
        let read = input.take(MAX_PASTE).read_to_end(&mut rest);
        drop_marks(&mut rest);
        if is_set && read.is_ok() && !rest.trim_ascii().is_empty() {
            typed = Err(Error::Refused {
                sentence: "several lines were pasted, and only the first would have been the value; nothing was stored".to_owned(),
                hint: "the first line alone, or all of them through a pipe".to_owned(),
            });
        }
    }
    set(&before)?;
    typed
}

#[cfg(not(unix))]
fn read_unseen(_: &str, _: usize, _: Behind) -> Result<Zeroizing<Vec<u8>>> {
    Err(Error::usage("this terminal cannot hide what is typed; pass the value through a pipe"))
}

#[cfg_attr(not(unix), allow(dead_code))]
fn read_keys(input: &mut impl Read, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(limit + 1));
    let mut key = Zeroizing::new([0]);
    loop {
        match input.read(&mut *key) {
            Ok(0) => return Ok(line),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        }
        match key[0] {
            b'\r' | b'\n' | END_OF_INPUT => return Ok(line),
            INTERRUPT | QUIT => return Err(Error::Aborted),
            KILL_LINE => line.clear(),
            KILL_WORD => {
                while line.pop_if(|byte| *byte == b' ').is_some() {}
                while line.pop_if(|byte| *byte != b' ').is_some() {}
            }
            BACKSPACE | DELETE => {
                // A whole character, however many bytes it has.
                while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            // One too many is kept, so that the caller sees it; the rest is read and dropped.
            byte if line.len() <= limit => line.push(byte),
            _ => {}
        }
    }
}

fn unreadable(error: impl Into<io::Error>) -> Error {
    Error::from_io("read", "the terminal".as_ref(), error.into())
}

/// What a terminal puts around a paste, if it was asked to.
const PASTE_MARKS: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];
/// Bytes behind a line that are taken out of the way of the shell.
#[cfg(unix)]
const MAX_PASTE: u64 = 1024 * 1024;
const INTERRUPT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL_LINE: u8 = 0x15;
const KILL_WORD: u8 = 0x17;
const QUIT: u8 = 0x1C;
const DELETE: u8 = 0x7F;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_the_line_and_leave_what_follows_it() {
        for (keys, line) in [
            ("abc\n", "abc"),
            ("abc\rrest", "abc"),
            ("abc\u{4}", "abc"),
            ("abc", "abc"),
            ("ab\u{7f}c\n", "ac"),
            ("a🔐\u{8}c\n", "ac"),
            ("\u{7f}a\n", "a"),
            ("wrong\u{15}right\n", "right"),
            ("a b \u{17}c\n", "a c"),
            ("123456789\n", "123456"),
        ] {
            assert_eq!(
                read_keys(&mut keys.as_bytes(), 5).unwrap().as_slice(),
                line.as_bytes()[..line.len()].as_ref(),
                "{keys:?}"
            );
        }
        assert_eq!(read_keys(&mut "abc\u{3}".as_bytes(), 5).unwrap_err().code(), "aborted");
    }
}

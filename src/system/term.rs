//! Asks a person at the terminal: for a secret, unseen, or for a confirmation.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::host;
#[cfg(windows)]
use crate::system::kernel::console::{Keys, Typed};
#[cfg(unix)]
use crate::system::kernel::terminal;

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
    let mut typed = ask(&format!("{what} (not shown, end with Enter): "), Some(behind), limit)?;
    drop_marks(&mut typed);
    // An arrow key would become part of a value that nobody sees.
    if typed.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Error::Refused {
            sentence: "you typed an editing key that lf does not know, and it would have become part of the value; nothing was stored".to_owned(),
            hint: "type it again and edit only with Backspace, Ctrl-W and Ctrl-U, or pass it through a pipe".to_owned(),
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
    let mut prompt = format!("{question} Type yes to continue: ");
    loop {
        match ask(&prompt, None, MAX_ANSWER)?.trim_ascii() {
            b"yes" => return Ok(()),
            b"y" | b"Y" => "Type yes, the whole word, to continue: ".clone_into(&mut prompt),
            _ => return Err(Error::Aborted),
        }
    }
}

/// Asks a question whose answer is a line.
pub(crate) fn ask_line(question: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&ask(question, None, MAX_ANSWER)?).into_owned())
}

/// How many columns standard output has, if it is a terminal.
#[cfg(unix)]
pub(crate) fn columns() -> Option<usize> {
    let columns = rustix::termios::tcgetwinsize(host::output().ok()?).ok()?.ws_col;
    // A serial line does not know.
    Some(if columns == 0 { 80 } else { columns.into() })
}

#[cfg(windows)]
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Reads a line that is typed behind a prompt: a secret, or else an answer that is shown.
#[cfg(unix)]
fn ask(prompt: &str, secret: Option<Behind>, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let enter = |mode, prompt| terminal::enter(mode, host::input()?, prompt);
    let mode = if secret.is_some() { terminal::UNSEEN } else { terminal::SHOWN };
    let mut input = enter(mode, prompt).map_err(unreadable)?;
    let mut typed = read_keys(&mut input, limit, terminal::is_anew);
    if secret == Some(Behind::Nothing) && typed.is_ok() {
        let mut rest = Zeroizing::new(Vec::new());
        let read =
            enter(terminal::REST, "").and_then(|it| it.take(MAX_PASTE).read_to_end(&mut rest));
        drop_marks(&mut rest);
        if read.is_ok() && !rest.trim_ascii().is_empty() {
            typed = Err(several_lines());
        }
    }
    terminal::leave();
    if secret.is_some() {
        host::eprint("\n");
    }
    typed
}

#[cfg(windows)]
fn ask(prompt: &str, secret: Option<Behind>, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let how = if secret.is_some() { Typed::Unseen } else { Typed::Shown };
    // Such as a window of Git's bash, which is a pipe.
    let mut keys = host::input().and_then(|input| Keys::of(input, how)).map_err(|_| {
        Error::usage("this terminal is not a Windows console; pass the input by a pipe or a flag")
    })?;
    host::eprint(prompt);
    let mut typed = read_keys(&mut keys, limit, || false);
    if secret == Some(Behind::Nothing) && typed.is_ok() {
        std::thread::sleep(REST);
        if keys.has_more() {
            typed = Err(several_lines());
        }
    }
    if secret.is_some() {
        host::eprint("\n");
    }
    typed
}

fn several_lines() -> Error {
    Error::Refused {
        sentence: "you pasted several lines, and only the first would have become the value; nothing was stored".to_owned(),
        hint: "paste one line, or pass all of them through a pipe".to_owned(),
    }
}

/// Reads a line key by key, from its start again with the first key that `is_anew`.
fn read_keys(
    input: &mut impl Read,
    limit: usize,
    is_anew: impl Fn() -> bool,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(limit + 1));
    let mut key = Zeroizing::new([0]);
    loop {
        match input.read_exact(&mut *key) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(line),
            read => read.map_err(unreadable)?,
        }
        if is_anew() {
            line.clear();
        }
        match key[0] {
            b'\r' | b'\n' | END_OF_INPUT => return Ok(line),
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

/// Bytes of an answer to a question.
const MAX_ANSWER: usize = 4096;
/// What a terminal puts around a paste, if it was asked to.
const PASTE_MARKS: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];
/// Bytes behind a line that are taken out of the way of the shell.
#[cfg(unix)]
const MAX_PASTE: u64 = 1024 * 1024;
/// What is pasted comes without a longer pause.
#[cfg(windows)]
const REST: std::time::Duration = std::time::Duration::from_millis(100);
const END_OF_INPUT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL_LINE: u8 = 0x15;
const KILL_WORD: u8 = 0x17;
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
                read_keys(&mut keys.as_bytes(), 5, || false).unwrap().as_slice(),
                line.as_bytes()[..line.len()].as_ref(),
                "{keys:?}"
            );
        }
    }
}

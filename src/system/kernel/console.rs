//! Windows' console: requests to end, and keys that nobody sees.

use std::fs::File;
use std::io::{self, Read};
use std::os::windows::io::AsRawHandle;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{ptr, thread};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::*;
use zeroize::Zeroizing;

use super::done;

/// Stands for a request to end, which [`is_asked_to_end`] tells.
pub(crate) struct End;

/// Notes it when somebody asks this process to end: by Ctrl-C, Ctrl-Break, closing the console, logging
/// off. A second Ctrl-C ends it at once.
pub(crate) fn on_end(_: &End) -> io::Result<()> {
    handle(Some(request))
}

pub(crate) fn is_asked_to_end() -> bool {
    IS_ASKED.load(Ordering::SeqCst)
}

/// From now on Ctrl-C is for the program that this process waits for.
pub(crate) fn leave_interrupts() -> io::Result<()> {
    handle(Some(pass_over))
}

fn handle(by: PHANDLER_ROUTINE) -> io::Result<()> {
    // SAFETY: the handler lives for ever, and touches an atomic only.
    done(unsafe { SetConsoleCtrlHandler(by, TRUE) })
}

unsafe extern "system" fn request(event: u32) -> i32 {
    let is_key = [CTRL_C_EVENT, CTRL_BREAK_EVENT].contains(&event);
    if IS_ASKED.swap(true, Ordering::SeqCst) && is_key {
        return FALSE; // what the system does then is to end the process
    }
    if !is_key {
        // The process is ended when this returns, and after some seconds in any case.
        thread::sleep(Duration::from_secs(60));
    }
    TRUE
}

unsafe extern "system" fn pass_over(event: u32) -> i32 {
    [CTRL_C_EVENT, CTRL_BREAK_EVENT].contains(&event).into()
}

static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// How an answer is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed {
    /// For all to see, once the question is there: what was typed before is thrown away.
    Shown,
    /// Key by key, and unseen.
    Unseen,
}

/// A console's input as UTF-8, in another mode until it is dropped.
pub(crate) struct Keys {
    input: File,
    before: CONSOLE_MODE,
    /// The first half of a character that comes in two.
    half: Option<u16>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// An error also for what is no console.
    pub(crate) fn of(input: File, typed: Typed) -> io::Result<Keys> {
        let mut before = 0;
        // SAFETY: a handle that is open, and a place for one number.
        done(unsafe { GetConsoleMode(input.as_raw_handle(), &raw mut before) })?;
        let keys = Keys { input, before, half: None, bytes: Zeroizing::default() };
        match typed {
            // SAFETY: a handle that is open.
            Typed::Shown => done(unsafe { FlushConsoleInputBuffer(keys.input.as_raw_handle()) })?,
            Typed::Unseen => keys.set(before & !(ENABLE_ECHO_INPUT | ENABLE_LINE_INPUT))?,
        }
        Ok(keys)
    }

    fn set(&self, mode: CONSOLE_MODE) -> io::Result<()> {
        // SAFETY: a handle that is open, and a number.
        done(unsafe { SetConsoleMode(self.input.as_raw_handle(), mode | ENABLE_PROCESSED_INPUT) })
    }

    /// Has more been typed, or pasted? It is thrown away.
    pub(crate) fn has_more(&self) -> bool {
        let (handle, mut count, mut seen) = (self.input.as_raw_handle(), 0, 0);
        // SAFETY: a handle that is open, and a place for one number.
        unsafe { GetNumberOfConsoleInputEvents(handle, &raw mut count) };
        let mut records = vec![INPUT_RECORD::default(); count as usize];
        // SAFETY: as many records as it says, and a place for how many of them were filled.
        unsafe { PeekConsoleInputW(handle, records.as_mut_ptr(), count, &raw mut seen) };
        let is_text = |record: &INPUT_RECORD| {
            // SAFETY: this is what an event of this type has; all of it is numbers.
            u32::from(record.EventType) == KEY_EVENT
                && unsafe {
                    let key = record.Event.KeyEvent;
                    key.bKeyDown != FALSE && key.uChar.UnicodeChar > u16::from(b' ')
                }
        };
        // SAFETY: a handle that is open.
        unsafe { FlushConsoleInputBuffer(handle) };
        records.iter().take(seen as usize).any(is_text)
    }
}

impl Read for Keys {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.bytes.is_empty() {
            let (mut unit, mut count) = (0_u16, 0);
            let (handle, place) = (self.input.as_raw_handle(), (&raw mut unit).cast());
            // SAFETY: a handle that is open, and room for the one unit that is asked for.
            done(unsafe { ReadConsoleW(handle, place, 1, &raw mut count, ptr::null()) })?;
            if count == 0 {
                return Ok(0);
            }
            match char::decode_utf16(self.half.take().into_iter().chain([unit])).next() {
                Some(Ok(key)) => self.bytes.extend(key.encode_utf8(&mut [0; 4]).bytes()),
                _ => self.half = Some(unit),
            }
        }
        let count = into.len().min(self.bytes.len());
        into[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        Ok(count)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = self.set(self.before);
    }
}

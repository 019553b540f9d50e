//! A person at a terminal: types, and sees what a person would see.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{HANG, Run, exit};

const END: &str = "[the end]";
/// A program that reads at all does so in this time.
const READ: Duration = Duration::from_secs(5);

pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    /// Where what [`Terminal::next`] has not seen yet begins.
    at: usize,
    /// Kept open, so that its settings can be looked at after the program has ended.
    pub tty: File,
}

impl Terminal {
    /// Starts `lf` with all three streams on a terminal.
    pub fn start(run: &Run) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        // Of a test that leads a session and has no terminal, this would become the terminal, and end it.
        let no_ctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(no_ctty);
        let tty = options.open(name.to_str().unwrap()).unwrap();
        if super::wine::template().is_some() {
            // What wine breaks at the end of a line is nothing that a test finds.
            let (ws_row, ws_col) = (50, 250);
            let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&tty, size).unwrap();
        }
        let stream = || Stdio::from(tty.try_clone().unwrap());
        let child = run
            .command()
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .env("TERM", "xterm")
            .spawn()
            .unwrap();
        let (keyboard, mut eyes) = (File::from(master.try_clone().unwrap()), File::from(master));
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = eyes.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keyboard, screen, seen: String::new(), at: 0, tty }
    }

    /// Waits until this is on the screen.
    pub fn sees(&mut self, text: &str) -> &mut Terminal {
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(HANG) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} did not appear; the screen shows {:?}", self.seen),
            }
        }
        self
    }

    /// Waits until this is on the screen, below what was waited for in this way before.
    pub fn next(&mut self, text: &str) -> &mut Terminal {
        loop {
            if let Some(at) = self.seen[self.at..].find(text) {
                self.at += at + text.len();
                return self;
            }
            match self.screen.recv_timeout(HANG) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no more {text:?}; the screen shows {:?}", self.seen),
            }
        }
    }

    /// Sends a signal to the program, or to what the shell that it is has started last.
    pub fn sends(&mut self, signal: Signal) -> &mut Terminal {
        let pid = super::children(&self.child).pop();
        let program = Pid::from_child(&self.child);
        kill_process(pid.unwrap_or(program), signal).unwrap();
        self
    }

    pub fn types(&mut self, keys: &str) -> &mut Terminal {
        // wine takes the terminal's keys with the first read, and Linux shows what was typed before.
        let start = Instant::now();
        let is_shown = || {
            let modes = rustix::termios::tcgetattr(&self.tty).unwrap();
            modes.local_modes.contains(rustix::termios::LocalModes::ECHO)
        };
        while super::wine::template().is_some() && is_shown() && start.elapsed() < READ {
            thread::sleep(Duration::from_millis(5));
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Waits for the end: the exit status, and everything that was on the screen.
    pub fn ends(self) -> (Option<i32>, String) {
        let (status, screen) = self.ended();
        (status.code(), screen)
    }

    /// As [`Terminal::ends`], with a signal that ended it.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = exit(&mut self.child);
        // Behind all that the program wrote. Nobody can write when a session has ended with it: then
        // the terminal is hung up, and all is seen when nothing more comes.
        let _ = self.tty.write_all(END.as_bytes());
        drop(self.tty);
        while !self.seen.contains(END) {
            match self.screen.recv_timeout(HANG) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no end; the screen shows {:?}", self.seen)
                }
            }
        }
        (status, self.seen.replace(END, ""))
    }
}

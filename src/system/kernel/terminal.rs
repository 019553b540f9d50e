//! A terminal's modes while a person is asked there: a signal that ends or stops this process finds the
//! terminal as it was. (tests/terminal.rs: `whatever_ends_the_prompt_leaves_the_terminal_as_it_was`)

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use libc::{SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, c_int};
use libc::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGXCPU};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Pid, SpecialCodeIndex, Termios};
use rustix::termios::{tcdrain, tcgetattr, tcgetpgrp, tcsetattr};

use super::signal::{catch, errno};

/// Sets one of the modes below, and then shows the prompt, so that nothing is shown of what a person types
/// after it. After a stop both happen again, and [`is_anew`].
pub(crate) fn enter(mode: usize, input: File, prompt: &str) -> io::Result<&'static File> {
    // In the background this waits for `fg`, because the modes there may be the shell's own.
    let _ = tcdrain(&input);
    if TERMINAL.get().is_none() {
        let (job, modes) = (tcgetpgrp(&input).ok(), modes(tcgetattr(&input)?));
        let _ = TERMINAL.set((input, job, modes));
    }
    // It stays for good, because a handler may be reading it.
    PROMPT.store(Box::leak(Box::new(prompt.to_owned())), Ordering::SeqCst);
    PRESENT.store(mode, Ordering::SeqCst);
    for signal in HELD {
        catch(signal, obey, FLAGS)?;
    }
    let terminal = TERMINAL.get().filter(|_| show(mode));
    terminal.map(|(input, ..)| input).ok_or(ErrorKind::NotConnected.into())
}

/// Has the prompt been shown again since this was last asked?
pub(crate) fn is_anew() -> bool {
    IS_ANEW.swap(false, Ordering::SeqCst)
}

/// The terminal is as it was.
pub(crate) fn leave() {
    PRESENT.store(FOUND, Ordering::SeqCst);
    set(FOUND);
    for signal in HELD {
        // SAFETY: signal(2) takes any number.
        unsafe { libc::signal(signal, SIG_DFL) };
    }
}

fn modes(found: Termios) -> [Termios; 4] {
    let mut shown = found.clone();
    // Enter sends CR, which ends no line unless it becomes NL.
    shown.input_modes -= InputModes::IGNCR | InputModes::INLCR;
    shown.input_modes |= InputModes::ICRNL;
    shown.local_modes |= LocalModes::ISIG;
    let mut unseen = shown.clone();
    // Key by key, because the terminal's own line editing would stop at 4,095 bytes.
    unseen.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
    unseen.special_codes[SpecialCodeIndex::VMIN] = 1;
    unseen.special_codes[SpecialCodeIndex::VTIME] = 0;
    let mut rest = unseen.clone();
    rest.special_codes[SpecialCodeIndex::VMIN] = 0;
    rest.special_codes[SpecialCodeIndex::VTIME] = 1;
    [found, shown, unseen, rest]
}

/// Sets a mode, unless this is in the background, where the terminal is somebody else's. There a read stops
/// this process until SIGCONT comes with `fg`.
fn set(mode: usize) -> bool {
    let Some((input, job, modes)) = TERMINAL.get() else { return false };
    // What was typed before a question was read is no answer to it, nor is the rest of a secret anything
    // for a shell. (tests/master.rs: `a_yes_typed_before_the_question_is_no_answer`)
    let is_flushed = mode == SHOWN || mode != PRESENT.load(Ordering::SeqCst);
    let when = if is_flushed { OptionalActions::Flush } else { OptionalActions::Now };
    tcgetpgrp(input).ok() == *job && tcsetattr(input, when, &modes[mode]).is_ok()
}

fn show(mode: usize) -> bool {
    // SAFETY: what it points to is never freed or changed.
    let prompt = unsafe { PROMPT.load(Ordering::SeqCst).as_ref() };
    let (is_set, prompt) = (set(mode), prompt.map_or("", |prompt| prompt));
    if is_set {
        // SAFETY: write(2) reads no more than there is.
        unsafe { libc::write(libc::STDERR_FILENO, prompt.as_ptr().cast(), prompt.len()) };
    }
    is_set
}

/// Does what the signal does by default, on a terminal that is as it was.
extern "C" fn obey(signal: c_int) {
    // SAFETY: these may be called in a handler, as may what the others call (signal-safety(7)), and
    // the code that was interrupted finds errno as it was. By its flags the signal is not blocked here,
    // and does what it does by default.
    unsafe {
        let number = *errno();
        if signal != SIGCONT {
            set(FOUND);
        }
        IS_ANEW.store(false, Ordering::SeqCst);
        libc::raise(signal);
        if ![SIGTSTP, SIGCONT].contains(&signal) {
            // The first process of a container is not ended by what it sends itself.
            libc::_exit(128 + signal);
        }
        let _ = catch(signal, obey, FLAGS);
        // After a stop SIGCONT has done this already.
        if !IS_ANEW.swap(true, Ordering::SeqCst) {
            show(PRESENT.load(Ordering::SeqCst));
        }
        *errno() = number;
    }
}

/// The terminal, the job that is in front there while this process is, and its modes.
static TERMINAL: OnceLock<(File, Option<Pid>, [Termios; 4])> = OnceLock::new();
static PRESENT: AtomicUsize = AtomicUsize::new(FOUND);
static PROMPT: AtomicPtr<String> = AtomicPtr::new(std::ptr::null_mut());
static IS_ANEW: AtomicBool = AtomicBool::new(false);
/// The signal is not blocked in its handler, and does there what it does by default.
const FLAGS: c_int = SA_NODEFER | SA_RESETHAND | SA_RESTART;
/// As it was.
const FOUND: usize = 0;
/// For an answer that is shown.
pub(crate) const SHOWN: usize = 1;
/// For one that is not.
pub(crate) const UNSEEN: usize = 2;
/// For what comes behind that, until nothing has come for a tenth of a second.
pub(crate) const REST: usize = 3;
/// What people and programs end or stop a process with, and what tells it to go on.
const HELD: [c_int; 8] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGXCPU, SIGTSTP, SIGCONT];

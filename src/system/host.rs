//! The process: its arguments, its three streams, and its defences.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::base::secret::{printable, printable_lines};
use crate::error::{Error, Result};
#[cfg(windows)]
pub(crate) use crate::system::environment::machine_name;
#[cfg(unix)]
use crate::system::kernel::signal;
use crate::system::{environment::search_path, fs};

/// Makes this process a poor source of secrets, before it has any: no core dumps, no tracing by the
/// same user (Linux: `PR_SET_DUMPABLE`; macOS: `PT_DENY_ATTACH`), and files that only their owner can read.
/// (tests/secrecy.rs: `the_process_hardens_itself_before_it_does_anything`)
///
/// Best effort: a sandbox that forbids one of these is no reason to refuse work.
#[cfg(unix)]
pub(crate) fn harden() {
    use rustix::process::{Resource, Rlimit};
    let core = rustix::process::getrlimit(Resource::Core);
    // The maximum stays, because nobody could raise it again for a program that takes our place.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), ..core });
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    #[cfg(target_os = "macos")]
    crate::system::kernel::trace::deny();
    // A file that may not grow is an error to report, and no reason to die without a word.
    // (tests/disk.rs: `a_limit_on_file_sizes_is_an_error_and_loses_nothing`)
    let _ = signal::ignore_file_size_signal();
    let umask = rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let _ = BEFORE.set((core, umask));
}

/// Gives back what [`harden`] has changed and `execve` would hand on; signal handlers and
/// `PR_SET_DUMPABLE` end with the program that set them. (tests/run.rs:
/// `the_program_finds_the_process_as_a_shell_would_hand_it_over`)
#[cfg(unix)]
pub(crate) fn undo_hardening() {
    if let Some((core, umask)) = BEFORE.get() {
        let _ = rustix::process::setrlimit(rustix::process::Resource::Core, *core);
        rustix::process::umask(*umask);
    }
}

/// The limit on core dumps and the umask that this process was started with.
#[cfg(unix)]
static BEFORE: OnceLock<(rustix::process::Rlimit, rustix::fs::Mode)> = OnceLock::new();

/// The same, as far as that goes here.
#[cfg(windows)]
pub(crate) fn harden() {
    crate::system::kernel::windows::report_no_crashes();
}

/// As many open files as the system allows: a server that runs out of them answers nobody.
#[cfg(unix)]
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit};
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let current = limit.maximum;
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}

/// The machine's own name.
#[cfg(unix)]
pub(crate) fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The arguments after the program's name.
pub(crate) fn args() -> Vec<OsString> {
    env::args_os().skip(1).collect()
}

/// The absolute path that this program was called by, with the links in it as they are: they go on
/// leading to the newest version (Homebrew, Nix). Where that does not lead here, the file itself.
pub(crate) fn program() -> Result<PathBuf> {
    let failed = |error| Error::from_io("find", "this program".as_ref(), error);
    let name = env::args_os().next().unwrap_or_default();
    let file = env::current_exe().map_err(failed)?;
    let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let called = match Path::new(&name).parent() {
        Some(dir) if dir.as_os_str().is_empty() => {
            env::split_paths(&search_path()).map(|dir| dir.join(&name)).find(|path| path.is_file())
        }
        _ => Some(name.into()),
    };
    let called = called.filter(|path| real(path).is_some_and(|path| real(&file) == Some(path)));
    std::path::absolute(called.unwrap_or(file)).map_err(failed)
}

/// The name that this program was called by; `lf`, where that is no plain word.
pub(crate) fn name() -> String {
    let path = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.chars().all(is_plain) && !name.is_empty() { name } else { "lf" }.to_owned()
}

/// The same text with the commands in it as they can be typed, where lf was installed under another name.
/// (tests/release.rs: `lf_can_be_installed_used_and_removed_under_another_name`)
fn renamed(text: &str) -> String {
    let (name, mut pieces) = (name(), text.split("lf"));
    let mut renamed = pieces.next().unwrap_or_default().to_owned();
    for rest in pieces {
        // What the man page has before a bold or a quoted command ends with a letter that is none.
        let is_escape = [r"\fB", r"\(dq", r"\(aq"].iter().any(|it| renamed.ends_with(it));
        let is_word = is_escape || !renamed.ends_with(char::is_alphanumeric);
        let follows = |word| rest.trim_start().starts_with(word);
        let is_command = rest.starts_with(char::is_whitespace) && COMMANDS.split(' ').any(follows);
        renamed += if is_word && is_command { &name } else { "lf" };
        renamed += rest;
    }
    renamed
}

/// What follows the name in a command.
const COMMANDS: &str = r"keys gateway cloud help completions complete man version COMMAND -- \-\-";

/// The name of the program that started this one, where the system tells.
pub(crate) fn parent_name() -> Option<String> {
    #[cfg(unix)]
    let name = rustix::process::getppid()
        .and_then(|parent| std::fs::read_to_string(format!("/proc/{parent}/comm")).ok());
    #[cfg(windows)]
    let name = None::<String>;
    name.map(|name| name.trim_end().to_owned())
}

/// Can a person type here, and see what we ask?
pub(crate) fn has_person() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Was this started at a terminal, whatever its streams are? Then there is a person to answer a dialog.
pub(crate) fn has_terminal() -> bool {
    File::open(if cfg!(windows) { "CONIN$" } else { "/dev/tty" }).is_ok()
}

/// Is standard input a terminal?
pub(crate) fn input_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Is standard output a terminal?
pub(crate) fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Is standard error a terminal?
pub(crate) fn errors_are_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Does somebody send something on standard input, which no terminal is? A pipe that stays silent for a
/// moment counts as one that has nothing: the program that started lf may have left it open.
#[cfg(unix)]
pub(crate) fn input_has_data() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::FileType;
    let stdin = io::stdin();
    let Ok(stat) = rustix::fs::fstat(&stdin) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => stat.st_size > 0,
        FileType::Fifo | FileType::Socket => {
            let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
            let moment = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
            let _ = poll(&mut asked, Some(&moment));
            asked[0].revents().contains(PollFlags::IN)
        }
        _ => false,
    }
}

/// Nobody can tell here.
#[cfg(windows)]
pub(crate) fn input_has_data() -> bool {
    false
}

/// Up to `limit` + 1 bytes of standard input, so that the caller sees when there are more than
/// `limit`. Read without std's buffer, which would keep a copy.
pub(crate) fn read_input(limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    // Room for all of it from the start, because growing would leave copies behind.
    let read = input().and_then(|file| fs::read(file, limit as u64, limit));
    let bytes = read.map_err(|error| Error::from_io("read", "standard input".as_ref(), error));
    bytes.map(Zeroizing::new)
}

/// Standard input as a file of its own, unbuffered.
pub(crate) fn input() -> io::Result<File> {
    unbuffered(&io::stdin())
}

/// Standard output as a file of its own, unbuffered.
pub(crate) fn output() -> io::Result<File> {
    unbuffered(&io::stdout())
}

#[cfg(unix)]
fn unbuffered(stream: &impl std::os::fd::AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn unbuffered(stream: &impl std::os::windows::io::AsHandle) -> io::Result<File> {
    Ok(stream.as_handle().try_clone_to_owned()?.into())
}

/// Writes to standard output, all of it or an error, unbuffered. What could drive a terminal is escaped, here
/// and wherever else this process prints. (tests/terminal.rs: `no_text_from_elsewhere_drives_a_terminal`)
pub(crate) fn print(text: &str) -> Result<()> {
    write(&printable_lines(text))
}

/// As [`print`], and unchanged where a program reads it: a value, a file.
pub(crate) fn print_exactly(text: &str) -> Result<()> {
    if output_is_terminal() { print(text) } else { write(text) }
}

fn write(text: &str) -> Result<()> {
    // A console takes bytes for those of its code page; std knows how to give it text.
    #[cfg(windows)]
    if output_is_terminal() {
        let mut output = io::stdout();
        let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        return written.map_err(Error::Output);
    }
    output().and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::Output)
}

/// As [`print`], for output that is only looked at: it is no error if the reader, such as `head`, has closed
/// the pipe.
pub(crate) fn show(text: &str) -> Result<()> {
    show_coloured(&[("", text)])
}

/// The same with a terminal's sequence before each text, which is ours.
pub(crate) fn show_coloured(texts: &[(&'static str, &str)]) -> Result<()> {
    let shown = |text| printable_lines(&renamed(text));
    let texts = texts.iter().map(|(colour, text)| [colour, &*shown(text)].concat());
    match write(&texts.collect::<String>()) {
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Writes to standard error; when that fails there is nobody left to tell.
pub(crate) fn eprint(text: &str) {
    let _ = io::stderr().write_all(printable_lines(&renamed(text)).as_bytes());
}

/// Writes one line in place of the last one.
pub(crate) fn eprint_over(line: &str) {
    let _ = io::stderr().write_all(format!("\r{}", printable(line)).as_bytes());
}

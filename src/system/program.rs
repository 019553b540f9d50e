//! A program that takes this process's place: found as shells find it, with keys in its environment or
//! on its standard input, and with nothing else of ours.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::base::secret::{Secret, shown};
use crate::error::{self, Error};
use crate::system::environment::{PASSPHRASE_VARIABLES, search_path};
#[cfg(unix)]
use crate::system::host;
#[cfg(windows)]
use crate::system::kernel::{console, windows::Job};

/// A program that is there.
pub(crate) struct Program {
    /// What was typed, which it sees as its own name.
    name: OsString,
    path: PathBuf,
}

impl Program {
    /// The program of this name: itself if it has a slash, else the first in `PATH` that may be run.
    pub(crate) fn find(name: &OsStr) -> error::Result<Program> {
        let path = find(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::CommandNotFound(format!(
                "there is no command \"{}\"",
                shown(&name.to_string_lossy())
            )),
            _ => not_executable(name, error),
        })?;
        Ok(Program { name: name.to_owned(), path })
    }

    /// What it prints on its standard output, as text of at most `limit` bytes. It gets this input or
    /// none, and no passphrase of ours. If it has not ended after `span`, it is killed.
    pub(crate) fn output(
        &self,
        arguments: &[String],
        input: Option<&Secret>,
        limit: usize,
        span: Duration,
    ) -> Result<Secret, String> {
        let mut command = command(&self.path, &[]);
        let input = input.map_or(Ok(Stdio::null()), |input| filled(input.expose().as_bytes()));
        let input = input.map_err(|error| format!("cannot be given its input: {error}"))?;
        command.args(arguments).stdin(input).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
        let pipe = child.stdout.take();
        let (sender, receiver) = mpsc::channel();
        // Its own children may keep the pipe open after it has ended, so a thread reads.
        thread::spawn(move || {
            let mut bytes = Vec::with_capacity(limit + 1);
            let read = pipe.map(|pipe| pipe.take(limit as u64 + 1).read_to_end(&mut bytes));
            let _ = sender.send(read.map(|read| read.map(|_| bytes)));
        });
        let printed = receiver.recv_timeout(span);
        if printed.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
        let Ok(Some(Ok(bytes))) = printed else {
            return Err(format!("has not ended after {} seconds", span.as_secs()));
        };
        if bytes.len() > limit {
            return Err(format!("printed more than {limit} bytes"));
        }
        if !status.success() {
            return Err(format!("failed: {status}"));
        }
        Secret::from_bytes(bytes).ok_or_else(|| "printed no UTF-8 text".to_owned())
    }

    /// Replaces this process; comes back only with the reason why it could not. On Windows, where no
    /// system call does that, comes back with the program that runs in this process's stead.
    pub(crate) fn start(
        &self,
        arguments: &[OsString],
        variables: &[(&str, &Secret)],
        input: Stdio,
    ) -> error::Result<Wait> {
        let mut command = command(&self.path, variables);
        command.args(arguments).stdin(input);
        #[cfg(unix)]
        let error = {
            use std::os::unix::process::CommandExt;
            host::undo_hardening();
            let mut error = command.arg0(&self.name).exec();
            // A script that names no interpreter is the shell's. glibc sees to that itself, musl does not.
            if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
                let mut shell = self::command(Path::new("/bin/sh"), variables);
                // Standard input has taken its place already.
                error = shell.arg(&self.path).args(arguments).exec();
            }
            host::harden();
            error
        };
        #[cfg(windows)]
        let error = {
            // Ctrl-C is for the program, and it ends with this process.
            let job = console::leave_interrupts().and_then(|()| Job::of_this_process());
            match job.and_then(|job| Ok((command.spawn()?, job))) {
                Ok((mut child, job)) => {
                    let mut ended = move || child.wait().and_then(|it| job.let_go().map(|()| it));
                    return Ok(Box::new(move || match ended() {
                        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
                        Err(error) => Error::from_io("wait for", "the program".as_ref(), error),
                    }));
                }
                Err(error) => error,
            }
        };
        Err(match error.kind() {
            // It was there a moment ago, so it may well be there still.
            io::ErrorKind::NotFound => Error::CommandNotFound(format!(
                "cannot run \"{}\": it is gone, or the interpreter that it names does not exist",
                shown(&self.name.to_string_lossy())
            )),
            _ => not_executable(&self.name, error),
        })
    }
}

/// Waits for a program that runs in this process's stead, and ends with its exit code; comes back only with
/// the reason why it could not.
pub(crate) type Wait = Box<dyn FnOnce() -> Error>;

/// Exactly this on a standard input, to be read once; nobody has to stay behind and write it.
pub(crate) fn input(value: &Secret) -> error::Result<Stdio> {
    filled(value.expose().as_bytes())
        .map_err(|error| Error::from_io("fill", "standard input".as_ref(), error))
}

/// A pipe, because what was read from it is nowhere any more. On Linux it usually holds 64 KiB, as
/// large as a value may be; who has too many of them gets smaller ones, and then a file that is only
/// in memory does. (tests/run.rs: `a_value_that_no_pipe_holds_arrives_all_the_same`)
#[cfg(unix)]
fn filled(bytes: &[u8]) -> io::Result<Stdio> {
    let (reader, mut writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    match writer.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(reader.into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(_) | Err(_) => in_memory(bytes),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_memory(bytes: &[u8]) -> io::Result<Stdio> {
    let file = rustix::fs::memfd_create("", rustix::fs::MemfdFlags::CLOEXEC)?;
    // At an offset, so that reading still begins at the first byte.
    match rustix::io::pwrite(&file, bytes, 0)? {
        count if count == bytes.len() => Ok(file.into()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn in_memory(_: &[u8]) -> io::Result<Stdio> {
    let sentence = "the value is larger than a pipe of this system";
    Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence))
}

/// Here this process stays, and can write.
#[cfg(windows)]
fn filled(bytes: &[u8]) -> io::Result<Stdio> {
    let (reader, mut writer) = io::pipe()?;
    let bytes = zeroize::Zeroizing::new(bytes.to_vec());
    thread::spawn(move || drop(writer.write_all(&bytes)));
    Ok(reader.into())
}

/// This environment, without the way to the master passphrase and with these variables.
/// `CREDENTIALS_DIRECTORY` stays: it has the program's own credentials too.
fn command(path: &Path, variables: &[(&str, &Secret)]) -> Command {
    let mut command = Command::new(path);
    for name in PASSPHRASE_VARIABLES {
        command.env_remove(name);
    }
    for (name, value) in variables {
        command.env(name, value.expose());
    }
    command
}

/// Looked up here and not at the start, so that nobody unlocks a keychain for a mistyped name.
#[cfg(unix)]
fn find(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return may_run(Path::new(name)).map(|()| name.into());
    }
    let mut refused = io::ErrorKind::NotFound.into();
    for dir in std::env::split_paths(&search_path()) {
        // An empty entry is the working directory; with a slash, so that it is not looked up again.
        let path = Path::new(".").join(dir).join(name);
        match may_run(&path) {
            Ok(()) => return Ok(path),
            Err(error) if path.is_file() => refused = error,
            Err(_) => {}
        }
    }
    Err(refused)
}

#[cfg(unix)]
fn may_run(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(rustix::fs::access(path, rustix::fs::Access::EXEC_OK)?)
}

/// As cmd does it, but for the working directory, which is not searched: a name without an ending gets
/// those of `PATHEXT`, such as npm's `.cmd`.
#[cfg(windows)]
fn find(name: &OsStr) -> io::Result<PathBuf> {
    let mut endings = crate::system::environment::endings();
    if Path::new(name).extension().is_some() {
        endings.insert(0, String::new());
    }
    let whole = |path: PathBuf| {
        let ended = |ending: &String| [path.as_os_str(), ending.as_ref()].join(OsStr::new(""));
        endings.iter().map(|ending| PathBuf::from(ended(ending))).find(|path| path.is_file())
    };
    let path = search_path();
    let mut dirs = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let found = match Path::new(name).components().nth(1) {
        Some(_) => whole(name.into()),
        None => dirs.find_map(|dir| whole(dir.join(name))),
    };
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn not_executable(name: &OsStr, source: io::Error) -> Error {
    Error::CommandNotExecutable(shown(&name.to_string_lossy()), source)
}

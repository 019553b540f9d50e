//! An owner-only directory: read, publish, append, remove, lock; never through a symbolic link.
//!
//! Files are published, not edited: written beside their place, synced, and moved there in one step.
//! What this says of modes, owners and synced directories is Unix's; `portable.rs` has none of them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{rng, shell::quoted, time::Deadline};
use crate::error::{Error, Result};

pub(crate) use self::named::{
    CLOSE, create_private, find_above, is_below, open_named, read, read_exposed, read_private, real,
};
pub(crate) use self::platform::{Stamp, own_user};

mod named;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "portable.rs")]
mod platform;

/// A handle to a directory. On Unix every operation is relative to it, so that nobody can swap a
/// directory above it meanwhile; elsewhere it is a path.
pub(crate) struct Dir {
    handle: platform::Handle,
    path: PathBuf,
}

/// A directory whose advisory lock this process holds, until this is dropped or the process dies.
/// Only this can publish and remove files: the type says that the lock is the right one.
pub(crate) struct Locked {
    dir: Dir,
    lock: File,
}

/// What [`Locked::publish`] may find under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Nothing: an existing file is an error.
    New,
    /// The file's older version, or nothing.
    Replacement,
}

/// What [`Dir::stat`] tells of an entry, itself and not what it may link to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// Is it a regular file?
    pub(crate) is_file: bool,
    /// Is it a symbolic link?
    pub(crate) is_symlink: bool,
    /// The permission bits, 0o777 at most; the owner's alone where there are none.
    pub(crate) mode: u32,
    /// The owner's user id; 0 where there is none.
    pub(crate) owner: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// Another one after every publication under the same name.
    pub(crate) stamp: Stamp,
}

impl Dir {
    /// Opens a directory; `None` if there is none. A symbolic link is refused; those above it are the
    /// user's business.
    pub(crate) fn open(path: &Path) -> Result<Option<Dir>> {
        // Without the trailing slash or dot that would make the kernel follow a link.
        let path: PathBuf = path.components().collect();
        Dir::opened(platform::Handle::open(&path), path)
    }

    /// Opens a directory in this one, as [`Dir::open`] does.
    pub(crate) fn child(&self, name: impl AsRef<Path>) -> Result<Option<Dir>> {
        let name = name.as_ref();
        Dir::opened(self.handle.open_child(name), self.path.join(name))
    }

    fn opened(handle: io::Result<platform::Handle>, path: PathBuf) -> Result<Option<Dir>> {
        match handle {
            Ok(handle) => Ok(Some(Dir { handle, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // It was not followed; this only decides which error it is.
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_symlink()) => {
                Err(Error::SymlinkRefused(path))
            }
            Err(error) => Err(failed(OPEN, &path, error)),
        }
    }

    /// Opens a directory, after making it and what is missing above it (0700, each synced into its
    /// parent).
    pub(crate) fn create(path: &Path) -> Result<Dir> {
        if let Some(dir) = Dir::open(path)? {
            return Ok(dir);
        }
        let gone = || Error::from_io(MAKE, path, ErrorKind::NotFound.into());
        let name = path.file_name().ok_or_else(gone)?;
        // Those above it may be links.
        let parent = match open_named(named::parent(path))? {
            Some(parent) => parent,
            None => Dir::create(named::parent(path))?,
        };
        parent.create_child(name)?;
        Dir::open(path)?.ok_or_else(gone)
    }

    /// Opens a directory in this one, after making it if need be (0700).
    pub(crate) fn create_child(&self, name: impl AsRef<Path>) -> Result<Dir> {
        let name = name.as_ref();
        loop {
            match self.handle.make_child(name) {
                Ok(()) => self.sync()?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(MAKE, &self.path.join(name), error)),
            }
            // Another process may have removed it already: then it is made once more.
            if let Some(child) = self.child(name)? {
                return Ok(child);
            }
        }
    }

    /// Removes a directory in this one, if it is there and empty.
    pub(crate) fn remove_child(&self, name: &str) -> Result<()> {
        match self.handle.remove_child(name) {
            Ok(()) => self.sync(),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty => Ok(()),
                _ => Err(self.failed("remove the directory", name, error)),
            },
        }
    }

    /// Where it was opened; for messages only.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Is there an entry of exactly this name? Where case makes no difference, looking a name up
    /// finds others too. This reads the whole directory, so it is for what happens once in a
    /// command.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.names()?.iter().any(|it| it == name))
    }

    /// The names in it, in no order. Names that are not UTF-8 cannot be ours and come out mangled.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.handle.names().map_err(|error| failed("list", &self.path, error))
    }

    /// The first `limit` + 1 bytes of a regular file, so that the caller sees when there are more
    /// than `limit`; `None` if there is no such file.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let file = self.open_file(name, Purpose::Read)?;
        let read = file.map(|(file, size)| read(file, size, limit)).transpose();
        read.map_err(|error| self.failed("read", name, error))
    }

    /// The last `limit` bytes of a regular file, or all of it; nothing where there is none.
    pub(crate) fn read_end(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some((mut file, size)) = self.open_file(name, Purpose::Read)? {
            let read = file.seek(SeekFrom::Start(size.saturating_sub(limit)));
            read.and_then(|_| file.take(limit).read_to_end(&mut bytes))
                .map_err(|error| self.failed("read", name, error))?;
        }
        Ok(bytes)
    }

    /// Appends one line with one `write(2)`. A line that a full disk cut short before is ended
    /// first, so that it spoils only itself.
    pub(crate) fn append(&self, name: &str, line: &str) -> Result<()> {
        let failed = |error| self.failed("append to", name, error);
        let file = self.open_file(name, Purpose::Append)?;
        let (mut file, size) = file.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
        let mut last = [b'\n'];
        if size > 0 {
            // A handle that appends writes at the end, wherever this leaves it.
            file.seek(SeekFrom::Start(size - 1)).map_err(failed)?;
            file.read(&mut last).map_err(failed)?;
        }
        let start = if last == [b'\n'] { "" } else { "\n" };
        let record = format!("{start}{line}\n");
        match file.write(record.as_bytes()).map_err(failed)? {
            written if written == record.len() => Ok(()),
            _ => Err(failed(ErrorKind::StorageFull.into())),
        }
    }

    /// Waits for the advisory lock on this directory, among processes and among threads.
    /// [`Error::StoreBusy`] after 30 seconds: a holder that died has freed it, so one is stuck.
    pub(crate) fn lock(&self) -> Result<Locked> {
        Deadline::after(LOCK_PATIENCE)
            .poll(LOCK_PAUSE, || self.try_lock())?
            .ok_or_else(|| Error::StoreBusy(self.path.clone()))
    }

    /// The lock if nobody has it. It has a handle of its own: threads that share `self` must exclude
    /// each other too.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>> {
        let opened = self.handle.open_lock();
        let (handle, lock) = opened.map_err(|error| failed("lock", &self.path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // NFS without lockd (ENOLCK), 9p and some seccomp filters (ENOSYS).
            Err(TryLockError::Error(error)) => {
                let path = self.path.display();
                let sentence = format!("lf can only read {path}: it cannot lock it ({error})");
                return Err(Error::Refused { sentence, hint: NO_LOCKS.to_owned() });
            }
        }
        Ok(Some(Locked { dir: Dir { handle, path: self.path.clone() }, lock }))
    }

    /// What is under a name; `None` if nothing is. `"."` is the directory itself.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>> {
        match self.handle.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("look at", name, error)),
        }
    }

    /// An error if it belongs to another user: than us, or for root than the directory's.
    pub(crate) fn check_owner(&self, name: &str) -> Result<()> {
        let ours =
            self.stat(".")?.filter(|_| own_user() == 0).map_or_else(own_user, |dir| dir.owner);
        match self.stat(name)? {
            Some(stat) if stat.owner != ours => Err(foreign(ours, &self.path.join(name))),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the permissions of a regular file (to 0600) or of the directory itself (`"."`, to
    /// 0700) away from everybody but the owner, and syncs that. `false` where the file system keeps
    /// no modes, such as exFAT, so that nothing has changed.
    pub(crate) fn make_private(&self, name: &str) -> Result<bool> {
        let file = match name {
            "." => None,
            _ => match self.open_file(name, Purpose::Read)? {
                Some((file, _)) => Some(file),
                None => return Ok(true),
            },
        };
        let done = self.handle.make_private(name, file.as_ref()).and_then(|()| match &file {
            Some(file) => platform::sync(file),
            None => self.handle.sync(),
        });
        done.map_err(|error| self.failed("change the mode of", name, error))?;
        Ok(self.stat(name)?.is_none_or(|stat| stat.mode & 0o077 == 0))
    }

    /// Could [`Dir::append`] write here? Asks the system; touches nothing.
    pub(crate) fn can_append(&self, name: &str) -> bool {
        match self.handle.may_write(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.handle.may_write(".").is_ok(),
            answer => answer.is_ok(),
        }
    }

    /// What the system calls its file system, where one call tells: on macOS.
    pub(crate) fn file_system(&self) -> Option<String> {
        #[cfg(target_vendor = "apple")]
        if let Ok(system) = rustix::fs::fstatfs(self) {
            let name = system.f_fstypename.iter().take_while(|byte| **byte != 0);
            return String::from_utf8(name.map(|byte| byte.cast_unsigned()).collect()).ok();
        }
        None
    }

    /// Makes what was moved into, out of or within this directory survive a power cut, if the file
    /// system can; [`Locked::probe`] tells whether it can.
    pub(crate) fn sync(&self) -> Result<()> {
        self.handle.sync().map(drop).map_err(|error| Error::from_io(SYNC, &self.path, error))
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.handle.create_file(name)?;
        file.write_all(bytes)?;
        platform::sync(&file).map(drop)
    }

    /// A regular file and its size.
    fn open_file(&self, name: &str, purpose: Purpose) -> Result<Option<(File, u64)>> {
        let file = match self.handle.open_file(name, purpose) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                self.refuse_special(name)?;
                return Err(self.failed("open", name, error));
            }
        };
        match file.metadata() {
            Ok(stat) if stat.is_file() => Ok(Some((file, stat.len()))),
            _ => Err(self.not_a_file(name)),
        }
    }

    /// A rename would replace a link and an unlink would remove it, both without following it; but
    /// it was put there for some purpose, so this stops and says so.
    fn refuse_special(&self, name: &str) -> Result<()> {
        match self.stat(name)? {
            Some(stat) if stat.is_symlink => Err(Error::SymlinkRefused(self.path.join(name))),
            Some(stat) if !stat.is_file => Err(self.not_a_file(name)),
            Some(_) | None => Ok(()),
        }
    }

    fn not_a_file(&self, name: &str) -> Error {
        self.failed("use", name, io::Error::other("not a regular file"))
    }

    fn failed(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        failed(action, &self.path.join(name), source)
    }
}

/// A mode for a person; on Windows it stands for an access list.
pub(crate) fn mode(mode: u32) -> String {
    if cfg!(windows) { "a loose access list".to_owned() } else { format!("mode {mode:04o}") }
}

/// What the system said about `path`; where another user's file is in the way, that is why.
fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::PermissionDenied => platform::foreign(path),
        _ => None,
    }
    .map_or_else(|| Error::from_io(action, path, source), |place| foreign(own_user(), &place))
}

/// Says that something belongs to another user than to this one.
fn foreign(user: u32, place: &Path) -> Error {
    let place = place.display().to_string();
    let hint = format!("sudo chown -R {user} {}", quoted(&place));
    Error::Foreign { sentence: format!("{place} belongs to another user"), hint }
}

impl Locked {
    /// A directory in this one, which the lock on this one covers as well; `None` if there is none.
    pub(crate) fn covered_child(&self, name: &str) -> Result<Option<Locked>> {
        let Some(dir) = self.child(name)? else { return Ok(None) };
        let lock = self.lock.try_clone();
        let lock = lock.map_err(|error| Error::from_io("lock", &self.path, error))?;
        Ok(Some(Locked { dir, lock }))
    }

    /// Writes a file so that it is there whole or not at all, whatever happens in between: mode
    /// 0600 under any umask, synced, and the directory synced after it. After an error the file's
    /// older version is untouched, unless only the last sync failed. [`Error::DuplicateKey`] if it
    /// must be new and is not.
    pub(crate) fn publish(&self, name: &str, bytes: &[u8], publish: Publish) -> Result<()> {
        self.refuse_special(name)?;
        let temporary = temporary()?;
        let published = self
            .write_new(&temporary, bytes)
            .and_then(|()| match publish {
                Publish::New => self.handle.rename_new(&temporary, name),
                Publish::Replacement => self.handle.rename_from(&self.handle, &temporary, name),
            })
            .map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => Error::DuplicateKey(name.to_owned()),
                _ => self.failed("write", name, error),
            });
        if published.is_err() {
            // Best effort: what stays behind is never taken for a key, and doctor reports it.
            let _ = self.handle.remove(&temporary);
        }
        published.and_then(|()| self.sync())
    }

    /// Makes a file and removes it. `false` if nothing here is sure to survive a power cut, because
    /// the file system cannot sync.
    pub(crate) fn probe(&self) -> Result<bool> {
        let temporary = temporary()?;
        let written = self.write_new(&temporary, &[b' '; PROBE]);
        let removed = self.handle.remove(&temporary);
        let probed = written.and(removed).and_then(|()| self.handle.sync());
        probed.map_err(|error| failed("make a file in", &self.path, error))
    }

    /// Moves a file here from this or another directory, over the one of its new name, in one step. Both
    /// directories are for the caller to [`Dir::sync`], once for many files.
    pub(crate) fn move_here(&self, from: &Locked, old: &str, new: &str) -> Result<()> {
        from.refuse_special(old)?;
        self.refuse_special(new)?;
        let moved = self.handle.rename_from(&from.handle, old, new);
        moved.map_err(|error| self.failed("replace", new, error))
    }

    /// Removes a file; `false` if there was none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        self.refuse_special(name)?;
        match self.handle.remove(name) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    /// Writes zeros over a file and removes it. What a journal, a snapshot or the disk itself keeps
    /// of it is out of reach.
    pub(crate) fn erase(&self, name: &str) -> Result<()> {
        let Some((mut file, size)) = self.open_file(name, Purpose::Overwrite)? else {
            return Ok(());
        };
        io::copy(&mut io::repeat(0).take(size), &mut file)
            .and_then(|_| platform::sync(&file))
            .map_err(|error| self.failed("overwrite", name, error))?;
        self.remove(name).map(drop)
    }
}

impl Deref for Locked {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

fn temporary() -> Result<String> {
    Ok(format!("{TEMPORARY_PREFIX}{}{TEMPORARY_SUFFIX}", rng::token::<TOKEN_BYTES>()?))
}

/// Is this the name of a file that [`Locked::publish`] left behind when it was killed?
pub(crate) fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
        .is_some_and(|token| token.len() == TOKEN_BYTES / 3 * 4)
}

/// What a file of ours is opened for; only a log is made if it is not there.
#[derive(Clone, Copy)]
enum Purpose {
    Read,
    Append,
    Overwrite,
}

const OPEN: &str = "open the directory";
const MAKE: &str = "make the directory";
const SYNC: &str = "be sure that a power cut would not undo the change in";
const TEMPORARY_PREFIX: &str = ".lf-";
const TEMPORARY_SUFFIX: &str = ".tmp";
const TOKEN_BYTES: usize = 12;
/// Bytes; more than a small envelope has.
const PROBE: usize = 1024;
const NO_LOCKS: &str = "set LENSERFIGHT_RUNTIME_DIR to a directory on a local disk; or mount NFS with -o nolock, if no other machine writes there";
/// A key derivation under the lock takes a fraction of a second, so this is many in a row.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(3);

#[cfg(test)]
mod tests;

//! An owner-only directory: read, publish, append, remove, lock; never through a symbolic link.
//!
//! Files are published, not edited: written beside their place, synced, and moved there in one step.
//! What this says of modes, owners and synced directories is Unix's; `portable` has none of them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::base::rng;
use crate::base::time::{Deadline, Timestamp};
use crate::error::{Error, Result};

#[cfg(target_os = "linux")]
pub use self::named::nearest;
pub use self::named::{
    is_below, open_named, parents, read_exposed, read_named, read_private, write_named,
};

mod back;
mod named;
#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use portable as platform;
#[cfg(unix)]
use unix as platform;

/// A handle to a directory. On Unix every operation is relative to it, so that nobody can swap a
/// parent under our feet; elsewhere it is a path.
#[derive(Debug)]
pub struct Dir {
    handle: platform::Handle,
    path: PathBuf,
}

/// A directory whose advisory lock this process holds, until this is dropped or the process dies.
/// Only this can publish and remove files: the type says that the lock is the right one.
#[derive(Debug)]
pub struct Locked {
    dir: Dir,
    lock: File,
}

/// What [`Locked::publish`] may find under the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Nothing: an existing file is an error.
    New,
    /// The file's older version, or nothing.
    Replacement,
}

/// What [`Dir::look`] tells of an entry, itself and not what it may link to.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Is it a regular file?
    pub is_file: bool,
    /// Is it a symbolic link?
    pub is_symlink: bool,
    /// The permission bits, 0o777 at most; the owner's alone where there are none.
    pub mode: u32,
    /// The owner's user id; 0 where there is none.
    pub owner: u32,
    /// Bytes.
    pub size: u64,
    /// Another one after every publication under the same name.
    pub stamp: Stamp,
    /// When it last changed, by the clock of the file system.
    pub changed: Option<Timestamp>,
}

/// Tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(platform::Version);

impl Dir {
    /// Opens a directory; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`] if `path` itself is a link; links above it are the user's business.
    pub fn open(path: &Path) -> Result<Option<Dir>> {
        // Without the trailing slash or dot that would make the kernel follow a link.
        let path: PathBuf = path.components().collect();
        match platform::Handle::open(&path) {
            Ok(handle) => Ok(Some(Dir { handle, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_symlink()) => {
                Err(Error::SymlinkRefused(path))
            }
            Err(error) => Err(Error::from_io("open the directory", &path, error)),
        }
    }

    /// Opens a directory, after making it and what is missing above it (0700, each synced into its
    /// parent).
    ///
    /// # Errors
    /// As [`Dir::open`], and whatever `mkdir` says.
    pub fn create(path: &Path) -> Result<Dir> {
        let path: PathBuf = path.components().collect();
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| {
                fs::symlink_metadata(dir).is_err_and(|error| error.kind() == ErrorKind::NotFound)
            })
            .collect();
        for dir in missing
            .into_iter()
            .rev()
            .filter(|dir| !dir.as_os_str().is_empty())
        {
            match platform::make_directory(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::from_io("make the directory", dir, error));
                }
                Ok(()) | Err(_) => {}
            }
            let parent = named::parent(dir);
            platform::sync_directory(parent)
                .map_err(|error| Error::from_io("sync the directory", parent, error))?;
        }
        match Dir::open(&path)? {
            Some(dir) => Ok(dir),
            None => Err(Error::from_io(
                "open the directory",
                &path,
                ErrorKind::NotFound.into(),
            )),
        }
    }

    /// Opens a directory in this one; `None` if there is none.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn child(&self, name: &str) -> Result<Option<Dir>> {
        let path = self.path.join(name);
        match self.handle.open_child(name) {
            Ok(handle) => Ok(Some(Dir { handle, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => match self.look(name)? {
                Some(look) if look.is_symlink => Err(Error::SymlinkRefused(path)),
                _ => Err(self.failed("open the directory", name, error)),
            },
        }
    }

    /// Opens a directory in this one, after making it if need be (0700).
    ///
    /// # Errors
    /// As [`Dir::child`], and whatever `mkdir` says.
    pub fn create_child(&self, name: &str) -> Result<Dir> {
        loop {
            match self.handle.make_child(name) {
                Ok(()) => self.sync()?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed("make the directory", name, error)),
            }
            // Whoever clears up may have been faster: then it is made once more.
            if let Some(child) = self.child(name)? {
                return Ok(child);
            }
        }
    }

    /// Removes a directory in this one, if it is there and empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_child(&self, name: &str) -> Result<()> {
        match self.handle.remove_child(name) {
            Ok(()) => self.sync(),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty => Ok(()),
                _ => Err(self.failed("remove the directory", name, error)),
            },
        }
    }

    /// Where it was opened; for messages only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it, in no order. Names that are not UTF-8 cannot be ours and come out mangled.
    ///
    /// # Errors
    /// What the system says.
    pub fn names(&self) -> Result<Vec<String>> {
        self.handle
            .names()
            .map_err(|error| Error::from_io("list", &self.path, error))
    }

    /// The first `limit` + 1 bytes of a regular file, so that the caller sees when there are more
    /// than `limit`; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`]; [`Error::Io`] for what is not a regular file.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some((mut file, size)) = self.open_file(name, Purpose::Read)? else {
            return Ok(None);
        };
        let failed = |error| self.failed("read", name, error);
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(limit);
        // One byte of room more than there should be: with that left, one read has met the end.
        let mut bytes = vec![0; size + 1];
        let count = match file.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            read => read.map_err(failed)?,
        };
        bytes.truncate(count);
        if count != size {
            let rest = limit as u64 + 1 - count as u64;
            file.take(rest).read_to_end(&mut bytes).map_err(failed)?;
        }
        Ok(Some(bytes))
    }

    fn place(&self, name: &str, bytes: &[u8], publish: Publish) -> Result<()> {
        self.refuse_special(name)?;
        let temporary = format!(
            "{TEMPORARY_PREFIX}{}{TEMPORARY_SUFFIX}",
            rng::token::<12>()?
        );
        let published = self
            .write_new(&temporary, bytes)
            .and_then(|()| match publish {
                Publish::New => self.rename_new(&temporary, name),
                Publish::Replacement => self
                    .handle
                    .rename(&temporary, name)
                    .map_err(|error| self.failed("replace", name, error)),
            });
        if published.is_err() {
            // Best effort: what stays behind is never taken for a key, and doctor reports it.
            let _ = self.handle.remove(&temporary);
        }
        published.and_then(|()| self.sync())
    }

    /// Appends one line with one `write(2)`. A line that a full disk cut short before is ended
    /// first, so that it spoils only itself. Past `limit` bytes the file becomes `<name>.1`, and
    /// the line is the first of a new one.
    ///
    /// # Errors
    /// As [`Dir::read`], and a write that was not taken whole.
    pub fn append(&self, name: &str, line: &str, limit: u64) -> Result<()> {
        let failed = |error| self.failed("append to", name, error);
        let (mut file, mut size) = self.open_log(name)?;
        if size >= limit {
            self.turn_over(name, limit)?;
            (file, size) = self.open_log(name)?;
        }

        let mut last = [b'\n'];
        if size > 0 {
            // A handle that appends writes at the end, wherever this leaves it.
            file.seek(SeekFrom::Start(size - 1)).map_err(failed)?;
            file.read(&mut last).map_err(failed)?;
        }
        let start = if last == [b'\n'] { "" } else { "\n" };
        let record = format!("{start}{line}\n");
        let written = file.write(record.as_bytes()).map_err(failed)?;
        if written == record.len() {
            Ok(())
        } else {
            Err(failed(ErrorKind::StorageFull.into()))
        }
    }

    /// Waits for the advisory lock on this directory, among processes and among threads.
    ///
    /// # Errors
    /// [`Error::StoreBusy`] after 30 seconds: a holder that died has freed it, so one is stuck.
    pub fn lock(&self) -> Result<Locked> {
        let own = self.open_lock()?;
        let deadline = Deadline::after(LOCK_PATIENCE);
        while !own.claim()? {
            if deadline.left().is_none() {
                return Err(Error::StoreBusy(self.path.clone()));
            }
            thread::sleep(LOCK_PAUSE);
        }
        Ok(own)
    }

    /// The lock if nobody has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_lock(&self) -> Result<Option<Locked>> {
        let own = self.open_lock()?;
        Ok(own.claim()?.then_some(own))
    }

    /// A handle of its own for the lock, which nobody holds yet: threads that share `self` must
    /// exclude each other too.
    fn open_lock(&self) -> Result<Locked> {
        let handles = self.handle.open_lock();
        let (handle, lock) = handles.map_err(|error| Error::from_io("lock", &self.path, error))?;
        let path = self.path.clone();
        Ok(Locked {
            dir: Dir { handle, path },
            lock,
        })
    }

    /// What stands under a name; `None` if nothing does. `"."` is the directory itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn look(&self, name: &str) -> Result<Option<Look>> {
        match self.handle.look(name) {
            Ok(look) => Ok(Some(look)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("look at", name, error)),
        }
    }

    /// Takes the permissions of a regular file (to 0600) or of the directory itself (`"."`, to
    /// 0700) away from everybody but the owner.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn tighten(&self, name: &str) -> Result<()> {
        let done = if name == "." {
            self.handle.tighten()
        } else {
            let Some((file, _)) = self.open_file(name, Purpose::Read)? else {
                return Ok(());
            };
            platform::tighten_file(&file)
        };
        done.map_err(|error| self.failed("change the mode of", name, error))
    }

    /// Could [`Dir::append`] write here? Asks the system; touches nothing.
    #[must_use]
    pub fn can_append(&self, name: &str) -> bool {
        match self.handle.may_write(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.handle.may_write(".").is_ok(),
            answer => answer.is_ok(),
        }
    }

    /// Has the file system no room left for us? Always `false` where nobody can tell.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.handle.is_full()
    }

    /// The file system's type, such as `ext4` or `nfs4`; `None` where nobody can tell.
    #[must_use]
    pub fn file_system(&self) -> Option<String> {
        self.handle.file_system()
    }

    /// Where it really is, with every link on the way followed; for a person to know.
    #[must_use]
    pub fn real_path(&self) -> Option<PathBuf> {
        fs::canonicalize(&self.path).ok()
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

    fn open_log(&self, name: &str) -> Result<(File, u64)> {
        let file = self.open_file(name, Purpose::Append)?;
        file.ok_or_else(|| self.failed("open", name, ErrorKind::NotFound.into()))
    }

    /// Moves a full log to its older generation, once, however many processes find it full. While
    /// somebody has the lock it stays a little longer: nobody who only reads waits for a writer.
    fn turn_over(&self, name: &str, limit: u64) -> Result<()> {
        let Some(_lock) = self.try_lock()? else {
            return Ok(());
        };
        let is_full = |look: Look| look.is_file && look.size >= limit;
        if self.look(name)?.is_some_and(is_full) {
            let older = format!("{name}.1");
            self.refuse_special(&older)?;
            self.handle
                .rename(name, &older)
                .map_err(|error| self.failed("rename", name, error))?;
        }
        Ok(())
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self
            .handle
            .create_file(name)
            .map_err(|error| Error::from_io("create a file in", &self.path, error))?;
        // The umask can only take bits away, but it could take ours.
        platform::keep_own_bits(&file)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(|error| Error::from_io("write a file in", &self.path, error))
    }

    /// A rename that fails if the target exists.
    fn rename_new(&self, from: &str, to: &str) -> Result<()> {
        self.handle
            .rename_new(from, to)
            .map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => Error::DuplicateKey(to.to_owned()),
                _ => self.failed("create", to, error),
            })
    }

    /// A rename would replace a link and an unlink would remove it, both without following it; but
    /// whoever planted it wanted something, so we stop and say so.
    fn refuse_special(&self, name: &str) -> Result<()> {
        match self.look(name)? {
            Some(look) if look.is_symlink => Err(Error::SymlinkRefused(self.path.join(name))),
            Some(look) if !look.is_file => Err(self.not_a_file(name)),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes what was moved into, out of or within this directory survive a power cut.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> Result<()> {
        self.handle
            .sync()
            .map_err(|error| Error::from_io(SYNC, &self.path, error))
    }

    fn not_a_file(&self, name: &str) -> Error {
        self.failed("use", name, io::Error::other("not a regular file"))
    }

    fn failed(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        Error::from_io(action, &self.path.join(name), source)
    }
}

impl Locked {
    /// A directory in this one, which the lock on this one covers as well; `None` if there is none.
    ///
    /// # Errors
    /// As [`Dir::child`].
    pub fn covered_child(&self, name: &str) -> Result<Option<Locked>> {
        let Some(dir) = self.child(name)? else {
            return Ok(None);
        };
        let lock = self.lock.try_clone();
        let lock = lock.map_err(|error| Error::from_io("lock", &self.path, error))?;
        Ok(Some(Locked { dir, lock }))
    }

    /// Writes a file so that it is there whole or not at all, whatever happens in between: mode
    /// 0600 under any umask, synced, and the directory synced after it.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`] if it must be new and is not; [`Error::SymlinkRefused`]; what the
    /// system says. The file's older version is untouched then, unless only the last sync failed.
    pub fn publish(&self, name: &str, bytes: &[u8], publish: Publish) -> Result<()> {
        self.place(name, bytes, publish)
    }

    /// Moves a file from another directory over the one of the same name here, in one step. Both
    /// directories are for the caller to [`Dir::sync`], once for many files.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`], what is not a regular file, what the system says.
    pub fn take(&self, from: &Locked, name: &str) -> Result<()> {
        from.refuse_special(name)?;
        self.refuse_special(name)?;
        self.handle
            .rename_from(&from.handle, name)
            .map_err(|error| self.failed("replace", name, error))
    }

    /// Removes a file; `false` if there was none.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`], what is not a regular file, what the system says.
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.refuse_special(name)?;
        match self.handle.remove(name) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    /// Writes zeros over a file and removes it. What a journal, a snapshot or the disk itself keeps
    /// of it is out of reach.
    ///
    /// # Errors
    /// As [`Locked::remove`].
    pub fn erase(&self, name: &str) -> Result<()> {
        let Some((mut file, size)) = self.open_file(name, Purpose::Overwrite)? else {
            return Ok(());
        };
        let failed = |error| self.failed("overwrite", name, error);
        io::copy(&mut io::repeat(0).take(size), &mut file).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.remove(name).map(drop)
    }

    /// Takes the lock; `false` if somebody has it.
    fn claim(&self) -> Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Error::from_io("lock", &self.path, error)),
        }
    }
}

impl Deref for Locked {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

/// Is this the name of a file that [`Locked::publish`] left behind when it was killed?
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
        .is_some_and(|token| token.len() == 16)
}

/// The user id that files of ours must belong to.
#[must_use]
pub fn own_user() -> u32 {
    platform::own_user()
}

/// What a file of ours is opened for; only a log is made if it is not there.
#[derive(Clone, Copy)]
enum Purpose {
    Read,
    Append,
    Overwrite,
}

const SYNC: &str = "be sure that a power cut would not undo the change in";
const TEMPORARY_PREFIX: &str = ".lf-";
const TEMPORARY_SUFFIX: &str = ".tmp";
/// A key derivation under the lock takes a fraction of a second, so this is many in a row.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(3);

//! An owner-only directory: read, publish, append, remove, lock; never through a symbolic link.
//!
//! Files are published, not edited: written beside their place, synced, and moved there in one step.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::rng;
use crate::time::Deadline;

/// A handle to a directory. Every operation is relative to it, so that nobody can swap a parent
/// under our feet.
#[derive(Debug)]
pub struct Dir {
    handle: File,
    path: PathBuf,
}

/// Proof that this process holds the directory's advisory lock; released on drop, and by the
/// kernel when the process dies. Publishing and removing ask for it.
#[derive(Debug)]
pub struct Lock {
    handle: File,
}

/// What [`Dir::publish`] may find under the name.
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
    /// The permission bits, 0o777 at most.
    pub mode: u32,
    /// The owner's user id.
    pub owner: u32,
    /// Bytes.
    pub size: u64,
    /// Another one after every publication under the same name.
    pub stamp: Stamp,
}

/// Tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

impl Dir {
    /// Opens a directory; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`] if `path` itself is a link; links above it are the user's business.
    pub fn open(path: &Path) -> Result<Option<Dir>> {
        // Without the trailing slash or dot that would make the kernel follow a link.
        let path: PathBuf = path.components().collect();
        match rustix::fs::open(&path, DIRECTORY, Mode::empty()) {
            Ok(handle) => Ok(Some(Dir {
                handle: handle.into(),
                path,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => {
                let is_link = rustix::fs::lstat(&path)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
                if is_link {
                    Err(Error::SymlinkRefused(path))
                } else {
                    Err(Error::from_io("open the directory", &path, errno.into()))
                }
            }
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
            .take_while(|dir| rustix::fs::lstat(*dir).err() == Some(Errno::NOENT))
            .collect();
        for dir in missing
            .into_iter()
            .rev()
            .filter(|dir| !dir.as_os_str().is_empty())
        {
            match rustix::fs::mkdir(dir, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::from_io("make the directory", dir, errno.into())),
            }
            let parent = dir
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(|error| Error::from_io("sync the directory", parent, error))?;
        }
        match Dir::open(&path)? {
            Some(dir) => Ok(dir),
            None => Err(Error::from_io(
                "open the directory",
                &path,
                io::ErrorKind::NotFound.into(),
            )),
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
        let failed = |errno: Errno| Error::from_io("list", &self.path, errno.into());
        let entries = rustix::fs::Dir::read_from(&self.handle).map_err(failed)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    /// The first `limit` + 1 bytes of a regular file, so that the caller sees when there are more
    /// than `limit`; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`]; [`Error::Io`] for what is not a regular file.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(name, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let size = file
            .metadata()
            .map_or(0, |stat| usize::try_from(stat.len()).unwrap_or(usize::MAX));
        let mut bytes = Vec::with_capacity(size.min(limit) + 1);
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed("read", name, error))?;
        Ok(Some(bytes))
    }

    /// Writes a file so that it is there whole or not at all, whatever happens in between: mode
    /// 0600 under any umask, synced, and the directory synced after it.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`] if it must be new and is not; [`Error::SymlinkRefused`]; what the
    /// system says. The file's older version is untouched then, unless only the last sync failed.
    pub fn publish(&self, _lock: &Lock, name: &str, bytes: &[u8], publish: Publish) -> Result<()> {
        self.refuse_special(name)?;
        let temporary = format!(
            "{TEMPORARY_PREFIX}{}{TEMPORARY_SUFFIX}",
            rng::token::<12>()?
        );
        let published = self
            .write_new(&temporary, bytes)
            .and_then(|()| match publish {
                Publish::New => self.rename_new(&temporary, name),
                Publish::Replacement => {
                    rustix::fs::renameat(&self.handle, &temporary, &self.handle, name)
                        .map_err(|errno| self.failed("replace", name, errno.into()))
                }
            });
        if published.is_err() {
            // Best effort: what stays behind is never taken for a key, and doctor reports it.
            let _ = rustix::fs::unlinkat(&self.handle, &temporary, AtFlags::empty());
        }
        published.and_then(|()| self.sync())
    }

    /// Removes a file; `false` if there was none.
    ///
    /// # Errors
    /// [`Error::SymlinkRefused`], what is not a regular file, what the system says.
    pub fn remove(&self, _lock: &Lock, name: &str) -> Result<bool> {
        self.refuse_special(name)?;
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) => self.sync().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("remove", name, errno.into())),
        }
    }

    /// Appends one line with one `write(2)`. A line that a full disk cut short before is ended
    /// first, so that it spoils only itself. Past `limit` bytes the file becomes `<name>.1`, and
    /// the line is the first of a new one.
    ///
    /// # Errors
    /// As [`Dir::read`], and a write that was not taken whole.
    pub fn append(&self, name: &str, line: &str, limit: u64) -> Result<()> {
        let failed = |error| self.failed("append to", name, error);
        let mut file = self.open_log(name)?;
        if file.metadata().map_err(failed)?.len() >= limit {
            self.turn_over(name, limit)?;
            file = self.open_log(name)?;
        }
        let size = file.metadata().map_err(failed)?.len();
        let mut last = [b'\n'];
        if size > 0 {
            rustix::io::pread(&file, &mut last, size - 1).map_err(|errno| failed(errno.into()))?;
        }
        let start = if last == [b'\n'] { "" } else { "\n" };
        let record = format!("{start}{line}\n");
        let written = file.write(record.as_bytes()).map_err(failed)?;
        if written == record.len() {
            Ok(())
        } else {
            Err(failed(io::ErrorKind::StorageFull.into()))
        }
    }

    /// Waits for the advisory lock on this directory, among processes and among threads.
    ///
    /// # Errors
    /// [`Error::StoreBusy`] after 30 seconds: a holder that died has freed it, so one is stuck.
    pub fn lock(&self) -> Result<Lock> {
        let lock = self.open_lock()?;
        let deadline = Deadline::after(LOCK_PATIENCE);
        while !self.claim(&lock)? {
            if deadline.left().is_none() {
                return Err(Error::StoreBusy(self.path.clone()));
            }
            thread::sleep(LOCK_PAUSE);
        }
        Ok(lock)
    }

    /// The lock if nobody has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let lock = self.open_lock()?;
        Ok(self.claim(&lock)?.then_some(lock))
    }

    /// A handle of its own for the lock: threads that share `self` must exclude each other too.
    fn open_lock(&self) -> Result<Lock> {
        let handle = rustix::fs::openat(&self.handle, ".", DIRECTORY, Mode::empty());
        let handle = handle.map_err(|errno| Error::from_io("lock", &self.path, errno.into()))?;
        Ok(Lock {
            handle: handle.into(),
        })
    }

    fn claim(&self, lock: &Lock) -> Result<bool> {
        match lock.handle.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Error::from_io("lock", &self.path, error)),
        }
    }

    /// What stands under a name; `None` if nothing does. `"."` is the directory itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn look(&self, name: &str) -> Result<Option<Look>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let kind = FileType::from_raw_mode(stat.st_mode);
                Ok(Some(Look {
                    is_file: kind == FileType::RegularFile,
                    is_symlink: kind == FileType::Symlink,
                    mode: Mode::from_raw_mode(stat.st_mode).as_raw_mode() & 0o777,
                    owner: stat.st_uid,
                    size: u64::try_from(stat.st_size).unwrap_or(0),
                    stamp: Stamp {
                        inode: stat.st_ino,
                        size: stat.st_size,
                        #[allow(clippy::unnecessary_cast)] // the types differ between systems
                        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
                    },
                }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", name, errno.into())),
        }
    }

    /// Takes the permissions of a regular file (to 0600) or of the directory itself (`"."`, to
    /// 0700) away from everybody but the owner.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn tighten(&self, name: &str) -> Result<()> {
        let done = if name == "." {
            rustix::fs::fchmod(&self.handle, Mode::RWXU)
        } else {
            let Some(file) = self.open_file(name, OFlags::RDONLY)? else {
                return Ok(());
            };
            rustix::fs::fchmod(&file, OWNER_ONLY)
        };
        done.map_err(|errno| self.failed("change the mode of", name, errno.into()))
    }

    /// Could [`Dir::append`] write here? Asks the system; touches nothing.
    #[must_use]
    pub fn can_append(&self, name: &str) -> bool {
        let may_write = |name: &str| {
            rustix::fs::accessat(
                &self.handle,
                name,
                rustix::fs::Access::WRITE_OK,
                AtFlags::EACCESS,
            )
        };
        match may_write(name) {
            Err(Errno::NOENT) => may_write(".").is_ok(),
            answer => answer.is_ok(),
        }
    }

    /// Has the file system no room left for us?
    #[must_use]
    pub fn is_full(&self) -> bool {
        rustix::fs::fstatvfs(&self.handle).is_ok_and(|stat| stat.f_blocks > 0 && stat.f_bavail == 0)
    }

    fn open_file(&self, name: &str, how: OFlags) -> Result<Option<File>> {
        // NONBLOCK: a FIFO planted under the name must not hang us.
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match rustix::fs::openat(&self.handle, name, flags, OWNER_ONLY) {
            Ok(handle) => handle.into(),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Error::SymlinkRefused(self.path.join(name))),
            Err(errno) => {
                self.refuse_special(name)?;
                return Err(self.failed("open", name, errno.into()));
            }
        };
        if file.metadata().is_ok_and(|stat| stat.is_file()) {
            Ok(Some(file))
        } else {
            Err(self.not_a_file(name))
        }
    }

    fn open_log(&self, name: &str) -> Result<File> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        file.ok_or_else(|| self.failed("open", name, io::ErrorKind::NotFound.into()))
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
            rustix::fs::renameat(&self.handle, name, &self.handle, &older)
                .map_err(|errno| self.failed("rename", name, errno.into()))?;
        }
        Ok(())
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle: OwnedFd = rustix::fs::openat(&self.handle, name, flags, OWNER_ONLY)
            .map_err(|errno| Error::from_io("create a file in", &self.path, errno.into()))?;
        let mut file = File::from(handle);
        // The umask can only take bits away, but it could take ours.
        rustix::fs::fchmod(&file, OWNER_ONLY)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(|error| Error::from_io("write a file in", &self.path, error))
    }

    /// A rename that fails if the target exists. File systems that cannot do that (EINVAL) can
    /// link, which fails in the same way.
    fn rename_new(&self, from: &str, to: &str) -> Result<()> {
        let renamed = match rename_no_replace(&self.handle, from, to) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(&self.handle, from, &self.handle, to, AtFlags::empty())
                    .and_then(|()| rustix::fs::unlinkat(&self.handle, from, AtFlags::empty()))
            }
            renamed => renamed,
        };
        match renamed {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(Error::DuplicateKey(to.to_owned())),
            Err(errno) => Err(self.failed("create", to, errno.into())),
        }
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

    fn sync(&self) -> Result<()> {
        self.handle
            .sync_all()
            .map_err(|error| Error::from_io(SYNC, &self.path, error))
    }

    fn not_a_file(&self, name: &str) -> Error {
        self.failed("use", name, io::Error::other("not a regular file"))
    }

    fn failed(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        Error::from_io(action, &self.path.join(name), source)
    }
}

/// Is this the name of a file that [`Dir::publish`] left behind when it was killed?
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
        .is_some_and(|token| token.len() == 16)
}

/// Reads a secret's file that the user names: links are followed (systemd and Kubernetes use them),
/// a pipe will do, but nobody outside the owner and group may have any right to it.
///
/// # Errors
/// [`Error::PassphraseInvalid`] when others can reach it or it has more than `limit` bytes.
pub fn read_private(path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let failed = |error| Error::from_io("read the passphrase file", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = rustix::fs::fstat(&file)
        .map_err(|errno| failed(errno.into()))?
        .st_mode;
    if Mode::from_raw_mode(mode).intersects(Mode::RWXO) {
        let shown = path.display();
        return Err(Error::PassphraseInvalid(format!(
            "the passphrase file {shown} can be reached by other users; chmod 600 it first"
        )));
    }
    let mut bytes = Vec::with_capacity(limit + 1);
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > limit {
        return Err(Error::PassphraseInvalid(format!(
            "the passphrase file {} has more than {limit} bytes",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

/// The user id that files of ours must belong to.
#[must_use]
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_no_replace(dir: &File, from: &str, to: &str) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_no_replace(_: &File, _: &str, _: &str) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
const SYNC: &str = "be sure that a power cut would not undo the change in";
const TEMPORARY_PREFIX: &str = ".lf-";
const TEMPORARY_SUFFIX: &str = ".tmp";
/// A key derivation under the lock takes a fraction of a second, so this is many in a row.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(3);

//! What a Unix system does for the directory: `*at` calls relative to one handle.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use rustix::fs::RenameFlags;
use rustix::fs::{Access, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Dir, Purpose, Stat};

/// An open directory: nobody can swap a parent under our feet.
pub(super) struct Handle(File);

/// Tells one version of a file from another: the inode, its size, and when it was changed.
pub(crate) type Stamp = (u64, i64, (i64, i64));

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Handle> {
        Ok(Handle(rustix::fs::open(path, DIRECTORY, Mode::empty())?.into()))
    }

    pub(super) fn open_child(&self, name: &Path) -> io::Result<Handle> {
        Ok(Handle(rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty())?.into()))
    }

    pub(super) fn make_child(&self, name: &Path) -> io::Result<()> {
        rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?;
        if own_user() == 0
            && let Ok(child) = self.open_child(name)
        // or removed meanwhile
        {
            self.give(&child.0)?;
        }
        Ok(())
    }

    pub(super) fn remove_child(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    #[allow(clippy::unnecessary_cast)] // the types differ between systems
    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        Ok(Stat {
            is_file: kind == FileType::RegularFile,
            is_symlink: kind == FileType::Symlink,
            mode: stat.st_mode as u32 & 0o777,
            owner: stat.st_uid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            stamp: (
                stat.st_ino as u64,
                stat.st_size as i64,
                (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            ),
        })
    }

    pub(super) fn open_file(&self, name: &str, purpose: Purpose) -> io::Result<File> {
        let how = match purpose {
            Purpose::Read => OFlags::RDONLY,
            Purpose::Overwrite => OFlags::WRONLY,
            Purpose::Append => OFlags::RDWR | OFlags::APPEND | OFlags::CREATE,
        };
        // Root gives a new log to the directory's user.
        if own_user() == 0
            && matches!(purpose, Purpose::Append)
            && let Ok(file) = self.create_file(name)
        {
            return Ok(file);
        }
        // NONBLOCK: a FIFO planted under the name must not hang us.
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, OWNER_ONLY)?.into())
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, OWNER_ONLY)?);
        // The umask can only take bits away, but it could take ours. A file system without modes may
        // refuse this, if the owner can work with what it has; others could never reach the file.
        match rustix::fs::fchmod(&file, OWNER_ONLY) {
            Err(Errno::PERM) if mode(&file)?.contains(OWNER_ONLY) => {}
            done => done?,
        }
        self.give(&file)?;
        Ok(file)
    }

    /// What root makes in a user's directory gets that user for its owner, who could not read it
    /// otherwise. Only for what this process has just made: a name that was there before may be a
    /// hard link to a file of root's, put there by that user.
    fn give(&self, made: &File) -> io::Result<()> {
        let (user, now) = (rustix::fs::fstat(&self.0)?, rustix::fs::fstat(made)?);
        if own_user() == 0 && user.st_uid != now.st_uid {
            let (owner, group) = (Uid::from_raw(user.st_uid), Gid::from_raw(user.st_gid));
            rustix::fs::fchown(made, Some(owner), Some(group))?;
        }
        Ok(())
    }

    pub(super) fn rename_from(&self, from: &Handle, old: &str, new: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&from.0, old, &self.0, new)?)
    }

    /// Most file systems that cannot refuse to replace (EINVAL; EPERM from some seccomp filters)
    /// can link, which fails in the same way. Where there are no links either (exFAT, encfs), the
    /// caller's lock keeps the name free:
    ///
    /// 1. The caller holds the lock on this directory, and `from` is written and synced.
    /// 2. Nothing has the name `to`.
    /// 3. `from` is renamed. Killed before, it is left as a temporary file; after, `to` is whole.
    ///
    /// All of lf's writers hold the lock from 2 to 3, so none of their files is replaced. A program
    /// that does not know the lock is not kept from making `to` between the two; its name would
    /// have to be a key's new random id.
    /// (tests/filesystems.rs: `where_there_is_neither_exclusive_rename_nor_link_keys_are_still_added`)
    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match rustix::fs::renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {}
            renamed => return Ok(renamed?),
        }
        match rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty()) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {}
            linked => return Ok(linked?).and_then(|()| self.remove(from)),
        }
        match self.stat(to) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.rename_from(self, from, to),
            there => there.and(Err(ErrorKind::AlreadyExists.into())),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// This directory once more, and what is locked for it: one open file, by two descriptors.
    pub(super) fn open_lock(&self) -> io::Result<(Handle, File)> {
        let own = self.open_child(Path::new("."))?;
        let lock = own.0.try_clone()?;
        Ok((own, lock))
    }

    /// A file in it, or itself.
    pub(super) fn make_private(&self, _: &str, file: Option<&File>) -> io::Result<()> {
        let done = match file {
            Some(file) => rustix::fs::fchmod(file, OWNER_ONLY),
            None => rustix::fs::fchmod(&self.0, Mode::RWXU),
        };
        Ok(done?)
    }

    pub(super) fn may_write(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::accessat(&self.0, name, Access::WRITE_OK, AtFlags::EACCESS)?)
    }

    pub(super) fn sync(&self) -> io::Result<bool> {
        sync(&self.0)
    }
}

/// Syncs a file or a directory, on macOS by F_FULLFSYNC; `false` if the file system cannot: CIFS and
/// VirtualBox do not sync directories (EINVAL), SMB on macOS has no F_FULLFSYNC (ENOTSUP or ENOTTY,
/// which have no kind of their own), but fsync(2). That is no reason to fail after the work is done;
/// an error of the disk is one.
pub(super) fn sync(file: &File) -> io::Result<bool> {
    let cannot = |error: &io::Error| {
        let error = Errno::from_io_error(error);
        matches!(error, Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::NOTTY))
    };
    match file.sync_all() {
        Err(error) if cannot(&error) => Ok(rustix::fs::fsync(file).is_ok()),
        synced => synced.map(|()| true),
    }
}

/// Of what a path leads through, the first that belongs to another user and is in a directory of
/// ours: what that user's command, mostly root's, has made there.
pub(super) fn foreign(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let is_own = |path: &Path| Some(fs::symlink_metadata(path).ok()?.uid() == own_user());
    let is_it =
        |it: &&Path| is_own(it) == Some(false) && it.parent().and_then(is_own) == Some(true);
    path.ancestors().find(is_it).map(Path::to_owned)
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.0.as_fd()
    }
}

pub(super) fn others_can_reach(file: &File) -> io::Result<bool> {
    Ok(mode(file)?.intersects(Mode::RWXO))
}

fn mode(file: &File) -> rustix::io::Result<Mode> {
    Ok(Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// The user id that files of ours must belong to.
pub(crate) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

//! What a Unix system does for the directory: `*at` calls relative to one handle.

use std::fs::File;
use std::io;
use std::path::Path;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use rustix::fs::RenameFlags;
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Purpose, Stat};

/// An open directory: nobody can swap a parent under our feet.
#[derive(Debug)]
pub(super) struct Handle(File);

/// Tells one version of a file from another: the inode, its size, and when it was changed.
pub(crate) type Stamp = (u64, i64, (i64, i64));

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Handle> {
        let handle = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        Ok(Handle(handle.into()))
    }

    pub(super) fn open_child(&self, name: &Path) -> io::Result<Handle> {
        let handle = rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty())?;
        Ok(Handle(handle.into()))
    }

    pub(super) fn make_child(&self, name: &Path) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?)
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
        // NONBLOCK: a FIFO planted under the name must not hang us.
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, OWNER_ONLY)?.into())
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, OWNER_ONLY)?);
        // The umask can only take bits away, but it could take ours. A file system without modes may
        // refuse this, if the owner can work with what it has; others could never reach the file.
        match rustix::fs::fchmod(&file, OWNER_ONLY) {
            Err(Errno::PERM) if mode(&file)?.contains(OWNER_ONLY) => {}
            done => done?,
        }
        Ok(file)
    }

    pub(super) fn rename_from(&self, from: &Handle, old: &str, new: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&from.0, old, &self.0, new)?)
    }

    /// File systems that cannot refuse to replace (EINVAL) can link, which fails in the same way.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        match rustix::fs::renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return Ok(renamed?),
        }
        rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())?;
        self.remove(from)
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
    pub(super) fn make_private(&self, file: Option<&File>) -> io::Result<()> {
        let done = match file {
            Some(file) => rustix::fs::fchmod(file, OWNER_ONLY),
            None => rustix::fs::fchmod(&self.0, Mode::RWXU),
        };
        Ok(done?)
    }

    pub(super) fn may_write(&self, name: &str) -> io::Result<()> {
        let access = rustix::fs::accessat(&self.0, name, Access::WRITE_OK, AtFlags::EACCESS);
        Ok(access?)
    }

    pub(super) fn is_full(&self) -> bool {
        rustix::fs::fstatvfs(&self.0).is_ok_and(|stat| stat.f_blocks > 0 && stat.f_bavail == 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// A handle for naming it only; a link is followed.
#[cfg(target_os = "linux")]
pub(super) fn name_directory(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
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

//! What Windows does for the directory: paths, looked at before use, and access lists.
//!
//! There are no modes. A file or a directory whose list lets others in counts as one that has all bits
//! for them. Owners are not looked at.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;
use windows_sys::Win32::Storage::FileSystem::*;

use super::{Purpose, Stat};
use crate::base::time::Deadline;
use crate::system::kernel::{acl, windows::move_file};

/// A directory's path, and the path of the file that is locked for it, because no directory can be.
#[derive(Debug, Clone)]
pub(super) struct Handle(PathBuf, PathBuf);

/// Tells one version of a file from another: the size, and when it was written.
pub(crate) type Stamp = (u64, Option<SystemTime>);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Handle> {
        // A link is no directory here, wherever it leads.
        if fs::symlink_metadata(path)?.is_dir() {
            Ok(Handle(path.to_owned(), path.join(LOCK_FILE)))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn open_child(&self, name: &Path) -> io::Result<Handle> {
        let Handle(path, _) = Handle::open(&self.0.join(name))?;
        // Beside it, because a directory with a file in it could not go.
        let mut lock = path.clone().into_os_string();
        lock.push(LOCK_FILE);
        Ok(Handle(path, lock.into()))
    }

    pub(super) fn make_child(&self, name: &Path) -> io::Result<()> {
        acl::make_directory(&self.0.join(name))
    }

    pub(super) fn remove_child(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.0.join(name))
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            // It was removed meanwhile. On Unix an open one has nothing in it then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            if !name.as_encoded_bytes().ends_with(LOCK_FILE.as_bytes()) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        let path = self.0.join(name);
        let stat = fs::symlink_metadata(&path)?;
        // What does not let this user ask lets nobody else do more.
        let list = open_for(READ_CONTROL, &path).and_then(|file| acl::others_can_reach(&file));
        let others = if list.unwrap_or(false) { 0o077 } else { 0 };
        Ok(Stat {
            is_file: stat.is_file(),
            is_symlink: stat.is_symlink(),
            mode: if stat.is_dir() { 0o700 | others } else { 0o600 | others & 0o066 },
            owner: own_user(),
            size: stat.len(),
            stamp: (stat.len(), stat.modified().ok()),
        })
    }

    pub(super) fn open_file(&self, name: &str, purpose: Purpose) -> io::Result<File> {
        let path = self.0.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|stat| !stat.is_file()) {
            return Err(io::Error::other("not a regular file"));
        }
        let is_log = matches!(purpose, Purpose::Append);
        if is_log {
            let _ = self.create_file(name);
        }
        OpenOptions::new()
            .read(true)
            .write(matches!(purpose, Purpose::Overwrite))
            .append(is_log)
            .open(path)
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let path = self.0.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        // Before there is anything in it: the directory may be anybody's.
        open_for(WRITE_DAC, &path).and_then(|file| acl::make_private(&file))?;
        Ok(file)
    }

    pub(super) fn rename_from(&self, from: &Handle, old: &str, new: &str) -> io::Result<()> {
        let (from, to) = (from.0.join(old), self.0.join(new));
        // A scanner, an indexer or a reader of ours may have the older version open for a moment.
        let deadline = Deadline::after(PATIENCE);
        loop {
            match move_file(&from, &to, MOVEFILE_REPLACE_EXISTING)
                .or_else(|_| fs::rename(&from, &to))
            {
                Err(error) if is_in_use(&error) && deadline.left().is_some() => {
                    std::thread::sleep(PAUSE);
                }
                moved => return moved,
            }
        }
    }

    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        move_file(&self.0.join(from), &self.0.join(to), 0)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// This directory once more, and what is locked for it.
    pub(super) fn open_lock(&self) -> io::Result<(Handle, File)> {
        // A link there is opened and not followed.
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
        Ok((self.clone(), options.open(&self.1)?))
    }

    /// A file in it, or itself.
    pub(super) fn make_private(&self, name: &str, _: Option<&File>) -> io::Result<()> {
        acl::make_private(&open_for(WRITE_DAC, &self.0.join(name))?)
    }

    pub(super) fn may_write(&self, name: &str) -> io::Result<()> {
        let stat = fs::metadata(self.0.join(name))?;
        // On a directory the attribute means something else.
        if stat.is_file() && stat.permissions().readonly() {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(())
        }
    }

    /// Directories are not synced here.
    pub(super) fn sync(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// A handle for the access list alone, of a directory too; of a link itself, which is not followed.
fn open_for(right: u32, path: &Path) -> io::Result<File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    OpenOptions::new().access_mode(READ_CONTROL | right).custom_flags(flags).open(path)
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
        || error.raw_os_error() == Some(ERROR_SHARING_VIOLATION as i32)
}

pub(super) fn sync(file: &File) -> io::Result<bool> {
    match file.sync_all() {
        // Through a handle that only reads nothing was written.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        synced => synced.map(|()| true),
    }
}

pub(super) fn foreign(_: &Path) -> Option<PathBuf> {
    None
}

pub(super) fn others_can_reach(file: &File) -> io::Result<bool> {
    acl::others_can_reach(file)
}

pub(crate) fn own_user() -> u32 {
    0
}

const LOCK_FILE: &str = ".lock";
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

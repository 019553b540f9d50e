//! What a system without Unix's calls does for the directory: paths, looked at before use.
//!
//! Modes and owners do not exist here; who may reach what is up to the directory's access list.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Purpose, Stat};

/// A directory's path.
#[derive(Debug)]
pub(super) struct Handle(PathBuf);

/// Tells one version of a file from another: the size, and when it was written.
pub(crate) type Stamp = (u64, Option<SystemTime>);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Handle> {
        // A link is no directory here, wherever it leads.
        if fs::symlink_metadata(path)?.is_dir() {
            Ok(Handle(path.to_owned()))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn open_child(&self, name: &Path) -> io::Result<Handle> {
        Handle::open(&self.0.join(name))
    }

    pub(super) fn make_child(&self, name: &Path) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    pub(super) fn remove_child(&self, name: &str) -> io::Result<()> {
        let child = self.0.join(name);
        // While the lock's file is open somewhere they stay, empty for all that we see.
        let _ = fs::remove_file(child.join(LOCK_FILE));
        let _ = fs::remove_dir(child);
        Ok(())
    }

    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            if name != LOCK_FILE {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        let stat = fs::symlink_metadata(self.0.join(name))?;
        Ok(Stat {
            is_file: stat.is_file(),
            is_symlink: stat.is_symlink(),
            mode: if stat.is_dir() { 0o700 } else { 0o600 },
            owner: own_user(),
            size: stat.len(),
            stamp: (stat.len(), stat.modified().ok()),
        })
    }

    pub(super) fn open_file(&self, name: &str, purpose: Purpose) -> io::Result<File> {
        if self.stat(name).is_ok_and(|stat| !stat.is_file) {
            return Err(io::Error::other("not a regular file"));
        }
        let is_log = matches!(purpose, Purpose::Append);
        OpenOptions::new()
            .read(true)
            .write(matches!(purpose, Purpose::Overwrite))
            .append(is_log)
            .create(is_log)
            .open(self.0.join(name))
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(self.0.join(name))
    }

    pub(super) fn rename_from(&self, from: &Handle, old: &str, new: &str) -> io::Result<()> {
        fs::rename(from.0.join(old), self.0.join(new))
    }

    /// A rename would replace the target; a link fails if there is one. Where there are no links,
    /// such as on exFAT, the caller's lock keeps the name free.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match fs::hard_link(self.0.join(from), self.0.join(to)) {
            Ok(()) => self.remove(from),
            Err(_) if self.stat(to).is_err() => self.rename_from(self, from, to),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// This directory once more, and what is locked for it: a file, because a directory cannot be
    /// locked here.
    pub(super) fn open_lock(&self) -> io::Result<(Handle, File)> {
        let lock = self.open_file(LOCK_FILE, Purpose::Append)?;
        Ok((Handle(self.0.clone()), lock))
    }

    pub(super) fn make_private(&self, _: Option<&File>) -> io::Result<()> {
        Ok(())
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

pub(super) fn sync(file: &File) -> io::Result<bool> {
    file.sync_all().map(|()| true)
}

pub(super) fn foreign(_: &Path) -> Option<PathBuf> {
    None
}

pub(super) fn others_can_reach(_: &File) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn own_user() -> u32 {
    0
}

const LOCK_FILE: &str = ".lock";

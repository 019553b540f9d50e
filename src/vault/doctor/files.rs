//! Whose the files are, who can reach them, and what does not belong there.

use std::ptr;

use super::{Check, FIX, Status, fail, note, pass, place, quoted, state_of};
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir};
use crate::vault::audit;
use crate::vault::master::staging;
use crate::vault::store;

pub(super) fn examine(dir: &Dir, root: Option<&Dir>) -> Result<Vec<Check>> {
    let mut modes: Vec<Check> = loose(dir, root)?
        .into_iter()
        .map(|loose| {
            let (place, mode) = (place(loose.dir, &loose.name), loose.mode);
            let kind = if loose.name == "." { "0700" } else { "0600" };
            let barred = loose.barred.and_then(|error| error.hint());
            let chmod = || format!("{FIX}, or: chmod {kind} {}", quoted(&place));
            fail(
                "modes",
                format!("{place} has mode {mode:04o} in place of {kind}"),
                &barred.unwrap_or_else(chmod),
            )
        })
        .collect();
    let (mut owners, mut others) = (Vec::new(), Vec::new());
    for name in dir.names()?.into_iter().chain([".".to_owned()]) {
        if dir
            .look(&name)?
            .is_some_and(|look| look.owner != fs::own_user())
        {
            owners.push(fail(
                "owners",
                format!("{} belongs to another user", place(dir, &name)),
                "chown it to yourself, or remove it",
            ));
        }
        let is_known = [".", staging::NAME].contains(&name.as_str()) || fs::is_temporary(&name);
        if !is_known && !is_ours(&name) {
            others.push(note(
                "other_files",
                format!("{} is not lf's; it is left alone", place(dir, &name)),
            ));
        }
    }
    if modes.is_empty() {
        modes.push(pass(
            "modes",
            "only their owner can reach the directory and the files".to_owned(),
        ));
    }
    if owners.is_empty() {
        owners.push(pass("owners", "everything belongs to this user".to_owned()));
    }
    Ok(modes
        .into_iter()
        .chain(owners)
        .chain(examine_all_temporary(dir, root)?)
        .chain(others)
        .collect())
}

/// Those in the keys directory and in the gateway's.
fn examine_all_temporary(dir: &Dir, root: Option<&Dir>) -> Result<Vec<Check>> {
    let mut checks = examine_temporary(dir)?;
    if let Some(state) = state_of(root) {
        checks.extend(
            examine_temporary(&state)?
                .into_iter()
                .filter(|check| check.status == Status::Fail),
        );
    }
    Ok(checks)
}

fn examine_temporary(dir: &Dir) -> Result<Vec<Check>> {
    let names = |dir: &Dir| -> Result<Vec<String>> {
        Ok(dir
            .names()?
            .into_iter()
            .filter(|name| fs::is_temporary(name))
            .collect())
    };
    let mut left = names(dir)?;
    if !left.is_empty() {
        // One that is in use belongs to the holder of the lock, and is gone when we get it.
        let _lock = dir.lock()?;
        let still = names(dir)?;
        left.retain(|name| still.contains(name));
    }
    if left.is_empty() {
        return Ok(vec![pass("temporary_files", "none left behind".to_owned())]);
    }
    let found = |name: String| {
        fail(
            "temporary_files",
            format!(
                "{} was left behind by a process that was killed",
                place(dir, &name)
            ),
            FIX,
        )
    };
    Ok(left.into_iter().map(found).collect())
}

/// What others can reach, or its owner cannot.
pub(super) struct Loose<'a> {
    pub(super) dir: &'a Dir,
    /// `.` for the directory itself.
    pub(super) name: String,
    pub(super) mode: u32,
    /// Why it has to stay so.
    pub(super) barred: Option<Error>,
}

/// Our files, and the directories themselves, whose mode is not their owner's alone, or not enough
/// for the owner.
pub(super) fn loose<'a>(keys: &'a Dir, root: Option<&'a Dir>) -> Result<Vec<Loose<'a>>> {
    let files = keys.names()?.into_iter().filter(|name| is_ours(name));
    let files = files.map(|name| (keys, name, 0o600));
    let itself = |dir| (dir, ".".to_owned(), 0o700);
    let mut loose = Vec::new();
    for (dir, name, wanted) in files.chain(root.map(itself)).chain([itself(keys)]) {
        let look = dir.look(&name)?.filter(|look| look.is_file || name == ".");
        let Some(mode) = look.map(|look| look.mode) else {
            continue;
        };
        if mode & 0o077 != 0 || mode & wanted != wanted {
            let is_keys = name == "." && ptr::eq(dir, keys);
            let barred = if is_keys {
                store::alone(keys).err()
            } else {
                None
            };
            loose.push(Loose {
                dir,
                name,
                mode,
                barred,
            });
        }
    }
    Ok(loose)
}

fn is_ours(name: &str) -> bool {
    name.ends_with(".json") || [audit::FILE, audit::OLDER].contains(&name)
}

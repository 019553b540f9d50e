//! Whose the files are, who can reach them, what does not belong there, and whether more can be written.

use std::path::Path;

use super::{Check, fail, failed, note, pass, place, quoted};
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir};
use crate::vault::audit;
use crate::vault::files;
use crate::vault::master::staging;

pub(super) fn examine(dir: &Dir, root: Option<&Path>) -> Result<Vec<Check>> {
    let root = open(root);
    let modes = loose(dir, root.as_ref())?.into_iter().map(|loose| {
        let (place, mode) = (place(loose.dir, &loose.name), loose.mode);
        let kind = if loose.name == "." { "0700" } else { "0600" };
        let barred = loose.barred.and_then(|error| error.hint());
        let chmod = || format!("{FIX}, or: chmod {kind} {}", quoted(&place));
        fail(
            "modes",
            format!("{place} has mode {mode:04o} in place of {kind}"),
            &barred.unwrap_or_else(chmod),
        )
    });
    let modes: Vec<Check> = modes.collect();
    let (mut owners, mut others) = (Vec::new(), Vec::new());
    for name in dir.names()?.into_iter().chain([".".to_owned()]) {
        let look = dir.look(&name)?;
        if look.is_some_and(|look| look.owner != fs::own_user()) {
            owners.push(fail(
                "owners",
                format!("{} belongs to another user", place(dir, &name)),
                "chown it to yourself, or remove it",
            ));
        }
        let is_known = [".", staging::NAME, files::UNREADABLE].contains(&name.as_str())
            || fs::is_temporary(&name);
        if !is_known && !is_ours(&name) {
            let message = format!("{} is not lf's; it is left alone", place(dir, &name));
            others.push(note("other_files", message));
        }
    }
    let mut left = Vec::new();
    for dir in [Some(dir), state_of(root.as_ref()).as_ref()]
        .into_iter()
        .flatten()
    {
        for name in stale(dir)? {
            let place = place(dir, &name);
            let message = format!("{place} was left behind by a process that was killed");
            left.push(fail("temporary_files", message, FIX));
        }
    }
    let mut checks = or_pass(
        modes,
        "modes",
        "only their owner can reach the directory and the files",
    );
    checks.extend(or_pass(owners, "owners", "everything belongs to this user"));
    checks.extend(or_pass(left, "temporary_files", "none left behind"));
    checks.extend(others);
    checks.push(examine_space(dir));
    checks.push(examine_audit_log(dir));
    Ok(checks)
}

fn or_pass(found: Vec<Check>, id: &'static str, message: &str) -> Vec<Check> {
    if found.is_empty() {
        vec![pass(id, message.to_owned())]
    } else {
        found
    }
}

fn examine_space(dir: &Dir) -> Check {
    let path = dir.path().display();
    if dir.is_full() {
        let message = format!("the file system of {path} is full; nothing can be stored");
        fail("writable", message, "make room on it")
    } else if dir.can_append(".") {
        pass("writable", format!("{path} can be written"))
    } else {
        let chmod = format!("chmod 0700 {}", quoted(&place(dir, ".")));
        fail(
            "writable",
            format!("{path} cannot be written; nothing can be stored"),
            &format!("{chmod}, if it is on a file system that can be written"),
        )
    }
}

fn examine_audit_log(dir: &Dir) -> Check {
    for name in LOGS {
        let path = place(dir, name);
        match dir.look(name) {
            Ok(Some(look)) if !look.is_file => {
                let message = format!("{path} is not a regular file; nothing is logged");
                let hint = format!("look at it, and then: rm {}", quoted(&path));
                return fail("audit_log", message, &hint);
            }
            Ok(_) if name == audit::FILE && !dir.can_append(name) => {
                let message = format!("{path} cannot be written; nothing is logged");
                return fail(
                    "audit_log",
                    message,
                    &format!("chmod 600 {}", quoted(&path)),
                );
            }
            Ok(_) => {}
            Err(error) => return failed("audit_log", &error),
        }
    }
    pass("audit_log", "it can be written".to_owned())
}

/// Mends modes and removes temporary files. An error is what kept it from looking any further.
pub(super) fn fix(keys: &Dir, root: Option<&Path>, done: &mut Vec<Result<String>>) -> Result<()> {
    let root = open(root);
    for loose in loose(keys, root.as_ref())? {
        let (place, mode) = (place(loose.dir, &loose.name), loose.mode);
        let barred = loose.barred.map_or(Ok(()), Err);
        let tightened = barred.and_then(|()| loose.dir.tighten(&loose.name));
        let sentence = format!("{place} had mode {mode:04o}; now only its owner can reach it");
        done.push(tightened.map(|()| sentence));
    }
    let state = state_of(root.as_ref());
    for dir in [Some(keys), state.as_ref()].into_iter().flatten() {
        let dir = dir.lock()?;
        for name in temporary(&dir)? {
            let place = place(&dir, &name);
            let sentence = format!("{place} was left behind by a process that was killed; removed");
            done.push(dir.remove(&name).map(|_| sentence));
        }
    }
    Ok(())
}

/// Temporary files that nobody uses.
fn stale(dir: &Dir) -> Result<Vec<String>> {
    let mut left = temporary(dir)?;
    if !left.is_empty() {
        // One that is in use belongs to the holder of the lock, and is gone when we get it.
        let _lock = dir.lock()?;
        let still = temporary(dir)?;
        left.retain(|name| still.contains(name));
    }
    Ok(left)
}

fn temporary(dir: &Dir) -> Result<Vec<String>> {
    let mut names = dir.names()?;
    names.retain(|name| fs::is_temporary(name));
    Ok(names)
}

/// What others can reach, or its owner cannot.
struct Loose<'a> {
    dir: &'a Dir,
    /// `.` for the directory itself.
    name: String,
    mode: u32,
    /// Why it has to stay so.
    barred: Option<Error>,
}

/// Our files, and the directories themselves, whose mode is not their owner's alone, or not enough
/// for the owner.
fn loose<'a>(keys: &'a Dir, root: Option<&'a Dir>) -> Result<Vec<Loose<'a>>> {
    let names = keys.names()?.into_iter().filter(|name| is_ours(name));
    let files = names.map(|name| (keys, name));
    let directories = root.into_iter().chain([keys]);
    let mut loose = Vec::new();
    for (dir, name) in files.chain(directories.map(|dir| (dir, ".".to_owned()))) {
        let (is_dir, wanted) = match name.as_str() {
            "." => (true, 0o700),
            _ => (false, 0o600),
        };
        let look = dir.look(&name)?.filter(|look| look.is_file || is_dir);
        let Some(mode) = look.map(|look| look.mode) else {
            continue;
        };
        if mode & 0o077 != 0 || mode & wanted != wanted {
            let is_keys = is_dir && dir.path() == keys.path();
            let barred = is_keys.then(|| files::alone(keys).err()).flatten();
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

fn open(root: Option<&Path>) -> Option<Dir> {
    Dir::open(root?).ok().flatten()
}

/// The gateway's own directory, if it is there.
fn state_of(root: Option<&Dir>) -> Option<Dir> {
    open(Some(&root?.path().join("gateway")))
}

fn is_ours(name: &str) -> bool {
    name.ends_with(".json") || LOGS.contains(&name)
}

const LOGS: [&str; 2] = [audit::FILE, audit::OLDER];
const FIX: &str = "lf keys doctor --fix";

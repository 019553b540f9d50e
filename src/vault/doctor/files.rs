//! Whose the files are, who can reach them, what does not belong there, and whether more can be written.

use std::path::Path;

use super::{Check, fail, failed, note, pass, pass_unless_found, place, quoted};
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir};
use crate::vault::{audit, files, history, master::staging};

pub(super) fn examine(dir: &Dir, root: Option<&Path>, checks: &mut Vec<Check>) -> Result<()> {
    let root = open(root);
    for loose in loose(dir, root.as_ref())? {
        let (place, mode, wanted) = (place(loose.dir, &loose.name), loose.mode, loose.wanted);
        let mut chmod = format!("{FIX}, or: chmod {wanted:04o} {}", quoted(&place));
        let mut message = format!("{place} has mode {mode:04o} instead of {wanted:04o}");
        if cfg!(windows) {
            (message, chmod) =
                (format!("the access list of {place} lets other users in"), FIX.to_owned());
        }
        let hint = loose.barred.and_then(|error| error.hint()).unwrap_or(chmod);
        checks.push(fail("modes", message, &hint));
    }
    let message = "only their owner can reach the directory and the files";
    pass_unless_found(checks, "modes", message);
    let mut others = Vec::new();
    for name in dir.names()?.into_iter().chain([".".to_owned()]) {
        checks.extend(dir.check_owner(&name).err().map(|error| failed("owners", &error)));
        let places = [".", staging::NAME, files::UNREADABLE, files::REPLACED];
        let is_known = places.contains(&name.as_str())
            || fs::is_temporary(&name)
            || files::may_be_copy(&name)
            || files::is_left_over(dir, &name);
        if !is_known && !is_ours(&name) {
            let message = format!("{} is not a file of lf", place(dir, &name));
            others.push(note("other_files", message));
        }
    }
    pass_unless_found(checks, "owners", "all files belong to the owner of the directory");
    for dir in [Some(dir), state_of(root.as_ref()).as_ref()].into_iter().flatten() {
        for name in stale(dir)? {
            let place = place(dir, &name);
            let message = format!("a process that was killed left {place} behind");
            checks.push(fail("temporary_files", message, FIX));
        }
    }
    pass_unless_found(checks, "temporary_files", "there are none");
    checks.extend(others);
    checks.push(examine_space(dir));
    checks.extend(examine_place(dir));
    checks.push(examine_audit_log(dir));
    Ok(())
}

/// Makes a file, because modes tell nothing of a disk that is full or of a file system that
/// refuses.
fn examine_space(dir: &Dir) -> Check {
    let path = place(dir, ".");
    let system = dir.file_system();
    let on = system.map(|name| format!("; its file system is {name}")).unwrap_or_default();
    match dir.lock().and_then(|dir| dir.probe()) {
        Ok(true) => pass("writable", format!("lf can write to {path}{on}")),
        Ok(false) => note("writable", format!("lf can write to {path}, but {UNSYNCED}{on}")),
        Err(error) => {
            let hint = match &error {
                Error::Permission(..) => format!("chmod 0700 {}", quoted(&path)),
                error => error.hint().unwrap_or_else(|| NO_ROOM.to_owned()),
            };
            fail("writable", format!("lf can store nothing: {error}"), &hint)
        }
    }
}

/// Is it where a program copies everything to other machines?
fn examine_place(dir: &Dir) -> Option<Check> {
    let real = fs::real(dir.path()).display().to_string().replace('\\', "/");
    let is_in = |folder: &&&str| real.contains(&format!("/{folder}"));
    let folder = SYNCED.iter().find(is_in)?.trim_end_matches('/');
    let copies = "anyone who has a copy and the passphrase has the keys, and older copies stay; lf keys restore takes in conflict copies";
    Some(note("place", format!("{real} lies in {folder}, which is synced: {copies}")))
}

fn examine_audit_log(dir: &Dir) -> Check {
    for name in LOGS {
        let path = place(dir, name);
        let (problem, repair) = match dir.check_owner(name).and_then(|()| dir.stat(name)) {
            Err(error) => return failed("audit_log", &error),
            Ok(Some(stat)) if !stat.is_file => ("is not a regular file", "look at it; then rm"),
            Ok(_) if name == audit::FILE && !dir.can_append(name) => {
                ("cannot be written", "chmod 600")
            }
            Ok(_) => continue,
        };
        let message = format!("{path} {problem}; lf logs nothing");
        return fail("audit_log", message, &format!("{repair} {}", quoted(&path)));
    }
    pass("audit_log", "lf can write to it")
}

/// Mends modes and removes temporary files. An error is what kept it from looking any further.
pub(super) fn fix(keys: &Dir, root: Option<&Path>, done: &mut Vec<Result<String>>) -> Result<()> {
    let root = open(root);
    for loose in loose(keys, root.as_ref())? {
        let (place, mode) = (place(loose.dir, &loose.name), loose.mode);
        let barred = loose.barred.map_or(Ok(()), Err);
        let tightened = barred.and_then(|()| loose.dir.make_private(&loose.name));
        done.push(tightened.and_then(|is_private| match is_private {
            true => Ok(format!("{place} had {}; now only its owner can reach it", fs::mode(mode))),
            false => Err(Error::refused(format!("{place} {KEEPS_NO_MODES}"), "")),
        }));
    }
    for dir in [Some(keys), state_of(root.as_ref()).as_ref()].into_iter().flatten() {
        let dir = dir.lock()?;
        for name in temporary(&dir)? {
            let place = place(&dir, &name);
            let sentence = format!("a process that was killed left {place} behind; removed");
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
    names.retain(|name| fs::is_temporary(name) || files::is_left_over(dir, name));
    Ok(names)
}

/// What others can reach, or its owner cannot.
struct Loose<'a> {
    dir: &'a Dir,
    /// `.` for the directory itself.
    name: String,
    mode: u32,
    wanted: u32,
    /// Why it has to stay so.
    barred: Option<Error>,
}

/// Our files, and the directories themselves, whose mode is not their owner's alone, or not enough
/// for the owner.
fn loose<'a>(keys: &'a Dir, root: Option<&'a Dir>) -> Result<Vec<Loose<'a>>> {
    let names = keys.names()?.into_iter().filter(|name| is_ours(name));
    let files = names.map(|name| (keys, name, 0o600));
    let directories = root.into_iter().chain([keys]).map(|dir| (dir, ".".to_owned(), 0o700));
    let mut loose = Vec::new();
    for (dir, name, wanted) in files.chain(directories) {
        let is_dir = name == ".";
        let stat = dir.stat(&name)?.filter(|stat| stat.is_file || is_dir);
        if let Some(mode) = stat.map(|stat| stat.mode)
            && (mode & 0o077 != 0 || mode & wanted != wanted)
            && dir.check_owner(&name).is_ok()
        {
            let is_keys = is_dir && dir.path() == keys.path();
            let barred = is_keys.then(|| files::alone(keys).err()).flatten();
            loose.push(Loose { dir, name, mode, wanted, barred });
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

/// What is to say where a mode was changed and is as it was.
pub(crate) const KEEPS_NO_MODES: &str = "can still be reached by other users, because its file system keeps no modes; mount it with umask=077, or set LENSERFIGHT_RUNTIME_DIR to another directory";
const UNSYNCED: &str = "its file system cannot sync it: a power cut may undo the last change";
const NO_ROOM: &str = "free space on its file system, or mount it writable";
/// How the folders begin that are synced: by iCloud Drive, by others on macOS, by the programs of these names.
const SYNCED: [&str; 6] = [
    "Library/Mobile Documents/",
    "Library/CloudStorage/",
    "Dropbox/",
    "OneDrive",
    "Google Drive/",
    "Nextcloud/",
];
const LOGS: [&str; 3] = [audit::FILE, history::OLDER, history::OLDEST];
const FIX: &str = "lf keys doctor --fix";

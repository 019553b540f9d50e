//! What the store stands on: the file system, the clock, the audit log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Check, fail, failed, note, pass, place, quoted};
use crate::base::time::Timestamp;
use crate::system::fs::Dir;
use crate::vault::audit;
use crate::vault::key::KeyMeta;

pub(super) fn examine(dir: &Dir, envelopes: &[KeyMeta], now: Timestamp) -> Vec<Check> {
    vec![
        examine_space(dir),
        examine_place(dir),
        examine_clock(envelopes, now),
        examine_audit_log(dir),
    ]
}

/// Somebody else's copies of the directory bring old keys back, and locks may not hold on a network.
fn examine_place(dir: &Dir) -> Check {
    const MOVE: &str = "move the directory to a local disk, and name it in LENSERFIGHT_KEYS_DIR";
    let path = dir.path().display();
    let is_network = |kind: &&str| NETWORK.contains(kind) || kind.starts_with("fuse.rclone");
    let file_system = dir.file_system();
    if let Some(kind) = file_system.as_deref().filter(is_network) {
        let message = format!(
            "{path} is on a network file system ({kind}), where locks may not hold and a sync may not last"
        );
        return fail("place", message, MOVE);
    }
    if let Some(folder) = synced_folder(dir) {
        let message = format!(
            "{path} is in the synced folder {}, which keeps copies elsewhere and may bring old ones back",
            folder.display()
        );
        return fail("place", message, MOVE);
    }
    match file_system {
        Some(_) => pass("place", format!("{path} is on a local disk")),
        None => note(
            "place",
            format!("the system does not say whether {path} is on a local disk"),
        ),
    }
}

/// The folder above that some program keeps in step with copies elsewhere, as far as names tell.
fn synced_folder(dir: &Dir) -> Option<PathBuf> {
    let is_synced = |folder: &&Path| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let is_known = |known: &str| {
            let rest = name.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '-']))
        };
        let has_mark = || {
            let folder = Dir::open(folder).ok().flatten();
            folder.is_some_and(|folder| matches!(folder.look(".stfolder"), Ok(Some(_))))
        };
        SYNCED.iter().any(|known| is_known(known)) || has_mark()
    };
    let real = dir.real_path()?;
    real.ancestors().find(is_synced).map(Path::to_owned)
}

/// There is no other clock to ask; but time does not go back, and this was not written yesterday.
fn examine_clock(envelopes: &[KeyMeta], now: Timestamp) -> Check {
    const SET: &str = "set it: timedatectl set-ntp true";
    let newest = envelopes.iter().max_by_key(|key| key.created_at);
    match newest {
        Some(key) if key.created_at > now.after(SLACK) => {
            let (id, then) = (&key.id, key.created_at);
            fail(
                "clock",
                format!("this machine's clock says {now}, and the key {id} is from {then}"),
                &format!(
                    "{SET}; or, if the key's date is what is wrong, add its value anew and: lf keys remove -- {id}"
                ),
            )
        }
        _ if !(OLDEST..LATEST).contains(&now.seconds()) => {
            fail("clock", format!("this machine's clock says {now}"), SET)
        }
        _ => pass("clock", format!("{now}, and no key is from later")),
    }
}

fn examine_space(dir: &Dir) -> Check {
    let path = dir.path().display();
    if dir.is_full() {
        return fail(
            "writable",
            format!("the file system of {path} is full; nothing can be stored"),
            "make room on it",
        );
    }
    if !dir.can_append(".") {
        return fail(
            "writable",
            format!("{path} cannot be written; nothing can be stored"),
            &format!(
                "chmod 0700 {}, if it is on a file system that can be written",
                quoted(&place(dir, "."))
            ),
        );
    }
    pass("writable", format!("{path} can be written"))
}

fn examine_audit_log(dir: &Dir) -> Check {
    for name in [audit::FILE, audit::OLDER] {
        match dir.look(name) {
            Ok(Some(look)) if !look.is_file => {
                let path = place(dir, name);
                return fail(
                    "audit_log",
                    format!("{path} is not a regular file; nothing is logged"),
                    &format!("look at it, and then: rm {}", quoted(&path)),
                );
            }
            Ok(_) => {}
            Err(error) => return failed("audit_log", &error),
        }
    }
    if dir.can_append(audit::FILE) {
        pass("audit_log", "it can be written".to_owned())
    } else {
        let path = place(dir, audit::FILE);
        fail(
            "audit_log",
            format!("{path} cannot be written; nothing is logged"),
            &format!("chmod 600 {}", quoted(&path)),
        )
    }
}

const NETWORK: [&str; 17] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "ceph",
    "coda",
    "lustre",
    "glusterfs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.glusterfs",
    "fuse.davfs2",
    "davfs",
    "fuse.gvfsd-fuse",
];
/// Folders of Dropbox, OneDrive, Google Drive, iCloud and others; Syncthing leaves a mark inside.
const SYNCED: [&str; 12] = [
    "Dropbox",
    "OneDrive",
    "Google Drive",
    "GoogleDrive",
    "iCloud Drive",
    "Mobile Documents",
    "CloudStorage",
    "Nextcloud",
    "ownCloud",
    "pCloudDrive",
    "MEGA",
    "MEGAsync",
];
const SLACK: Duration = Duration::from_secs(3600);
/// 2026-01-01 and 2100-01-01, in seconds since 1970.
const OLDEST: u64 = 1_767_225_600;
const LATEST: u64 = 4_102_444_800;

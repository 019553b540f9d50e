//! `lf keys backup` and `restore`: all keys as one file, encrypted as they are.

use std::collections::BTreeSet;
use std::path::Path;

use crate::base::pool;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::fs::{self, Publish};
use crate::system::host;
use crate::vault::archive;
use crate::vault::audit::Kind;
use crate::vault::envelope::Envelope;
use crate::vault::key::KeyId;
use crate::vault::master::source::Master;
use crate::vault::store::Copy;

use super::{Context, all_of};

/// What becomes of a key that is there already, and is not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Keep,
    Overwrite,
}

pub(super) fn backup(context: &Context<'_>, path: &Path, publish: Publish) -> Result<()> {
    if fs::is_below(path, context.store.path()) {
        return Err(Error::usage(
            "a backup among the keys would be taken for one of them; name another place",
        ));
    }
    context.settle()?;
    let (copies, unreadable) = context.store.copy()?;
    context.warn_unreadable(&unreadable);
    let (count, total) = (copies.len(), copies.len() + unreadable.len());
    let entries: Vec<archive::Entry> = copies
        .into_iter()
        .map(|copy| (copy.id.file_name(), copy.bytes))
        .collect();
    let bytes = archive::print(&entries, Timestamp::now().seconds());
    fs::write_named(path, &bytes, publish).map_err(|error| match error {
        Error::DuplicateKey(_) => Error::Refused {
            sentence: format!("{} exists already, and was not overwritten", path.display()),
            hint: "another name, or --force".to_owned(),
        },
        error => error,
    })?;
    host::print(&format!(
        "{count} of {total} keys are in {}, encrypted as they are; only their master passphrase opens them\n",
        path.display()
    ))?;
    all_of(total, count)
}

pub(super) fn restore(context: &Context<'_>, path: &Path, existing: Existing) -> Result<()> {
    context.settle()?;
    let copies = read(path)?;
    let total = copies.len();
    let (here, _) = context.store.copy()?;
    let before = |id: &KeyId| here.iter().find(|copy| copy.id == *id);
    let (same, other): (Vec<Copy>, Vec<Copy>) = copies
        .into_iter()
        .partition(|copy| before(&copy.id).is_some_and(|here| here.bytes == copy.bytes));
    let (changed, new): (Vec<Copy>, Vec<Copy>) = other
        .into_iter()
        .partition(|copy| context.has_file(&copy.id));
    if existing == Existing::Refuse && !changed.is_empty() {
        let names: Vec<&str> = changed.iter().map(|copy| copy.id.as_str()).collect();
        return Err(Error::Refused {
            sentence: format!(
                "{} of the keys in {} are here already, and not the same: {}; nothing was changed",
                changed.len(),
                path.display(),
                names.join(", ")
            ),
            hint: "--missing restores only what is not here; --force puts the backup's keys in place of these".to_owned(),
        });
    }
    let kept = if existing == Existing::Keep {
        changed.len()
    } else {
        0
    };
    let mut restored = new;
    if existing == Existing::Overwrite {
        restored.extend(changed);
    }
    let master = try_on(context, path, &restored, !here.is_empty())?;
    context.store.restore(&restored, &here, master.as_ref())?;
    for copy in &restored {
        let kind = if before(&copy.id).is_some() {
            Kind::Update
        } else {
            Kind::Add
        };
        context.audit(kind, "keys restore", Some(&copy.id), None);
    }
    let mut said = format!("{} of {total} keys are restored", restored.len());
    if !same.is_empty() {
        said.push_str(&format!("; {} are here as they were", same.len()));
    }
    if kept > 0 {
        said.push_str(&format!(
            "; {kept} are here and not the same, and were left alone"
        ));
    }
    host::print(&(said + "\n"))
}

fn read(path: &Path) -> Result<Vec<Copy>> {
    let corrupt = |reason: String| Error::CorruptBackup {
        file: path.to_owned(),
        reason,
    };
    let bytes = fs::read_named(path, MAX)?;
    if bytes.len() > MAX {
        return Err(corrupt("it is larger than 1 GiB".to_owned()));
    }
    let copy = |(name, bytes): archive::Entry| {
        let id = KeyId::from_file_name(&name);
        let id = id.ok_or_else(|| corrupt("it has files that are not keys".to_owned()))?;
        Envelope::parse(&bytes, &id).map_err(|error| corrupt(error.to_string()))?;
        Ok(Copy { id, bytes })
    };
    let entries = archive::parse(&bytes).map_err(corrupt)?;
    let copies = entries.into_iter().map(copy).collect::<Result<Vec<_>>>()?;
    let ids: BTreeSet<&str> = copies.iter().map(|copy| copy.id.as_str()).collect();
    if ids.len() < copies.len() {
        return Err(corrupt("it has one key twice".to_owned()));
    }
    Ok(copies)
}

/// Keys that nobody can open are not put among those that open. In an empty store they are welcome:
/// whoever begins with a backup brings its passphrase next.
fn try_on<'a>(
    context: &'a Context<'_>,
    path: &Path,
    copies: &[Copy],
    has_keys: bool,
) -> Result<Option<Master>> {
    let master = match context.settled_master() {
        Ok(master) => master,
        Err(error @ (Error::PassphraseMissing | Error::KeychainUnavailable(_))) => {
            context.warn(UNTRIED, &error);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let opens = |copy: &Copy| {
        let envelope = Envelope::parse(&copy.bytes, &copy.id);
        let open = |envelope: Envelope| master.open(|passphrase| envelope.open(passphrase));
        envelope.and_then(open).is_ok()
    };
    let opened = pool::each(copies, opens, |done| {
        context.progress("checking", done, copies.len());
    });
    let shut = opened.into_iter().filter(|opens| !opens).count();
    let sentence = format!(
        "{shut} of the keys in {} do not open with the master passphrase from {}",
        path.display(),
        master.origin()
    );
    match shut {
        0 => Ok(Some(master)),
        _ if has_keys => Err(Error::Refused {
            sentence: format!("{sentence}; nothing was changed"),
            hint: "restore them beside this store: set LENSERFIGHT_KEYS_DIR to a new directory, and their passphrase with LENSERFIGHT_KEYS_PASSPHRASE_FILE and LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1".to_owned(),
        }),
        _ => {
            let error = Error::PassphraseMissing;
            context.warn(&format!("{sentence}; bring theirs: lf keys recovery import"), &error);
            Ok(Some(master))
        }
    }
}

const UNTRIED: &str = "no master passphrase is at hand, so the keys were not tried; bring it (lf keys recovery import), and then: lf keys doctor";
const MAX: usize = 1024 * 1024 * 1024;

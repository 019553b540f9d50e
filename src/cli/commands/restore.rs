//! `lf keys restore DIR`: adds the keys that are missing here from a copy of a keys directory.

use std::io::ErrorKind;
use std::path::Path;

use crate::base::pool;
use crate::base::shell::quote;
use crate::error::{Error, Result};
use crate::system::fs;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::envelope;
use crate::vault::files::KeyFile;
use crate::vault::master::source::Master;
use crate::vault::store::Store;

use super::{Context, all_of};

pub(super) fn run(context: &Context<'_>, path: &Path) -> Result<()> {
    context.settle()?;
    let no_copy = |why: &str| {
        let path = path.display();
        Error::usage(format!("{path} is not a copy of a keys directory: {why}"))
    };
    // The directory, wherever links lead.
    let from = match fs::open_named(path) {
        Ok(dir) => dir.ok_or_else(|| no_copy("there is no such directory"))?,
        Err(Error::Io(_, _, source)) if source.kind() == ErrorKind::NotADirectory => {
            return Err(no_copy("it is a file"));
        }
        Err(error) => return Err(error),
    };
    let (copies, unreadable) = Store::at(from.path().to_owned()).read_all()?;
    context.warn_unreadable(&unreadable);
    if copies.is_empty() {
        return Err(no_copy("there are no keys in it"));
    }
    let total = copies.len() + unreadable.len();
    let (mut missing, mut same, mut other) = (Vec::new(), 0, 0);
    let dir = context.store.dir()?;
    for copy in copies {
        let id = &copy.envelope.meta.id;
        let dir = dir.as_ref();
        let here = dir.map(|dir| dir.read(&id.file_name(), envelope::MAX_FILE));
        match here.unwrap_or(Ok(None)) {
            Ok(None) => missing.push(copy),
            Ok(Some(bytes)) if bytes == copy.bytes => same += 1,
            // Also what cannot be read is not overwritten.
            Ok(Some(_)) | Err(_) => {
                other += 1;
                let path = quote(&path.to_string_lossy(), None);
                context.warn(
                    &format!("{id} is here too, differs, and was left as it is; to see the copy's value: LENSERFIGHT_KEYS_DIR={path} lf keys export --i-understand -- {id}"),
                    &Error::DuplicateKey(id.to_string()),
                );
            }
        }
    }
    let master = match (!missing.is_empty()).then(|| context.settled_master()) {
        None => None,
        Some(Err(error @ (Error::PassphraseMissing | Error::KeychainUnavailable(_)))) => {
            context.warn(UNTRIED, &error);
            None
        }
        Some(master) => Some(master?),
    };
    let (restored, shut) = match &master {
        Some(master) => try_open(context, path, missing, master)?,
        None => (missing, 0),
    };
    if !restored.is_empty() {
        context.store.restore(&restored, master.as_ref())?;
    }
    for copy in &restored {
        let id = &copy.envelope.meta.id;
        context.audit(Kind::Add, "keys restore", Some(id), None);
    }
    let but = |count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("; {what}: {count}"),
    };
    host::print(&format!(
        "restored {} of {total} keys{}{}\n",
        restored.len(),
        but(same, "already here"),
        but(other, "here with another value, and left as it is"),
    ))?;
    all_of(total, total - unreadable.len() - shut)
}

/// The keys to restore, and the number of the others. Keys that do not open are not put among those
/// that do. In an empty store they are welcome: their passphrase is brought next.
fn try_open(
    context: &Context<'_>,
    path: &Path,
    copies: Vec<KeyFile>,
    master: &Master,
) -> Result<(Vec<KeyFile>, usize)> {
    let total = copies.len();
    let opens = |copy: &KeyFile| master.open(|it| copy.envelope.open(it)).is_ok();
    let opened = pool::each(&copies, opens, |done| {
        context.progress("checking", done, total);
    });
    let shut = opened.iter().filter(|opens| !**opens).count();
    let sentence = format!(
        "{shut} of the keys in {} do not open with the master passphrase from {}",
        path.display(),
        master.origin()
    );
    if shut > 0 && context.store.list()?.keys.is_empty() {
        let sentence = format!("{sentence}; bring theirs: lf keys recovery import");
        context.warn(&sentence, &Error::PassphraseMissing);
        return Ok((copies, 0));
    }
    let mut good = Vec::new();
    for (copy, opens) in copies.into_iter().zip(opened) {
        if opens {
            good.push(copy);
        } else {
            let meta = copy.envelope.meta;
            let error = Error::DecryptionFailed(meta.id.file_name());
            context.warn(&format!("not restored: {meta}: {error}"), &error);
        }
    }
    if good.is_empty() && shut > 0 {
        return Err(Error::Refused {
            sentence: format!("{sentence}; nothing was changed"),
            hint: "restore them beside this store: set LENSERFIGHT_KEYS_DIR to a new directory, and their passphrase with LENSERFIGHT_KEYS_PASSPHRASE_FILE and LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1".to_owned(),
        });
    }
    Ok((good, shut))
}

const UNTRIED: &str = "no master passphrase is at hand, so the keys were not tried; bring it (lf keys recovery import), and then: lf keys doctor";

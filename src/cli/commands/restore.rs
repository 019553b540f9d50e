//! `lf keys restore DIR|FILE…`: adds what is missing here from copies of a keys directory or of
//! single keys. Whatever name a copy has, it is one of the key that its meta.id names.
//!
//! Nothing is overwritten, and no value is lost: one that is not the value of the key here becomes
//! a key of its own. A copy in the store itself is removed once its value is in a key, and no other
//! copy is.
//! (tests/filesystems.rs: `what_programs_make_of_two_versions_becomes_two_keys_or_one`)

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use crate::base::{Secret, pool, shown, text::count};
use crate::system::{fs, host};
use crate::vault::{Envelope, KeyFile, KeyId, KeyMeta, Label, envelope, files};

use super::{Context, Error, Kind, Result, all_of};

/// A copy of a key.
struct Copy {
    file: KeyFile,
    /// Its name, if it is one under another name in the store itself.
    stray: Option<String>,
}

pub(super) fn run(context: &Context, paths: &[String]) -> Result<()> {
    context.settle()?;
    let (mut copies, mut failed) = (Vec::new(), 0);
    for path in paths {
        failed += gather(context, path, &mut copies)?;
    }
    let total = copies.len() + failed;
    let (here, _) = context.store.read_all()?;
    let ids = context.store.dir()?.map_or(Ok(Vec::new()), |dir| files::ids(&dir))?;
    let mut ids: HashSet<KeyId> = ids.into_iter().collect();
    let known: HashSet<&[u8]> = here.iter().map(|key| &key.bytes[..]).collect();
    let is_known = |copy: &Copy| known.contains(&copy.file.bytes[..]);
    let master = match (!copies.iter().all(is_known)).then(|| context.settled_master()) {
        Some(Err(error @ (Error::PassphraseMissing | Error::KeychainUnavailable(_)))) => {
            context.warn(UNTRIED, &error);
            None
        }
        master => master.transpose()?,
    };
    let other_value = |copy: &Copy| -> Result<Option<Secret>> {
        let KeyFile { envelope, .. } = &copy.file;
        let master = match &master {
            _ if is_known(copy) => return Ok(None),
            master => master.as_ref().ok_or(Error::PassphraseMissing)?,
        };
        let value = master.open(|passphrase| envelope.open(passphrase))?;
        let is_second =
            |it: &&KeyMeta| it.is_named(&envelope.meta.provider, &label_of(&envelope.meta));
        let has_it = |id: &KeyId| context.store.resolve(id, master).is_ok_and(|it| it.same(&value));
        let mut seconds = here.iter().map(|key| &key.envelope.meta).filter(is_second);
        let id = &envelope.meta.id;
        let is_here = ids.contains(id) && (has_it(id) || seconds.any(|second| has_it(&second.id)));
        Ok((!is_here).then_some(value))
    };
    let opened = pool::each(&copies, other_value, &context.progress("checking"));
    let shut = opened.iter().filter(|opened| opened.is_err()).count();
    // In an empty store, keys that do not open are welcome. They are not put among others that do.
    let takes_all = here.is_empty() || master.is_none();
    let (mut restored, mut seconds, mut same) = (0, Vec::new(), 0);
    let (mut files, mut done) = (Vec::new(), Vec::new());
    let mut kept = HashMap::<KeyId, Vec<Secret>>::new();
    for (copy, opened) in copies.iter().zip(opened) {
        let (mut file, meta) = (copy.file.clone(), &copy.file.envelope.meta);
        let is_new = !ids.contains(&meta.id);
        match opened {
            Ok(value) => {
                done.push(copy);
                let values = kept.entry(meta.id.clone()).or_default();
                let Some(value) = value.filter(|value| !values.iter().any(|it| it.same(value)))
                else {
                    same += 1;
                    continue;
                };
                values.push(value);
            }
            Err(_) if is_new && takes_all => {}
            Err(error) => {
                context.warn(&format!("not restored: {meta}: {error}"), &error);
                failed += 1;
                continue;
            }
        }
        if is_new {
            restored += 1;
            ids.insert(meta.id.clone());
        } else {
            // What is encrypted stays as it is; the rest is under no passphrase.
            (file.envelope.meta.id, file.envelope.meta.label) = (KeyId::mint()?, label_of(meta));
            file.bytes = file.envelope.print().into_bytes();
            let second = &file.envelope.meta;
            seconds.push(format!("a copy of {meta} has another value, which is now {second}\n"));
        }
        files.push(file);
    }
    if let Some(master) = master.as_ref().filter(|_| shut > 0) {
        let (place, origin) = (paths.join(", "), &master.origin);
        let sentence = format!(
            "the master passphrase from {origin} does not open {shut} of the keys in {place}"
        );
        if takes_all {
            let sentence = format!("{sentence}; bring their passphrase: lf keys recovery import");
            context.warn(&sentence, &Error::PassphraseMissing);
        } else if done.is_empty() {
            return Err(Error::refused(format!("{sentence}; nothing was changed"), BESIDE));
        }
    }
    if !files.is_empty() {
        context.store.restore(&files, master.as_ref())?;
    }
    for file in &files {
        context.audit(Kind::Add, Some(&file.envelope.meta.id), None);
    }
    host::eprint(&seconds.concat());
    for (copy, name) in done.iter().filter_map(|copy| Some((copy, copy.stray.as_ref()?))) {
        if context.store.drop_copy(name, &copy.file)? {
            let meta = &copy.file.envelope.meta;
            host::eprint(&format!("removed the file {}, a copy of {meta}\n", shown(name)));
        }
    }
    let but = |count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("; {what}: {count}"),
    };
    host::print(&format!(
        "restored {restored} of {}{}{}\n",
        count(total, "key"),
        but(same, "already here"),
        but(seconds.len(), "here with another value, now a second key"),
    ))?;
    all_of(total, total - failed)
}

/// The copies that a path leads to, and how many files there cannot be read as one.
fn gather(context: &Context, path: &str, copies: &mut Vec<Copy>) -> Result<usize> {
    let no_copy = |why: &str| Error::usage(format!("{path} is not a copy of keys: {why}"));
    let (path, store) = (Path::new(path), context.store.path());
    // Wherever links lead.
    let (found, unreadable, is_store) = match fs::open_named(path) {
        Err(Error::Io(_, _, error)) if error.kind() == ErrorKind::NotADirectory => {
            let (bytes, _) = fs::read_exposed(path, envelope::MAX_FILE)?;
            let envelope = Envelope::parse_any(&bytes).map_err(no_copy)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (vec![(name, KeyFile { envelope, bytes })], Vec::new(), fs::is_below(path, store))
        }
        dir => {
            let dir = dir?.ok_or_else(|| no_copy("it does not exist"))?;
            let (found, unreadable) = files::read_files(&dir)?;
            (found, unreadable, fs::is_below(&path.join("file"), store))
        }
    };
    context.warn_unreadable(&unreadable);
    if found.is_empty() {
        return Err(no_copy("it has no keys"));
    }
    copies.extend(found.into_iter().map(|(name, file)| {
        let is_stray = is_store && name != file.envelope.meta.id.file_name();
        Copy { file, stray: is_stray.then_some(name) }
    }));
    Ok(unreadable.len())
}

/// The label of the key that is made of a copy with another value.
fn label_of(meta: &KeyMeta) -> Label {
    meta.label.with_end(&format!(" (copy of {})", meta.id.as_str().split_at(8).0))
}

const UNTRIED: &str = "there is no master passphrase, so lf did not try to open the keys; bring it with lf keys recovery import, and run lf keys doctor";
const BESIDE: &str = "restore them beside this store: set LENSERFIGHT_KEYS_DIR to a new directory, and their passphrase with LENSERFIGHT_KEYS_PASSPHRASE_FILE and LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1";

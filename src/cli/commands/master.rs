//! What the commands share that bring a master passphrase into the keychain.

use std::path::PathBuf;

use crate::base::{secret::Secret, text::count};
use crate::system::fs::{Dir, Publish};
use crate::vault::{Envelope, KeyFile, envelope, files, files::Named};
use crate::vault::{KeyId, KeyMeta, Record, Survey, doctor::files::KEEPS_NO_MODES, master::record};

use super::{Context, Error, Kind, Result, Timestamp, host};

/// Makes the directory and makes `new` the master passphrase, if the keychain still has what it had
/// when that was decided. What it had stays on record.
pub(super) fn install(context: &Context, seen: Option<&Secret>, new: &Secret) -> Result<()> {
    make_directory(context)?;
    let replaced =
        record::replace(&context.keychain, new, Timestamp::now(), |now| match (seen, now) {
            (None, None) => Ok(()),
            (Some(seen), Some(now)) if seen.same(now) => Ok(()),
            (None, Some(_)) => Err(configured(context)),
            (Some(_), _) => Err(record::changed("nothing was changed here")),
        });
    context.audited(Kind::Update, None, replaced)
}

/// Takes a passphrase that opens keys here into the keychain. Where the master passphrase opens keys
/// here too, it stays, and the other one goes on record beside it. Gives back whether the passphrase is
/// the master passphrase now.
pub(super) fn take(
    context: &Context,
    record: &Record,
    survey: &Survey,
    passphrase: &Secret,
) -> Result<bool> {
    if record.present.is_none() || survey.recorded() == 0 {
        return install(context, record.present.as_ref(), passphrase).map(|()| true);
    }
    let copy = Secret::new(passphrase.expose().to_owned());
    let recorded = record::remember(&context.keychain, copy, Timestamp::now());
    context.audited(Kind::Update, None, recorded).map(|()| false)
}

/// Tries a passphrase on the keys that are there, and says which files cannot be read.
pub(super) fn survey(context: &Context, passphrase: &Secret, record: &Record) -> Result<Survey> {
    let Some(dir) = context.store.dir()? else { return Ok(Survey::default()) };
    let survey = Survey::of(&dir, Some(passphrase), record, &context.progress("checking"))?;
    context.warn_unreadable(&survey.unreadable);
    Ok(survey)
}

pub(super) fn configured(context: &Context) -> Error {
    let place = context.store.path().display();
    Error::AlreadyConfigured(format!(
        "the keychain has a master passphrase, and lf encrypts new keys in {place} under it; nothing was changed"
    ))
}

/// Moves keys that nothing opens into `unreadable/`, unless one of them does by now. Gives back how many.
pub(super) fn set_aside(context: &Context, keys: &[&KeyMeta]) -> Result<usize> {
    let Some(dir) = context.store.dir()?.filter(|_| !keys.is_empty()) else { return Ok(0) };
    let dir = dir.lock()?;
    let record = Record::read(&context.keychain.without_dialogs())?;
    let mut moved = 0;
    for key in keys {
        let file = key.id.file_name();
        let Some(bytes) = dir.read(&file, envelope::MAX_FILE)? else { continue };
        let opens = |envelope: Envelope| record.all().any(|known| envelope.open(known).is_ok());
        if !Envelope::parse(&bytes, &key.id).is_ok_and(opens) {
            files::keep_aside(&dir, &key.id, &bytes)?;
            dir.remove(&file)?;
            moved += 1;
        }
    }
    Ok(moved)
}

/// Moves envelopes from below the keys back among them, and says which have another value there by
/// now: one that a page has replaced becomes a key of its own. Gives back how many.
pub(super) fn bring_back(context: &Context, place: &str, kept: &[Named]) -> Result<usize> {
    let Some(dir) = context.store.dir()?.filter(|_| !kept.is_empty()) else { return Ok(0) };
    let dir = dir.lock()?;
    let Some(from) = dir.covered_child(place)? else { return Ok(0) };
    let mut back = 0;
    for (name, KeyFile { envelope, bytes }) in kept {
        let file = envelope.meta.id.file_name();
        match dir.read(&file, envelope::MAX_FILE)? {
            None => {
                dir.publish(&file, bytes, Publish::New)?;
                back += 1;
            }
            // Killed between publishing and removing.
            Some(there) if there == *bytes => {}
            Some(_) if place == files::REPLACED => {
                let mut second = envelope.clone();
                second.meta.id = KeyId::mint()?;
                // A label of its own, so that the present value can still be named by its label.
                let end = format!(" (former value, {:.4})", second.meta.id.as_str());
                second.meta.label = second.meta.label.with_end(&end);
                dir.publish(&second.meta.id.file_name(), second.print().as_bytes(), Publish::New)?;
                let (meta, id) = (&envelope.meta, &second.meta.id);
                host::eprint(&format!("{meta} has another value now; {id} has the former one\n"));
                back += 1;
            }
            Some(_) => {
                let place = from.path().join(name);
                let sentence = format!(
                    "{} has another value now; the former one stays in {}",
                    envelope.meta,
                    place.display()
                );
                context.warn(&sentence, &Error::DuplicateKey(file));
                continue;
            }
        }
        from.remove(name)?;
    }
    dir.remove_child(place)?;
    Ok(back)
}

/// Makes the directory, or takes loose permissions away from the one that is there; `false` if there
/// was nothing to do.
pub(super) fn make_directory(context: &Context) -> Result<bool> {
    let Some(dir) = context.store.dir()? else {
        return Dir::create(context.store.path()).map(|_| true);
    };
    let root = context.root().map(|root| Dir::open(&root));
    if let Some(Ok(Some(root))) = root {
        make_private(&root, |_| Ok(()))?;
    }
    make_private(&dir, files::alone)
}

/// `false` if nobody but the owner could reach it before; an error if it `may` not be closed.
fn make_private(dir: &Dir, may: fn(&Dir) -> Result<()>) -> Result<bool> {
    let is_loose = dir.stat(".")?.is_some_and(|stat| stat.mode & 0o077 != 0);
    if is_loose {
        may(dir)?;
        let said = match dir.make_private(".")? {
            true => "could be reached by other users; now only its owner can reach it",
            false => KEEPS_NO_MODES,
        };
        host::eprint(&format!("{} {said}\n", dir.path().display()));
    }
    Ok(is_loose)
}

/// The keys of a directory that open with an earlier passphrase alone, each with its place.
pub(super) fn needing_earlier(
    context: &Context,
    record: &Record,
    places: &[PathBuf],
) -> Result<Vec<String>> {
    let mut needing = Vec::new();
    for place in places {
        let Some(keys) = Dir::open(place)? else { continue };
        let kept = files::kept(&keys, files::REPLACED)?;
        let opens =
            |(_, kept): &&Named| record.present.iter().any(|it| kept.envelope.open(it).is_ok());
        let shut = kept.len() - kept.iter().filter(opens).count();
        if shut > 0 {
            needing.push(format!("{} in {}/replaced", count(shut, "value"), place.display()));
        }
        for dir in [Some(&keys), keys.child(files::UNREADABLE)?.as_ref()].into_iter().flatten() {
            let present = record.present.as_ref();
            let survey = Survey::of(dir, present, record, &context.progress("checking"))?;
            if survey.recorded() > 0 {
                let keys = count(survey.recorded(), "key");
                needing.push(format!("{keys} in {}", dir.path().display()));
            }
        }
    }
    Ok(needing)
}

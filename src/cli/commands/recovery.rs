//! `lf keys recovery`: the master passphrase onto paper, and back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::{Secret, distinct::distinct, text::count, text::opens_none};
use crate::system::{Dir, term, term::Behind};
use crate::vault::{envelope, files, master::record, master::record::Record, sheet};

use super::master::{bring_back, needing_earlier, survey, take};
use super::{Context, Error, Kind, Result, Timestamp, all_of, confirm, host, read_input};

pub(super) fn export(context: &Context) -> Result<()> {
    // Written down before the first byte goes out, as for a key.
    let sheet = context.audited(Kind::Export, None, print(context))?;
    host::eprint(
        "lf: warning: the master passphrase goes to standard output in the clear; print it, and keep it out of files and logs\n",
    );
    host::print(sheet.expose())
}

fn print(context: &Context) -> Result<Secret> {
    let master = context.settled_master()?;
    let survey = survey(context, &master.secret, &Record::default())?;
    let (opens, shut) = (survey.opened(), survey.shut().len());
    if shut > 0 && opens == 0 {
        let (origin, opens) = (&master.origin, opens_none(shut));
        let sentence =
            format!("the passphrase from {origin} {opens}; a sheet of it would be useless");
        return Err(Error::refused(sentence, "lf keys doctor"));
    }
    if shut > 0 {
        let sentence = format!("{shut} of the keys do not open with this passphrase");
        context.warn(&sentence, &Error::PassphraseMissing);
    }
    sheet::print(&master.secret, Timestamp::now())
}

pub(super) fn import(context: &Context) -> Result<()> {
    context.settle()?;
    context.refuse_environment()?;
    // Both before anybody types four lines for nothing.
    let record = Record::read(&context.keychain)?;
    let dir = context.store.dir()?;
    let mut aside =
        dir.as_ref().map_or(Ok(Vec::new()), |dir| files::kept(dir, files::UNREADABLE))?;
    if !context.has_keys() && aside.is_empty() {
        let place = context.store.path().display();
        let sentence =
            format!("there is no key in {place} to try the sheet on; the keychain was not changed");
        let hint = "copy the keys directory there first, or: lf keys restore DIR";
        return Err(Error::refused(sentence, hint));
    }
    let passphrase = if host::input_is_terminal() {
        ask()?
    } else {
        sheet::read(&read_input(envelope::MAX_VALUE)?)?
    };
    let survey = survey(context, &passphrase, &record)?;
    aside.retain(|(_, kept)| {
        let mut known = record.all().chain([&passphrase]);
        known.any(|known| kept.envelope.open(known).is_ok())
    });
    let (opens, total) = (survey.opened(), survey.keys.len());
    if opens == 0 && aside.is_empty() {
        let (none, known) = (opens_none(total), survey.recorded());
        let sentence = format!(
            "the passphrase of this sheet {none}, and the one in the keychain opens {known}; the keychain was not changed"
        );
        let hint =
            "lf keys doctor; a change of the master passphrase (rekey) makes older sheets useless";
        return Err(Error::refused(sentence, hint));
    }
    let is_master = take(context, &record, &survey, &passphrase)?;
    let back = bring_back(context, files::UNREADABLE, &aside)?;
    let (opens, total) = (opens + back, total + back);
    host::print(&if is_master {
        let keys = count(total, "key");
        format!("the master passphrase is in the keychain, and opens {opens} of {keys}\n")
    } else {
        format!(
            "the passphrase of the sheet is on record, and opens {}; the master passphrase stays. lf keys rotate --all brings them under it\n",
            count(opens, "key")
        )
    })?;
    if is_master && record.present.is_some() {
        host::eprint(
            "the earlier passphrase of the keychain stays on record, so the keys of other directories still open\n",
        );
    }
    if back > 0 {
        let keys = count(back, "key");
        let are = if back == 1 { "is" } else { "are" };
        host::eprint(&format!("{keys} that you had given up {are} back\n"));
    }
    Ok(())
}

/// Brings back what paired pages have replaced or removed: of each key the oldest value that is
/// kept, which no page can have put there before it changed anything; the same again brings the
/// next.
pub(super) fn replaced(context: &Context) -> Result<()> {
    let dir = context.store.dir()?;
    let kept = dir.map_or(Ok(Vec::new()), |dir| files::kept(&dir, files::REPLACED))?;
    // The newest come first, so the oldest one of a key is what stays.
    let kept = kept.into_iter().map(|kept| (kept.1.envelope.meta.id.clone(), kept));
    let mut oldest: Vec<_> = kept.collect::<BTreeMap<_, _>>().into_values().collect();
    let (total, master) = (oldest.len(), context.settled_master()?);
    oldest.retain(|(_, kept)| {
        let opened = master.open(|passphrase| kept.envelope.open(passphrase));
        opened.inspect_err(|error| context.warn(&error.to_string(), error)).is_ok()
    });
    let back = bring_back(context, files::REPLACED, &oldest);
    for (_, kept) in &oldest {
        let (id, failure) = (&kept.envelope.meta.id, back.as_ref().err());
        context.audit(Kind::Add, Some(id), failure);
    }
    host::print(&format!("restored {} of {}\n", back?, count(total, "key")))?;
    all_of(total, oldest.len())
}

/// Drops the earlier passphrases, after naming what still needs them in the directories that this
/// process can see.
pub(super) fn forget(context: &Context, yes: bool) -> Result<()> {
    const HINT: &str =
        "lf keys rotate --all in each directory; then run this command again at a terminal";
    let record = match Record::read(&context.keychain) {
        Ok(record) if record.earlier.is_empty() => {
            host::eprint("no earlier master passphrase is on record\n");
            return Ok(());
        }
        Err(Error::Refused { sentence, hint }) if hint == record::FORGET => {
            context.warn(&sentence, &Error::PassphraseMissing);
            confirm("lf cannot read the damaged record. Drop it?", yes, HINT)?;
            None
        }
        record => Some(record?),
    };
    let mut locks = Vec::new();
    if let Some(record) = &record {
        let earlier = count(record.earlier.len(), "earlier master passphrase");
        let places = places(context);
        let needing = needing_earlier(context, record, &places)?;
        let seen = places.iter().map(|place| place.display().to_string());
        let seen = seen.collect::<Vec<_>>().join(" and ");
        let question = if needing.is_empty() {
            format!(
                "Nothing in {seen} needs the {earlier} on record, but a copy or another directory may. Forget them?"
            )
        } else {
            format!(
                "These become unreadable without the {earlier} on record: {}. To keep them, first run lf keys rotate --all in each directory (for keys in unreadable: lf keys restore DIR/unreadable). Forget the {earlier}?",
                needing.join(", ")
            )
        };
        confirm(&question, yes, HINT)?;
        // From here on nothing is added or restored that would need them.
        for place in &places {
            locks.extend(Dir::open(place)?.map(|dir| dir.lock()).transpose()?);
        }
        if needing_earlier(context, record, &places)? != needing {
            return Err(record::changed("nothing was forgotten"));
        }
    }
    let forgotten = record::forget(&context.keychain, record.as_ref());
    context.audited(Kind::Update, None, forgotten)?;
    host::print("lf has forgotten the earlier master passphrases\n")
}

/// The directories of keys that this process knows of.
fn places(context: &Context) -> Vec<PathBuf> {
    let others = context.environment.roots().into_iter().map(|root| root.join("keys"));
    let others = others.filter(|place| place.is_dir());
    distinct([context.store.path().to_owned()].into_iter().chain(others))
}

/// Line by line, so that a mistyped one can be typed again.
fn ask() -> Result<Secret> {
    let mut reader = sheet::Reader::default();
    let mut mistakes = 0;
    loop {
        let what = format!("line {} of the sheet", reader.next());
        let line = term::ask_secret(&what, MAX_LINE, Behind::Answers)?;
        match reader.line(line.expose()) {
            Ok(()) => {}
            Err(error) if mistakes == MOST_MISTAKES => return Err(error),
            Err(error) => {
                mistakes += 1;
                host::eprint(&format!("lf: {}: {error}; type it again\n", error.code()));
            }
        }
        if let Some(passphrase) = reader.passphrase() {
            return Ok(passphrase);
        }
    }
}

/// Bytes; a line has 32 characters with its number.
const MAX_LINE: usize = 256;
const MOST_MISTAKES: usize = 9;

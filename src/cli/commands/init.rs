//! `lf keys init`: the directory, and a master passphrase where one belongs.

use std::path::{Path, PathBuf};

use crate::base::{Secret, printable, shell, shell::quote, text::count, text::count_are};
use crate::system::{fs, host};
use crate::vault::{envelope, master::record, master::record::Record, master::source};
use crate::vault::{master::staging, predecessor, predecessor::Remain};

use super::master::{configured, install, make_directory, set_aside, survey};
use super::{Args, Context, Error, Result, confirm, read_passphrase};

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    let file = args.value("--passphrase-file").map(PathBuf::from);
    context.settle()?;
    let given = source::from_environment(&context.environment.passphrase)?;
    match given {
        Some((_, origin)) if file.is_some() => Err(Error::AlreadyConfigured(format!(
            "the master passphrase already comes from {origin}"
        ))),
        Some(_) if args.flag("--passphrase-stdin") => Err(Error::usage(
            "there are two master passphrases, on standard input and in the environment; keep one of them",
        )),
        Some((given, origin)) if args.flag("--force") => {
            reseat(context, &given, &origin.to_string())
        }
        Some((given, origin)) => use_environment(context, &given, &origin.to_string()),
        None => match &file {
            Some(file) => make_file(context, file),
            None => establish(context, args).inspect_err(show_way),
        },
    }
}

/// The environment's passphrase rules already: only the directory is missing.
fn use_environment(context: &Context, given: &Secret, origin: &str) -> Result<()> {
    let is_asked = !context.environment.passphrase.force;
    if is_asked && matches!(record::present(&context.keychain), Ok(Some(_))) {
        return Err(Error::AlreadyConfigured(format!(
            "both the keychain and {origin} already have a master passphrase"
        )));
    }
    envelope::check_passphrase(given)?;
    let place = printable(&context.store.path().to_string_lossy());
    if !make_directory(context)? {
        return Err(Error::AlreadyConfigured(format!(
            "{place} exists already, and the master passphrase comes from {origin}"
        )));
    }
    host::print(&format!(
        "{place} is ready; the master passphrase comes from {origin}, and the keychain was not changed\n"
    ))?;
    host::eprint(&shell::hint(NEXT));
    Ok(())
}

/// A new passphrase in a file, for a machine without a keychain.
fn make_file(context: &Context, file: &Path) -> Result<()> {
    if matches!(record::present(&context.keychain), Ok(Some(_))) {
        return Err(configured(context));
    }
    if context.has_keys() {
        let sentence = "there are keys already, and a new master passphrase would not open them; nothing was changed";
        return Err(Error::refused(sentence, way_to(context)));
    }
    let passphrase = source::mint()?;
    let path = fs::create_private(file, passphrase.expose()).map_err(|error| match error {
        Error::DuplicateKey(_) => Error::Refused {
            sentence: format!("{} exists already; nothing was changed", file.display()),
            hint: "if it holds your passphrase, name it in LENSERFIGHT_KEYS_PASSPHRASE_FILE; otherwise take another path"
                .to_owned(),
        },
        error => error,
    })?;
    make_directory(context)?;
    let shown = path.display();
    let typed = quote(&path.to_string_lossy(), None);
    host::eprint(&format!(
        "{shown} has a new master passphrase; keep a copy of it, and put this line into your shell's profile:\n"
    ));
    host::print(&format!("export LENSERFIGHT_KEYS_PASSPHRASE_FILE={typed}\n"))?;
    host::eprint(&shell::hint(NEXT));
    Ok(())
}

/// Where there is no keychain: how a file takes its place.
fn show_way(error: &Error) {
    if matches!(error, Error::KeychainUnavailable(_)) {
        host::eprint(WITHOUT_KEYCHAIN);
    }
}

/// Puts the environment's passphrase into the keychain, once it has opened what is there.
fn reseat(context: &Context, given: &Secret, origin: &str) -> Result<()> {
    envelope::check_passphrase(given)?;
    // A locked keychain is noticed before the keys are tried.
    let present = record::present(&context.keychain)?;
    let shut = survey(context, given, &Record::default())?.shut().len();
    if shut > 0 {
        let sentence = format!(
            "the master passphrase from {origin} does not open {shut} of the keys here; the keychain was not changed"
        );
        return Err(Error::refused(sentence, "lf keys doctor"));
    }
    install(context, present.as_ref(), given)?;
    host::print(&format!(
        "the master passphrase from {origin} is in the keychain now; unset it there, or lf will refuse to choose between the two\n"
    ))
}

/// A new passphrase, from standard input or from the system's randomness, into the keychain.
fn establish(context: &Context, args: &Args) -> Result<()> {
    let [force, is_given] = ["--force", "--passphrase-stdin"].map(|name| args.flag(name));
    let record = Record::read(&context.keychain)?;
    let place = printable(&context.store.path().to_string_lossy());
    if record.present.is_some() && !force {
        if is_given || context.store.dir()?.is_some() {
            return Err(configured(context));
        }
        make_directory(context)?;
        return host::print(&format!(
            "{place} is ready; lf encrypts new keys under the master passphrase of the keychain\n"
        ));
    }
    let given = is_given.then(|| read_passphrase("master passphrase"));
    let new = given.unwrap_or_else(source::mint)?;
    envelope::check_passphrase(&new)?;
    let survey = survey(context, &new, &record)?;
    let shut = survey.shut();
    let (closed, former) = (count(shut.len(), "key"), count(survey.recorded(), "key"));
    if let Some((_, staging)) = staging::at(context.store.path())?
        && staging::is_ready(&staging)
    {
        let sentence = "a change of the master passphrase is not finished here, and lf has none of its passphrases; nothing was changed";
        let path = staging.path().display();
        let hint = format!("lf keys recovery import; to give up its keys, move {path} away first");
        return Err(Error::refused(sentence, hint));
    }
    if !shut.is_empty() && !force {
        let sentence = format!(
            "{closed} in {place} would not open with the new master passphrase; nothing was changed"
        );
        return Err(Error::refused(sentence, way_to(context)));
    }
    // What --force does to keys that are under another passphrase.
    let mut questions = Vec::new();
    if survey.recorded() > 0 {
        questions.push(format!(
            "lf keys rekey changes the master passphrase and re-encrypts every key; this command does not. \
             {former} in {place} would stay under the old one. It stays on record and still opens them.",
        ));
    }
    if !shut.is_empty() {
        questions.push(format!(
            "No known passphrase opens {closed} in {place}. lf moves them to {place}/unreadable. \
             With the recovery sheet, lf keys recovery import keeps them.",
        ));
    }
    if !questions.is_empty() {
        confirm(
            &questions.join(" "),
            args.flag("--yes"),
            "to change the passphrase and keep every key: lf keys rekey; to bring keys back: lf keys recovery import",
        )?;
    }
    install(context, record.present.as_ref(), &new)?;
    // Only now: until the new passphrase is there, nothing has been given up.
    let given_up = set_aside(context, &shut).inspect_err(|error| {
        let sentence =
            "the keychain has the new master passphrase; lf did not move the keys that it does not open";
        context.warn(sentence, error);
    })?;
    if given_up > 0 {
        let keys = count_are(given_up, "key");
        host::eprint(&format!(
            "{keys} moved to {place}/unreadable; lf keys recovery import brings them back if you have the sheet\n"
        ));
    }
    let whose = if is_given { "the" } else { "a new" };
    host::print(&format!("{place} is ready; {whose} master passphrase is in the keychain\n"))?;
    host::eprint(&shell::hint(NEXT));
    Ok(())
}

/// Where the passphrase of keys that are there already may come from.
fn way_to(context: &Context) -> &'static str {
    let left = predecessor::find(&context.environment.roots()).unwrap_or_default();
    if left.iter().any(|left| matches!(left.read(Remain::Passphrase), Ok(Some(_)))) {
        "lf keys adopt, which takes their passphrase from the predecessor's file"
    } else {
        "lf keys recovery import, or lf keys init --passphrase-stdin, with the passphrase that they were encrypted under (or --force to give them up)"
    }
}

const NEXT: &str = include_str!("init/next.txt");
const WITHOUT_KEYCHAIN: &str = include_str!("init/without_keychain.txt");

//! `lf keys init`: the directory, and a master passphrase where one belongs.

use local_keys::crew;
use local_keys::envelope::{self, Envelope};
use local_keys::error::{Error, Result};
use local_keys::fs::Dir;
use local_keys::host;
use local_keys::passphrase;
use local_keys::secret::Secret;
use local_keys::store;

use super::{Desk, confirm, read_secret};

/// The flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) force: bool,
    pub(crate) yes: bool,
    pub(crate) passphrase_stdin: bool,
}

pub(super) fn run(desk: &Desk<'_>, options: &Options) -> Result<()> {
    let given = passphrase::from_environment(&desk.environment.passphrase)?;
    match given {
        Some(_) if options.passphrase_stdin => Err(Error::usage(
            "the master passphrase is given twice, on standard input and in the environment; keep one of them",
        )),
        Some((given, origin)) if options.force => reseat(desk, &given, &origin.to_string()),
        Some((given, origin)) => use_environment(desk, &given, &origin.to_string()),
        None => establish(desk, options),
    }
}

/// The environment's passphrase rules already: only the directory is missing.
fn use_environment(desk: &Desk<'_>, given: &Secret, origin: &str) -> Result<()> {
    let is_asked = !desk.environment.passphrase.force;
    if is_asked && matches!(passphrase::from_keychain(&desk.keychain), Ok(Some(_))) {
        return Err(Error::AlreadyConfigured(format!(
            "the keychain has a master passphrase already, and {origin} has one too"
        )));
    }
    envelope::check_passphrase(given)?;
    let made = make_directory(desk)?;
    if !made {
        return Err(Error::AlreadyConfigured(format!(
            "{} is there already, and the master passphrase comes from {origin}",
            desk.store.path().display()
        )));
    }
    host::print(&format!(
        "{} is ready; the master passphrase comes from {origin}, and the keychain was not changed\n",
        desk.store.path().display()
    ))
}

/// Puts the environment's passphrase into the keychain, once it has opened what is there.
fn reseat(desk: &Desk<'_>, given: &Secret, origin: &str) -> Result<()> {
    envelope::check_passphrase(given)?;
    // A locked keychain is noticed before the keys are tried.
    let kept = passphrase::from_keychain(&desk.keychain)?;
    let seen = Seen {
        kept,
        ..Seen::now(desk, Warn::Yes)?
    };
    let shut = count_shut(desk, &seen.envelopes, given);
    if shut > 0 {
        return Err(Error::Refused {
            sentence: format!(
                "the master passphrase from {origin} does not open {shut} of the keys that are there; the keychain was not changed"
            ),
            hint: "lf keys doctor".to_owned(),
        });
    }
    settle(desk, &seen, given)?;
    host::print(&format!(
        "the master passphrase from {origin} is in the keychain now; unset it there, or lf will ask which of the two to use\n"
    ))
}

/// A new passphrase, from standard input or from the system's randomness, into the keychain.
fn establish(desk: &Desk<'_>, options: &Options) -> Result<()> {
    let old = passphrase::from_keychain(&desk.keychain)?;
    if old.is_some() && !options.force {
        return Err(configured());
    }
    let new = if options.passphrase_stdin {
        read_passphrase()?
    } else {
        passphrase::mint()?
    };
    envelope::check_passphrase(&new)?;
    let seen = Seen {
        kept: old,
        ..Seen::now(desk, Warn::Yes)?
    };
    let lost = count_lost(desk, &seen, &new, options);
    if lost > 0 {
        let place = desk.store.path().display();
        let question =
            format!("{lost} of the keys in {place} will not open with the new master passphrase.");
        if !options.force {
            return Err(Error::Refused {
                sentence: format!("{question} Nothing was changed"),
                hint: "lf keys init --passphrase-stdin, with the passphrase that they were encrypted under (or --force to give them up)".to_owned(),
            });
        }
        confirm(&question, options.yes, "lf keys init --force --yes")?;
    }
    settle(desk, &seen, &new)?;
    let whose = if options.passphrase_stdin {
        "the master passphrase is"
    } else {
        "a new master passphrase is"
    };
    host::print(&format!(
        "{} is ready; {whose} in the keychain\n",
        desk.store.path().display()
    ))
}

/// How many keys open today and will not tomorrow. What cannot be opened today is not lost by it.
fn count_lost(desk: &Desk<'_>, seen: &Seen, new: &Secret, options: &Options) -> usize {
    let opens = |passphrase: &Secret| {
        let open = |envelope: &Envelope| envelope.open(passphrase).is_ok();
        crew::each(&seen.envelopes, open, |done| {
            desk.progress("checking", done, seen.envelopes.len());
        })
    };
    let total = seen.envelopes.len();
    let today = seen.kept.as_ref().map_or_else(|| vec![true; total], opens);
    let tomorrow = if options.passphrase_stdin {
        opens(new)
    } else {
        vec![false; total]
    };
    today
        .into_iter()
        .zip(tomorrow)
        .filter(|(today, tomorrow)| *today && !tomorrow)
        .count()
}

/// Makes the directory and puts the passphrase into the keychain, under the store's lock and only if
/// everything is still as it was when it was judged: a key that was added meanwhile, or a passphrase
/// that somebody else has put there, must not be lost.
fn settle(desk: &Desk<'_>, seen: &Seen, new: &Secret) -> Result<()> {
    make_directory(desk)?;
    let dir = Dir::create(desk.store.path())?;
    let _lock = dir.lock()?;
    let kept = passphrase::from_keychain(&desk.keychain)?;
    let now = Seen {
        kept,
        ..Seen::now(desk, Warn::No)?
    };
    match (now.is_same(seen), &seen.kept, &now.kept) {
        (true, _, _) => passphrase::keep(&desk.keychain, new),
        (false, None, Some(_)) => Err(configured()),
        (false, _, _) => Err(Error::Refused {
            sentence: "the keys or the keychain were changed by somebody else meanwhile; nothing was changed here".to_owned(),
            hint: "lf keys list, and then the same command again".to_owned(),
        }),
    }
}

fn configured() -> Error {
    Error::AlreadyConfigured("the keychain has a master passphrase already; nothing was changed (--force would replace it)".to_owned())
}

/// What there was when a decision was made.
struct Seen {
    kept: Option<Secret>,
    envelopes: Vec<Envelope>,
}

/// Shall unreadable files be named?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warn {
    Yes,
    No,
}

impl Seen {
    /// The readable keys; no passphrase opens the others. The keychain is for the caller to ask.
    fn now(desk: &Desk<'_>, warn: Warn) -> Result<Seen> {
        let mut envelopes = Vec::new();
        if let Some(dir) = desk.store.dir()? {
            for (_, read) in store::envelopes(&dir)? {
                match read {
                    Ok(envelope) => envelopes.extend(envelope),
                    Err(error) if warn == Warn::Yes => desk.warn(&error.to_string(), &error),
                    Err(_) => {}
                }
            }
        }
        envelopes.sort_by(|a, b| a.meta.id.cmp(&b.meta.id));
        Ok(Seen {
            kept: None,
            envelopes,
        })
    }

    fn is_same(&self, other: &Seen) -> bool {
        let print = |seen: &Seen| {
            seen.envelopes
                .iter()
                .map(Envelope::print)
                .collect::<Vec<_>>()
        };
        self.kept.as_ref().map(Secret::expose) == other.kept.as_ref().map(Secret::expose)
            && print(self) == print(other)
    }
}

/// Twice from a terminal, where nobody sees what is typed.
fn read_passphrase() -> Result<Secret> {
    let passphrase = read_secret("master passphrase")?;
    if host::input_is_terminal() && read_secret("the same again")?.expose() != passphrase.expose() {
        return Err(Error::PassphraseInvalid(
            "the two are not the same; nothing was changed".to_owned(),
        ));
    }
    Ok(passphrase)
}

/// Makes the directory, or takes loose permissions away from the one that is there; `false` if
/// there was nothing to do.
fn make_directory(desk: &Desk<'_>) -> Result<bool> {
    let Some(dir) = desk.store.dir()? else {
        return Dir::create(desk.store.path()).map(|_| true);
    };
    if let Some(root) = desk.root().and_then(|root| Dir::open(&root).ok().flatten()) {
        tighten(&root)?;
    }
    tighten(&dir)
}

/// `false` if nobody but the owner could reach it before.
fn tighten(dir: &Dir) -> Result<bool> {
    let is_loose = dir.look(".")?.is_some_and(|look| look.mode & 0o077 != 0);
    if is_loose {
        dir.tighten(".")?;
        host::complain(&format!(
            "{} could be reached by other users; now only its owner can\n",
            dir.path().display()
        ));
    }
    Ok(is_loose)
}

fn count_shut(desk: &Desk<'_>, envelopes: &[Envelope], passphrase: &Secret) -> usize {
    let opened = crew::each(
        envelopes,
        |envelope| envelope.open(passphrase).is_ok(),
        |done| desk.progress("checking", done, envelopes.len()),
    );
    opened.into_iter().filter(|opened| !opened).count()
}

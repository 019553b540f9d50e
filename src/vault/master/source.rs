//! Where the master passphrase comes from, and in what order.
//!
//! | keychain has one | environment has one | forced | result                   |
//! |------------------|---------------------|--------|--------------------------|
//! | any (not asked)  | yes                 | yes    | the environment's        |
//! | yes              | no                  | –      | the keychain's           |
//! | yes              | yes                 | no     | `passphrase_conflict`    |
//! | no, unreachable  | yes                 | no     | the environment's        |
//! | no               | no                  | –      | `passphrase_missing`     |
//! | unreachable      | no                  | –      | `keychain_unavailable`   |
//!
//! The environment is `LENSERFIGHT_KEYS_PASSPHRASE`, or the file named by its `_FILE`, or what the
//! command in its `_COMMAND` prints, or the systemd credential `lenserfight-keys-passphrase`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{self, Record};
use crate::base::{Secret, rng, shell::words, shown};
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::{environment::Sources, fs, program::Program};
use crate::vault::files::KeyFile;

/// Where a passphrase was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The OS keychain.
    Keychain,
    /// `LENSERFIGHT_KEYS_PASSPHRASE`.
    Variable,
    /// `LENSERFIGHT_KEYS_PASSPHRASE_FILE`.
    File(PathBuf),
    /// `LENSERFIGHT_KEYS_PASSPHRASE_COMMAND`.
    Command,
    /// A systemd credential.
    Credential(PathBuf),
    /// One of the two that begins with a byte-order mark, which is no part of the passphrase.
    Marked(Box<Origin>),
}

/// The master passphrase as it was found, and what shows that it is the store's own.
pub struct Master {
    /// The passphrase.
    pub(crate) secret: Secret,
    /// Where it was found.
    pub(crate) origin: Origin,
    /// Asked again while locks are held, so it opens no dialog.
    pub(super) keychain: Keychain,
    evidence: Mutex<Option<KeyFile>>,
}

impl Master {
    /// The key that has opened and so shown that it is the store's own, if [`Master::check`] has looked
    /// and found one.
    pub(crate) fn evidence(&self) -> MutexGuard<'_, Option<KeyFile>> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another passphrase, if the keychain has one by now. Asked under the store's lock before a key
    /// is published: another command may have replaced the passphrase while a value was typed.
    /// (tests/concurrency.rs: `a_key_that_was_typed_while_the_passphrase_was_replaced_opens`)
    pub(crate) fn replaced(&self) -> Result<Option<Secret>> {
        if self.origin != Origin::Keychain {
            return Ok(None);
        }
        let present = record::present(&self.keychain)?.ok_or(Error::PassphraseMissing)?;
        Ok((!present.same(&self.secret)).then_some(present))
    }

    /// Opens something that may be sealed under this passphrase or, where it is the keychain's, under
    /// another one on record: a store that was elsewhere when `rekey` ran, or a backup, still is.
    /// (tests/rekey.rs: `a_store_that_was_elsewhere_still_opens`)
    pub(crate) fn open<T>(&self, open: impl Fn(&Secret) -> Result<T>) -> Result<T> {
        let mut opened = open(&self.secret);
        // A version that took the mark for a part of the passphrase may have sealed it.
        if matches!((&opened, &self.origin), (Err(Error::DecryptionFailed(_)), Origin::Marked(_))) {
            let marked = [MARK, self.secret.expose()].concat();
            opened = open(&Secret::new(marked)).or(opened);
        }
        if !matches!(opened, Err(Error::DecryptionFailed(_))) || self.origin != Origin::Keychain {
            return opened;
        }
        let Ok(record) = Record::read(&self.keychain) else { return opened };
        let mut others = record.all().filter(|other| !other.same(&self.secret));
        others.find_map(|other| open(other).ok()).map_or(opened, Ok)
    }
}

/// The master passphrase, by the table above.
pub(crate) fn find(sources: &Sources, keychain: &Keychain) -> Result<Master> {
    let (secret, origin) = find_among(sources, || record::present(keychain))?;
    Ok(Master { secret, origin, keychain: keychain.without_dialogs(), evidence: Mutex::default() })
}

/// As [`find`], for a caller that may have asked the keychain already.
pub(crate) fn find_among(
    sources: &Sources,
    ask: impl FnOnce() -> Result<Option<Secret>>,
) -> Result<(Secret, Origin)> {
    let given = match from_environment(sources)? {
        Some(given) if sources.force => return Ok(given),
        given => given,
    };
    match (ask(), given) {
        (Ok(Some(_)), Some(_)) => Err(Error::PassphraseConflict),
        (Ok(Some(kept)), None) => Ok((kept, Origin::Keychain)),
        (Ok(None) | Err(_), Some(given)) => Ok(given),
        (Ok(None), None) => Err(Error::PassphraseMissing),
        (Err(error), None) => Err(error),
    }
}

/// By what the environment gives a passphrase.
pub(crate) enum Given<'a> {
    Variable(Secret),
    File(&'a PathBuf),
    Command(&'a str),
    /// With what it holds.
    Credential(&'a PathBuf, Vec<u8>),
}

/// The one of its sources by which the environment gives a passphrase; an error if there are several. It
/// opens no file that the user names, and runs no command.
pub(crate) fn given_once(sources: &Sources) -> Result<Option<Given<'_>>> {
    let file = sources.file.as_ref();
    // A unit may well point the variable at the credential itself.
    let credential = sources.credential.as_ref().filter(|path| file != Some(path));
    let held = credential.map(|path| fs::read_private(path, MAX)).transpose()?.flatten();
    let credential = credential.zip(held).map(|(path, held)| Given::Credential(path, held));
    let given = [
        (VARIABLE, (sources.variable)()?.map(Given::Variable)),
        (FILE, file.map(Given::File)),
        (COMMAND, sources.command.as_deref().map(Given::Command)),
        ("a systemd credential", credential),
    ];
    let mut given = given.into_iter().filter_map(|(name, given)| Some((name, given?)));
    match (given.next(), given.next()) {
        (Some((one, _)), Some((other, _))) => Err(Error::usage(format!(
            "there are two master passphrases, from {one} and from {other}; keep one of them"
        ))),
        (first, _) => Ok(first.map(|(_, given)| given)),
    }
}

/// What the environment has, if it has one; an error if it has more.
pub(crate) fn from_environment(sources: &Sources) -> Result<Option<(Secret, Origin)>> {
    let Some(given) = given_once(sources)? else { return Ok(None) };
    let found = match given {
        Given::Variable(secret) => (secret, Origin::Variable),
        Given::File(file) => {
            let missing = || format!("names {}, which does not exist", file.display());
            let bytes = fs::read_private(file, MAX)?.ok_or_else(|| invalid(FILE, &missing()))?;
            from_file(bytes, file, Origin::File(file.clone()))?
        }
        Given::Command(line) => (from_command(line)?, Origin::Command),
        Given::Credential(path, bytes) => from_file(bytes, path, Origin::Credential(path.clone()))?,
    };
    Ok(Some(found))
}

/// A new master passphrase: 32 random bytes, 43 characters of base64url.
pub(crate) fn mint() -> Result<Secret> {
    rng::token::<32>().map(Secret::new)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Keychain => f.write_str("the keychain"),
            Origin::Variable => f.write_str(VARIABLE),
            Origin::File(path) => write!(f, "the file {} ({FILE})", path.display()),
            Origin::Command => write!(f, "the command in {COMMAND}"),
            Origin::Credential(path) => write!(f, "the systemd credential {}", path.display()),
            Origin::Marked(origin) => write!(f, "{origin}, without its byte-order mark"),
        }
    }
}

fn from_file(bytes: Vec<u8>, path: &Path, origin: Origin) -> Result<(Secret, Origin)> {
    let name = format!("the passphrase file {}", path.display());
    let mut secret =
        Secret::from_bytes(bytes).ok_or_else(|| invalid(&name, "is not UTF-8 text"))?;
    secret.drop_trailing_newline();
    let unmarked = secret.expose().strip_prefix(MARK).map(|rest| Secret::new(rest.to_owned()));
    let (secret, origin) = match unmarked {
        Some(unmarked) => (unmarked, Origin::Marked(Box::new(origin))),
        None => (secret, origin),
    };
    match secret.expose() {
        "" => Err(invalid(&name, "is empty")),
        _ => Ok((secret, origin)),
    }
}

/// Runs a program of the user's, without a shell, and takes what it prints.
fn from_command(line: &str) -> Result<Secret> {
    let unfit = |problem: &str| invalid(COMMAND, problem);
    let words = words(line).ok_or_else(|| unfit("has a quote that is not closed"))?;
    let (name, arguments) = words.split_first().ok_or_else(|| unfit("names no program"))?;
    let printed = Program::find(name.as_ref())?.output(arguments, None, MAX, COMMAND_LIMIT);
    let mut secret = printed.map_err(|fault| unfit(&format!("({}) {fault}", shown(name))))?;
    secret.drop_trailing_newline();
    match secret.expose() {
        "" => Err(unfit(&format!("({}) printed nothing", shown(name)))),
        _ => Ok(secret),
    }
}

fn invalid(what: &str, problem: &str) -> Error {
    Error::PassphraseInvalid(format!("{what} {problem}"))
}

const VARIABLE: &str = "LENSERFIGHT_KEYS_PASSPHRASE";
const COMMAND: &str = "LENSERFIGHT_KEYS_PASSPHRASE_COMMAND";
/// Long enough for a person to touch a token, short enough to notice that nobody does.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
const FILE: &str = "LENSERFIGHT_KEYS_PASSPHRASE_FILE";
/// What some editors and PowerShell put before text.
const MARK: &str = "\u{FEFF}";
/// Bytes; a passphrase is far smaller, and /dev/zero is not one.
const MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keychain::Patience;
    use crate::system::environment::Environment;
    use crate::vault::tests::Place;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn unreachable() -> Error {
        Error::KeychainUnavailable("no answer in time".to_owned())
    }

    /// The sources of an environment that has these variables.
    fn sources(variables: &[(&'static str, &str)]) -> Sources {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let value = move |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value.into())
        };
        Environment::of(value).passphrase
    }

    #[test]
    fn every_row_of_the_table_has_its_result() {
        let forced = ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1");
        for (kept, is_given, is_forced, expected) in [
            (Ok(Some("kept")), true, true, Ok(("given", Origin::Variable))),
            (Err(()), true, true, Ok(("given", Origin::Variable))),
            (Ok(Some("kept")), false, true, Ok(("kept", Origin::Keychain))),
            (Ok(Some("kept")), false, false, Ok(("kept", Origin::Keychain))),
            (Ok(Some("kept")), true, false, Err("passphrase_conflict")),
            (Ok(None), true, false, Ok(("given", Origin::Variable))),
            (Err(()), true, false, Ok(("given", Origin::Variable))),
            (Ok(None), false, false, Err("passphrase_missing")),
            (Err(()), false, false, Err("keychain_unavailable")),
        ] {
            let given = is_given.then_some((VARIABLE, "given"));
            let forced = is_forced.then_some(forced);
            let sources = sources(&given.into_iter().chain(forced).collect::<Vec<_>>());
            let mut asked = 0;
            let found = find_among(&sources, || {
                asked += 1;
                kept.map(|kept| kept.map(secret)).map_err(|()| unreachable())
            });
            let row = format!("{kept:?} {is_given} {is_forced}");
            let found = found.map(|(secret, origin)| (secret.expose().to_owned(), origin));
            let found = found.map_err(|error| error.code());
            assert_eq!(found, expected.map(|(text, origin)| (text.to_owned(), origin)), "{row}");
            assert_eq!(asked, u8::from(!(is_given && is_forced)), "{row}");
        }
    }

    #[test]
    fn two_sources_are_one_too_many() {
        let two = [(VARIABLE, "a"), (COMMAND, "echo b")];
        let error = from_environment(&sources(&two)).unwrap_err();
        assert_eq!(error.code(), "usage");
        assert!(error.to_string().contains(VARIABLE) && error.to_string().contains(COMMAND));
        assert!(from_environment(&sources(&[])).unwrap().is_none());
        let (one, origin) = from_environment(&sources(&[(VARIABLE, "a")])).unwrap().unwrap();
        assert_eq!((one.expose(), origin), ("a", Origin::Variable));
    }

    #[test]
    fn a_file_has_so_many_bytes_at_most() {
        let place = Place::new();
        let path = place.at("passphrase");
        let sources = sources(&[(FILE, path.to_str().unwrap())]);
        for (length, is_taken) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
            place.write("passphrase", "x".repeat(length));
            assert_eq!(from_environment(&sources).is_ok(), is_taken, "{length}");
        }
    }

    #[test]
    fn a_file_has_text_without_its_last_newline_and_mark() {
        let read = |bytes: &[u8]| {
            let path = Path::new("/passphrase");
            let read = from_file(bytes.to_vec(), path, Origin::File(path.into()));
            read.map(|(secret, origin)| (secret.expose().to_owned(), origin))
        };
        let file = Origin::File("/passphrase".into());
        assert_eq!(read(b"a b\r\n").unwrap(), ("a b".to_owned(), file.clone()));
        let marked = Origin::Marked(Box::new(file));
        assert_eq!(read(b"\xef\xbb\xbfab\n").unwrap(), ("ab".to_owned(), marked.clone()));
        for bad in [&b""[..], b"\n", b"\xef\xbb\xbf\n", b"\xff"] {
            assert_eq!(read(bad).unwrap_err().code(), "passphrase_invalid", "{bad:?}");
        }
        assert_eq!(
            marked.to_string(),
            format!("the file /passphrase ({FILE}), without its byte-order mark")
        );
    }

    #[test]
    fn a_command_prints_one_passphrase() {
        assert_eq!(from_command("printf 'a b\\n'").unwrap().expose(), "a b");
        for bad in ["", "printf 'a", "true", "false", "lf-no-such-program"] {
            assert!(from_command(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_sealed_with_the_mark_opens_and_no_other_origin_tries_it() {
        let environment = Environment::of(|_| None);
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let master = |origin| Master {
            secret: secret("ab"),
            origin,
            keychain: keychain.clone(),
            evidence: Mutex::default(),
        };
        let opens = |master: &Master, wanted: &str| {
            let open = |it: &Secret| match it.expose() {
                it if it == wanted => Ok(()),
                _ => Err(Error::DecryptionFailed("one".to_owned())),
            };
            master.open(open).map_err(|error| error.code())
        };
        let (plain, marked) =
            (master(Origin::Variable), master(Origin::Marked(Origin::Variable.into())));
        for (master, wanted, expected) in [
            (&plain, "ab", Ok(())),
            (&plain, "\u{feff}ab", Err("decryption_failed")),
            (&marked, "ab", Ok(())),
            (&marked, "\u{feff}ab", Ok(())),
            (&marked, "other", Err("decryption_failed")),
            // Its keychain does not answer.
            (&master(Origin::Keychain), "other", Err("decryption_failed")),
        ] {
            assert_eq!(opens(master, wanted), expected, "{:?} {wanted}", master.origin);
        }
        assert!(plain.replaced().unwrap().is_none());
        assert!(master(Origin::Keychain).replaced().is_err());
        let passphrase = mint().unwrap();
        assert_eq!(passphrase.expose().len(), 43);
    }
}

//! What all commands share: the store, the keychain, the passphrase, the audit log, and questions to a
//! person.

use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use crate::base::{Secret, pool, printable};
use crate::keychain::{Keychain, Patience};
use crate::system::{Environment, environment::PASSPHRASE_VARIABLES, term, term::Behind};
use crate::vault::{KeyId, Master, Origin, Store, envelope, master::source, sheet};
use crate::vault::{Kind, audit::Event, files, files::Unreadable};
use crate::vault::{master::rekey as rekeying, master::rekey::For, master::rekey::Settled};

use super::{Error, Format, Result, Timestamp, format, host};

/// What all commands share.
pub(super) struct Context {
    pub(super) environment: Environment,
    pub(super) store: Store,
    pub(super) keychain: Keychain,
    /// Its name, for the audit log.
    pub(super) command: &'static str,
    pub(super) format: Format,
    /// The program that gets a key's value, for the audit log, once it is known.
    pub(super) program: OnceLock<String>,
    /// Has the directory that was written to been looked at?
    tightened: Once,
}

impl Context {
    pub(super) fn new(
        environment: Environment,
        command: &'static str,
        format: Format,
    ) -> Result<Context> {
        environment.check_switches(PASSPHRASE_VARIABLES[2])?;
        // Nobody is waited for where the environment's passphrase does as well.
        let is_asked = matches!(source::given_once(&environment.passphrase), Ok(None));
        let patience = if host::has_terminal() && is_asked { PERSON } else { Patience::SHORT };
        let keychain = Keychain::new(&environment, patience);
        let store = Store::at(environment.keys()?);
        let (program, tightened) = (OnceLock::new(), Once::new());
        Ok(Context { environment, store, keychain, command, format, program, tightened })
    }

    /// The directory above the keys, if it belongs to lf.
    pub(super) fn root(&self) -> Option<PathBuf> {
        let root = self.environment.root().ok()?;
        self.store.path().starts_with(&root).then_some(root)
    }

    /// The master passphrase, for opening. A change of it that was cut short is settled first, if that
    /// can be done, and that is said.
    pub(super) fn master(&self) -> Result<Master> {
        let (master, settled) = self.settled(For::Reading)?;
        if let Err(error) = settled {
            let sentence = format!("a change of the master passphrase is not finished: {error}");
            self.warn(&sentence, &error);
        }
        Ok(master)
    }

    /// The same, with no change of it left.
    pub(super) fn settled_master(&self) -> Result<Master> {
        let (master, settled) = self.settled(For::Sealing)?;
        match settled? {
            Settled::Nothing | Settled::Finished(_) | Settled::Undone => Ok(master),
            Settled::Waiting => Err(Error::RekeyPending),
            Settled::Damaged(files) => {
                let files = files.iter().map(|file| file.display().to_string());
                Err(Error::CorruptEnvelope {
                    file: files.collect::<Vec<_>>().join(", "),
                    reason: "it was changed while it waited, so lf did not finish the change of the master passphrase; with the old passphrase, lf keys rekey --undo drops the change".to_owned(),
                })
            }
        }
    }

    /// The same, fit for encrypting.
    pub(super) fn sealing_master(&self) -> Result<Master> {
        let master = self.settled_master()?;
        envelope::check_passphrase(&master.secret).map_err(|error| {
            let checked = master.check(self.store.dir().ok().flatten().as_ref());
            match (error, checked, &*master.evidence()) {
                (Error::PassphraseInvalid(reason), Ok(()), Some(_)) => {
                    Error::PassphraseShort(format!("{reason}; it opens the keys here"))
                }
                (error, ..) => error,
            }
        })?;
        // A person is not asked to type a value that could not be stored.
        if host::input_is_terminal() {
            master.check(self.store.dir()?.as_ref())?;
        }
        Ok(master)
    }

    fn settled(&self, wanted: For) -> Result<(Master, Result<Settled>)> {
        let (master, settled) = rekeying::master(
            self.store.path(),
            &self.environment.passphrase,
            &self.keychain,
            wanted,
            &self.progress("finishing the change of the passphrase"),
        )
        .map_err(|error| self.lost_or(error))?;
        if let origin @ Origin::Marked(_) = &master.origin {
            let sentence = format!("lf takes the master passphrase from {origin}");
            self.warn(&sentence, &Error::PassphraseInvalid(String::new()));
        }
        let warn = |sentence: &str| self.warn(sentence, &Error::RekeyPending);
        match &settled {
            Ok(Settled::Undone) => warn(
                "lf has undone a change of the master passphrase that was interrupted; nothing is lost",
            ),
            Ok(Settled::Finished(damaged)) => {
                let context = &[("command", "keys rekey")];
                self.log(&Event { kind: Kind::Update, key: None, reason: None, context });
                warn(
                    "lf has finished a change of the master passphrase that was interrupted; the new one is in use",
                );
                for file in damaged {
                    warn(&format!(
                        "a re-encrypted envelope was damaged while it waited; lf keeps it as {}, and its key stays under the old passphrase",
                        file.display()
                    ));
                }
            }
            Ok(Settled::Nothing | Settled::Waiting | Settled::Damaged(_)) | Err(_) => {}
        }
        Ok((master, settled))
    }

    /// Settles a change of the passphrase before something that must not get in its way, or says that
    /// it waits. Where there is no passphrase yet, that something may be what brings it.
    pub(super) fn settle(&self) -> Result<()> {
        match rekeying::has_begun(self.store.path())?.then(|| self.settled_master()) {
            None | Some(Ok(_) | Err(Error::PassphraseMissing | Error::PassphraseLost)) => Ok(()),
            Some(Err(error)) => Err(error),
        }
    }

    /// The master passphrase as it is found, whatever a change of it has come to.
    pub(super) fn found_master(&self) -> Result<Master> {
        let found = source::find(&self.environment.passphrase, &self.keychain);
        found.map_err(|error| self.lost_or(error))
    }

    fn lost_or(&self, error: Error) -> Error {
        match error {
            Error::PassphraseMissing if self.has_keys() => Error::PassphraseLost,
            error => error,
        }
    }

    /// Is there a file that is a key or is named like one?
    pub(super) fn has_keys(&self) -> bool {
        files::has_keys(self.store.path())
    }

    /// What puts a passphrase into the keychain has nothing to do where the environment rules.
    pub(super) fn refuse_environment(&self) -> Result<()> {
        match source::from_environment(&self.environment.passphrase)? {
            None => Ok(()),
            Some((_, origin)) => Err(Error::usage(format!(
                "this command is about the keychain, but the master passphrase comes from {origin}; unset that first"
            ))),
        }
    }

    /// Decrypts a key's value.
    pub(super) fn value(&self, id: &KeyId) -> Result<Secret> {
        let value = self.store.resolve(id, &self.master()?)?;
        self.warn_expired(id);
        Ok(value)
    }

    /// Says so if a key has expired. It is given out all the same: only its provider knows for sure.
    pub(super) fn warn_expired(&self, id: &KeyId) {
        if let Ok(meta) = self.store.meta(id)
            && let Some(end) = meta.expires_at.filter(|end| *end <= Timestamp::now())
        {
            let sentence = format!(
                "{meta} expired on {}; lf keys update --rotate -- {id} gives it a new value",
                end.day()
            );
            self.warn(&sentence, &Error::InvalidKey);
        }
    }

    /// Finds the key that the selector names, works on it, and writes the result to the audit log.
    pub(super) fn on_key<T>(
        &self,
        kind: Kind,
        selector: &str,
        work: impl FnOnce(&KeyId) -> Result<T>,
    ) -> Result<T> {
        let selected = self.store.select(selector);
        let key = selected.as_ref().ok().cloned();
        self.audited(kind, key.as_ref(), selected.and_then(|id| work(&id)))
    }

    /// Works on all items, on all cores, and returns the results. An item that fails is named in a
    /// warning, and the others go on. `work` writes to the audit log itself, so that what is done is
    /// logged even if the process is killed during the next item.
    pub(super) fn on_each<T: Sync, R: Send + Sync>(
        &self,
        doing: &str,
        items: &[T],
        name: fn(&T) -> &str,
        work: impl Fn(&T) -> Result<R> + Sync,
    ) -> Vec<R> {
        let done = pool::each(items, work, &self.progress(doing));
        for (item, done) in items.iter().zip(&done) {
            if let Err(error) = done {
                self.warn(&format!("{}: {}: {error}", name(item), error.code()), error);
            }
        }
        done.into_iter().flatten().collect()
    }

    /// Writes an event to the audit log, with the command that caused it.
    pub(super) fn audit(&self, kind: Kind, key: Option<&KeyId>, failure: Option<&Error>) {
        if failure.is_none() && matches!(kind, Kind::Add | Kind::Update | Kind::Remove) {
            self.tightened.call_once(|| {
                if let Some(sentence) = files::tighten(self.store.path()) {
                    let path = self.store.path().to_owned();
                    self.warn(&sentence, &Error::Permission("protect", path));
                }
            });
        }
        let mut context = vec![("command", self.command)];
        context.extend(self.program.get().map(|name| ("program", name.as_str())));
        self.log(&Event { kind, key, reason: failure.map(Error::code), context: &context });
    }

    /// The same, of what has come to this result.
    pub(super) fn audited<T>(&self, kind: Kind, key: Option<&KeyId>, done: Result<T>) -> Result<T> {
        self.audit(kind, key, done.as_ref().err());
        done
    }

    /// If the log cannot be written, that is a warning and the command goes on. Without a store there is
    /// no log.
    fn log(&self, event: &Event<'_>) {
        match self.store.audit(event, Timestamp::now()) {
            // If the directory cannot be used, the command itself has failed for the same reason.
            Err(error) if event.reason != Some(error.code()) => {
                self.warn(&format!("lf could not write this to the audit log: {error}"), &error);
            }
            _ => {}
        }
    }

    pub(super) fn warn_unreadable(&self, files: &[Unreadable]) {
        for file in files {
            self.warn(&file.error.to_string(), &file.error);
        }
    }

    pub(super) fn warn(&self, sentence: &str, error: &Error) {
        host::eprint(&match self.format {
            Format::Text => format!("lf: warning: {}\n", printable(sentence)),
            Format::Json => format::message(
                "warning",
                [("code", Some(error.code())), ("message", Some(sentence))],
            ),
        });
    }

    /// Shows on one line at a terminal how many of how many are done.
    pub(super) fn progress(&self, doing: &str) -> impl Fn(usize, usize) {
        let is_shown = host::errors_are_terminal() && self.format == Format::Text;
        move |done, total| {
            let line = format!("{doing} {done}/{total}");
            if is_shown {
                host::eprint_over(&line);
            }
            if is_shown && done == total {
                // Overwritten with blanks: not every terminal knows a sequence that clears a line.
                host::eprint_over(&" ".repeat(line.len()));
                host::eprint_over("");
            }
        }
    }
}

/// An error unless all of them are done.
pub(super) fn all_of(total: usize, done: usize) -> Result<()> {
    if done == total { Ok(()) } else { Err(Error::Incomplete(total - done, total)) }
}

/// Reads a secret: at a terminal without echo, from a pipe to its end, without one trailing newline.
pub(super) fn read_line(what: &str, behind: Behind) -> Result<Secret> {
    if host::input_is_terminal() {
        return term::ask_secret(what, envelope::MAX_VALUE, behind);
    }
    let mut secret = read_input(envelope::MAX_VALUE + "\r\n".len())?;
    secret.drop_trailing_newline();
    if secret.expose().starts_with('\u{FEFF}') {
        return Err(Error::refused(MARKED, IN_POWERSHELL));
    }
    Ok(secret)
}

/// Reads standard input to its end.
pub(super) fn read_input(limit: usize) -> Result<Secret> {
    let mut bytes = host::read_input(limit)?;
    if bytes.len() > limit {
        return Err(Error::KeyTooLarge);
    }
    Secret::from_bytes(std::mem::take(&mut *bytes)).ok_or(Error::InvalidKey)
}

/// Reads a passphrase or a recovery sheet; at a terminal a passphrase is asked for twice.
pub(super) fn read_passphrase(what: &str) -> Result<Secret> {
    let passphrase = read_line(what, Behind::Answers)?;
    match sheet::read(&passphrase) {
        Err(_) if !sheet::is_sheet(&passphrase) => {}
        read => return read,
    }
    let again = || read_line("type it again", Behind::Answers);
    if host::input_is_terminal() && again()?.expose() != passphrase.expose() {
        return Err(Error::PassphraseInvalid(
            "the two do not match; nothing was changed".to_owned(),
        ));
    }
    Ok(passphrase)
}

/// Asks before something that cannot be undone, unless `--yes` was given; refuses without a terminal.
pub(super) fn confirm(question: &str, yes: bool, hint: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if host::has_person() {
        return term::confirm(question);
    }
    let sentence = format!("{question} lf cannot ask without a terminal, so nothing was changed");
    Err(Error::refused(sentence, hint))
}

const MARKED: &str = "standard input begins with a byte-order mark, which is not part of a secret; nothing was stored";
const IN_POWERSHELL: &str =
    "send it without the mark; in PowerShell: $OutputEncoding = [Text.UTF8Encoding]::new($false)";
/// At a terminal a person may have to find the keychain's dialog and type a password.
const PERSON: Patience = Patience {
    service: Duration::from_secs(3),
    person: Duration::from_secs(60),
    on_dialog: || host::eprint(ASKING),
};
const ASKING: &str = "lf: the keychain asks you in its own window; lf waits for up to 60 seconds\n";

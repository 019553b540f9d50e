//! Every way `lf` can fail: a stable code, one sentence, sometimes a way out.
//!
//! The depths return these values and never print. Sentences name the thing that is wrong and
//! never carry a secret (tests/secrecy.rs).

mod facts;
pub mod refusal;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use facts::{Facts, kinds};

/// What went wrong. [`Error::code`] is stable; sentences may be reworded between releases.
#[derive(Debug)]
pub enum Error {
    /// The command line, or the environment, does not say something that `lf` can do.
    Usage {
        /// What is wrong with it.
        sentence: String,
        /// The command whose help says more, if one does.
        hint: Option<String>,
    },
    /// A secret was given where every local process can read it: in the argument list.
    SecretInArgv(String),
    /// Not 20 to 40 characters of `A-Z a-z 0-9 _ -`.
    InvalidKeyId,
    /// Not a lower-case name of 2 to 32 characters.
    InvalidProvider(String),
    /// Not 1 to 64 characters without control characters.
    InvalidLabel(String),
    /// The value is not UTF-8.
    InvalidKey,
    /// The value has no bytes.
    EmptyKey,
    /// The value has more than 65,536 bytes.
    KeyTooLarge,
    /// Nothing in the store answers to this name.
    KeyNotFound(String),
    /// More than one key answers to this name; the candidates, one line each.
    AmbiguousKey {
        /// What was asked for.
        selector: String,
        /// The keys that match.
        candidates: Vec<String>,
    },
    /// A key with this id exists already.
    DuplicateKey(String),
    /// The file is not an envelope of version 1 that belongs under its name.
    CorruptEnvelope {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The passphrase is wrong, or the salt, IV, ciphertext or tag was changed.
    DecryptionFailed(String),
    /// No passphrase is configured anywhere.
    PassphraseMissing,
    /// The same, and there are keys that were sealed under one.
    PassphraseLost,
    /// The passphrase opens none of the keys that are there, so it seals nothing beside them.
    WrongPassphrase {
        /// Whose passphrase, and which keys.
        sentence: String,
        /// What to do.
        hint: String,
    },
    /// Both the keychain and the environment have a passphrase.
    PassphraseConflict,
    /// Not the lines of a recovery sheet; what is wrong with them.
    InvalidSheet(String),
    /// A change of the master passphrase waits for the new one.
    RekeyPending,
    /// The passphrase cannot be used; why.
    PassphraseInvalid(String),
    /// The passphrase opens the keys that are there and is too short to encrypt under.
    PassphraseShort(String),
    /// The OS keychain did not do what it was asked; what was tried, and what came of it.
    KeychainUnavailable(String),
    /// `lf keys init` has nothing to do.
    AlreadyConfigured(String),
    /// A dangerous step was not confirmed, or would cost keys; nothing was changed.
    Refused {
        /// Why.
        sentence: String,
        /// What to type instead.
        hint: String,
    },
    /// The person at the terminal said no.
    Aborted,
    /// Some of several keys failed; each was named in a warning.
    Incomplete {
        /// How many failed.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// `lf keys doctor` found something.
    ChecksFailed {
        /// How many checks failed.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// Another process has held the store's lock for too long.
    StoreBusy(PathBuf),
    /// The operating system does not allow it.
    Permission {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// A symbolic link stands where a file or directory of ours belongs.
    SymlinkRefused(PathBuf),
    /// Anything else that the operating system said.
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The gateway cannot listen there.
    Listen {
        /// The address and port.
        address: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A trust state forbids it: the gateway must not listen there.
    UnsafeBind(String),
    /// A trust state forbids it: nobody has consented to what was asked for, or not to this; why.
    ConsentMissing(String),
    /// There is no live interface that a consent to Tailscale could cover.
    NoTailnet,
    /// The file that should record a consent does not.
    CorruptConsent {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file that should say who is paired does not.
    CorruptPairings {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No gateway answers there.
    GatewayUnreachable {
        /// Where, and who or what answers instead.
        sentence: String,
        /// What to type.
        hint: &'static str,
    },
    /// Preconditions of the gateway failed; each was named.
    PreconditionFailed(usize),
    /// No pairing has this name.
    PairingNotFound(String),
    /// Nothing here keeps services of a user.
    NoServiceManager {
        /// What was asked, and what came of it.
        sentence: String,
        /// What does the same without it.
        hint: String,
    },
    /// The service manager did not do what it was asked.
    ServiceFailed {
        /// What was asked, and what it said.
        sentence: String,
        /// Where to look.
        hint: String,
    },
    /// The system has no memory left for a key derivation.
    OutOfMemory,
    /// A program that was to be run is not there; which, and what is missing.
    CommandNotFound(String),
    /// A program that was to be run is there, and cannot be.
    CommandNotExecutable {
        /// Which.
        command: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The command was carried out, but standard output did not take its result.
    Output(io::Error),
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code that scripts, audit lines and web clients see.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.facts().code
    }

    /// The exit status of a run that ends with this error; [`Facts::exit`] says which mean what.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.facts().exit
    }

    /// The HTTP status of an answer that this error makes (RFC 9110, section 15).
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.facts().http
    }

    /// What to type next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::SecretInArgv(_) => "printf '%s' \"$KEY\" | lf keys add --provider NAME",
            Error::InvalidProvider(_) => "lf keys add --provider openai",
            Error::KeyNotFound(_) | Error::InvalidKeyId => "lf keys list",
            Error::AmbiguousKey { .. } => {
                "name the key by its id, or by 4 or more of its first characters"
            }
            Error::CorruptEnvelope { .. } | Error::DecryptionFailed(_) => "lf keys doctor",
            Error::PassphraseMissing => "lf keys init",
            Error::PassphraseLost => {
                "lf keys recovery import, with the recovery sheet; or set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file with the passphrase"
            }
            Error::PassphraseInvalid(_) => "lf keys init --help",
            Error::PassphraseShort(_) => {
                "lf keys rekey, which re-encrypts every key under a longer one"
            }
            Error::RekeyPending => {
                "give lf the new passphrase where the old one is now, or drop the change: lf keys rekey --undo"
            }
            Error::PassphraseConflict => {
                "unset LENSERFIGHT_KEYS_PASSPHRASE (and its _FILE) to use the keychain's, \
                 or set LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1 to use the environment's"
            }
            Error::KeychainUnavailable(_) => {
                "unlock or start the keychain, or set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file that others cannot read"
            }
            Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                "give --bind an address of this machine"
            }
            Error::Listen { .. } => {
                "lf gateway status, if that may be a gateway; or lf gateway serve --port N, with another port (0 picks a free one)"
            }
            Error::ConsentMissing(_) => "lf gateway consent grant tailscale",
            Error::NoTailnet => "tailscale up",
            Error::CorruptConsent { .. } => "lf gateway consent revoke",
            Error::CorruptPairings { .. } => "lf gateway unpair --all",
            Error::GatewayUnreachable { hint, .. } => hint,
            Error::UnsafeBind(_) => "lf gateway serve --keys-only --bind ADDR",
            Error::PairingNotFound(_) => "lf gateway pairings",
            Error::Usage { hint, .. } => return hint.clone(),
            Error::Refused { hint, .. }
            | Error::WrongPassphrase { hint, .. }
            | Error::NoServiceManager { hint, .. }
            | Error::ServiceFailed { hint, .. } => return Some(hint.clone()),
            Error::InvalidLabel(_)
            | Error::InvalidKey
            | Error::InvalidSheet(_)
            | Error::EmptyKey
            | Error::KeyTooLarge
            | Error::DuplicateKey(_)
            | Error::AlreadyConfigured(_)
            | Error::Aborted
            | Error::Incomplete { .. }
            | Error::ChecksFailed { .. }
            | Error::PreconditionFailed(_)
            | Error::StoreBusy(_)
            | Error::OutOfMemory
            | Error::Permission { .. }
            | Error::SymlinkRefused(_)
            | Error::CommandNotFound(_)
            | Error::CommandNotExecutable { .. }
            | Error::Io { .. }
            | Error::Output(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// A usage error that no help page says more about.
    #[must_use]
    pub fn usage(sentence: impl Into<String>) -> Error {
        Error::Usage {
            sentence: sentence.into(),
            hint: None,
        }
    }

    /// Sorts what the system said about `path` into the codes above.
    #[must_use]
    pub fn from_io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission { action, path },
            _ => Error::Io {
                action,
                path,
                source,
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage { sentence, .. }
            | Error::SecretInArgv(sentence)
            | Error::PassphraseInvalid(sentence)
            | Error::PassphraseShort(sentence)
            | Error::KeychainUnavailable(sentence)
            | Error::AlreadyConfigured(sentence)
            | Error::CommandNotFound(sentence)
            | Error::NoServiceManager { sentence, .. }
            | Error::ServiceFailed { sentence, .. }
            | Error::WrongPassphrase { sentence, .. }
            | Error::Refused { sentence, .. } => f.write_str(sentence),
            Error::InvalidKeyId => f.write_str("a key id is 20 to 40 characters of A-Z a-z 0-9 _ -"),
            Error::InvalidProvider(name) => write!(
                f,
                "\"{name}\" is not a provider name: a lower-case letter, then 1 to 31 of a-z 0-9 _ -"
            ),
            Error::InvalidLabel(reason) => write!(f, "a label has 1 to 64 characters and no control characters: {reason}"),
            Error::InvalidKey => f.write_str("the value is not UTF-8 text; nothing was stored"),
            Error::EmptyKey => f.write_str("the value is empty; nothing was stored"),
            Error::KeyTooLarge => f.write_str("the value is larger than 65,536 bytes; nothing was stored"),
            Error::KeyNotFound(selector) => {
                write!(f, "no key has the id, id prefix, label or provider \"{selector}\"")
            }
            Error::AmbiguousKey { selector, candidates } => {
                let named = &candidates[..candidates.len().min(NAMED)];
                let more = if named.len() < candidates.len() { "; …" } else { "" };
                write!(f, "\"{selector}\" fits {} keys: {}{more}", candidates.len(), named.join("; "))
            }
            Error::DuplicateKey(id) => write!(f, "a key with the id {id} exists already"),
            Error::CorruptEnvelope { file, reason } => write!(f, "{file} is not a usable envelope: {reason}"),
            Error::DecryptionFailed(id) => write!(
                f,
                "{id} does not open: it was encrypted under another passphrase, or was changed since"
            ),
            Error::PassphraseMissing => f.write_str(
                "no master passphrase: the keychain has none, and neither LENSERFIGHT_KEYS_PASSPHRASE nor its _FILE is set",
            ),
            Error::PassphraseLost => f.write_str(
                "there are keys, and no master passphrase: the keychain has none, and neither LENSERFIGHT_KEYS_PASSPHRASE nor its _FILE is set",
            ),
            Error::InvalidSheet(reason) => write!(f, "these are not the lines of a recovery sheet: {reason}"),
            Error::RekeyPending => f.write_str(
                "a change of the master passphrase waits for the new one, and until then nothing is encrypted under the old one",
            ),
            Error::PassphraseConflict => {
                f.write_str("both the keychain and the environment have a master passphrase; lf does not choose between them")
            }
            Error::OutOfMemory => f.write_str("there is no memory left for a key derivation, which takes 32 MiB"),
            Error::Aborted => f.write_str("not confirmed; nothing was changed"),
            Error::Incomplete { failed, total } => write!(f, "{failed} of {total} keys failed, as named above; the others are done"),
            Error::ChecksFailed { failed, total } => write!(f, "{failed} of {total} checks failed"),
            Error::StoreBusy(path) => write!(
                f,
                "another process has held the lock on {} for 30 seconds; nothing was changed",
                path.display()
            ),
            Error::Permission { action, path } => write!(f, "cannot {action} {}: permission denied", path.display()),
            Error::SymlinkRefused(path) => write!(f, "{} is a symbolic link; lf does not follow links there", path.display()),
            Error::Io { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Error::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Error::UnsafeBind(address) => write!(
                f,
                "the gateway in full mode listens on loopback addresses, and with --tailscale on those that a consent covers; {address} is neither"
            ),
            Error::ConsentMissing(sentence) | Error::GatewayUnreachable { sentence, .. } => f.write_str(sentence),
            Error::NoTailnet => f.write_str(
                "no interface that is up has an address of Tailscale's range, 100.64.0.0/10, so there is nothing to consent to",
            ),
            Error::CorruptConsent { file, reason } => {
                write!(f, "{} records no consent: {reason}", file.display())
            }
            Error::CorruptPairings { file, reason } => {
                write!(f, "{} does not say who is paired: {reason}", file.display())
            }
            Error::CommandNotExecutable { command, source } => write!(f, "cannot run \"{command}\": {source}"),
            Error::PreconditionFailed(1) => f.write_str("a precondition failed, as named above"),
            Error::PreconditionFailed(count) => write!(f, "{count} preconditions failed, as named above"),
            Error::PairingNotFound(name) => write!(f, "no pairing has the name \"{name}\""),
            Error::Output(source) => write!(f, "done, but the result could not be written to standard output: {source}"),
        }
    }
}

impl std::error::Error for Error {}

/// Keys that one sentence names.
const NAMED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_no_more_keys_than_a_person_reads() {
        let fits = |count| {
            let candidates = vec!["one".to_owned(); count];
            let selector = "x".to_owned();
            let error = Error::AmbiguousKey {
                selector,
                candidates,
            };
            error.to_string()
        };
        assert_eq!(fits(2), "\"x\" fits 2 keys: one; one");
        assert!(!fits(NAMED).contains('…') && fits(10_000).ends_with("one; …"));
        assert!(fits(10_000).len() < 200);
    }
}

//! Every way `lf` can fail: a stable code, one sentence, sometimes a way out.
//!
//! The depths return these values and never print. Sentences name the thing that is wrong and
//! never carry a secret (tests/secrecy.rs).

mod info;
pub(crate) mod refusal;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use info::{ErrorInfo, kinds};

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
    /// More than one key answers to this name, which is the first; the candidates, one line each.
    AmbiguousKey(String, Vec<String>),
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
    /// So many, of so many keys, failed; each was named in a warning.
    Incomplete(usize, usize),
    /// `lf keys doctor` found something: so many, of so many checks, failed.
    ChecksFailed(usize, usize),
    /// There is no room for what a paired page asked for; what there is too much of.
    StoreFull(String),
    /// Another process has held the store's lock for too long.
    StoreBusy(PathBuf),
    /// The operating system does not allow it: what was tried, and on which file.
    Permission(&'static str, PathBuf),
    /// The same, because it belongs to another user.
    Foreign {
        /// What was tried, and what belongs to another user.
        sentence: String,
        /// The command that gives it back.
        hint: String,
    },
    /// A symbolic link stands where a file or directory of ours belongs.
    SymlinkRefused(PathBuf),
    /// Anything else that the operating system said: what was tried, on which file, and its answer.
    Io(&'static str, PathBuf, io::Error),
    /// The gateway cannot listen there; the address and port, and what the system answered.
    Listen(String, io::Error),
    /// A trust state forbids it: the gateway must not listen there.
    UnsafeBind(String),
    /// A trust state forbids it: nobody has consented to what was asked for, or not to this; why.
    ConsentMissing(String),
    /// There is no live interface that a consent to Tailscale could cover.
    NoTailnet,
    /// The file that should record a consent does not; what is wrong with it.
    CorruptConsent(PathBuf, &'static str),
    /// The file that should say who is paired does not; what is wrong with it.
    CorruptPairings(PathBuf, &'static str),
    /// No gateway answers there: where, and who or what answers instead; what to type.
    GatewayUnreachable(String, &'static str),
    /// So many preconditions of the gateway failed, and each was named; what to do about them.
    PreconditionFailed(usize, String),
    /// No pairing has this name.
    PairingNotFound(String),
    /// Nothing here keeps services of a user: what was asked, and what came of it; what does the same without.
    NoServiceManager(String, String),
    /// The service manager did not do what it was asked: what that was, and what it said; where to look.
    ServiceFailed(String, String),
    /// The system has no memory left for a key derivation.
    OutOfMemory,
    /// A program that was to be run is not there; which, and what is missing.
    CommandNotFound(String),
    /// A program that was to be run is there, and cannot be: which, and what the system answered.
    CommandNotExecutable(String, io::Error),
    /// Another process of ours failed, and reported this code and this sentence.
    Reported(String, String),
    /// The command was carried out, but standard output did not take its result.
    Output(io::Error),
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code that scripts, audit lines and web clients see.
    pub fn code(&self) -> &'static str {
        self.info().code
    }

    /// The exit status of a run that ends with this error; [`ErrorInfo::exit`] says which mean what.
    pub fn exit_code(&self) -> u8 {
        self.info().exit
    }

    /// What to type or do next, where that helps.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Usage { hint, .. } => return hint.clone(),
            Error::Refused { hint, .. }
            | Error::WrongPassphrase { hint, .. }
            | Error::Foreign { hint, .. }
            | Error::PreconditionFailed(_, hint)
            | Error::NoServiceManager(_, hint)
            | Error::ServiceFailed(_, hint) => hint.as_str(),
            Error::GatewayUnreachable(_, hint) => hint,
            Error::Listen(_, source) if source.kind() == io::ErrorKind::AddrNotAvailable => {
                "give --bind an address of this machine"
            }
            Error::PassphraseLost => LOST,
            Error::PassphraseShort(_) => {
                "lf keys rekey, which re-encrypts every key under a longer one"
            }
            // The sentence says all there is.
            Error::Aborted | Error::Io(..) | Error::Output(_) => return None,
            _ => self.info().hint(),
        };
        Some(hint.to_owned())
    }

    /// A usage error that no help page says more about.
    pub(crate) fn usage(sentence: impl Into<String>) -> Error {
        Error::Usage { sentence: sentence.into(), hint: None }
    }

    /// A step that is refused, and what to type instead.
    pub(crate) fn refused(sentence: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Refused { sentence: sentence.into(), hint: hint.into() }
    }

    /// Sorts what the system said about `path` into the codes above.
    pub(crate) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission(action, path),
            _ => Error::Io(action, path, source),
        }
    }
}

impl std::error::Error for Error {}

const LOST: &str = "lf keys recovery import, with the recovery sheet; or set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file with the passphrase";

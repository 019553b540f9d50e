//! Every way `lf` can fail: a stable code, one sentence, sometimes a way out.
//!
//! The depths return these values and never print. Sentences name the thing that is wrong and
//! never carry a secret (tests/secrecy.rs).

mod info;
pub(crate) mod refusal;

use std::io;
use std::path::Path;

pub use info::Error;
pub(crate) use info::{ErrorInfo, kinds};

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
                "use --bind with an address of this machine"
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

    /// The same, with what that means for the passphrase, if it is the keychain's or a refusal.
    pub(crate) fn with(self, so: &str) -> Error {
        match self {
            Error::KeychainUnavailable(it) => Error::KeychainUnavailable(format!("{it}; {so}")),
            Error::Refused { sentence, hint } => Error::refused(format!("{sentence}; {so}"), hint),
            error => error,
        }
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

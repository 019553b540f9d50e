//! One row for each kind of error: code, exit and HTTP status, and the sentence. What helps is in
//! `info.txt`, a line for each code (`CODE :: HINT :: WHAT ELSE HELPS`). `lf help` prints both.

use std::fmt;

use super::Error;
use super::refusal::{self, REFUSALS};

/// What is known of an error without knowing where it happened.
#[derive(Debug)]
pub(crate) struct ErrorInfo {
    /// The code that scripts, audit lines and web clients see.
    pub(crate) code: &'static str,
    /// The exit status of a run that ends with it: 1 failed, 2 usage, refused or aborted, 3 a check or
    /// precondition failed, 4 gateway not reachable, 5 a trust state forbids it; 126 and 127 as in
    /// shells, where a program that was to be run cannot be; 0 where no run ends with it, because only
    /// the gateway answers so.
    pub(crate) exit: u8,
    /// The HTTP status of an answer that it makes (RFC 9110, section 15).
    pub(crate) http: u16,
}

// A row is code, exit and HTTP status: the errors that have them, each with its sentence. It makes
// arms in `info` and in `fmt`, and an entry of `KINDS`: an error that has no row does not compile.
macro_rules! table {
    ($($code:literal, $exit:literal, $http:literal:
        $($error:pat => ($($sentence:tt)*)),+;)*) => {
        impl Error {
            /// What is the same for all errors of this kind.
            #[inline(never)] // or each caller has a table of its own
            #[allow(unused_variables)] // the names in a row are for its sentence
            pub(crate) fn info(&self) -> &'static ErrorInfo {
                match self {
                    $($($error => &ErrorInfo { code: $code, exit: $exit, http: $http },)+)*
                    Error::Reported(code, _) =>
                        kinds().find(|info| info.code == code).unwrap_or(&refusal::INTERNAL_ERROR),
                }
            }
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($($error => write!(f, $($sentence)*),)+)*
                    Error::Reported(_, sentence) => f.write_str(sentence),
                }
            }
        }

        static KINDS: &[&ErrorInfo] = &[
            $(&ErrorInfo { code: $code, exit: $exit, http: $http },)*
        ];
    };
}

table! {
    "usage", 2, 400: Error::Usage { sentence, .. } => ("{sentence}");
    "secret_in_argv", 2, 400: Error::SecretInArgv(sentence) => ("{sentence}");
    "invalid_key_id", 2, 400: Error::InvalidKeyId => ("a key id is 20 to 40 characters of A-Z a-z 0-9 _ -");
    "invalid_provider", 2, 400:
        Error::InvalidProvider(name) => (
            "\"{name}\" is not a provider name: a lower-case letter, then 1 to 31 of a-z 0-9 _ -");
    "invalid_label", 2, 400:
        Error::InvalidLabel(reason) => ("a label has 1 to 64 characters and no control characters: {reason}");
    "invalid_key", 2, 400: Error::InvalidKey => ("the value is not UTF-8 text; nothing was stored");
    "empty_key", 2, 400: Error::EmptyKey => ("the value is empty; nothing was stored");
    "key_too_large", 2, 400: Error::KeyTooLarge => ("the value is larger than 65,536 bytes; nothing was stored");
    "key_not_found", 1, 404:
        Error::KeyNotFound(selector) => ("no key has the id, id prefix, label or provider \"{selector}\"");
    "ambiguous_key", 2, 409:
        Error::AmbiguousKey(selector, candidates) => (
            "\"{selector}\" fits {} keys: {}", candidates.len(), named(candidates));
    "duplicate_key", 1, 409: Error::DuplicateKey(id) => ("a key with the id {id} exists already");
    "corrupt_envelope", 1, 422:
        Error::CorruptEnvelope { file, reason } => ("{file} is not a usable envelope: {reason}");
    "decryption_failed", 1, 422:
        Error::DecryptionFailed(id) => (
            "{id} does not open: it was encrypted under another passphrase, or was changed since");
    "passphrase_missing", 1, 503:
        Error::PassphraseMissing => ("{NO_PASSPHRASE}"),
        Error::PassphraseLost => ("there are keys, and {NO_PASSPHRASE}");
    "wrong_passphrase", 2, 503: Error::WrongPassphrase { sentence, .. } => ("{sentence}");
    "passphrase_conflict", 2, 503:
        Error::PassphraseConflict => (
            "both the keychain and the environment have a master passphrase; lf does not choose \
             between them");
    "invalid_sheet", 2, 400: Error::InvalidSheet(reason) => ("these are not the lines of a recovery sheet: {reason}");
    "rekey_pending", 2, 503:
        Error::RekeyPending => ("a change of the master passphrase waits for the new one, and until then nothing is \
             encrypted under the old one");
    "passphrase_invalid", 2, 503:
        Error::PassphraseInvalid(sentence) => ("{sentence}"),
        Error::PassphraseShort(sentence) => ("{sentence}");
    "keychain_unavailable", 1, 503: Error::KeychainUnavailable(sentence) => ("{sentence}");
    "already_configured", 2, 500: Error::AlreadyConfigured(sentence) => ("{sentence}");
    "refused", 2, 500: Error::Refused { sentence, .. } => ("{sentence}");
    "aborted", 2, 500: Error::Aborted => ("not confirmed; nothing was changed");
    "incomplete", 1, 500:
        Error::Incomplete(failed, total) => ("{failed} of {total} keys failed, as named above; the others are done");
    "checks_failed", 3, 500: Error::ChecksFailed(failed, total) => ("{failed} of {total} checks failed");
    "store_full", 1, 507: Error::StoreFull(sentence) => ("{sentence}");
    "store_busy", 1, 503:
        Error::StoreBusy(path) => (
            "another process has held the lock on {} for 30 seconds; nothing was changed", path.display());
    "permission_error", 1, 500:
        Error::Permission(action, path) => ("cannot {action} {}: permission denied", path.display()),
        Error::Foreign { sentence, .. } => ("{sentence}");
    "symlink_refused", 1, 500:
        Error::SymlinkRefused(path) => ("{} is a symbolic link; lf does not follow links there", path.display());
    "cannot_listen", 1, 500: Error::Listen(address, source) => ("cannot listen on {address}: {source}");
    "unsafe_bind", 5, 500:
        Error::UnsafeBind(address) => (
            "the gateway in full mode listens on loopback addresses, and with --tailscale on those \
             that a consent covers; {address} is neither");
    "consent_missing", 5, 403: Error::ConsentMissing(sentence) => ("{sentence}");
    "no_tailnet", 5, 500:
        Error::NoTailnet => ("this machine has no address of Tailscale's range, 100.64.0.0/10, so there is \
             nothing to consent to");
    "corrupt_consent", 1, 500:
        Error::CorruptConsent(file, reason) => ("{} records no consent: {reason}", file.display());
    "corrupt_pairings", 1, 500:
        Error::CorruptPairings(file, reason) => ("{} does not say who is paired: {reason}", file.display());
    "gateway_unreachable", 4, 500: Error::GatewayUnreachable(sentence, _) => ("{sentence}");
    "no_service_manager", 1, 500: Error::NoServiceManager(sentence, _) => ("{sentence}");
    "service_failed", 1, 500: Error::ServiceFailed(sentence, _) => ("{sentence}");
    "precondition_failed", 3, 500:
        Error::PreconditionFailed(count, _) => ("{count} of the preconditions failed, as named above");
    "pairing_not_found", 1, 404: Error::PairingNotFound(name) => ("no pairing has the name \"{name}\"");
    "out_of_memory", 1, 503: Error::OutOfMemory => ("there is no memory left for a key derivation, which takes 32 MiB");
    "command_not_found", 127, 500: Error::CommandNotFound(sentence) => ("{sentence}");
    "command_not_executable", 126, 500:
        Error::CommandNotExecutable(command, source) => ("cannot run \"{command}\": {source}");
    "io_error", 1, 500:
        Error::Io(action, path, source) => ("cannot {action} {}: {source}", path.display()),
        Error::Output(source) => ("done, but the result could not be written to standard output: {source}");
}

fn named(candidates: &[String]) -> String {
    match candidates.get(..MOST_NAMED) {
        Some(shown) if shown.len() < candidates.len() => format!("{}; …", shown.join("; ")),
        _ => candidates.join("; "),
    }
}

impl ErrorInfo {
    /// What to do about it, in one line: a command to type, where there is one.
    pub(crate) fn hint(&self) -> &'static str {
        self.help().0
    }

    /// What else helps.
    pub(crate) fn more(&self) -> &'static str {
        self.help().1
    }

    fn help(&self) -> (&'static str, &'static str) {
        let of = |line: &'static str| line.strip_prefix(self.code)?.strip_prefix(" :: ");
        HELP.lines().find_map(of).unwrap_or_default().split_once(" :: ").unwrap_or_default()
    }

    /// Both statuses, as a sentence.
    pub(crate) fn statuses(&self) -> String {
        let ErrorInfo { exit, http, .. } = self;
        match exit {
            0 => format!("HTTP status {http}; no command ends with it."),
            _ => format!("Exit code {exit}, HTTP status {http}."),
        }
    }
}

impl From<Error> for &'static ErrorInfo {
    fn from(error: Error) -> &'static ErrorInfo {
        error.info()
    }
}

/// Every kind of error, and then what only the gateway answers.
pub(crate) fn kinds() -> impl Iterator<Item = &'static ErrorInfo> {
    KINDS.iter().chain(REFUSALS).copied()
}

const NO_PASSPHRASE: &str = "no master passphrase: the keychain has none, and neither LENSERFIGHT_KEYS_PASSPHRASE nor its _FILE is set";
/// Keys that one sentence names.
const MOST_NAMED: usize = 20;
/// One line for each code.
static HELP: &str = include_str!("info.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_that_is_there_once_and_its_hint_fits_a_line() {
        for (at, info) in kinds().enumerate() {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(info.code.chars().all(is_word), "{}", info.code);
            assert!(kinds().take(at).all(|other| other.code != info.code), "{}", info.code);
            assert!((1..=60).contains(&info.hint().len()), "{}", info.code);
            assert!(info.more().ends_with('.'), "{}", info.code);
        }
        assert_eq!(HELP.lines().count(), kinds().count());
    }

    #[test]
    fn the_list_has_what_an_error_has() {
        for (error, code, exit, http) in [
            (Error::Aborted, "aborted", 2, 500),
            (Error::KeyNotFound(String::new()), "key_not_found", 1, 404),
            (Error::UnsafeBind(String::new()), "unsafe_bind", 5, 500),
        ] {
            assert_eq!((error.code(), error.exit_code(), error.info().http), (code, exit, http));
            let listed = kinds().find(|info| info.code == code).unwrap();
            assert_eq!((listed.exit, listed.http), (exit, http), "{code}");
        }
    }

    #[test]
    fn a_sentence_names_no_more_keys_than_a_person_reads() {
        let fits = |count| {
            let candidates = vec!["one".to_owned(); count];
            Error::AmbiguousKey("x".to_owned(), candidates).to_string()
        };
        assert_eq!(fits(2), "\"x\" fits 2 keys: one; one");
        assert!(!fits(MOST_NAMED).contains('…') && fits(10_000).ends_with("one; …"));
        assert!(fits(10_000).len() < 200);
    }
}

//! One row for each kind of error: code, exit and HTTP status, and what it says. What helps is in
//! `info.txt`, a line for each code (`CODE :: HINT :: WHAT ELSE HELPS`). `lf help` prints both.

use std::path::PathBuf;
use std::{fmt, io};

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

// A row is code, exit and HTTP status: the errors that have them, each with its fields and its sentence.
// It makes variants, arms in `info` and in `fmt`, and an entry of `KINDS`.
macro_rules! table {
    ($($(#[$first:meta])* $code:literal, $exit:literal, $http:literal:
        $($(#[$doc:meta])* $name:ident $(($($item:ident: $kind:ty),+))? $({ $($member:ident: $type:ty),+ })?
            => ($($sentence:tt)*)),+;)*) => {
        /// What went wrong. [`Error::code`] is stable; sentences may be reworded between releases.
        #[derive(Debug)]
        pub enum Error {
            $($(#[$first])* $(
                $(#[$doc])*
                $name $(($($kind),+))? $({ $(#[doc = concat!("The ", stringify!($member), ".")] $member: $type),+ })?,
            )+)*
            /// Another process of ours failed, and reported this code and this sentence.
            Reported(String, String),
        }

        impl Error {
            /// What is the same for all errors of this kind.
            #[inline(never)] // or each caller has a table of its own
            pub(crate) fn info(&self) -> &'static ErrorInfo {
                match self {
                    $($(Error::$name { .. } => &ErrorInfo { code: $code, exit: $exit, http: $http },)+)*
                    Error::Reported(code, _) =>
                        kinds().find(|info| info.code == code).unwrap_or(&refusal::INTERNAL_ERROR),
                }
            }
        }

        impl fmt::Display for Error {
            #[allow(unused_variables)] // the names in a row are for its sentence
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($(Error::$name $(($($item),+))? $({ $($member),+ })? => write!(f, $($sentence)*),)+)*
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
    /// The command line, or the environment, does not say something that `lf` can do.
    "usage", 2, 400: Usage { sentence: String, hint: Option<String> } => ("{sentence}");
    /// A secret was given where every local process can read it: in the argument list.
    "secret_in_argv", 2, 400: SecretInArgv(sentence: String) => ("{sentence}");
    /// Not 20 to 40 characters of `A-Z a-z 0-9 _ -`.
    "invalid_key_id", 2, 400: InvalidKeyId => ("a key id is 20 to 40 characters of A-Z a-z 0-9 _ -");
    /// Not a lower-case name of 2 to 32 characters.
    "invalid_provider", 2, 400: InvalidProvider(name: String) => (
            "\"{name}\" is not a provider name: a lower-case letter, then 1 to 31 of a-z 0-9 _ -");
    "invalid_label", 2, 400:
        /// Not 1 to 64 characters without control characters.
        InvalidLabel(reason: String) => ("a label has 1 to 64 characters and no control characters: {reason}");
    /// The value is not UTF-8.
    "invalid_key", 2, 400: InvalidKey => ("the value is not UTF-8 text; nothing was stored");
    /// The value has no bytes.
    "empty_key", 2, 400: EmptyKey => ("the value is empty; nothing was stored");
    /// The value has more than 65,536 bytes.
    "key_too_large", 2, 400: KeyTooLarge => ("the value is larger than 65,536 bytes; nothing was stored");
    "key_not_found", 1, 404:
        /// Nothing in the store answers to this name.
        KeyNotFound(selector: String) => ("no key has the id, id prefix, label or provider \"{selector}\"");
    /// More than one key answers to this name, which is the first; the candidates, one line each.
    "ambiguous_key", 2, 409: AmbiguousKey(selector: String, candidates: Vec<String>) => (
            "\"{selector}\" fits {} keys: {}", candidates.len(), named(candidates));
    /// A key with this id exists already.
    "duplicate_key", 1, 409: DuplicateKey(id: String) => ("a key with the id {id} already exists");
    "corrupt_envelope", 1, 422:
        /// The file is not an envelope of version 1 that belongs under its name.
        CorruptEnvelope { file: String, reason: String } => ("{file} is not a usable envelope: {reason}");
    /// The passphrase is wrong, or the salt, IV, ciphertext or tag was changed.
    "decryption_failed", 1, 422: DecryptionFailed(id: String) => (
            "{id} does not open: it is under another passphrase, or its file was changed");
    /// No passphrase is configured anywhere.
    "passphrase_missing", 1, 503: PassphraseMissing => ("{NO_PASSPHRASE}"),
        /// The same, and there are keys that were sealed under one.
        PassphraseLost => ("there are keys, and {NO_PASSPHRASE}");
    /// The passphrase opens none of the keys that are there, so it seals nothing beside them.
    "wrong_passphrase", 2, 503: WrongPassphrase { sentence: String, hint: String } => ("{sentence}");
    /// Both the keychain and the environment have a passphrase.
    "passphrase_conflict", 2, 503: PassphraseConflict => (
            "both the keychain and the environment have a master passphrase; lf does not choose \
             between them");
    /// Not the lines of a recovery sheet; what is wrong with them.
    "invalid_sheet", 2, 400: InvalidSheet(reason: String) => ("these are not the lines of a recovery sheet: {reason}");
    "rekey_pending", 2, 503:
        /// A change of the master passphrase waits for the new one.
        RekeyPending => ("a change of the master passphrase waits for the new one; until then lf encrypts \
             nothing under the old one");
    /// The passphrase cannot be used; why.
    "passphrase_invalid", 2, 503: PassphraseInvalid(sentence: String) => ("{sentence}"),
        /// The passphrase opens the keys that are there and is too short to encrypt under.
        PassphraseShort(sentence: String) => ("{sentence}");
    /// The OS keychain did not do what it was asked; what was tried, and what came of it.
    "keychain_unavailable", 1, 503: KeychainUnavailable(sentence: String) => ("{sentence}");
    /// `lf keys init` has nothing to do.
    "already_configured", 2, 500: AlreadyConfigured(sentence: String) => ("{sentence}");
    /// A dangerous step was not confirmed, or would cost keys; nothing was changed.
    "refused", 2, 500: Refused { sentence: String, hint: String } => ("{sentence}");
    /// The person at the terminal said no.
    "aborted", 2, 500: Aborted => ("you did not confirm; nothing was changed");
    "incomplete", 1, 500:
        /// So many, of so many keys, failed; each was named in a warning.
        Incomplete(failed: usize, total: usize) => ("{failed} of {total} keys failed, as named above; the others are done");
    /// `lf keys doctor` found something: so many, of so many checks, failed.
    "checks_failed", 3, 500: ChecksFailed(failed: usize, total: usize) => ("{failed} of {total} checks failed");
    /// There is no room for what a paired page asked for; what there is too much of.
    "store_full", 1, 507: StoreFull(sentence: String) => ("{sentence}");
    /// Another process has held the store's lock for too long.
    "store_busy", 1, 503: StoreBusy(path: PathBuf) => (
            "another process has held the lock on {} for 30 seconds; nothing was changed", path.display());
    "permission_error", 1, 500:
        /// The operating system does not allow it: what was tried, and on which file.
        Permission(action: &'static str, path: PathBuf) => ("cannot {action} {}: permission denied", path.display()),
        /// The same, because it belongs to another user.
        Foreign { sentence: String, hint: String } => ("{sentence}");
    "symlink_refused", 1, 500:
        /// A symbolic link stands where a file or directory of ours belongs.
        SymlinkRefused(path: PathBuf) => ("{} is a symbolic link; lf does not follow links there", path.display());
    /// The gateway cannot listen there; the address and port, and what the system answered.
    "cannot_listen", 1, 500: Listen(address: String, source: io::Error) => ("cannot listen on {address}: {source}");
    /// A trust state forbids it: the gateway must not listen there.
    "unsafe_bind", 5, 500: UnsafeBind(address: String) => (
            "in full mode the gateway listens only on loopback addresses, and with --tailscale on the \
             address that a consent covers; {address} is neither");
    /// A trust state forbids it: nobody has consented to what was asked for, or not to this; why.
    "consent_missing", 5, 403: ConsentMissing(sentence: String) => ("{sentence}");
    /// There is no live interface that a consent to Tailscale could cover.
    "no_tailnet", 5, 500: NoTailnet => ("this machine has no Tailscale address (100.64.0.0/10), so there is \
             nothing to consent to");
    "corrupt_consent", 1, 500:
        /// The file that should record a consent does not; what is wrong with it.
        CorruptConsent(file: PathBuf, reason: &'static str) => ("{} is not a consent: {reason}", file.display());
    "corrupt_pairings", 1, 500:
        /// The file that should say who is paired does not; what is wrong with it.
        CorruptPairings(file: PathBuf, reason: &'static str) => ("{} is not a list of pairings: {reason}", file.display());
    /// No gateway answers there: where, and who or what answers instead; what to type.
    "gateway_unreachable", 4, 500: GatewayUnreachable(sentence: String, hint: &'static str) => ("{sentence}");
    /// Nothing here keeps services of a user: what was asked, and what came of it; what does the same without.
    "no_service_manager", 1, 500: NoServiceManager(sentence: String, hint: String) => ("{sentence}");
    /// The service manager did not do what it was asked: what that was, and what it said; where to look.
    "service_failed", 1, 500: ServiceFailed(sentence: String, hint: String) => ("{sentence}");
    "precondition_failed", 3, 500:
        /// So many preconditions of the gateway failed, and each was named; what to do about them.
        PreconditionFailed(count: usize, hint: String) => ("{count} of the preconditions failed, as named above");
    /// No pairing has this name.
    "pairing_not_found", 1, 404: PairingNotFound(name: String) => ("no pairing has the name \"{name}\"");
    /// The system has no memory left for a key derivation.
    "out_of_memory", 1, 503: OutOfMemory => ("there is not enough memory for a key derivation, which takes 32 MiB");
    /// The cloud is not reached, or something else answers for it: why, and the way out.
    "cloud_unreachable", 1, 500: CloudUnreachable(sentence: String) => ("{sentence}");
    /// There is no session with the cloud that it accepts: whose, and the way out.
    "cloud_session", 1, 500: CloudSession(sentence: String) => ("{sentence}");
    /// The cloud does not do what it was asked: what it says, and the way out.
    "cloud_refused", 1, 500: CloudRefused(sentence: String) => ("{sentence}");
    /// A program that was to be run is not there; which, and what is missing.
    "command_not_found", 127, 500: CommandNotFound(sentence: String) => ("{sentence}");
    "command_not_executable", 126, 500:
        /// A program that was to be run is there, and cannot be: which, and what the system answered.
        CommandNotExecutable(command: String, source: io::Error) => ("cannot run \"{command}\": {source}");
    "io_error", 1, 500:
        /// Anything else that the operating system said: what was tried, on which file, and its answer.
        Io(action: &'static str, path: PathBuf, source: io::Error) => ("cannot {action} {}: {source}", path.display()),
        /// The command was carried out, but standard output did not take its result.
        Output(source: io::Error) => ("done, but the result could not be written to standard output: {source}");
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

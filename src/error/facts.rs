//! One row for each kind of error: code, exit and HTTP status, the sentence, the hint. `lf help errors`
//! is printed from the same rows; what else it says of a code is in `more.txt`.

use std::fmt;

use super::Error;
use super::refusal::REFUSALS;

/// What is known of an error without knowing where it happened.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The code that scripts, audit lines and web clients see.
    pub(crate) code: &'static str,
    /// The exit status of a run that ends with it: 1 failed, 2 usage, refused or aborted, 3 a check or
    /// precondition failed, 4 gateway not reachable, 5 a trust state forbids it; 126 and 127 as in
    /// shells, where a program that was to be run cannot be; 0 where no run ends with it, because only
    /// the gateway answers so.
    pub(crate) exit: u8,
    /// The HTTP status of an answer that it makes (RFC 9110, section 15).
    pub(crate) http: u16,
    /// What to do about it, in one line: a command to type, where there is one.
    pub(crate) hint: &'static str,
}

// A row is an arm in `facts` and in `fmt`, and an entry of `KINDS`: what has no row does not compile.
macro_rules! table {
    ($($error:pat => $code:literal, $exit:literal, $http:literal, ($($sentence:tt)*), $hint:literal;)*) => {
        impl Error {
            /// What is the same for all errors of this kind.
            #[inline(never)] // or each caller has a table of its own
            #[allow(unused_variables)] // the names in a row are for its sentence
            pub(crate) fn facts(&self) -> &'static Facts {
                match self {
                    $($error => &Facts { code: $code, exit: $exit, http: $http, hint: $hint },)*
                }
            }
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($error => write!(f, $($sentence)*),)*
                }
            }
        }

        static KINDS: &[&Facts] = &[
            $(&Facts { code: $code, exit: $exit, http: $http, hint: $hint },)*
        ];
    };
}

table! {
    Error::Usage { sentence, .. } => "usage", 2, 400,
        ("{sentence}"),
        "lf --help";
    Error::SecretInArgv(sentence) => "secret_in_argv", 2, 400,
        ("{sentence}"),
        "printf '%s' \"$KEY\" | lf keys add --provider NAME";
    Error::InvalidKeyId => "invalid_key_id", 2, 400,
        ("a key id is 20 to 40 characters of A-Z a-z 0-9 _ -"),
        "lf keys list";
    Error::InvalidProvider(name) => "invalid_provider", 2, 400,
        ("\"{name}\" is not a provider name: a lower-case letter, then 1 to 31 of a-z 0-9 _ -"),
        "lf keys add --provider openai";
    Error::InvalidLabel(reason) => "invalid_label", 2, 400,
        ("a label has 1 to 64 characters and no control characters: {reason}"),
        "take 1 to 64 characters, none of them a control character";
    Error::InvalidKey => "invalid_key", 2, 400,
        ("the value is not UTF-8 text; nothing was stored"),
        "pass UTF-8 text";
    Error::EmptyKey => "empty_key", 2, 400,
        ("the value is empty; nothing was stored"),
        "pass a value of at least one byte";
    Error::KeyTooLarge => "key_too_large", 2, 400,
        ("the value is larger than 65,536 bytes; nothing was stored"),
        "pass at most 65,536 bytes";
    Error::KeyNotFound(selector) => "key_not_found", 1, 404,
        ("no key has the id, id prefix, label or provider \"{selector}\""),
        "lf keys list";
    Error::AmbiguousKey { selector, candidates } => "ambiguous_key", 2, 409,
        ("\"{selector}\" fits {} keys: {}", candidates.len(), named(candidates)),
        "name the key by its id, or by 4 or more characters of it";
    Error::DuplicateKey(id) => "duplicate_key", 1, 409,
        ("a key with the id {id} exists already"),
        "try again";
    Error::CorruptEnvelope { file, reason } => "corrupt_envelope", 1, 422,
        ("{file} is not a usable envelope: {reason}"),
        "lf keys doctor";
    Error::DecryptionFailed(id) => "decryption_failed", 1, 422,
        ("{id} does not open: it was encrypted under another passphrase, or was changed since"),
        "lf keys doctor";
    error @ (Error::PassphraseMissing | Error::PassphraseLost) => "passphrase_missing", 1, 503,
        ("{}", sentence(error)),
        "lf keys init";
    Error::WrongPassphrase { sentence, .. } => "wrong_passphrase", 2, 503,
        ("{sentence}"),
        "correct the passphrase; lf keys doctor tells what it opens";
    Error::PassphraseConflict => "passphrase_conflict", 2, 503,
        ("both the keychain and the environment have a master passphrase; lf does not choose \
          between them"),
        "unset one, or set LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1";
    Error::InvalidSheet(reason) => "invalid_sheet", 2, 400,
        ("these are not the lines of a recovery sheet: {reason}"),
        "type the lines of the sheet again";
    Error::RekeyPending => "rekey_pending", 2, 503,
        ("a change of the master passphrase waits for the new one, and until then nothing is \
          encrypted under the old one"),
        "configure the new passphrase, or lf keys rekey --undo";
    Error::PassphraseInvalid(sentence) | Error::PassphraseShort(sentence) => "passphrase_invalid", 2, 503,
        ("{sentence}"),
        "lf keys init --help";
    Error::KeychainUnavailable(sentence) => "keychain_unavailable", 1, 503,
        ("{sentence}"),
        "unlock it, or set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file";
    Error::AlreadyConfigured(sentence) => "already_configured", 2, 500,
        ("{sentence}"),
        "nothing needs to be done; lf keys add stores a key";
    Error::Refused { sentence, .. } => "refused", 2, 500,
        ("{sentence}"),
        "read the hint: it is the command that says so on purpose";
    Error::Aborted => "aborted", 2, 500,
        ("not confirmed; nothing was changed"),
        "type yes when asked";
    Error::Incomplete { failed, total } => "incomplete", 1, 500,
        ("{failed} of {total} keys failed, as named above; the others are done"),
        "see to the keys that were named; the others are done";
    Error::ChecksFailed { failed, total } => "checks_failed", 3, 500,
        ("{failed} of {total} checks failed"),
        "follow the hint below each check that failed";
    Error::StoreBusy(path) => "store_busy", 1, 503,
        ("another process has held the lock on {} for 30 seconds; nothing was changed", path.display()),
        "try again when the other process has ended";
    Error::Permission { action, path } => "permission_error", 1, 500,
        ("cannot {action} {}: permission denied", path.display()),
        "ls -l the file that is named; is it yours?";
    Error::SymlinkRefused(path) => "symlink_refused", 1, 500,
        ("{} is a symbolic link; lf does not follow links there", path.display()),
        "put the real directory there, or name it";
    Error::Listen { address, source } => "cannot_listen", 1, 500,
        ("cannot listen on {address}: {source}"),
        "lf gateway status; or another port, --port N (0 picks one)";
    Error::UnsafeBind(address) => "unsafe_bind", 5, 500,
        ("the gateway in full mode listens on loopback addresses, and with --tailscale on those \
          that a consent covers; {address} is neither"),
        "lf gateway serve --keys-only --bind ADDR";
    Error::ConsentMissing(sentence) => "consent_missing", 5, 403,
        ("{sentence}"),
        "lf gateway consent grant tailscale";
    Error::NoTailnet => "no_tailnet", 5, 500,
        ("this machine has no address of Tailscale's range, 100.64.0.0/10, so there is \
          nothing to consent to"),
        "tailscale up";
    Error::CorruptConsent { file, reason } => "corrupt_consent", 1, 500,
        ("{} records no consent: {reason}", file.display()),
        "lf gateway consent revoke";
    Error::CorruptPairings { file, reason } => "corrupt_pairings", 1, 500,
        ("{} does not say who is paired: {reason}", file.display()),
        "lf gateway unpair --all";
    Error::GatewayUnreachable { sentence, .. } => "gateway_unreachable", 4, 500,
        ("{sentence}"),
        "lf gateway serve";
    Error::NoServiceManager { sentence, .. } => "no_service_manager", 1, 500,
        ("{sentence}"),
        "run the line of the hint yourself; nothing was written";
    Error::ServiceFailed { sentence, .. } => "service_failed", 1, 500,
        ("{sentence}"),
        "the hint names where the service manager keeps its log";
    Error::PreconditionFailed(count) => "precondition_failed", 3, 500,
        ("{count} of the preconditions failed, as named above"),
        "see to what was named, or serve with --keys-only";
    Error::PairingNotFound(name) => "pairing_not_found", 1, 404,
        ("no pairing has the name \"{name}\""),
        "lf gateway pairings";
    Error::OutOfMemory => "out_of_memory", 1, 503,
        ("there is no memory left for a key derivation, which takes 32 MiB"),
        "free 32 MiB of memory, or raise the limit";
    Error::CommandNotFound(sentence) => "command_not_found", 127, 500,
        ("{sentence}"),
        "check the program's name and your PATH";
    Error::CommandNotExecutable { command, source } => "command_not_executable", 126, 500,
        ("cannot run \"{command}\": {source}"),
        "ls -l the file that is named; chmod +x makes it a program";
    error @ (Error::Io { .. } | Error::Output(_)) => "io_error", 1, 500,
        ("{}", sentence(error)),
        "see what the system answered: a full disk, a lost pipe?";
}

fn named(candidates: &[String]) -> String {
    let shown = &candidates[..candidates.len().min(MOST_NAMED)];
    let more = if shown.len() < candidates.len() {
        "; …"
    } else {
        ""
    };
    shown.join("; ") + more
}

/// The sentence of a kind that shares its row with another.
fn sentence(error: &Error) -> String {
    match error {
        Error::PassphraseLost => format!("there are keys, and {NO_PASSPHRASE}"),
        Error::Output(source) => {
            format!("done, but the result could not be written to standard output: {source}")
        }
        Error::Io {
            action,
            path,
            source,
        } => format!("cannot {action} {}: {source}", path.display()),
        _ => NO_PASSPHRASE.to_owned(),
    }
}

impl Facts {
    /// What else helps.
    pub(crate) fn more(&self) -> &'static str {
        let more = |line: &'static str| line.strip_prefix(self.code)?.strip_prefix(": ");
        MORE.lines().find_map(more).unwrap_or_default()
    }

    /// Both statuses, as a sentence.
    pub(crate) fn statuses(&self) -> String {
        let Facts { exit, http, .. } = self;
        match exit {
            0 => format!("HTTP status {http}; no command ends with it."),
            _ => format!("Exit code {exit}, HTTP status {http}."),
        }
    }
}

impl From<Error> for &'static Facts {
    fn from(error: Error) -> &'static Facts {
        error.facts()
    }
}

/// Every kind of error, and then what only the gateway answers.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Facts> {
    KINDS.iter().chain(REFUSALS).copied()
}

const NO_PASSPHRASE: &str = "no master passphrase: the keychain has none, and neither LENSERFIGHT_KEYS_PASSPHRASE nor its _FILE is set";
/// Keys that one sentence names.
const MOST_NAMED: usize = 20;
/// One line for each code.
static MORE: &str = include_str!("more.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_that_is_there_once_and_its_hint_fits_a_line() {
        for (at, facts) in kinds().enumerate() {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(facts.code.chars().all(is_word), "{}", facts.code);
            assert!(
                kinds().take(at).all(|other| other.code != facts.code),
                "{}",
                facts.code
            );
            assert!(facts.hint.len() <= 60, "{}", facts.code);
            assert!(facts.more().ends_with('.'), "{}", facts.code);
        }
        assert_eq!(MORE.lines().count(), kinds().count());
    }

    #[test]
    fn the_list_has_what_an_error_has() {
        for (error, code, exit, http) in [
            (Error::Aborted, "aborted", 2, 500),
            (Error::KeyNotFound(String::new()), "key_not_found", 1, 404),
            (Error::UnsafeBind(String::new()), "unsafe_bind", 5, 500),
        ] {
            assert_eq!(
                (error.code(), error.exit_code(), error.facts().http),
                (code, exit, http)
            );
            let listed = kinds().find(|facts| facts.code == code).unwrap();
            assert_eq!((listed.exit, listed.http), (exit, http), "{code}");
        }
    }

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
        assert!(!fits(MOST_NAMED).contains('…') && fits(10_000).ends_with("one; …"));
        assert!(fits(10_000).len() < 200);
    }
}

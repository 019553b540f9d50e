//! What is the same for all errors of one kind: code, exit status, HTTP status, and the way out. One
//! table, from which `lf help errors` is printed too.

use super::Error;
use super::refusal::REFUSALS;

/// What is known of an error without knowing where it happened.
#[derive(Debug)]
pub struct Facts {
    /// The code that scripts, audit lines and web clients see.
    pub code: &'static str,
    /// The exit status of a run that ends with it: 1 failed, 2 usage, refused or aborted, 3 a check or
    /// precondition failed, 4 gateway not reachable, 5 a trust state forbids it; 126 and 127 as in
    /// shells, where a program that was to be run cannot be; 0 where no run ends with it, because only
    /// the gateway answers so.
    pub exit: u8,
    /// The HTTP status of an answer that it makes (RFC 9110, section 15).
    pub http: u16,
    /// What to do about it, in one line.
    pub way_out: &'static str,
    /// What else helps.
    pub more: &'static str,
}

// A row is an arm of the match in `facts` and an entry of `KINDS`: what has no row does not compile.
macro_rules! table {
    ($($error:pat => $code:literal, $exit:literal, $http:literal, $way_out:literal, $more:literal;)*) => {
        impl Error {
            /// What is the same for all errors of this kind.
            #[must_use]
            #[inline(never)] // or each caller has a table of its own
            pub fn facts(&self) -> &'static Facts {
                match self {
                    $($error => &Facts { code: $code, exit: $exit, http: $http, way_out: $way_out, more: $more },)*
                }
            }
        }

        static KINDS: &[&Facts] = &[
            $(&Facts { code: $code, exit: $exit, http: $http, way_out: $way_out, more: $more },)*
        ];
    };
}

table! {
    Error::Usage { .. } => "usage", 2, 400,
        "read the hint: it names the help page that fits",
        "The command line, or a variable of the environment, does not say something that lf can do. Nothing was opened or changed.";
    Error::SecretInArgv(_) => "secret_in_argv", 2, 400,
        "pass the secret on standard input",
        "The shell records its command lines and every local process can read them: treat that secret as seen, and replace it where it was issued. printf '%s' \"$KEY\" | lf keys add --provider NAME passes one unseen; without a pipe lf asks for it.";
    Error::InvalidKeyId => "invalid_key_id", 2, 400,
        "lf keys list shows the ids",
        "A key id is 20 to 40 characters of A-Z a-z 0-9 _ -.";
    Error::InvalidProvider(_) => "invalid_provider", 2, 400,
        "take a lower-case name such as openai",
        "A lower-case letter, then 1 to 31 of a-z 0-9 _ -. Any such name will do; it need not be a provider that lf knows.";
    Error::InvalidLabel(_) => "invalid_label", 2, 400,
        "take 1 to 64 characters, none of them a control character",
        "Labels, and the names of pairings, are text in any script.";
    Error::InvalidKey => "invalid_key", 2, 400,
        "pass UTF-8 text",
        "The value was not UTF-8 and was not stored. An encoded key, such as a PEM file or base64, is text; a binary one has to be encoded first.";
    Error::EmptyKey => "empty_key", 2, 400,
        "pass a value of at least one byte",
        "Nothing came on standard input, and nothing was stored. In a pipe, look at what the program before lf printed.";
    Error::KeyTooLarge => "key_too_large", 2, 400,
        "pass at most 65,536 bytes",
        "Nothing was stored. Such a length is more often a wrong file than a key.";
    Error::KeyNotFound(_) => "key_not_found", 1, 404,
        "lf keys list shows what is there",
        "A key is named by its id, by 4 or more of its first characters, or by a label or provider that only one key has. Labels distinguish capital and small letters.";
    Error::AmbiguousKey { .. } => "ambiguous_key", 2, 409,
        "name the key by its id",
        "More than one key has that label, provider or beginning of an id; the message lists them. 4 or more of an id's first characters are enough, if no other id has them.";
    Error::DuplicateKey(_) => "duplicate_key", 1, 409,
        "try again",
        "A key with this id exists already, and was not overwritten. Ids are random, so the same will not come twice.";
    Error::CorruptEnvelope { .. } => "corrupt_envelope", 1, 422,
        "lf keys doctor",
        "The file is not what lf wrote: cut short, edited, or from something else. lf never repairs a key by guessing. lf keys remove ID drops the damaged file, and lf keys restore DIR brings the key back from a copy of the directory; or add it anew.";
    Error::DecryptionFailed(_) => "decryption_failed", 1, 422,
        "lf keys doctor says which keys open",
        "It was encrypted under another master passphrase, or was changed since. Bring the right passphrase: from a sheet with lf keys recovery import, from another machine with lf keys init --passphrase-stdin. A changed file can be removed, and comes back from a copy of the directory with lf keys restore DIR.";
    Error::PassphraseMissing | Error::PassphraseLost => "passphrase_missing", 1, 503,
        "lf keys init",
        "Neither the keychain nor the environment has a master passphrase. For keys that are there already it has to be theirs: lf keys recovery import takes it from a sheet. On a server, set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file that others cannot read.";
    Error::WrongPassphrase { .. } => "wrong_passphrase", 2, 503,
        "correct the passphrase; lf keys doctor tells what it opens",
        "The configured master passphrase opens none of the keys that are there, so a new key or value would open with nothing that the others open with. Nothing was stored. The message says where the passphrase came from: correct it there, or bring the right one with lf keys recovery import.";
    Error::PassphraseConflict => "passphrase_conflict", 2, 503,
        "unset one of the two, or set ..._FORCE_ENV=1",
        "Both the keychain and the environment have a master passphrase, and lf does not choose. Unset LENSERFIGHT_KEYS_PASSPHRASE (and its _FILE) to use the keychain's, or set LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1 to use the environment's; the keychain is not asked then.";
    Error::InvalidSheet(_) => "invalid_sheet", 2, 400,
        "type the lines of the sheet again",
        "Every line of a recovery sheet has a check of its own, so the message names the line that was mistyped. Nothing was changed.";
    Error::RekeyPending => "rekey_pending", 2, 503,
        "configure the new passphrase, or lf keys rekey --undo",
        "A change of the master passphrase waits for the new one. Give lf the new passphrase where the old one is now, and the next command finishes the change; or drop the change with lf keys rekey --undo. Reading goes on meanwhile.";
    Error::PassphraseInvalid(_) | Error::PassphraseShort(_) => "passphrase_invalid", 2, 503,
        "do what the message says",
        "The master passphrase that is configured cannot be used: too short, not text, or in a file that others can read or that holds more than it.";
    Error::KeychainUnavailable(_) => "keychain_unavailable", 1, 503,
        "unlock or start the keychain, or use a passphrase file",
        "The keychain did not answer, was locked, or refused. Where there is none, set LENSERFIGHT_KEYS_PASSPHRASE_FILE to a file that others cannot read.";
    Error::AlreadyConfigured(_) => "already_configured", 2, 500,
        "nothing needs to be done; --force replaces what is there",
        "There is a master passphrase already. lf keys rekey gives all keys a new one; lf keys init --force puts another into the keychain, and asks first if keys would not open with it.";
    Error::Refused { .. } => "refused", 2, 500,
        "read the hint: it is the command that says so on purpose",
        "A dangerous step was not confirmed, or something would be lost or replaced. Nothing was changed.";
    Error::Aborted => "aborted", 2, 500,
        "type yes when asked, or --yes in scripts",
        "The question was not answered with yes, or Ctrl-C was typed. Nothing was changed.";
    Error::Incomplete { .. } => "incomplete", 1, 500,
        "see to the keys that were named; the others are done",
        "Each key that failed was named in a warning with a code of its own. The same command again does no harm.";
    Error::ChecksFailed { .. } => "checks_failed", 3, 500,
        "follow the hint below each check that failed",
        "lf keys doctor found something. lf keys doctor --fix repairs modes and left-over temporary files; the rest is yours to decide.";
    Error::StoreBusy(_) => "store_busy", 1, 503,
        "try again when the other process has ended",
        "Another process has held the store's lock for 30 seconds. Changing commands hold it for moments; one that is stopped (Ctrl-Z) holds it until it goes on.";
    Error::Permission { .. } => "permission_error", 1, 500,
        "ls -l the file that is named; is it yours?",
        "The operating system does not allow it. lf keys doctor --fix repairs modes; a file of another user has to be given back by that user or by root.";
    Error::SymlinkRefused(_) => "symlink_refused", 1, 500,
        "put the real directory there, or name it",
        "A symbolic link stands where a file or directory of ours belongs, and lf follows none there. LENSERFIGHT_KEYS_DIR takes the real directory.";
    Error::Listen { .. } => "cannot_listen", 1, 500,
        "another port: lf gateway serve --port 0 picks a free one",
        "The port is taken, mostly by another lf gateway serve, or the address is none of this machine.";
    Error::UnsafeBind(_) => "unsafe_bind", 5, 500,
        "lf gateway serve --keys-only --bind ADDR",
        "In full mode the gateway listens on loopback addresses, and on the Tailscale address that lf gateway consent grant tailscale has recorded.";
    Error::ConsentMissing(_) => "consent_missing", 5, 403,
        "lf gateway consent grant tailscale",
        "No consent is recorded, or it was given for an interface with another name or address; lf gateway consent show tells which.";
    Error::NoTailnet => "no_tailnet", 5, 500,
        "start Tailscale, then try again",
        "Consent is given for an interface that is there: none has an address in 100.64.0.0/10 now.";
    Error::CorruptConsent { .. } => "corrupt_consent", 1, 500,
        "lf gateway consent revoke, then grant it again",
        "The consent's file is not what lf wrote. It counts as none, and is not overwritten.";
    Error::CorruptPairings { .. } => "corrupt_pairings", 1, 500,
        "lf gateway unpair --all, then pair again",
        "The file that says who is paired is not what lf wrote. It lets nobody in, and only unpair --all puts a new one in its place.";
    Error::GatewayUnreachable { .. } => "gateway_unreachable", 4, 500,
        "lf gateway serve",
        "Nothing answers on the gateway's address, or something else than lf does; the message says which.";
    Error::NoServiceManager { .. } => "no_service_manager", 1, 500,
        "run the line of the hint yourself; nothing was written",
        "Neither systemd nor launchd answers for this user: in a container, over su, or before the first login. The hint is the command that serves in the foreground.";
    Error::ServiceFailed { .. } => "service_failed", 1, 500,
        "the hint names where the service manager keeps its log",
        "The service manager has the unit, and could not do what it was asked. What it said is in the message.";
    Error::PreconditionFailed(_) => "precondition_failed", 3, 500,
        "see to what was named, or serve with --keys-only",
        "Each precondition that failed was named. Local keys alone need none of the cloud's: lf gateway serve --keys-only.";
    Error::PairingNotFound(_) => "pairing_not_found", 1, 404,
        "lf gateway pairings shows the names",
        "Names distinguish capital and small letters.";
    Error::OutOfMemory => "out_of_memory", 1, 503,
        "free 32 MiB of memory, or raise the limit",
        "Every key derivation takes 32 MiB for a moment. Look at ulimit -v and at the container's limit.";
    Error::CommandNotFound(_) => "command_not_found", 127, 500,
        "check the program's name and your PATH",
        "There is no such program, and no key was decrypted for it; or it is a script, and what its first line names is missing.";
    Error::CommandNotExecutable { .. } => "command_not_executable", 126, 500,
        "ls -l the file that is named; chmod +x makes it a program",
        "The file is there and the system does not run it: it is no program, a directory, or may not be executed.";
    Error::Io { .. } | Error::Output(_) => "io_error", 1, 500,
        "read what the system answered: a full disk, a lost pipe",
        "A file that was to be replaced is as it was: files are published whole or not at all. Where the message says done, only the printing failed.";
}

impl Facts {
    /// Both statuses, as a sentence.
    #[must_use]
    pub fn statuses(&self) -> String {
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
pub fn kinds() -> impl Iterator<Item = &'static Facts> {
    KINDS.iter().chain(REFUSALS).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_that_is_there_once_and_its_way_out_fits_a_line() {
        for (at, facts) in kinds().enumerate() {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(facts.code.chars().all(is_word), "{}", facts.code);
            assert!(
                kinds().take(at).all(|other| other.code != facts.code),
                "{}",
                facts.code
            );
            assert!(facts.way_out.len() <= 60, "{}", facts.code);
            assert!(facts.more.ends_with('.'), "{}", facts.code);
        }
    }

    #[test]
    fn the_list_has_what_an_error_has() {
        for (error, code, exit, http) in [
            (Error::Aborted, "aborted", 2, 500),
            (Error::KeyNotFound(String::new()), "key_not_found", 1, 404),
            (Error::UnsafeBind(String::new()), "unsafe_bind", 5, 500),
        ] {
            assert_eq!(
                (error.code(), error.exit_code(), error.http_status()),
                (code, exit, http)
            );
            let listed = kinds().find(|facts| facts.code == code).unwrap();
            assert_eq!((listed.exit, listed.http), (exit, http), "{code}");
        }
    }
}

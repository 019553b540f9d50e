//! The command line, and what a shell's completion asks.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::base::secret::looks_like_secret;
use crate::base::shell;
use crate::cli::{complete, parse};

/// Takes words, each in a line of its own. Nothing runs.
///
/// 1. A secret is accepted only where a file's name or another program's argument belongs.
/// 2. A refusal has exit code 2, and repeats no secret.
/// 3. Words that are quoted for a shell are read back as the same words.
pub fn argv(bytes: &[u8]) -> Option<()> {
    let words = bytes.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned());
    let words: Vec<OsString> = words.collect();
    let texts: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    // A word that begins otherwise and goes on as a secret does is none that lf can know.
    let is_hidden =
        |secret: &str| texts.iter().any(|word| !looks_like_secret(word) && word.contains(secret));
    let secrets = texts.iter().filter(|word| looks_like_secret(word) && !is_hidden(word));
    match parse(words.clone()) {
        Ok(_) if texts.iter().any(|word| NOTHING_ELSE.contains(&&**word)) => {}
        Ok(_) => {
            let end = texts.iter().position(|word| word == "--").unwrap_or(texts.len());
            for (at, word) in texts[..end].iter().enumerate() {
                let is_file = |word: &str| FILES.contains(&word.split('=').next().unwrap());
                let is_file = is_file(word) || (at > 0 && is_file(&texts[at - 1]));
                assert!(is_file || !looks_like_secret(word), "{word} is accepted");
            }
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{error}");
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            for secret in secrets {
                assert!(!said.contains(&**secret), "{said}");
            }
        }
    }
    let quoted: Vec<String> = texts.iter().map(|word| shell::quoted(word)).collect();
    assert_eq!(shell::words(&quoted.join(" ")).unwrap(), texts);
    let _ = shell::words(&texts.join("\n"));
    let _ = complete::question(&words);
    Some(())
}

/// With one of these, whatever else is there does nothing.
const NOTHING_ELSE: [&str; 5] = ["complete", "--help", "-h", "--version", "-V"];
/// The flags whose value is a file's name.
const FILES: [&str; 4] = ["--dotenv", "--env-file", "--passphrase-file", "--credential"];

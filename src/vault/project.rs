//! A project's keys: the file `.lf` in a directory or above it. It says which key goes into which
//! variable, by name, so it holds no secret and can be committed.
//!
//! `lf keys run` takes a file only after a person has allowed it. What was allowed is kept by path and
//! content, so a file that was changed or moved has to be allowed again.
//! (tests/project.rs: `a_file_that_was_changed_or_copied_has_to_be_allowed_again`)

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::secret::{Secret, looks_like_secret, shown};
use crate::error::{self, Error};
use crate::system::{Dir, Publish, environment::PASSPHRASE_VARIABLES, fs};
use crate::vault::dotenv;

/// A variable, and the key that goes into it.
pub(crate) type Assignment = (String, String);

/// What goes into a program's environment.
#[derive(Default)]
pub(crate) struct Variables {
    /// Those that get a key.
    pub(crate) keys: Vec<Assignment>,
    /// Those whose value is in a file.
    pub(crate) plain: Vec<(String, Secret)>,
}

/// One `.lf` file.
pub(crate) struct Project {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) variables: Vec<Assignment>,
    /// SHA-256 of its path and its content, in hexadecimal.
    digest: String,
}

impl Project {
    /// The nearest `.lf` in the working directory or above it.
    pub(crate) fn find() -> error::Result<Option<Project>> {
        fs::find_above(NAME)?.map(Project::read).transpose()
    }

    fn read(path: PathBuf) -> error::Result<Project> {
        let (text, _) = text(&path, MAX)?;
        let hash = Sha256::new().chain_update(path.as_os_str().as_encoded_bytes());
        let hash = hash.chain_update([0]).chain_update(text.expose());
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let variables = parse(text.expose()).map_err(|fault| is_in(&path, fault))?;
        Ok(Project { path, variables, digest })
    }

    /// Has a person allowed this file as it is? That is recorded below this user's configuration, which
    /// the gateway's sandbox does not reach.
    pub(crate) fn is_allowed(&self, config: &Path) -> error::Result<bool> {
        let Some(dir) = Dir::open(&config.join(ALLOWED))? else { return Ok(false) };
        Ok(dir.stat(&self.digest)?.is_some())
    }

    /// Allows this file as it is.
    pub(crate) fn allow(&self, config: &Path) -> error::Result<()> {
        let dir = Dir::create(&config.join(ALLOWED))?.lock()?;
        let path = format!("{}\n", self.path.display());
        dir.publish(&self.digest, path.as_bytes(), Publish::Replacement)
    }
}

/// Reads a dotenv file for `lf keys run`: variables whose value is `lf://ID` get that key, and the
/// others get the value that is in the file.
pub(crate) fn env_file(path: &Path) -> error::Result<Variables> {
    let (mut variables, (text, _)) = (Variables::default(), text(path, MAX)?);
    for line in dotenv::parse(text.expose()) {
        let is_wrong = |fault: &str| is_in(path, (line.number, fault.to_owned()));
        let value = line.value.map_err(is_wrong)?;
        let name = line.name.ok_or_else(|| is_wrong("it sets no variable"))?;
        if PASSPHRASE_VARIABLES.contains(&name.as_str()) {
            return Err(is_wrong(&passphrase_of(&name)));
        }
        match value.expose().strip_prefix(REFERENCE) {
            Some("") => return Err(is_wrong("lf:// needs the ID of a key behind it")),
            Some(key) => variables.keys.push((name, key.to_owned())),
            None => variables.plain.push((name, value)),
        }
    }
    Ok(variables)
}

/// Parses a `.lf` file: a `NAME=ID` in each line, blank lines, and comments that begin with `#`. An
/// error is the number of the line, and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Assignment>, (usize, String)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|(number, line)| match assignment(line) {
        Ok((_, key)) if looks_like_secret(&key) => {
            Err((number, "it has a secret, but this file only names keys".to_owned()))
        }
        Ok(assignment) => Ok(assignment),
        Err(fault) => Err((number, fault)),
    });
    parsed.collect()
}

/// Splits `NAME=ID`; an error says what is wrong with it.
pub(crate) fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, key) = text.split_once('=').unwrap_or_default();
    let (name, key) = (name.trim(), key.trim());
    if !dotenv::is_name(name) || key.is_empty() {
        return Err(format!(
            "\"{}\" is not NAME=ID; NAME has A-Z a-z 0-9 _ and does not begin with a digit",
            shown(text)
        ));
    }
    if PASSPHRASE_VARIABLES.contains(&name) {
        return Err(passphrase_of(name));
    }
    Ok((name.to_owned(), key.to_owned()))
}

fn passphrase_of(name: &str) -> String {
    format!("{name} is for the passphrase of lf, and lf gives that to no program")
}

/// The text of a file that a person named, and whether other users can reach it.
pub(crate) fn text(path: &Path, most: usize) -> error::Result<(Secret, bool)> {
    let (bytes, is_exposed) = fs::read_exposed(path, most)?;
    let is_fit = bytes.len() <= most;
    let text = Secret::from_bytes(bytes).filter(|_| is_fit);
    let (path, most) = (path.display(), most / 1024);
    let unfit = || Error::usage(format!("{path} is not a text of at most {most} KiB"));
    Ok((text.ok_or_else(unfit)?, is_exposed))
}

fn is_in(path: &Path, (line, fault): (usize, String)) -> Error {
    Error::usage(format!("{}, line {line}: {fault}; nothing was started", path.display()))
}

const NAME: &str = ".lf";
/// The directory, below the configuration, with a file for each `.lf` that was allowed.
const ALLOWED: &str = "lf/allowed";
const REFERENCE: &str = "lf://";
/// Bytes.
const MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_a_key_in_each_line() {
        let text =
            "# keys\n\nOPENAI_API_KEY=Prod\n  A_1 = My key \r\n_B=mRSmhcH5ez4kSwWRlDoszXPn\n";
        let expected =
            [("OPENAI_API_KEY", "Prod"), ("A_1", "My key"), ("_B", "mRSmhcH5ez4kSwWRlDoszXPn")];
        let expected = expected.map(|(name, key)| (name.to_owned(), key.to_owned()));
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_wrong_is_named_and_a_secret_in_it_is_not_shown() {
        for (line, fault) in [
            ("A", "not NAME=ID"),
            ("=x", "not NAME=ID"),
            ("A=", "not NAME=ID"),
            ("1A=x", "not NAME=ID"),
            ("A-B=x", "not NAME=ID"),
            ("export A=x", "not NAME=ID"),
            ("LENSERFIGHT_KEYS_PASSPHRASE=x", "gives that to no program"),
            ("A=sk-abcdefghijklmnop", "only names keys"),
            ("sk-abcdefghijklmnop", "not NAME=ID"),
        ] {
            let (number, said) = parse(&format!("#\nB=b\n{line}\n")).unwrap_err();
            assert_eq!(number, 3, "{line}");
            assert!(said.contains(fault) && !said.contains("abcdefgh"), "{line}: {said}");
        }
    }
}

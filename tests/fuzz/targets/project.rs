//! A project's `.lf` file.

use crate::base::secret::looks_like_secret;
use crate::vault::project::parse;

/// 1. What was read, written in one form, is read as the same.
/// 2. It names no secret, and the fault of a line repeats none.
pub fn project(bytes: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    match parse(text) {
        Ok(variables) => {
            let printed: String =
                variables.iter().map(|(name, key)| format!("{name}={key}\n")).collect();
            assert_eq!(parse(&printed).unwrap(), variables);
            assert!(variables.iter().all(|(_, key)| !looks_like_secret(key)));
        }
        Err((number, fault)) => {
            assert!((1..=text.lines().count()).contains(&number));
            assert!(!looks_like_secret(&fault), "{fault}");
        }
    }
    Some(())
}

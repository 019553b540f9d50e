//! Append one line of JSON per event to `<keys>/audit.log`; never stop the caller.
//!
//! A line names keys, codes and places; never a value, a token or a raw URL (tests/secrecy.rs).

use std::fmt::Write;

use miniserde::json;

use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::key::KeyId;
use crate::time::Timestamp;

/// What happened to which key, and how it went.
#[derive(Debug)]
pub struct Event<'a> {
    /// What was done or tried.
    pub kind: Kind,
    /// To which key, if to one.
    pub key: Option<&'a KeyId>,
    /// The error, if it failed; only its code is written.
    pub failure: Option<&'a Error>,
    /// Names and values that tell where from, such as `command` and `keys rotate`.
    pub context: &'a [(&'a str, &'a str)],
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Metadata of all keys was read.
    List,
    /// A key was added.
    Add,
    /// A key's label, value or encryption was changed.
    Update,
    /// A key was removed.
    Remove,
    /// A key's value was written to standard output.
    Export,
}

/// Appends the event to the log in `dir`.
///
/// # Errors
/// What kept the line from being written; the caller says so and goes on.
pub fn append(dir: &Dir, event: &Event<'_>, now: Timestamp) -> Result<()> {
    dir.append(FILE, &line(event, now), MAX_SIZE)
}

fn line(event: &Event<'_>, now: Timestamp) -> String {
    let mut line = format!(r#"{{"ts":"{now}","kind":"{}""#, event.kind.as_str());
    if let Some(id) = event.key {
        let _ = write!(line, r#","keyId":"{id}""#);
    }
    let _ = write!(line, r#","ok":{}"#, event.failure.is_none());
    if let Some(error) = event.failure {
        let _ = write!(line, r#","reason":"{}""#, error.code());
    }
    let members: Vec<String> = event
        .context
        .iter()
        .map(|(name, value)| format!("{}:{}", json::to_string(name), json::to_string(value)))
        .collect();
    if !members.is_empty() {
        let _ = write!(line, r#","context":{{{}}}"#, members.join(","));
    }
    line.push('}');
    line
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::List => "list",
            Kind::Add => "add",
            Kind::Update => "update",
            Kind::Remove => "remove",
            Kind::Export => "export",
        }
    }
}

/// The log's name in the keys directory; its older generation has `.1` behind it.
pub const FILE: &str = "audit.log";
/// From this size on, in bytes, the log becomes the older generation.
const MAX_SIZE: u64 = 5 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_there_is_and_nothing_else() {
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let id = KeyId::parse("mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-").unwrap();
        let listed = Event {
            kind: Kind::List,
            key: None,
            failure: None,
            context: &[],
        };
        assert_eq!(
            line(&listed, now),
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"list","ok":true}"#
        );
        let failed = Event {
            kind: Kind::Export,
            key: Some(&id),
            failure: Some(&Error::PassphraseMissing),
            context: &[("command", "a\"\n")],
        };
        assert_eq!(
            line(&failed, now),
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"export","keyId":"mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-","ok":false,"reason":"passphrase_missing","context":{"command":"a\"\n"}}"#
        );
    }
}

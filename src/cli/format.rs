//! How results, warnings and errors are written: as text for people, or as JSON for programs.

use std::collections::BTreeMap;

use miniserde::{Serialize, json};

use crate::base::secret::printable_json;

/// Chosen by `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// One line of JSON: an object with these members.
pub(super) fn object<const N: usize>(members: [(&str, &dyn Serialize); N]) -> String {
    json_line(&json::to_string(&BTreeMap::from(members)))
}

/// The same, of what is JSON already.
pub(super) fn json_line(json: &str) -> String {
    printable_json(json) + "\n"
}

/// The same, of several of those.
pub(super) fn json_array(objects: impl Iterator<Item = String>) -> String {
    json_line(&format!("[{}]", objects.collect::<Vec<_>>().join(",")))
}

/// An error or a warning as one line of JSON: its kind, and what there is to say about it.
pub(super) fn message<const N: usize>(kind: &str, members: [(&str, Option<&str>); N]) -> String {
    object([(kind, &BTreeMap::from(members))])
}

//! The audit log.

use std::collections::BTreeMap;

use crate::base::time::Timestamp;
use crate::vault::audit::{self, Kind};
use crate::vault::history::{Event, LastUsed};
use crate::vault::key::KeyId;

/// The lines that are events.
///
/// 1. What an event says, written as `lf` writes it, is read as the same.
/// 2. The last use of a key, looked up from the end in a hurry, is the one that reading every line gives.
pub fn audit(bytes: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let events: Vec<&str> = text.lines().filter(|line| Event::parse(line).is_some()).collect();
    let mut uses: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut written = String::new();
    for event in events.iter().filter_map(|line| Event::parse(line)) {
        let Some(line) = write(&event) else { continue };
        let again = Event::parse(&line).unwrap();
        let members = |event: &Event| {
            let ok = event.ok && event.reason.is_none();
            (event.at, event.kind.clone(), event.key.clone(), ok, event.reason.clone())
        };
        assert_eq!(members(&again), members(&event));
        assert_eq!(again.context(), event.context());
        if again.ok && ["resolve", "export", "run"].contains(&event.kind.as_str()) {
            let last = uses.entry(event.key.unwrap_or_default()).or_insert(event.at);
            *last = event.at.max(*last);
        }
        written += &line;
        written.push('\n');
    }
    let mut used = LastUsed::default();
    text.lines().for_each(|line| drop(used.add(line)));
    used = LastUsed::default();
    for line in written.lines().rev() {
        used.add(line);
    }
    for (id, last) in &uses {
        let Ok(id) = KeyId::parse(id) else { continue };
        assert_eq!(used.of(&id), Some(*last), "{id}");
    }
    Some(events)
}

/// A line of the log that tells of the same event, if `lf` may write one.
fn write(event: &Event) -> Option<String> {
    let kind = KINDS.into_iter().find(|(name, _)| *name == event.kind)?.1;
    let key = event.key.as_ref().map(|id| KeyId::parse(id)).transpose().ok()?;
    let is_code = |code: &str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let reason = event.reason.as_deref();
    if !reason.is_none_or(is_code) || (!event.ok && reason.is_none()) {
        return None;
    }
    let context = event.context();
    let context: Vec<(&str, &str)> = context.iter().map(|(name, it)| (*name, &**it)).collect();
    let written = audit::Event { kind, key: key.as_ref(), reason, context: &context };
    Some(audit::line(&written, event.at))
}

const KINDS: [(&str, Kind); 9] = [
    ("list", Kind::List),
    ("add", Kind::Add),
    ("update", Kind::Update),
    ("remove", Kind::Remove),
    ("resolve", Kind::Resolve),
    ("export", Kind::Export),
    ("run", Kind::Run),
    ("auth_failure", Kind::AuthFailure),
    ("rate_limited", Kind::RateLimited),
];

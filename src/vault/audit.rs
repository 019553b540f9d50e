//! Append one line of JSON per event to `<keys>/audit.log`, and never stop the caller.
//!
//! A line names keys, codes and places; never a value, a token or a raw URL (tests/secrecy.rs).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use miniserde::{Serialize, json};

use crate::base::time::Timestamp;
use crate::vault::key::KeyId;

/// What happened to which key, and how it went.
pub(crate) struct Event<'a> {
    /// What was done or tried.
    pub(crate) kind: Kind,
    /// To which key, if to one.
    pub(crate) key: Option<&'a KeyId>,
    /// The error's code, if it failed.
    pub(crate) reason: Option<&'a str>,
    /// Names and values that tell where from, such as `command` and `keys rotate`.
    pub(crate) context: &'a [(&'a str, &'a str)],
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) enum Kind {
    /// Metadata of all keys was read.
    #[serde(rename = "list")]
    List,
    /// A key was added.
    #[serde(rename = "add")]
    Add,
    /// A key's label, value or encryption was changed.
    #[serde(rename = "update")]
    Update,
    /// A key was removed.
    #[serde(rename = "remove")]
    Remove,
    /// A key's value was given to a paired browser.
    #[serde(rename = "resolve")]
    Resolve,
    /// A key's value was written to standard output.
    #[serde(rename = "export")]
    Export,
    /// A key's value was given to a program that `lf` started.
    #[serde(rename = "run")]
    Run,
    /// A request was refused for its host, its origin or its token.
    #[serde(rename = "auth_failure")]
    AuthFailure,
    /// A paired browser asked for too much at once.
    #[serde(rename = "rate_limited")]
    RateLimited,
}

/// The event as a line of the log.
pub(crate) fn line(event: &Event<'_>, now: Timestamp) -> String {
    let (kind, ok) = (json::to_string(&event.kind), event.reason.is_none());
    let key = event.key.map(|id| format!(r#","keyId":"{id}""#));
    let reason = event.reason.map(|it| format!(r#","reason":"{it}""#));
    let text = |text: &&str| json::to_string(text);
    let members = event.context.iter();
    let members: Vec<String> = members.map(|(name, it)| text(name) + ":" + &text(it)).collect();
    let members = members.join(",");
    let context = (!members.is_empty()).then(|| format!(r#","context":{{{members}}}"#));
    let [key, reason, context] = [key, reason, context].map(Option::unwrap_or_default);
    format!(r#"{{"ts":"{now}","kind":{kind}{key},"ok":{ok}{reason}{context}}}"#)
}

/// What makes events alike: the kind, the error's code if it failed, the pairing and its route. All
/// that comes without a token is counted together.
pub(crate) type Flow = (Kind, Option<&'static str>, Option<(String, &'static str)>);

/// Thins out events that somebody can cause as often as they like: the first is written at once,
/// then one line a minute with a count. Nobody can fill the disk or push other events out with
/// them.
/// (tests/gateway_access.rs: `a_flood_of_strangers_is_two_lines`; tests/limits.rs)
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// Since when, and how many: from fixed lists and the names of pairings, so it stays small.
    since: HashMap<Flow, (Instant, u64)>,
}

impl Flood {
    /// How many events a line about this one should count; `None`: no line now.
    pub(crate) fn admit(&mut self, flow: Flow, now: Instant) -> Option<u64> {
        match self.since.get_mut(&flow) {
            Some((since, count)) if now.duration_since(*since) < FLOOD_LINE => {
                *count += 1;
                None
            }
            seen => {
                let missed = seen.map_or(0, |(_, count)| *count);
                self.since.insert(flow, (now, 0));
                Some(missed + 1)
            }
        }
    }

    /// Flows whose minute is over, or all of them, with the count that no line has told yet.
    pub(crate) fn settle(&mut self, now: Option<Instant>) -> Vec<(Flow, u64)> {
        let mut counts = Vec::new();
        self.since.retain(|flow, (since, count)| {
            let is_over = now.is_none_or(|now| now.duration_since(*since) >= FLOOD_LINE);
            if is_over && *count > 0 {
                counts.push((flow.clone(), *count));
            }
            !is_over
        });
        counts
    }
}

const FLOOD_LINE: Duration = Duration::from_secs(60);
/// The log's name in the keys directory. [`crate::vault::history`] says what becomes of a full one.
pub(crate) const FILE: &str = "audit.log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_there_is_and_nothing_else() {
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let id = KeyId::parse("mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-").unwrap();
        let listed = Event { kind: Kind::List, key: None, reason: None, context: &[] };
        assert_eq!(
            line(&listed, now),
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"list","ok":true}"#
        );
        let failed = Event {
            kind: Kind::Export,
            key: Some(&id),
            reason: Some("passphrase_missing"),
            context: &[("command", "a\"\n")],
        };
        assert_eq!(
            line(&failed, now),
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"export","keyId":"mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-","ok":false,"reason":"passphrase_missing","context":{"command":"a\"\n"}}"#
        );
    }

    #[test]
    fn a_flood_is_one_line_a_minute_with_a_count() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let flow = |kind, reason| (kind, Some(reason), None);
        let bad = || flow(Kind::AuthFailure, "bad_token");
        let mut tell = |seconds| flood.admit(bad(), at(seconds));
        assert_eq!(tell(0), Some(1));
        assert!((0..60).all(|second| tell(second).is_none()));
        assert_eq!(tell(60), Some(61));
        assert_eq!(tell(61), None);
        assert_eq!(
            flood.admit(flow(Kind::RateLimited, "rate_limited"), at(61)),
            Some(1),
            "each kind for itself"
        );
        assert!(flood.settle(Some(at(119))).is_empty());
        assert_eq!(flood.settle(Some(at(120))), [(bad(), 1)]);
        assert_eq!(flood.admit(bad(), at(121)), Some(1));
        assert!(flood.settle(None).is_empty(), "nothing is left to tell");
    }
}

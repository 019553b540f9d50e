//! What the audit log tells: its events, one by one, and when each key was last used.
//!
//! | generation    | holds                                                                      |
//! |---------------|----------------------------------------------------------------------------|
//! | `audit.log`   | what happened last; at 5 MiB it becomes the next one                       |
//! | `audit.log.1` | all that happened before that                                              |
//! | `audit.log.2` | what was in that: 4 MiB of it without lists, and the last use of each key |
//!
//! Whatever is no line of the log tells nothing and stops nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use miniserde::{Deserialize, json, json::Value};

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::system::fs::{Dir, Publish};
use crate::vault::{audit::FILE, key::KeyId};

/// One event. What it says is somebody else's text: not fit for a terminal as it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    /// When.
    #[serde(rename = "ts")]
    pub(crate) at: Timestamp,
    /// What was done or tried; one of [`crate::vault::audit::Kind`], or of a newer version's.
    pub(crate) kind: String,
    /// To which key, if to one.
    #[serde(rename = "keyId")]
    pub(crate) key: Option<String>,
    /// Did it succeed?
    pub(crate) ok: bool,
    /// The error's code, if it failed.
    pub(crate) reason: Option<String>,
    context: Option<Value>,
}

/// The log as it is at one moment, all generations, oldest line first. No log is an empty one.
pub(crate) fn read(dir: &Dir) -> Result<String> {
    let mut newer = generation(dir, FILE)?;
    let older = generation(dir, OLDER)?;
    // It became the older generation between the two.
    if older.starts_with(&newer) {
        newer = generation(dir, FILE)?;
    }
    Ok([generation(dir, OLDEST)?, older, newer].join("\n"))
}

impl Event {
    /// The event that a line tells of, if it is one of the log's.
    pub(crate) fn parse(line: &str) -> Option<Event> {
        json::from_str(line).ok()
    }

    /// Names and values that tell where from; a value that is no string is JSON.
    pub(crate) fn context(&self) -> Vec<(&str, String)> {
        let Some(Value::Object(members)) = &self.context else { return Vec::new() };
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => json::to_string(other),
        };
        members.iter().map(|(name, it)| (name.as_str(), text(it))).collect()
    }
}

/// When keys were last used: by key, and the time as the log has it, which sorts as times do.
#[derive(Debug, Default)]
pub(crate) struct LastUsed(HashMap<String, String>);

/// When each key's value was last given to somebody.
pub(crate) fn last_used(dir: &Dir) -> LastUsed {
    let mut used = LastUsed::default();
    // One at a time in this process, because each has a whole log in memory.
    let _turn = READING.lock().unwrap_or_else(PoisonError::into_inner);
    // The newer generation first: one that becomes the older meanwhile is read twice, and not never.
    for name in [FILE, OLDER, OLDEST] {
        // Parsing is what costs: the last line that tells of a key comes first from this end, and all
        // before it are only looked at.
        let text = generation(dir, name).unwrap_or_default();
        text.rsplit('\n').for_each(|line| drop(used.add(line)));
    }
    used
}

/// Makes room in a full log: it becomes the older generation, once, however many processes find it
/// full. While another process has the lock it stays a little longer: readers never wait for a
/// writer.
///
/// 1. What the older generation holds goes into the oldest one: all but lists, which a loop can
///    write without end, and of the rest the last [`MAX_CARRIED`] bytes and the last use of each
///    key that is still there. (tests/limits.rs: `a_loop_that_lists_pushes_nothing_out`)
/// 2. The log takes the place of the older one.
///
/// Killed between the two, what the older one holds is carried twice.
pub(crate) fn turn_over(dir: &Dir) -> Result<()> {
    let is_full = |dir: &Dir| Ok(dir.stat(FILE)?.is_some_and(|stat| stat.size >= MAX_SIZE));
    if is_full(dir)?
        && let Some(dir) = dir.try_lock()?
        && is_full(&dir)?
    {
        let (oldest, older) = (generation(&dir, OLDEST)?, generation(&dir, OLDER)?);
        let (mut used, mut room) = (LastUsed::default(), MAX_CARRIED);
        let is_kept = |line: &&str| {
            // As `audit` writes a list; no other member can hold these quotes.
            let is_event = !line.contains(r#""kind":"list""#) && Event::parse(line).is_some();
            room = room.saturating_sub(if is_event { line.len() + 1 } else { 0 });
            let is_there = |id: KeyId| !matches!(dir.stat(&id.file_name()), Ok(None));
            is_event && (used.add(line).is_some_and(is_there) || room > 0)
        };
        let lines: Vec<_> = oldest.lines().chain(older.lines()).rev().filter(is_kept).collect();
        let kept: String = lines.into_iter().rev().flat_map(|line| [line, "\n"]).collect();
        if !kept.is_empty() {
            dir.publish(OLDEST, kept.as_bytes(), Publish::Replacement)?;
        }
        dir.move_here(&dir, FILE, OLDER)?;
        // Or a power cut could leave the next log's name in the place of this one's.
        dir.sync()?;
    }
    Ok(())
}

impl LastUsed {
    /// When this one was, if the log tells.
    pub(crate) fn of(&self, id: &KeyId) -> Option<Timestamp> {
        Timestamp::parse(self.0.get(id.as_str())?)
    }

    /// The key whose last use this line tells of, unless a later one is known.
    pub(crate) fn add(&mut self, line: &str) -> Option<KeyId> {
        let (_, rest) = line.split_once(r#""keyId""#)?;
        // As `audit` writes it: this use is known already, or a later one.
        let is_known = || {
            let id = rest.strip_prefix(r#":""#)?.split_once('"')?.0;
            let ts = line.strip_prefix(r#"{"ts":""#)?.split_once('"')?.0;
            Some(self.0.get(id)?.as_str() >= ts)
        };
        if is_known() == Some(true) {
            return None;
        }
        let event = Event::parse(line).filter(|it| it.ok && USES.contains(&it.kind.as_str()))?;
        let id = KeyId::parse(&event.key?).ok()?;
        let latest = self.0.entry(id.to_string()).or_default();
        *latest = event.at.to_string().max(std::mem::take(latest));
        Some(id)
    }
}

/// One generation as text; what is not UTF-8 in it spoils only its line.
fn generation(dir: &Dir, name: &str) -> Result<String> {
    let bytes = dir.read_end(name, MAX_READ)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

static READING: Mutex<()> = Mutex::new(());
/// The generations before the present one.
pub(crate) const OLDER: &str = "audit.log.1";
pub(crate) const OLDEST: &str = "audit.log.2";
/// From this size on, in bytes, the log becomes the older generation.
const MAX_SIZE: u64 = 5 * 1024 * 1024;
/// The kinds of events that give a value away.
const USES: [&str; 3] = ["resolve", "export", "run"];
/// Bytes of events that the oldest generation has at most, beside the last uses.
const MAX_CARRIED: usize = 4 * 1024 * 1024;
/// Bytes of a generation that are read, from its end: it may be one line longer than its limit, or have
/// been written by something that has none.
const MAX_READ: u64 = 6 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::tests::Place;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn line(day: u8, kind: &str, id: &str, rest: &str) -> String {
        format!(
            r#"{{"ts":"2026-01-{day:02}T00:00:00.000Z","kind":"{kind}","keyId":"{id}","ok":{rest}}}"#
        )
    }

    #[test]
    fn the_latest_use_that_succeeded_is_the_last() {
        let mut used = LastUsed::default();
        let spaced = r#" { "ok": true, "keyId": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "kind": "run", "ts": "2026-01-04T00:00:00.000Z" } "#;
        for line in [
            line(9, "resolve", A, r#"false,"reason":"decryption_failed""#),
            line(9, "list", A, "true"),
            line(9, "resolve", "short", "true"),
            line(9, "resolve", A, "true")[..90].to_owned(),
            line(40, "export", A, "true"),
            line(9, "export", A, r#""true""#),
            line(9, "resolve", A, "true,\"context\":{\u{fffd}}"),
            line(5, "resolve", A, "true"),
            line(7, "export", A, r#"true,"context":{"command":"keys export"}"#),
            line(6, "run", A, "true"),
            line(3, "run", B, "true"),
            spaced.to_owned(),
            "\"keyId\"".to_owned(),
            String::new(),
        ] {
            used.add(&line);
        }
        let day =
            |id| used.of(&KeyId::parse(id).unwrap()).map(|at| at.to_string()[8..10].to_owned());
        assert_eq!(day(A).as_deref(), Some("07"));
        assert_eq!(day(B).as_deref(), Some("04"));
        assert_eq!(used.0.len(), 2, "{used:?}");
    }

    #[test]
    fn of_the_older_generation_the_last_four_mebibytes_are_carried() {
        let place = Place::new();
        let line = r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"new","ok":true,"reason":"@"}"#;
        let event = |at: usize| line.replace('@', &format!("{at:030}")) + "\n";
        let length = event(0).len();
        let older: String = (0..50_000).map(event).collect();
        let fits = (4 * 1024 * 1024 - 1) / length;
        place.write(OLDER, &older);
        place.write(FILE, "x".repeat(5 * 1024 * 1024 - 1));
        turn_over(&place.dir()).unwrap();
        assert_eq!(place.names(""), [FILE, OLDER], "it is not full");
        place.write(FILE, "x".repeat(5 * 1024 * 1024));
        turn_over(&place.dir()).unwrap();
        assert_eq!(place.names(""), [OLDER, OLDEST]);
        let kept = std::fs::read_to_string(place.at(OLDEST)).unwrap();
        assert!(kept == older[older.len() - fits * length..], "{} bytes", kept.len());
        // What has nothing to carry makes no file.
        place.remove(OLDEST);
        place.write(FILE, "x".repeat(5 * 1024 * 1024));
        turn_over(&place.dir()).unwrap();
        assert_eq!(place.names(""), [OLDER]);
    }

    #[test]
    fn a_line_is_an_event_or_it_is_not() {
        let event = Event::parse(
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"new","ok":false,"reason":"x","context":{"n":1,"t":"a\u001b"},"later":[]}"#,
        )
        .unwrap();
        assert_eq!((event.kind.as_str(), event.key.as_deref(), event.ok), ("new", None, false));
        assert_eq!(event.context(), [("n", "1".into()), ("t", "a\u{1b}".into())]);
        for line in [
            "",
            "{}",
            "garbage",
            r#"{"ts":"2026-01-02","kind":"list","ok":true}"#,
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"list"}"#,
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":7,"ok":true}"#,
            r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"list","ok":true}{"#,
        ] {
            assert!(Event::parse(line).is_none(), "{line}");
        }
    }
}

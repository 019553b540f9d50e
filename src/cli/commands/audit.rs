//! `lf keys audit`: shows the audit log, oldest event first; needs no passphrase.

use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::history::{Event, History};
use crate::vault::key::KeyId;

use super::{Context, Format, table};

/// Which events to show; all of them without a limit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) key: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) tail: Option<usize>,
}

pub(super) fn run(context: &Context<'_>, which: &Which) -> Result<()> {
    let dir = context.store.dir()?;
    let history = dir.map(|dir| History::read(&dir)).transpose()?;
    let history = history.unwrap_or_default();
    let key = which.key.as_ref();
    let key = key
        .map(|key| selected(context, &history, key))
        .transpose()?;
    let is_wanted = |event: &Event| {
        let is_key = |key: &KeyId| event.key.as_deref() == Some(key.as_str());
        key.as_ref().is_none_or(is_key) && which.since.is_none_or(|since| event.at >= since)
    };
    let (mut events, mut damaged) = (Vec::new(), 0);
    for line in history.lines() {
        match Event::parse(line) {
            None => damaged += 1,
            Some(event) if is_wanted(&event) => events.push((line, event)),
            Some(_) => {}
        }
    }
    if damaged > 0 {
        let sentence =
            format!("lines of the audit log that are no events were left out: {damaged}");
        let (failed, total) = (damaged, damaged + events.len());
        context.warn(&sentence, &Error::Incomplete { failed, total });
    }
    let count = which.tail.unwrap_or(usize::MAX);
    let events = &events[events.len().saturating_sub(count)..];
    let text = match context.format {
        // Lines are printed unchanged, so that members of a newer version are kept.
        Format::Json => {
            let lines: Vec<&str> = events.iter().map(|(line, _)| *line).collect();
            format!("[{}]\n", lines.join(",\n"))
        }
        Format::Text if events.is_empty() => {
            host::complain("the audit log has no such events\n");
            return Ok(());
        }
        Format::Text => {
            let rows: Vec<Vec<String>> = events.iter().map(|(_, event)| row(event)).collect();
            // The context is not cut to the terminal's width: a person may be searching for it.
            table::text(&["TIME", "KIND", "RESULT", "KEY", "CONTEXT"], &rows, None)
        }
    };
    host::show(&text)
}

/// The key that the selector names; a removed key is found by its whole id.
fn selected(context: &Context<'_>, history: &History, selector: &str) -> Result<KeyId> {
    context.store.select(selector).or_else(|error| match error {
        Error::KeyNotFound(_) => {
            let id = KeyId::parse(selector).ok();
            id.filter(|id| history.mentions(id.as_str())).ok_or(error)
        }
        error => Err(error),
    })
}

fn row(event: &Event) -> Vec<String> {
    let result = match (event.ok, &event.reason) {
        (true, _) => "ok",
        (false, Some(reason)) => reason,
        (false, None) => "failed",
    };
    let mut context = String::new();
    for (name, value) in &event.context {
        let is_word = !value.contains([' ', '"']) && !value.is_empty();
        let value = if is_word {
            value.clone()
        } else {
            miniserde::json::to_string(value)
        };
        let space = if context.is_empty() { "" } else { " " };
        context.push_str(&format!("{space}{name}={value}"));
    }
    let key = event.key.as_deref().unwrap_or("-");
    let at = event.at.to_string();
    [&at, &event.kind, result, key, &context]
        .map(str::to_owned)
        .into()
}

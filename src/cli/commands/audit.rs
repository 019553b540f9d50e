//! `lf keys audit`: shows the audit log, oldest event first; needs no passphrase.

use std::collections::BTreeMap;

use crate::base::{Timestamp, secret::printable_json, time::parse_moment, time::parse_span};
use crate::system::{host, kernel::clock, term};
use crate::vault::{KeyId, Listing, history, history::Event, store::WHOLE};

use super::{Args, Context, Error, Format, Result, is_not, table};

/// Which events to show: of which key, since when, and how many of the last ones.
type Which = (Option<String>, Option<Timestamp>, Option<usize>);

pub(super) fn which(args: &mut Args) -> Result<Which> {
    args.no_operands()?;
    let since = args.value("--since").map(|text| since(&text)).transpose()?;
    let count = |text: String| text.parse().map_err(|_| is_not(&text, "a number"));
    Ok((args.value("--key"), since, args.value("--tail").map(count).transpose()?))
}

/// A moment, or a span before now.
fn since(text: &str) -> Result<Timestamp> {
    let ago = parse_span(text).map(|span| Timestamp::now().before(span));
    let what = "a time such as 7d, 12h, 2026-11-20 or 2026-11-20T14:03:00Z";
    ago.or_else(|| parse_moment(text)).ok_or_else(|| is_not(text, what))
}

pub(super) fn run(context: &Context, (key, since, tail): Which) -> Result<()> {
    let dir = context.store.dir()?;
    let history = dir.map(|dir| history::read(&dir)).transpose()?.unwrap_or_default();
    let key = key.map(|key| selected(context, &history, &key)).transpose()?;
    let is_wanted = |event: &Event| {
        let is_key = |key: &KeyId| event.key.as_deref() == Some(key.as_str());
        key.as_ref().is_none_or(is_key) && since.is_none_or(|since| event.at >= since)
    };
    let (mut events, mut damaged) = (Vec::new(), 0);
    for line in history.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match Event::parse(line) {
            None => damaged += 1,
            Some(event) if is_wanted(&event) => events.push((line, event)),
            Some(_) => {}
        }
    }
    if damaged > 0 {
        let sentence = format!("lines of the audit log that are not events: {damaged}");
        let (failed, total) = (damaged, damaged + events.len());
        context.warn(&sentence, &Error::Incomplete(failed, total));
    }
    let count = tail.unwrap_or(usize::MAX);
    let events = &events[events.len().saturating_sub(count)..];
    let text = match context.format {
        // Lines are printed as they are, so that members of a newer version are kept.
        Format::Json => {
            let lines: Vec<&str> = events.iter().map(|(line, _)| *line).collect();
            printable_json(&format!("[{}]\n", lines.join(",\n")))
        }
        Format::Text if events.is_empty() => {
            host::eprint("the audit log has no such events\n");
            return Ok(());
        }
        Format::Text => {
            let columns = term::columns();
            // Through a pipe all is whole, and in UTC.
            let listing = columns.and_then(|_| context.store.list().ok());
            let id = listing.as_ref().map_or(WHOLE, Listing::prefix);
            let keys = listing.iter().flat_map(|listing| &listing.keys);
            let labels = keys.map(|key| (key.id.as_str(), key.label.as_str()));
            let labels: BTreeMap<&str, &str> = labels.collect();
            let row = |(_, event): &(&str, Event)| {
                let key = event.key.as_deref().unwrap_or("-");
                let label = labels.get(key).unwrap_or(&"");
                let key = format!("{key:.id$} {label:.MAX_LABEL$}");
                let at = columns.map_or_else(|| event.at.to_string(), |_| clock::local(event.at));
                row(event, at, key.trim_end().to_owned())
            };
            let titles = ["TIME", "KIND", "RESULT", "KEY", "CONTEXT"];
            table::text(&titles, events.iter().map(row).collect(), columns)
        }
    };
    host::show(&text)
}

/// The key that the selector names; a removed key is found by its whole id.
fn selected(context: &Context, history: &str, selector: &str) -> Result<KeyId> {
    context.store.select(selector).or_else(|error| {
        let id = KeyId::parse(selector).ok().filter(|id| history.contains(id.as_str()));
        id.filter(|_| matches!(error, Error::KeyNotFound(_))).ok_or(error)
    })
}

fn row(event: &Event, at: String, key: String) -> Vec<String> {
    let result = match (event.ok, &event.reason) {
        (true, _) => "ok",
        (false, Some(reason)) => reason,
        (false, None) => "failed",
    };
    let member = |(name, value): (&str, String)| {
        let is_plain = !value.is_empty() && !value.contains([' ', '"']);
        let value = if is_plain { value } else { miniserde::json::to_string(&value) };
        format!("{name}={value}")
    };
    let context = event.context().into_iter().map(member).collect::<Vec<_>>().join(" ");
    vec![at, event.kind.clone(), result.to_owned(), key, context]
}

/// Characters of a label that leave room for what is behind.
const MAX_LABEL: usize = 20;

//! Parses the arguments of `lf gateway`. Nothing is opened here.
#![cfg_attr(not(unix), allow(dead_code))]

use std::time::Duration;

use crate::base::{secret::shown, time::parse_span};
use crate::cli::args::{Args, is_not};
use crate::gateway::pairing::{ACTS, DEFAULT_NAME, Others, Pairing, TERM};
use crate::vault::key::Label;

use super::{Error, Result};

/// The pairing that is wanted, the selectors of its keys, how long its token is good, and what
/// becomes of the other pairings.
pub(super) fn pair(args: &mut Args) -> Result<(Pairing, Vec<String>, Option<Duration>, Others)> {
    args.no_operands()?;
    let name = args.open_value("--name")?;
    let mut pairing = Pairing::new(Label::parse(name.as_deref().unwrap_or(DEFAULT_NAME))?);
    let term = match args.value("--expires").as_deref() {
        None => Some(TERM),
        Some("never") => None,
        Some(span) => Some(parse_span(span).ok_or_else(|| is_not(span, SPANS))?),
    };
    let keys = args.all("--key");
    let (allow, read_only) = (args.value("--allow"), args.flag("--read-only"));
    if allow.is_some() && read_only {
        return Err(Error::usage("--read-only is --allow list,resolve; give one of the two"));
    }
    let allow = allow.or_else(|| read_only.then(|| "list,resolve".to_owned()));
    let words: Vec<&str> = allow.iter().flat_map(|allow| allow.split(',')).collect();
    if let Some(word) = words.iter().find(|word| !ACTS.contains(word)) {
        return Err(is_not(word, &format!("one of {}", ACTS.join(","))));
    }
    if !keys.is_empty() && words.contains(&"add") {
        return Err(Error::usage("a pairing with --key cannot add keys; leave out one of the two"));
    }
    let acts = || ACTS.into_iter().filter(|act| words.contains(act)).map(str::to_owned);
    pairing.allow = allow.as_ref().map(|_| acts().collect());
    let others = if args.flag("--rotate") { Others::Revoke } else { Others::Keep };
    Ok((pairing, keys, term, others))
}

/// The name, or none for all of them.
pub(super) fn unpair(args: &mut Args) -> Result<Option<Label>> {
    if args.flag("--all") {
        return args.no_operands().map(|()| None);
    }
    Label::parse(&args.one_operand("NAME")?).map(Some)
}

/// The notes, and whether the question is answered already.
pub(super) fn consent_grant(args: &mut Args) -> Result<(Option<String>, bool)> {
    tailscale(&args.one_operand("network (it is tailscale)")?)?;
    let notes = args.open_value("--notes")?;
    // It is one line of a file, and is shown on a terminal.
    let is_unfit = |text: &String| text.chars().count() > 200 || text.chars().any(char::is_control);
    if notes.as_ref().is_some_and(is_unfit) {
        return Err(Error::usage(
            "--notes takes at most 200 characters, and no control characters",
        ));
    }
    Ok((notes, args.flag("--yes")))
}

pub(super) fn consent_revoke(args: &mut Args) -> Result<()> {
    if args.has_operands() {
        tailscale(&args.one_operand("network")?)?;
    }
    Ok(())
}

/// Tailscale is the only network that can be consented to.
fn tailscale(network: &str) -> Result<()> {
    if network == "tailscale" {
        return Ok(());
    }
    let network = shown(network);
    Err(Error::usage(format!("consent is to tailscale, and \"{network}\" is something else")))
}

const SPANS: &str = "never, or a time such as 90d or 12h, from a minute to ten years";

//! `lf gateway consent`: show, grant, revoke. Whether full mode may be reached over Tailscale.

use std::fmt::Write;
use std::path::PathBuf;

use crate::base::secret::{printable, shown};
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::gateway::consent::{self, Consent};
use crate::gateway::interface::{self, Interface};
use crate::gateway::pairing;
use crate::gateway::precondition::lenser_id;
use crate::system::host;
use miniserde::json;

use super::{Consenting, Context, Format, confirm};

pub(super) fn run(context: &Context<'_>, what: Consenting) -> Result<()> {
    match what {
        Consenting::Show => show(context),
        Consenting::Grant { notes, yes } => grant(context, notes, yes),
        Consenting::Revoke => revoke(context),
    }
}

fn show(context: &Context<'_>) -> Result<()> {
    let consent = consent::read(&state(context)?)?;
    let known = interface::live();
    if let Err(error) = &known {
        context.warn(&error.to_string(), error);
    }
    let is_known = known.is_ok();
    let live = known.unwrap_or_default();
    if context.format == Format::Json {
        return host::print(&view(consent.as_ref(), &live));
    }
    let Some(consent) = consent else {
        host::complain("there is no consent; lf gateway consent grant tailscale gives one\n");
        return Ok(());
    };
    let by = consent.granter_lenser_id.as_deref();
    let mut text = format!(
        "granted  {}{}\n",
        consent.granted_at,
        by.map_or_else(String::new, |by| format!(" by {}", shown(by)))
    );
    for fingerprint in &consent.fingerprints {
        let is_live = live.iter().any(|one| one.to_string() == *fingerprint);
        let state = match (is_known, is_live) {
            (true, true) => "live",
            (true, false) => "no such interface now",
            (false, _) => "whether that is live cannot be known",
        };
        let _ = writeln!(text, "covers   {}  ({state})", shown(fingerprint));
    }
    if let Some(notes) = &consent.notes {
        let _ = writeln!(text, "notes    {}", printable(notes));
    }
    host::print(&text)?;
    if consent.covered(&live).is_empty() {
        host::complain(
            "it covers nothing that is live, and counts as none; lf gateway consent grant tailscale gives a new one\n",
        );
    }
    Ok(())
}

fn grant(context: &Context<'_>, notes: Option<String>, yes: bool) -> Result<()> {
    let state = state(context)?;
    // What cannot be read must not be overwritten; better to say so before a person is asked.
    consent::read(&state)?;
    let live = interface::live()?;
    if live.is_empty() {
        return Err(Error::NoTailnet);
    }
    for one in live.iter().filter(|one| !one.name.starts_with("tailscale")) {
        let name = shown(&one.name);
        host::complain(&format!(
            "lf: note: {name} may be another network's: a provider's addresses can look like Tailscale's\n"
        ));
    }
    let fingerprints: Vec<String> = live.iter().map(ToString::to_string).collect();
    let question = format!(
        "lf gateway serve --tailscale may then be reached by every device of the network behind {}.",
        consent::listed(&fingerprints)
    );
    confirm(&question, yes, "lf gateway consent grant tailscale --yes")?;
    let root = context.environment.root()?;
    let consent = Consent {
        granted_at: Timestamp::now(),
        granter_lenser_id: lenser_id(&root),
        fingerprints,
        notes,
    };
    consent::grant(&state, &consent)?;
    let mut text = String::new();
    for one in &live {
        let (one, address) = (shown(&one.to_string()), one.address);
        let _ = writeln!(
            text,
            "consented to {one}; lf gateway serve --tailscale --bind {address}"
        );
    }
    host::print(&text)
}

fn revoke(context: &Context<'_>) -> Result<()> {
    if consent::revoke(&state(context)?)? {
        return host::print("revoked; a gateway that listens by this consent ends\n");
    }
    host::complain("there is no consent\n");
    Ok(())
}

fn state(context: &Context<'_>) -> Result<PathBuf> {
    Ok(pairing::dir(&context.environment.root()?))
}

/// What is on disk, if anything is; whether it counts; and what a new consent would cover.
fn view(consent: Option<&Consent>, live: &[Interface]) -> String {
    let holds = consent.is_some_and(|consent| !consent.covered(live).is_empty());
    let live: Vec<String> = live.iter().map(ToString::to_string).collect();
    format!(
        "{{\"consent\":{},\"holds\":{holds},\"live\":{}}}\n",
        consent.map_or_else(|| "null".to_owned(), Consent::print),
        json::to_string(&live)
    )
}

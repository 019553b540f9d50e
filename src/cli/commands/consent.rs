//! `lf gateway consent`: show, grant, revoke. Whether full mode may be reached over Tailscale.

use std::fmt::Write;
use std::path::PathBuf;

use crate::base::secret::{printable, shown};
use crate::gateway::consent::{self, Consent};
use crate::gateway::{precondition::lenser_id, state};
use miniserde::Serialize;

use super::{Context, Error, Format, Result, Timestamp, confirm, format, host};

pub(super) fn show(context: &Context<'_>) -> Result<()> {
    let consent = consent::read(&state(context)?)?;
    let holds = consent.as_ref().is_some_and(Consent::holds);
    if context.format == Format::Json {
        let live = consent::tailnet_address().map(consent::fingerprint);
        return host::print(&format::json(&View {
            consent,
            holds,
            live: live.into_iter().collect(),
        }));
    }
    let Some(consent) = consent else {
        host::eprint("there is no consent; lf gateway consent grant tailscale gives one\n");
        return Ok(());
    };
    let mut text = format!("granted  {}", consent.granted_at);
    if let Some(by) = &consent.granter_lenser_id {
        let _ = write!(text, " by {}", shown(by));
    }
    text.push('\n');
    for fingerprint in &consent.fingerprints {
        let is_live = consent::address_of(fingerprint).is_some_and(consent::is_live);
        let state = if is_live { "live" } else { GONE };
        let _ = writeln!(text, "covers   {}  ({state})", shown(fingerprint));
    }
    if let Some(notes) = &consent.notes {
        let _ = writeln!(text, "notes    {}", printable(notes));
    }
    host::print(&text)?;
    if !holds {
        host::eprint(
            "it covers nothing that is live, and counts as none; lf gateway consent grant tailscale gives a new one\n",
        );
    }
    Ok(())
}

pub(super) fn grant(context: &Context<'_>, (notes, yes): (Option<String>, bool)) -> Result<()> {
    let state = state(context)?;
    // What cannot be read must not be overwritten; better to say so before a person is asked.
    consent::read(&state)?;
    let address = consent::tailnet_address().ok_or(Error::NoTailnet)?;
    host::eprint(&format!(
        "lf: note: a provider's addresses can look like Tailscale's; tailscale ip -4 says whether {address} is Tailscale's\n"
    ));
    let fingerprint = consent::fingerprint(address);
    let question = format!(
        "lf gateway serve --tailscale may then be reached by every device of the network behind {fingerprint}."
    );
    confirm(&question, yes, "lf gateway consent grant tailscale --yes")?;
    let consent = Consent {
        granted_at: Timestamp::now(),
        granter_lenser_id: lenser_id(context.environment),
        fingerprints: vec![fingerprint.clone()],
        notes,
    };
    consent::grant(&state, &consent)?;
    host::print(&format!(
        "consented to {fingerprint}; lf gateway serve --tailscale --bind {address}\n"
    ))
}

pub(super) fn revoke(context: &Context<'_>) -> Result<()> {
    if consent::revoke(&state(context)?)? {
        return host::print("revoked; a gateway that listens by this consent ends\n");
    }
    host::eprint("there is no consent\n");
    Ok(())
}

fn state(context: &Context<'_>) -> Result<PathBuf> {
    Ok(state::dir(&context.environment.root()?))
}

const GONE: &str = "no address of this machine now";

/// What is on disk, if anything is; whether it counts; and what a new consent would cover.
#[derive(Serialize)]
struct View {
    consent: Option<Consent>,
    holds: bool,
    live: Vec<String>,
}

//! `lf gateway consent`: show, grant, revoke. Whether full mode may be reached over Tailscale.

use std::fmt::Write;
use std::path::PathBuf;

use crate::base::secret::{printable, shown};
use crate::gateway::{consent, consent::Consent, precondition::lenser_id, state};

use super::{Args, Context, Error, Format, Result, Timestamp, confirm, format, host};

/// The notes, and whether the question is answered already.
pub(super) fn notes_and_yes(args: &mut Args) -> Result<(Option<String>, bool)> {
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

pub(super) fn network(args: &mut Args) -> Result<()> {
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
    Err(Error::usage(format!("lf can consent only to tailscale, not to \"{network}\"")))
}

pub(super) fn show(context: &Context) -> Result<()> {
    let consent = consent::read(&state(context)?)?;
    let holds = consent.as_ref().is_some_and(|consent| consent.live().is_some());
    if context.format == Format::Json {
        let live = consent::tailnet_address().map(consent::fingerprint);
        let live = Vec::from_iter(live);
        let members = [("consent", &consent as _), ("holds", &holds as _), ("live", &live as _)];
        return host::print(&format::object(members));
    }
    let Some(consent) = consent else {
        host::eprint("there is no consent; lf gateway consent grant tailscale makes one\n");
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
            "this machine has none of its addresses, so it does not hold; lf gateway consent grant tailscale makes a new one\n",
        );
    }
    Ok(())
}

pub(super) fn grant(context: &Context, (notes, yes): (Option<String>, bool)) -> Result<()> {
    let state = state(context)?;
    // What cannot be read must not be overwritten; better to say so before a person is asked.
    consent::read(&state)?;
    let address = consent::tailnet_address().ok_or(Error::NoTailnet)?;
    host::eprint(&format!(
        "lf: note: other networks also use such addresses; tailscale ip -4 says whether {address} belongs to Tailscale\n"
    ));
    let fingerprint = consent::fingerprint(address);
    let question = format!(
        "Every device on the network of {fingerprint} can then reach lf gateway serve --tailscale."
    );
    confirm(&question, yes, "lf gateway consent grant tailscale --yes")?;
    let consent = Consent {
        granted_at: Timestamp::now(),
        granter_lenser_id: lenser_id(&context.environment),
        fingerprints: vec![fingerprint.clone()],
        notes,
    };
    consent::grant(&state, &consent)?;
    host::print(&format!(
        "consented to {fingerprint}; lf gateway serve --tailscale --bind {address}\n"
    ))
}

pub(super) fn revoke(context: &Context) -> Result<()> {
    if consent::revoke(&state(context)?)? {
        return host::print("revoked; a gateway that depends on this consent ends\n");
    }
    host::eprint("there is no consent\n");
    Ok(())
}

fn state(context: &Context) -> Result<PathBuf> {
    Ok(state::dir(&context.environment.root()?))
}

const GONE: &str = "not an address of this machine now";

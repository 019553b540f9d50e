//! What stands in the way of the gateway that would be started now, and what is running already.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::origin::Origins;
use super::pairing::{self, Pairings};
use super::precondition::{self, Mode, Setup};
use super::probe::{self, Answer};
use super::{consent, listen};
use crate::base::secret::printable;
use crate::base::time::Timestamp;
use crate::vault::doctor::{Check, failed, note, pass};

/// Runs every check; changes nothing.
pub(crate) fn examine(setup: &Setup<'_>, pairings: &Pairings, now: Timestamp) -> Vec<Check> {
    let mut checks = examine_preconditions(setup);
    if !setup.wants_tailscale || setup.mode == Mode::KeysOnly {
        checks.push(examine_consent(setup.root));
    }
    if let Err(error) = Origins::with_extra(&setup.variables.extra_origins) {
        checks.push(failed("extra_origins", &error));
    }
    checks.push(examine_bind(setup.address));
    checks.push(examine_gateway(setup.address));
    checks.extend(examine_pairings(pairings, now));
    checks
}

/// Those of the mode. What full mode alone needs is no failure where nobody has set that up.
fn examine_preconditions(setup: &Setup<'_>) -> Vec<Check> {
    let is_wanted = setup.wants_tailscale || precondition::is_set_up(setup.root);
    let is_for_keys = |check: &Check| FOR_KEYS.contains(&check.id);
    let mut checks = precondition::of_full_mode(setup);
    checks.retain(|check| setup.mode == Mode::Full || is_for_keys(check));
    let as_wanted = |check: Check| {
        if is_wanted || is_for_keys(&check) {
            check
        } else {
            precondition::noted(check)
        }
    };
    checks.into_iter().map(as_wanted).collect()
}

/// Nobody asks for it now, so that one which does not hold is no failure.
fn examine_consent(root: &Path) -> Check {
    match consent::read(&pairing::dir(root)) {
        Ok(None) => pass(CONSENT, "none, and none is asked for".to_owned()),
        Ok(Some(_)) => precondition::noted(precondition::tailscale_consent(root)),
        Err(error) => failed(CONSENT, &error),
    }
}

fn examine_bind(address: SocketAddr) -> Check {
    if address.ip().is_loopback() {
        return pass("bind", format!("{address}, for this machine alone"));
    }
    note(
        "bind",
        format!(
            "{address}, for other machines too; lf does not encrypt what goes there, Tailscale does"
        ),
    )
}

fn examine_gateway(address: SocketAddr) -> Check {
    let answer = probe::ask(address);
    if let Answer::Nobody(_) = answer {
        return match listen(address) {
            Ok(_) => note("gateway", format!("none is running; {address} is free")),
            Err(error) => failed("gateway", &error),
        };
    }
    match answer.health(address) {
        Ok((version, _)) if probe::is_ours(&version) => {
            pass("gateway", format!("{version} answers on {address}"))
        }
        Ok((version, _)) => note(
            "gateway",
            format!("{version} answers on {address}, and is not the version that asks; restart it"),
        ),
        Err(error) => failed("gateway", &error),
    }
}

fn examine_pairings(pairings: &Pairings, now: Timestamp) -> Vec<Check> {
    let list = match pairings.list() {
        Ok(list) if list.is_empty() => {
            return vec![Check {
                hint: Some("lf gateway pair --web".to_owned()),
                ..note("pairings", "nothing is paired".to_owned())
            }];
        }
        Ok(list) => list,
        Err(error) => return vec![failed("pairings", &error)],
    };
    let mut checks = Vec::new();
    for (pairing, _) in &list {
        if pairing.is_outdated() {
            let name = printable(pairing.name.as_str());
            let message =
                format!("\"{name}\" was sealed by a former version of lf; its token is dead");
            checks.push(note_on_pairing(message));
        }
        let Some(at) = pairing.expires_at.filter(|at| *at <= now.after(SOON)) else {
            continue;
        };
        let name = printable(pairing.name.as_str());
        let word = if at <= now { "expired" } else { "expires" };
        checks.push(note_on_pairing(format!("\"{name}\" {word} at {at}")));
    }
    if checks.is_empty() {
        let count = list.len();
        checks.push(pass(
            "pairings",
            format!("{count}, and none ends within 7 days"),
        ));
    }
    checks
}

fn note_on_pairing(message: String) -> Check {
    let hint = "lf gateway pair --name NAME, for a new token; or lf gateway unpair NAME";
    Check {
        hint: Some(hint.to_owned()),
        ..note("pairings", message)
    }
}

const CONSENT: &str = "tailscale_consent";
/// The preconditions that matter for keys alone.
const FOR_KEYS: [&str; 3] = ["no_service_role", "keychain_present", "keys_passphrase"];
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

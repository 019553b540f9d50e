//! What must be so before the gateway serves, one line each.

use std::net::IpAddr;
use std::path::Path;

use miniserde::json::{self, Object, Value};

use super::consent::{self, Permit};
use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::gateway::pairing;
use crate::keychain::Keychain;
use crate::system::environment::Sources;
use crate::system::fs::Dir;
use crate::vault::doctor::{Check, Status, failed, pass};
use crate::vault::master::record;
use crate::vault::master::source;

/// Everything that the preconditions look at.
pub struct Scene<'a> {
    /// The address to listen on.
    pub bind: IpAddr,
    /// Is Tailscale's consent asked for?
    pub wants_tailscale: bool,
    /// The root, in which the gateway's state and the session lie.
    pub root: &'a Path,
    /// The keychain.
    pub keychain: &'a Keychain,
    /// Where the passphrase may come from.
    pub sources: &'a Sources,
    /// `SUPABASE_SERVICE_ROLE_KEY` is set.
    pub has_service_role: bool,
    /// A session variable is set.
    pub has_session: bool,
    /// The owner has paused the gateway.
    pub is_paused: bool,
    /// The kill switch is on.
    pub is_killed: bool,
}

/// Those of full mode.
#[must_use]
pub fn of_full_mode(scene: &Scene<'_>) -> Vec<Check> {
    // Asked once: one that hangs takes three seconds each time.
    // (tests/keychain.rs: `a_keychain_that_hangs_is_waited_for_once_before_full_mode`)
    let kept = record::present(scene.keychain);
    let is_there = kept.is_ok();
    let mut checks = vec![
        bind_safe(scene),
        no_service_role(scene),
        keychain_present(scene, kept.as_ref().err()),
        keys_passphrase(scene, Some(kept)),
        check(
            "identity_present",
            is_there && has_identity(scene),
            "an identity and its key",
            "no ed25519 identity in <root>/gateway/identity.json with its key in the keychain",
        ),
        check(
            "session_present",
            scene.has_session || has_session(scene.root),
            "a session",
            "no session in the environment or in <root>/config.json",
        ),
        check(
            "lenser_active",
            !scene.is_paused,
            "not paused",
            "LF_GATEWAY_OWNER_PAUSED=1",
        ),
        check(
            "kill_switch",
            !scene.is_killed,
            "off",
            "LF_GATEWAY_GLOBAL_KILL_SWITCH=1",
        ),
    ];
    if scene.wants_tailscale {
        checks.push(tailscale_consent(scene.root));
    }
    checks
}

/// Does a consent to Tailscale fit a live interface?
#[must_use]
pub fn tailscale_consent(root: &Path) -> Check {
    match consent::covered(&pairing::dir(root)) {
        Ok(covered) => {
            let covered: Vec<String> = covered.iter().map(ToString::to_string).collect();
            pass(
                "tailscale_consent",
                format!("it covers {}", consent::listed(&covered)),
            )
        }
        Err(error) => failed("tailscale_consent", &error),
    }
}

/// Those that matter for keys alone. The passphrase may still come: the guide starts the gateway
/// before `lf keys init`.
#[must_use]
pub fn of_keys_only(scene: &Scene<'_>) -> Vec<Check> {
    vec![no_service_role(scene), noted(keys_passphrase(scene, None))]
}

/// The same, but that what does not hold is no failure.
pub(super) fn noted(mut check: Check) -> Check {
    if check.status == Status::Fail {
        check.status = Status::Note;
    }
    check
}

fn bind_safe(scene: &Scene<'_>) -> Check {
    let bind = scene.bind;
    if bind.is_loopback() {
        return pass("bind_safe", "a loopback address".to_owned());
    }
    if !scene.wants_tailscale || bind.is_unspecified() {
        let message = format!(
            "{bind} is not a loopback address; others take --tailscale and a consent that covers them"
        );
        return check("bind_safe", false, "", &message);
    }
    match Permit::new(&pairing::dir(scene.root), bind) {
        Ok(_) => pass("bind_safe", "the consent to Tailscale covers it".to_owned()),
        Err(error) => failed("bind_safe", &error),
    }
}

fn no_service_role(scene: &Scene<'_>) -> Check {
    check(
        "no_service_role",
        !scene.has_service_role,
        "unset",
        "SUPABASE_SERVICE_ROLE_KEY is set; it has no business in a process that browsers talk to",
    )
}

fn keychain_present(scene: &Scene<'_>, refusal: Option<&Error>) -> Check {
    let given = matches!(source::from_environment(scene.sources), Ok(Some(_)));
    match refusal {
        None => pass("keychain_present", "it answers".to_owned()),
        Some(_) if given => pass(
            "keychain_present",
            "none, but the environment has a passphrase to seal under".to_owned(),
        ),
        Some(error) => failed("keychain_present", error),
    }
}

/// `kept` is what the keychain said, if it has been asked.
fn keys_passphrase(scene: &Scene<'_>, mut kept: Option<Result<Option<Secret>>>) -> Check {
    let mut ask = || {
        let kept = kept.take();
        kept.unwrap_or_else(|| record::present(scene.keychain))
    };
    match source::find_among(scene.sources, &mut ask) {
        Ok((_, origin)) => pass("keys_passphrase", format!("from {origin}")),
        Err(error) => failed("keys_passphrase", &error),
    }
}

fn has_identity(scene: &Scene<'_>) -> bool {
    let Some(identity) = read_object(&pairing::dir(scene.root), IDENTITY) else {
        return false;
    };
    let has_key = || {
        matches!(
            scene.keychain.find("lenserfight-gateway", "device:active"),
            Ok(Some(_))
        )
    };
    text(&identity, &["public_key"]).is_some()
        && text(&identity, &["signing_algo"]).as_deref() == Some("ed25519")
        && has_key()
}

/// Has anybody set full mode up?
#[must_use]
pub fn is_set_up(root: &Path) -> bool {
    let state = Dir::open(&pairing::dir(root)).ok().flatten();
    state.is_some_and(|state| !matches!(state.look(IDENTITY), Ok(None)))
}

/// A token in the configuration, or in its active profile.
fn has_session(root: &Path) -> bool {
    let names = ["token", "access_token", "accessToken", "api_key", "apiKey"];
    configured(root, &names).is_some()
}

/// Whose gateway this is: as its identity says, or the configuration.
#[must_use]
pub fn lenser_id(root: &Path) -> Option<String> {
    let names = ["lenser_id", "lenserId"];
    let identity = read_object(&pairing::dir(root), IDENTITY);
    let of_identity = identity.and_then(|identity| text(&identity, &names));
    of_identity.or_else(|| configured(root, &names))
}

/// The first text of these names in the configuration, or else in its active profile.
fn configured(root: &Path, names: &[&str]) -> Option<String> {
    let config = read_object(root, "config.json")?;
    let active = text(&config, &["active_profile", "activeProfile", "profile"]);
    let profile = match (config.get("profiles"), active) {
        (Some(Value::Object(profiles)), Some(name)) => profiles.get(&name),
        _ => None,
    };
    let of_profile = || match profile {
        Some(Value::Object(profile)) => text(profile, names),
        _ => None,
    };
    text(&config, names).or_else(of_profile)
}

/// The first of these members that is a text, and not an empty one.
fn text(object: &Object, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    })
}

fn read_object(dir: &Path, name: &str) -> Option<Object> {
    let bytes = Dir::open(dir).ok()??.read(name, MAX_FILE).ok()??;
    json::from_str(std::str::from_utf8(&bytes).ok()?).ok()
}

fn check(id: &'static str, holds: bool, good: &str, bad: &str) -> Check {
    let (status, message) = if holds {
        (Status::Pass, good)
    } else {
        (Status::Fail, bad)
    };
    Check {
        id,
        status,
        message: message.to_owned(),
        hint: None,
    }
}

const IDENTITY: &str = "identity.json";
const MAX_FILE: usize = 256 * 1024;

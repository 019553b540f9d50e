//! What must be so before the gateway serves, one line each.

use std::net::SocketAddr;
use std::path::Path;

use miniserde::json::{self, Object, Value};

use super::consent::{self, Permit};
use super::pairing;
use crate::base::secret::Secret;
use crate::error::Result;
use crate::keychain::Keychain;
use crate::system::environment::{GatewayVariables, Sources};
use crate::system::fs::Dir;
use crate::vault::doctor::{Check, Status, failed, pass};
use crate::vault::master::record;
use crate::vault::master::source;

/// What a gateway is to be started with.
pub(crate) struct Setup<'a> {
    /// Where it is to listen.
    pub(crate) address: SocketAddr,
    /// What it is for.
    pub(crate) mode: Mode,
    /// Is Tailscale's consent asked for?
    pub(crate) wants_tailscale: bool,
    /// The root, in which the gateway's state and the session lie.
    pub(crate) root: &'a Path,
    /// The keychain.
    pub(crate) keychain: &'a Keychain,
    /// Where the passphrase may come from.
    pub(crate) sources: &'a Sources,
    /// The gateway's own variables.
    pub(crate) variables: &'a GatewayVariables,
}

/// What a gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Keys alone.
    KeysOnly,
    /// What the cloud's signed coordination asks for too.
    Full,
}

/// The passphrase that the keychain has.
type Kept = Result<Option<Secret>>;

/// Those of full mode.
pub(crate) fn of_full_mode(setup: &Setup<'_>) -> Vec<Check> {
    // Asked once: one that hangs takes three seconds each time.
    // (tests/keychain.rs: `a_keychain_that_hangs_is_waited_for_once_before_full_mode`)
    let kept = record::present(setup.keychain);
    let variables = setup.variables;
    let has_identity = kept.is_ok() && has_identity(setup);
    let keychain_present = keychain_present(setup, &kept);
    let mut kept = Some(kept);
    let mut checks = vec![
        bind_safe(setup),
        no_service_role(setup),
        keychain_present,
        keys_passphrase(setup, &mut || kept.take().unwrap_or(Ok(None))),
        check(
            "identity_present",
            has_identity.then_some("an identity and its key"),
            "no ed25519 identity in <root>/gateway/identity.json with its key in the keychain",
        ),
        check(
            "session_present",
            (variables.has_session || has_session(setup.root)).then_some("a session"),
            "no session in the environment or in <root>/config.json",
        ),
        check(
            "lenser_active",
            (!variables.is_paused).then_some("not paused"),
            "LF_GATEWAY_OWNER_PAUSED=1",
        ),
        check(
            "kill_switch",
            (!variables.is_killed).then_some("off"),
            "LF_GATEWAY_GLOBAL_KILL_SWITCH=1",
        ),
    ];
    if setup.wants_tailscale {
        checks.push(tailscale_consent(setup.root));
    }
    checks
}

/// Does a consent to Tailscale cover an address of this machine?
pub(crate) fn tailscale_consent(root: &Path) -> Check {
    match consent::in_force(&pairing::dir(root)) {
        Ok(consent) => {
            let covered = consent::listed(&consent.fingerprints);
            pass("tailscale_consent", format!("it covers {covered}"))
        }
        Err(error) => failed("tailscale_consent", &error),
    }
}

/// Those that matter for keys alone. The passphrase may still come: the guide starts the gateway
/// before `lf keys init`.
pub(crate) fn of_keys_only(setup: &Setup<'_>) -> Vec<Check> {
    let passphrase = keys_passphrase(setup, &mut || record::present(setup.keychain));
    vec![no_service_role(setup), noted(passphrase)]
}

/// The same, but that what does not hold is no failure.
pub(super) fn noted(mut check: Check) -> Check {
    if check.status == Status::Fail {
        check.status = Status::Note;
    }
    check
}

fn bind_safe(setup: &Setup<'_>) -> Check {
    let address = setup.address.ip();
    if address.is_loopback() {
        return pass("bind_safe", "a loopback address".to_owned());
    }
    if !setup.wants_tailscale || address.is_unspecified() {
        let message = format!(
            "{address} is not a loopback address; others take --tailscale and a consent that covers them"
        );
        return check("bind_safe", None, &message);
    }
    match Permit::new(&pairing::dir(setup.root), address) {
        Ok(_) => pass("bind_safe", "the consent to Tailscale covers it".to_owned()),
        Err(error) => failed("bind_safe", &error),
    }
}

fn no_service_role(setup: &Setup<'_>) -> Check {
    check(
        "no_service_role",
        (!setup.variables.has_service_role).then_some("unset"),
        "SUPABASE_SERVICE_ROLE_KEY is set; it has no business in a process that browsers talk to",
    )
}

fn keychain_present(setup: &Setup<'_>, kept: &Kept) -> Check {
    let given = matches!(source::from_environment(setup.sources), Ok(Some(_)));
    match kept {
        Ok(_) => pass("keychain_present", "it answers".to_owned()),
        Err(_) if given => pass(
            "keychain_present",
            "none, but the environment has a passphrase to seal under".to_owned(),
        ),
        Err(error) => failed("keychain_present", error),
    }
}

/// `ask` says what the keychain has.
fn keys_passphrase(setup: &Setup<'_>, ask: &mut dyn FnMut() -> Kept) -> Check {
    match source::find_among(setup.sources, ask) {
        Ok((_, origin)) => pass("keys_passphrase", format!("from {origin}")),
        Err(error) => failed("keys_passphrase", &error),
    }
}

fn has_identity(setup: &Setup<'_>) -> bool {
    let Some(identity) = read_object(&pairing::dir(setup.root), IDENTITY) else {
        return false;
    };
    let key = || setup.keychain.find("lenserfight-gateway", "device:active");
    text(&identity, &["public_key"]).is_some()
        && text(&identity, &["signing_algo"]).as_deref() == Some("ed25519")
        && matches!(key(), Ok(Some(_)))
}

/// Has anybody set full mode up?
pub(crate) fn is_set_up(root: &Path) -> bool {
    let state = Dir::open(&pairing::dir(root)).ok().flatten();
    state.is_some_and(|state| !matches!(state.look(IDENTITY), Ok(None)))
}

/// A token in the configuration, or in its active profile.
fn has_session(root: &Path) -> bool {
    let names = ["token", "access_token", "accessToken", "api_key", "apiKey"];
    configured(root, &names).is_some()
}

/// Whose gateway this is: as its identity says, or the configuration.
pub(crate) fn lenser_id(root: &Path) -> Option<String> {
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

/// A check that holds for this reason, or fails for that.
fn check(id: &'static str, good: Option<&str>, bad: &str) -> Check {
    let status = good.map_or(Status::Fail, |_| Status::Pass);
    Check {
        id,
        status,
        message: good.unwrap_or(bad).to_owned(),
        hint: None,
    }
}

const IDENTITY: &str = "identity.json";
const MAX_FILE: usize = 256 * 1024;

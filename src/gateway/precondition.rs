//! What must be so before the gateway serves, one line each.

use std::net::IpAddr;
use std::path::Path;

use miniserde::json::{self, Object, Value};

use crate::doctor::{Check, Status};
use crate::fs::Dir;
use crate::keychain::Keychain;
use crate::passphrase::{self, Sources};

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
    let mut checks = vec![
        check(
            "bind_safe",
            scene.bind.is_loopback(),
            "a loopback address",
            "the address is not a loopback one, and no consent covers it",
        ),
        no_service_role(scene),
        keychain_present(scene),
        keys_passphrase(scene),
        check(
            "identity_present",
            has_identity(scene),
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
        checks.push(check(
            "tailscale_consent",
            false,
            "",
            "no consent is recorded that fits a live interface",
        ));
    }
    checks
}

/// Those that matter for keys alone. The passphrase may still come: the guide starts the gateway
/// before `lf keys init`.
#[must_use]
pub fn of_keys_only(scene: &Scene<'_>) -> Vec<Check> {
    let later = |check: Check| {
        if check.status == Status::Fail {
            Check {
                status: Status::Note,
                ..check
            }
        } else {
            check
        }
    };
    vec![no_service_role(scene), later(keys_passphrase(scene))]
}

fn no_service_role(scene: &Scene<'_>) -> Check {
    check(
        "no_service_role",
        !scene.has_service_role,
        "unset",
        "SUPABASE_SERVICE_ROLE_KEY is set; it has no business in a process that browsers talk to",
    )
}

fn keychain_present(scene: &Scene<'_>) -> Check {
    let given = matches!(passphrase::from_environment(scene.sources), Ok(Some(_)));
    match passphrase::from_keychain(scene.keychain) {
        Ok(_) => check("keychain_present", true, "it answers", ""),
        Err(_) if given => check(
            "keychain_present",
            true,
            "none, but the environment has a passphrase to seal under",
            "",
        ),
        Err(error) => check("keychain_present", false, "", &error.to_string()),
    }
}

fn keys_passphrase(scene: &Scene<'_>) -> Check {
    match passphrase::find(scene.sources, scene.keychain) {
        Ok(master) => check(
            "keys_passphrase",
            true,
            &format!("from {}", master.origin()),
            "",
        ),
        Err(error) => check("keys_passphrase", false, "", &error.to_string()),
    }
}

fn has_identity(scene: &Scene<'_>) -> bool {
    let Some(identity) = read_object(&scene.root.join("gateway"), "identity.json") else {
        return false;
    };
    let is_text = |name: &str, wanted: Option<&str>| match identity.get(name) {
        Some(Value::String(text)) => wanted.is_none_or(|wanted| text == wanted) && !text.is_empty(),
        _ => false,
    };
    let has_key = || {
        matches!(
            scene.keychain.find("lenserfight-gateway", "device:active"),
            Ok(Some(_))
        )
    };
    is_text("public_key", None) && is_text("signing_algo", Some("ed25519")) && has_key()
}

/// A token in the configuration, or in its active profile.
fn has_session(root: &Path) -> bool {
    let Some(config) = read_object(root, "config.json") else {
        return false;
    };
    let has_token = |object: &Object| {
        let names = ["token", "access_token", "accessToken", "api_key", "apiKey"];
        names
            .into_iter()
            .any(|name| matches!(object.get(name), Some(Value::String(text)) if !text.is_empty()))
    };
    let active = ["active_profile", "activeProfile", "profile"]
        .into_iter()
        .find_map(|name| match config.get(name) {
            Some(Value::String(name)) => Some(name),
            _ => None,
        });
    let profile = match (config.get("profiles"), active) {
        (Some(Value::Object(profiles)), Some(name)) => profiles.get(name),
        _ => None,
    };
    has_token(&config) || matches!(profile, Some(Value::Object(profile)) if has_token(profile))
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

const MAX_FILE: usize = 256 * 1024;

//! What must be so before the gateway serves, and the diagnosis of `lf gateway doctor`, one line each.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use miniserde::json::{Object, Value};

use super::{EXTRA_HOSTS, EXTRA_ORIGINS, Hosts, api::DAEMON_VERSION, consent, consent::Permit};
use super::{Origins, Pairings, origin::is_tailscale, probe, probe::Absence, probe::Health};
use super::{server::listen, state};
use crate::base::{Secret, Timestamp, json::text_of, printable};
use crate::error::Result;
use crate::keychain::Keychain;
use crate::system::{Dir, Environment, environment::SESSION_VARIABLES};
use crate::vault::doctor::{Check, Status, fail, failed, note, pass};
use crate::vault::{master::record, master::source};

/// What a gateway is to be started with.
pub(crate) struct Setup<'a> {
    /// Where it is to listen: the first one is what a person is told.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Is it for keys alone? Otherwise it is for what the cloud's signed coordination asks for too.
    pub(crate) keys_only: bool,
    /// Is Tailscale's consent asked for?
    pub(crate) wants_tailscale: bool,
    /// The root, in which the session lies.
    pub(crate) root: PathBuf,
    /// The gateway's directory, below the root.
    pub(crate) state: PathBuf,
    pub(crate) keychain: Keychain,
    /// Where the passphrase may come from, and the gateway's own variables.
    pub(crate) environment: &'a Environment,
}

impl Setup<'_> {
    pub(crate) fn pairings(&self) -> Pairings {
        Pairings::at(self.root.clone(), self.environment, self.keychain.clone())
    }

    /// The preconditions of the mode. For keys alone the passphrase may still come: the guide starts the
    /// gateway before `lf keys init`.
    pub(crate) fn preconditions(&self) -> Vec<Check> {
        if !self.keys_only {
            return self.of_full_mode();
        }
        let passphrase = self.keys_passphrase(|| record::present(&self.keychain));
        let consent = self.wants_tailscale.then(|| self.tailscale_consent());
        [self.no_service_role(), noted(passphrase)].into_iter().chain(consent).collect()
    }

    /// The consent that it listens by: to all addresses beyond loopback, or for keys alone to Tailscale's
    /// if that was asked for.
    pub(crate) fn permit(&self) -> Result<Option<Permit>> {
        let needs_consent = |ip: &IpAddr| match self.keys_only {
            true => self.wants_tailscale && is_tailscale(*ip),
            false => !ip.is_loopback(),
        };
        let ips = self.addresses.iter().map(SocketAddr::ip).filter(needs_consent);
        ips.map(|ip| Permit::new(&self.state, ip)).try_fold(None, |_, permit| permit.map(Some))
    }

    fn of_full_mode(&self) -> Vec<Check> {
        // The keychain is asked once, because one that hangs takes three seconds each time.
        // (tests/keychain.rs: `a_keychain_that_hangs_is_waited_for_once_before_full_mode`)
        let kept = record::present(&self.keychain);
        let given = source::from_environment(&self.environment.passphrase);
        let without = "none, but the environment has a passphrase";
        let keychain = match (&kept, given) {
            (Ok(_), _) => pass("keychain_present", "it answers".to_owned()),
            (Err(_), Ok(Some(_))) => pass("keychain_present", without.to_owned()),
            (Err(error), _) => failed("keychain_present", error),
        };
        let identity = kept.is_ok() && self.has_identity();
        let identity = identity.then_some("an identity and its key");
        let (root, state) = (self.root.display(), self.state.display());
        let no_identity =
            format!("no ed25519 identity in {state}/{IDENTITY} with its key in the keychain");
        let environment = self.environment;
        let is_set = SESSION_VARIABLES.iter().any(|name| environment.value(name).is_some());
        let session = (is_set || session(environment).is_some()).then_some("a session");
        let no_session = format!("no session in the environment or in {root}/{CONFIG}");
        let active = (!environment.is_on("LF_GATEWAY_OWNER_PAUSED")).then_some("not paused");
        let off = (!environment.is_on("LF_GATEWAY_GLOBAL_KILL_SWITCH")).then_some("off");
        let mut checks = vec![
            self.bind_safe(),
            self.no_service_role(),
            keychain,
            self.keys_passphrase(|| kept),
            check("identity_present", identity, &no_identity, KEYS_ONLY),
            check("session_present", session, &no_session, KEYS_ONLY),
            check("lenser_active", active, "LF_GATEWAY_OWNER_PAUSED is on", KEYS_ONLY),
            check("kill_switch", off, "LF_GATEWAY_GLOBAL_KILL_SWITCH is on", KEYS_ONLY),
        ];
        checks.extend(self.wants_tailscale.then(|| self.tailscale_consent()));
        checks
    }

    fn bind_safe(&self) -> Check {
        let mut beyond = self.addresses.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback());
        if let Some(address) = beyond.find(|ip| !self.wants_tailscale || ip.is_unspecified()) {
            let message = format!(
                "{address} is not a loopback address; another address needs --tailscale and a consent that covers it"
            );
            return check("bind_safe", None, &message, KEYS_ONLY);
        }
        let by = |permit: Option<Permit>| {
            permit.map_or("a loopback address", |_| "the consent to Tailscale covers it")
        };
        outcome("bind_safe", self.permit().map(|permit| by(permit).to_owned()))
    }

    fn no_service_role(&self) -> Check {
        let unset =
            self.environment.text("SUPABASE_SERVICE_ROLE_KEY").is_empty().then_some("unset");
        let set = "SUPABASE_SERVICE_ROLE_KEY is set; keep it from what browsers reach";
        check("no_service_role", unset, set, "unset SUPABASE_SERVICE_ROLE_KEY")
    }

    /// `ask` gets the passphrase from the keychain.
    fn keys_passphrase(&self, ask: impl FnOnce() -> Result<Option<Secret>>) -> Check {
        let found = source::find_among(&self.environment.passphrase, ask);
        outcome("keys_passphrase", found.map(|(_, origin)| format!("from {origin}")))
    }

    /// Does a consent to Tailscale cover an address of this machine?
    fn tailscale_consent(&self) -> Check {
        let consent = consent::in_force(&self.state);
        outcome(CONSENT, consent.map(|consent| format!("it covers {}", consent.listed())))
    }

    fn has_identity(&self) -> bool {
        let is_good = |identity: Object| {
            text(&identity, &["public_key"]).is_some()
                && text(&identity, &["signing_algo"]).as_deref() == Some("ed25519")
        };
        let key = || self.keychain.find("lenserfight-gateway", "device:active");
        read_object(&self.state, IDENTITY).is_some_and(is_good) && matches!(key(), Ok(Some(_)))
    }

    /// Runs every check, and asks what is running already; changes nothing.
    pub(crate) fn examine(&self, now: Timestamp) -> Vec<Check> {
        let is_for_keys = |check: &Check| FOR_KEYS.contains(&check.id);
        let state = Dir::open(&self.state).ok().flatten();
        let is_set_up = state.is_some_and(|state| !matches!(state.stat(IDENTITY), Ok(None)));
        let mut checks = self.of_full_mode();
        checks.retain(|check| !self.keys_only || is_for_keys(check));
        if !self.wants_tailscale && !is_set_up {
            // What only full mode needs is no failure where full mode was never set up.
            let as_note = |check| if is_for_keys(&check) { check } else { noted(check) };
            checks = checks.into_iter().map(as_note).collect();
        }
        if !self.wants_tailscale || self.keys_only {
            // It is not needed now, so that one which does not hold is no failure.
            checks.push(match consent::read(&self.state) {
                Ok(None) => pass(CONSENT, "none, and none is needed".to_owned()),
                Ok(Some(_)) => noted(self.tailscale_consent()),
                Err(error) => failed(CONSENT, &error),
            });
        }
        let [origins, hosts] = [EXTRA_ORIGINS, EXTRA_HOSTS].map(|name| self.environment.text(name));
        let origins = Origins::with_extra(&origins).err();
        checks.extend(origins.map(|error| failed("extra_origins", &error)));
        let hosts = Hosts::new("", &hosts).err();
        checks.extend(hosts.map(|error| failed("extra_hosts", &error)));
        checks.extend(self.addresses.iter().map(|address| match address.ip().is_loopback() {
            true => pass("bind", format!("{address}, only for this machine")),
            false => note("bind", format!("{address}, also for other machines; lf does not encrypt the traffic, Tailscale does")),
        }));
        checks.extend(examine_gateway(&self.addresses));
        let pairings = examine_pairings(&self.pairings(), now);
        checks.extend(pairings.unwrap_or_else(|error| vec![failed("pairings", &error)]));
        checks
    }
}

fn outcome(id: &'static str, found: Result<String>) -> Check {
    found.map_or_else(|error| failed(id, &error), |message| pass(id, message))
}

/// The same check; a failure becomes a note.
fn noted(mut check: Check) -> Check {
    if check.status == Status::Fail {
        check.status = Status::Note;
    }
    check
}

fn examine_gateway(addresses: &[SocketAddr]) -> Vec<Check> {
    let address = addresses[0];
    let answer = probe::ask(address);
    let doubts = probe::doubts(addresses, answer.is_ok());
    let first = match answer {
        Ok(health) if health.daemon_version == DAEMON_VERSION => {
            pass("gateway", format!("{DAEMON_VERSION} answers on {address}"))
        }
        Ok(Health { daemon_version, .. }) => note(
            "gateway",
            format!(
                "{daemon_version} answers on {address}, but this is another version; restart the gateway"
            ),
        ),
        Err(Absence::Nobody(_)) => match listen(addresses) {
            Ok(_) => note("gateway", format!("no gateway is running; {address} is free")),
            Err(error) => failed("gateway", &error),
        },
        Err(absence) => failed("gateway", &absence.error(address)),
    };
    [first].into_iter().chain(doubts.iter().map(|doubt| failed("gateway", doubt))).collect()
}

fn examine_pairings(pairings: &Pairings, now: Timestamp) -> Result<Vec<Check>> {
    let list = pairings.list()?;
    let note = |message: String, hint: &str| Check {
        hint: Some(hint.to_owned()),
        ..note("pairings", message)
    };
    if list.is_empty() {
        return Ok(vec![note("nothing is paired".to_owned(), "lf gateway pair --web")]);
    }
    let mut notes = Vec::new();
    for (pairing, _) in &list {
        let name = printable(pairing.name.as_str());
        if pairing.is_outdated() {
            notes.push(format!(
                "\"{name}\" is from a former version of lf, or another root; its token is not valid"
            ));
        }
        if let Some(at) = pairing.expires_at.filter(|at| *at <= now.after(SOON)) {
            let word = if at <= now { "expired" } else { "expires" };
            notes.push(format!("\"{name}\" {word} at {at}"));
        }
    }
    if notes.is_empty() {
        let message = format!("{}, and none ends within 7 days", list.len());
        return Ok(vec![pass("pairings", message)]);
    }
    let hint = "lf gateway pair --name NAME makes a new token; or lf gateway unpair NAME";
    Ok(notes.into_iter().map(|message| note(message, hint)).collect())
}

/// A token in the configuration, or in the profile in use.
pub(crate) fn session(environment: &Environment) -> Option<String> {
    let names =
        ["token", "authToken", "auth_token", "access_token", "accessToken", "api_key", "apiKey"];
    configured(environment, &names)
}

/// The user that this gateway belongs to: from its identity, or else the configuration.
pub(crate) fn lenser_id(environment: &Environment) -> Option<String> {
    let names = ["lenser_id", "lenserId"];
    let identity = read_object(&state::dir(&environment.root().ok()?), IDENTITY);
    let of_identity = identity.and_then(|identity| text(&identity, &names));
    of_identity.or_else(|| configured(environment, &names))
}

/// The first text of these names in the configuration, or else in the profile in use, which is
/// `LF_PROFILE`, or `profiles/.active` names it, or the configuration. It is in a file of its own or
/// in the configuration. The configuration's own text is of another profile than `LF_PROFILE`.
fn configured(environment: &Environment, names: &[&str]) -> Option<String> {
    let (root, profile) = (environment.root().ok()?, environment.text("LF_PROFILE"));
    let config = read_object(&root, CONFIG).unwrap_or_default();
    let profiles = root.join("profiles");
    let own = text(&config, names).filter(|_| profile.is_empty());
    let named = || text(&config, &["active_profile", "activeProfile", "profile"]);
    let given = Some(profile).filter(|profile| !profile.is_empty());
    let active = given.or_else(|| read_line(&profiles, ".active"));
    // It becomes a part of a path.
    let is_plain = |name: &String| !name.starts_with('.') && !name.contains(['/', '\\']);
    let active = active.or_else(named).filter(is_plain);
    let of_profile = |name: String| {
        let of_config = member(&config, "profiles").and_then(|it| text(member(it, &name)?, names));
        let file = || text(&read_object(&profiles, &format!("{name}.json"))?, names);
        let directory = || text(&read_object(&profiles.join(&name), CONFIG)?, names);
        of_config.or_else(file).or_else(directory)
    };
    own.or_else(|| of_profile(active?))
}

fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    match object.get(name) {
        Some(Value::Object(member)) => Some(member),
        _ => None,
    }
}

fn read_line(dir: &Path, name: &str) -> Option<String> {
    let bytes = Dir::open(dir).ok()??.read(name, MAX_FILE).ok()??;
    Some(String::from_utf8(bytes).ok()?.trim().to_owned())
}

/// The first of these members that is a text, and not an empty one.
fn text(object: &Object, names: &[&str]) -> Option<String> {
    let mut texts = names.iter().filter_map(|name| text_of(object, name));
    texts.find(|text| !text.is_empty()).map(str::to_owned)
}

fn read_object(dir: &Path, name: &str) -> Option<Object> {
    state::read(dir, name).ok()??
}

/// A check that holds for this reason, or fails for that, and then has a hint.
fn check(id: &'static str, good: Option<&str>, bad: &str, hint: &str) -> Check {
    good.map_or_else(|| fail(id, bad, hint), |good| pass(id, good))
}

const CONSENT: &str = "tailscale_consent";
const IDENTITY: &str = "identity.json";
const CONFIG: &str = "config.json";
const KEYS_ONLY: &str = "lf gateway serve --keys-only needs nothing from the cloud";
/// The preconditions that matter for keys alone.
const FOR_KEYS: [&str; 3] = ["no_service_role", "keychain_present", "keys_passphrase"];
const MAX_FILE: usize = 256 * 1024;
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

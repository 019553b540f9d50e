//! `lf gateway serve`: checks what must be so, listens, and serves until it is told to end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use crate::base::secret::shown;
use crate::error::{Error, Result};
use crate::gateway::api::Api;
use crate::gateway::consent::Permit;
use crate::gateway::guard::Guard;
use crate::gateway::origin::{Hosts, Origins, is_cgnat};
use crate::gateway::pairing::{self, Pairings, Recogniser};
use crate::gateway::precondition::{self, Mode, Setup};
use crate::gateway::sandbox;
use crate::gateway::{Gateway, Lifetime, listen};
use crate::keychain::{Keychain, Patience};
use crate::system::environment::{Environment, GatewayVariables};
use crate::system::host;
#[cfg(target_os = "linux")]
use crate::system::kernel::inherit;
use crate::system::kernel::signal;
use crate::system::service::notify::Manager;
use crate::vault::doctor::{Check, Status};
use crate::vault::master::source;
use crate::vault::store::Store;

use super::{ServeOptions, doctor};

pub(super) fn run(environment: &Environment, options: &ServeOptions) -> Result<()> {
    let variables = &environment.gateway;
    let inherited = inherited(variables, options)?;
    let address = match &inherited {
        None => address(environment, options)?,
        Some(listener) => local_address(listener)?,
    };
    let origins = Origins::with_extra(&variables.extra_origins)?;
    let hosts = Hosts::new(address.ip(), &host::machine_name(), &variables.extra_hosts);
    // Nobody sits at this terminal for every request: the keychain gets three seconds, and no more.
    let keychain = Keychain::new(environment, Patience::SHORT);
    let root = environment.root()?;
    let setup = setup(environment, options, address, &root, &keychain);
    check(&setup)?;
    // A passphrase may still come; one that is given twice stays so for as long as this runs.
    if let Err(error @ Error::Usage { .. }) = source::from_environment(setup.sources) {
        return Err(error);
    }
    let needs_permit = setup.mode == Mode::Full && !address.ip().is_loopback();
    let permit = needs_permit.then(|| Permit::new(&pairing::dir(&root), address.ip()));
    let permit = permit.transpose()?;
    let gateway = gateway(environment, &root, keychain, (hosts, origins), permit)?;
    if !matches!(Store::at(environment.keys()?).dir(), Ok(Some(_))) {
        host::complain("lf: note: there are no keys yet, and no audit log until there are\n");
    }
    host::raise_file_limit();
    let end = signal::on_end()
        .map_err(|error| Error::from_io("listen for", Path::new("signals"), error))?;
    let idle = inherited.is_some().then_some(IDLE);
    let listener = inherited.map_or_else(|| listen(address), Ok)?;
    let address = local_address(&listener)?;
    let manager = Manager::at(variables.notify.as_deref());
    let sandbox = sandbox::enter(&root, &environment.keys()?, &environment.passphrase);
    host::complain(&format!("lf: sandbox: {sandbox}\n"));
    host::print(&format!("listening on http://{address}\n"))?;
    manager.tell(&format!("READY=1\nSTATUS=listening on http://{address}"));
    let lifetime = Lifetime {
        end: &end,
        idle,
        on_ending: &|| manager.tell("STOPPING=1"),
    };
    gateway.serve(listener, &lifetime)
}

/// The socket that a service manager opened, if it opened one for this process.
#[cfg(target_os = "linux")]
fn inherited(variables: &GatewayVariables, options: &ServeOptions) -> Result<Option<TcpListener>> {
    let Some((pid, count)) = &variables.listen else {
        return Ok(None);
    };
    if *pid != std::process::id().to_string() || count == "0" {
        return Ok(None);
    }
    if count != "1" {
        let sentence = format!(
            "LISTEN_FDS={} sockets were passed on; it takes one",
            shown(count)
        );
        return Err(Error::usage(sentence));
    }
    if options.bind.is_some() || options.port.is_some() {
        return Err(Error::usage(
            "the service manager has opened the socket already; --bind and --port belong into its unit",
        ));
    }
    let refused = |error| {
        Error::usage(format!(
            "LISTEN_FDS=1 promises a socket to listen on, but {error}"
        ))
    };
    inherit::listener().map(Some).map_err(refused)
}

#[cfg(not(target_os = "linux"))]
fn inherited(_: &GatewayVariables, _: &ServeOptions) -> Result<Option<TcpListener>> {
    Ok(None)
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|source| Error::Listen {
        address: "that socket".to_owned(),
        source,
    })
}

/// A gateway as the flags and the environment have it.
pub(super) fn setup<'a>(
    environment: &'a Environment,
    options: &ServeOptions,
    address: SocketAddr,
    root: &'a Path,
    keychain: &'a Keychain,
) -> Setup<'a> {
    let variables = &environment.gateway;
    Setup {
        address,
        mode: if is_keys_only(environment, options) {
            Mode::KeysOnly
        } else {
            Mode::Full
        },
        wants_tailscale: options.tailscale || variables.tailscale,
        root,
        keychain,
        sources: &environment.passphrase,
        variables,
    }
}

fn gateway(
    environment: &Environment,
    root: &Path,
    keychain: Keychain,
    (hosts, origins): (Hosts, Origins),
    permit: Option<Permit>,
) -> Result<Gateway> {
    let (state, sources) = (pairing::dir(root), environment.passphrase.clone());
    let pairings = Pairings::at(state.clone(), sources.clone(), keychain.clone());
    let guard = Guard::new(hosts, origins, Recogniser::new(pairings));
    let api = Api {
        store: Store::at(environment.keys()?),
        state,
        sources,
        keychain,
    };
    Ok(Gateway::new(guard, api, permit, |sentence| {
        host::complain(&format!("lf: warning: {sentence}\n"));
    }))
}

/// Is it for keys alone? A flag that asks for full mode goes before the variable, as every flag does.
pub(super) fn is_keys_only(environment: &Environment, options: &ServeOptions) -> bool {
    options.keys_only || (environment.gateway.keys_only && !options.tailscale)
}

/// Where to listen: as the flags say, or the environment, or as ever.
pub(super) fn address(environment: &Environment, options: &ServeOptions) -> Result<SocketAddr> {
    let variables = &environment.gateway;
    let bind = match options.bind.as_deref().or(variables.bind.as_deref()) {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => {
            let literal = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'))
                .unwrap_or(text);
            literal.parse().map_err(|_| {
                Error::usage(format!(
                    "\"{}\" is not an address to listen on; it takes a literal such as 127.0.0.1",
                    shown(text)
                ))
            })?
        }
    };
    let port = match options.port.as_deref().or(variables.port.as_deref()) {
        None => PORT,
        Some(text) => text.parse().map_err(|_| {
            Error::usage(format!("\"{}\" is not a port from 0 to 65535", shown(text)))
        })?,
    };
    Ok(SocketAddr::new(bind, port))
}

/// The same, of a gateway that is to be asked.
pub(super) fn known_address(
    environment: &Environment,
    options: &ServeOptions,
) -> Result<SocketAddr> {
    match address(environment, options)? {
        address if address.port() == 0 => Err(Error::usage(
            "port 0 stands for a free one; name the port of the gateway's line \"listening on\"",
        )),
        address => Ok(address),
    }
}

fn check(setup: &Setup<'_>) -> Result<()> {
    let bind = setup.address.ip();
    let (checks, hidden) = match setup.mode {
        Mode::KeysOnly => (precondition::of_keys_only(setup), Some(Status::Pass)),
        Mode::Full => (precondition::of_full_mode(setup), None),
    };
    let failed = |check: &&Check| check.status == Status::Fail;
    for check in checks.iter().filter(|check| Some(check.status) != hidden) {
        let word = doctor::word(check.status);
        host::complain(&format!(
            "[precondition] {word} {}: {}\n",
            check.id, check.message
        ));
    }
    match setup.mode {
        Mode::KeysOnly if !bind.is_loopback() => host::complain(&format!(
            "lf: warning: {bind} is not a loopback address, and lf does not encrypt what goes there. Tailscale does; on a LAN, whoever listens reads your keys\n"
        )),
        Mode::Full if setup.wants_tailscale && bind.is_loopback() => host::complain(&format!(
            "lf: note: nobody on the tailnet reaches {bind}; name an address of Tailscale's with --bind\n"
        )),
        Mode::KeysOnly | Mode::Full => {}
    }
    let failed: Vec<&str> = checks.iter().filter(failed).map(|check| check.id).collect();
    match failed[..] {
        [] => Ok(()),
        // The trust state alone is in the way. What may be bound never is forbids it in any case.
        ["tailscale_consent"] | ["bind_safe", "tailscale_consent"] if may_be_covered(bind) => {
            Err(Error::ConsentMissing(
                "full mode over Tailscale waits for a consent that fits, as named above".to_owned(),
            ))
        }
        ["bind_safe", ..] => Err(Error::UnsafeBind(bind.to_string())),
        _ => Err(Error::PreconditionFailed(failed.len())),
    }
}

/// Loopback, or an address that Tailscale may have given this machine.
fn may_be_covered(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || is_cgnat(address),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

const PORT: u16 = 38080;
/// Whoever opened the socket starts us again at the next connection.
const IDLE: Duration = Duration::from_secs(600);

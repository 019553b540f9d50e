//! `lf gateway serve`: checks what must be so, listens, and serves until it is told to end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use crate::base::secret::shown;
use crate::cli::args::is_not;
use crate::error::{Error, Result};
use crate::gateway::api::Api;
use crate::gateway::consent::Permit;
use crate::gateway::guard::Guard;
use crate::gateway::helper;
use crate::gateway::origin::{Hosts, Origins, is_cgnat};
use crate::gateway::precondition::Setup;
use crate::gateway::sandbox;
use crate::gateway::state;
use crate::gateway::{Gateway, listen, unusable};
use crate::keychain::helper::Helper;
use crate::keychain::{Keychain, Patience};
use crate::system::environment::{Environment, GatewayVariables};
use crate::system::host;
#[cfg(target_os = "linux")]
use crate::system::kernel::inherit;
use crate::system::kernel::signal;
use crate::system::service::notify::Manager;
use crate::vault::doctor::Status;
use crate::vault::master::source;
use crate::vault::store::Store;

use super::{NOTHING, ServeOptions, doctor};

pub(super) fn run(environment: &Environment, options: &ServeOptions) -> Result<()> {
    let variables = &environment.gateway;
    let mut inherited = inherited(variables, options)?;
    let address = match &inherited {
        None => address(environment, options)?,
        Some(listener) => listener.local_addr().map_err(unusable)?,
    };
    let origins = Origins::with_extra(&variables.extra_origins)?;
    let hosts = Hosts::new(address.ip(), &host::machine_name(), &variables.extra_hosts);
    let setup = setup(environment, options, address)?;
    check(&setup)?;
    // A passphrase may still come; one that is given twice stays so for as long as this runs.
    if let Err(error @ Error::Usage { .. }) = source::from_environment(&environment.passphrase) {
        return Err(error);
    }
    let needs_permit = !setup.keys_only && !address.ip().is_loopback();
    let permit = needs_permit.then(|| Permit::new(&setup.state, address.ip()));
    let (pairings, helpers) = (setup.pairings(), setup.pairings());
    match pairings.list() {
        Ok(list) if list.is_empty() => host::eprint(NOTHING),
        Ok(_) => {}
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            host::eprint(&format!("lf: warning: no pairing is recognised: {error}; {hint}\n"));
        }
    }
    host::raise_file_limit();
    let own = environment.passphrase.clone();
    let answer = helper::answer(environment.keys()?, own, setup.keychain, helpers);
    let helper = Helper::start(&answer, || drop(inherited.take()));
    let Some(helper) = helper.map_err(|error| failed("start", "the gateway's helper", error))?
    else {
        return Ok(());
    };
    signal::on_end(&helper.life).map_err(|error| failed("listen for", "signals", error))?;
    let (sources, keychain) =
        (helper::sources(&helper, environment.passphrase.force), Keychain::through(&helper));
    let pairings = pairings.through(sources.clone(), keychain.clone());
    let guard = Guard::new(hosts, origins, pairings);
    let store = Store::for_pages(environment.keys()?);
    let api = Api { store, state: setup.state, sources, keychain };
    if !matches!(api.store.dir(), Ok(Some(_))) {
        host::eprint("lf: note: there are no keys yet, and no audit log until there are\n");
    }
    let gateway = Gateway::new(guard, api, permit.transpose()?, |sentence| {
        host::eprint(&format!("lf: warning: {sentence}\n"));
    });
    let idle = inherited.is_some().then_some(IDLE);
    let listener = inherited.map_or_else(|| listen(address), Ok)?;
    let address = listener.local_addr().map_err(unusable)?;
    let _ = state::record(&state::dir(&setup.root), address);
    let manager = Manager::at(variables.notify.as_deref());
    let sandbox = sandbox::enter(&setup.root, &environment.keys()?)?;
    host::eprint(&format!("lf: sandbox: {sandbox}\n"));
    host::print(&format!("listening on http://{address}\n"))?;
    manager.tell(&format!("READY=1\nSTATUS=listening on http://{address}"));
    gateway.serve(listener, &helper.life, idle, || manager.tell("STOPPING=1"))?;
    if helper.is_over() {
        let sentence = "the gateway's helper has ended, and the gateway with it".to_owned();
        return Err(Error::KeychainUnavailable(sentence));
    }
    Ok(())
}

fn failed(action: &'static str, what: &str, error: std::io::Error) -> Error {
    Error::from_io(action, Path::new(what), error)
}

/// The socket that a service manager opened, if it opened one for this process.
#[cfg(target_os = "linux")]
fn inherited(variables: &GatewayVariables, options: &ServeOptions) -> Result<Option<TcpListener>> {
    let me = std::process::id().to_string();
    let Some((_, count)) = variables.listen.as_ref().filter(|(pid, _)| *pid == me) else {
        return Ok(None);
    };
    let is_given = options.bind.is_some() || options.port.is_some();
    Err(Error::usage(match count.as_str() {
        "0" => return Ok(None),
        "1" if is_given => "the service manager has opened the socket already; --bind and --port belong into its unit".to_owned(),
        "1" => match inherit::listener() {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) => format!("LISTEN_FDS=1 promises a socket to listen on, but {error}"),
        },
        count => format!("LISTEN_FDS={} sockets were passed on; it takes one", shown(count)),
    }))
}

#[cfg(not(target_os = "linux"))]
fn inherited(_: &GatewayVariables, _: &ServeOptions) -> Result<Option<TcpListener>> {
    Ok(None)
}

/// A gateway as the flags and the environment have it.
pub(super) fn setup<'a>(
    environment: &'a Environment,
    options: &ServeOptions,
    address: SocketAddr,
) -> Result<Setup<'a>> {
    let root = environment.root()?;
    Ok(Setup {
        address,
        keys_only: is_keys_only(environment, options),
        wants_tailscale: options.tailscale || environment.gateway.tailscale,
        state: state::dir(&root),
        root,
        // A request cannot wait for a person who unlocks the keychain, so it gets three seconds.
        keychain: Keychain::new(environment, Patience::SHORT),
        environment,
    })
}

/// Is it for keys alone? A flag that asks for full mode goes before the variable, as every flag does.
pub(super) fn is_keys_only(environment: &Environment, options: &ServeOptions) -> bool {
    options.keys_only || (environment.gateway.keys_only && !options.tailscale)
}

/// Where to listen: as the flags say, or the environment, or by default.
pub(super) fn address(environment: &Environment, options: &ServeOptions) -> Result<SocketAddr> {
    let variables = &environment.gateway;
    let bind = match options.bind.as_deref().or(variables.bind.as_deref()) {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => {
            let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let what = "an address to listen on; it takes a literal such as 127.0.0.1";
            let address = literal.unwrap_or(text).parse();
            address.map_err(|_| is_not(text, what))?
        }
    };
    let port = match options.port.as_deref().or(variables.port.as_deref()) {
        None => PORT,
        Some(text) => text.parse().map_err(|_| is_not(text, "a port from 0 to 65535"))?,
    };
    Ok(SocketAddr::new(bind, port))
}

/// The setup of a gateway that is to be asked.
pub(super) fn known<'a>(environment: &'a Environment, options: &ServeOptions) -> Result<Setup<'a>> {
    match address(environment, options)? {
        address if address.port() == 0 => Err(Error::usage(
            "port 0 stands for a free one; name the port of the gateway's line \"listening on\"",
        )),
        address => setup(environment, options, address),
    }
}

/// Prints the preconditions, where keys alone are served only those that do not hold.
fn check(setup: &Setup<'_>) -> Result<()> {
    let bind = setup.address.ip();
    let checks = setup.preconditions();
    for check in &checks {
        if !setup.keys_only || check.status != Status::Pass {
            let (word, id) = (doctor::word(check.status), check.id);
            host::eprint(&format!("[precondition] {word} {id}: {}\n", check.message));
        }
    }
    if setup.keys_only && !bind.is_loopback() {
        host::eprint(&format!(
            "lf: warning: {bind} is not a loopback address, and lf does not encrypt what goes there. Tailscale does; on a LAN, whoever listens reads your keys\n"
        ));
    }
    if !setup.keys_only && setup.wants_tailscale && bind.is_loopback() {
        host::eprint(&format!(
            "lf: note: nobody on the tailnet reaches {bind}; name an address of Tailscale's with --bind\n"
        ));
    }
    let may_be_covered =
        bind.is_loopback() || matches!(bind, IpAddr::V4(address) if is_cgnat(address));
    let failed = checks.iter().filter(|check| check.status == Status::Fail);
    let failed: Vec<&str> = failed.map(|check| check.id).collect();
    match failed[..] {
        [] => Ok(()),
        // Only the consent is missing. Where no consent could cover the address, it is the address.
        ["tailscale_consent"] | ["bind_safe", "tailscale_consent"] if may_be_covered => {
            Err(Error::ConsentMissing(
                "full mode over Tailscale waits for a consent that fits, as named above".to_owned(),
            ))
        }
        ["bind_safe", ..] => Err(Error::UnsafeBind(bind.to_string())),
        _ => Err(Error::PreconditionFailed(failed.len())),
    }
}

const PORT: u16 = 38080;
/// The service manager that opened the socket starts the gateway again at the next connection.
const IDLE: Duration = Duration::from_secs(600);

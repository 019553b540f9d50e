//! `lf gateway serve`: checks what must be so, listens, and serves until it is told to end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use crate::base::{distinct::distinct, secret::printable};
use crate::gateway::{EXTRA_HOSTS, EXTRA_ORIGINS, Gateway, Hosts, Origins, origin::is_tailscale};
use crate::gateway::{api::Api, consent, guard::Guard, helper, is_own, listen, unusable};
use crate::gateway::{precondition::Setup, sandbox, state};
use crate::keychain::{Keychain, Patience, helper::Helper};
#[cfg(target_os = "linux")]
use crate::system::kernel::inherit;
use crate::system::{environment::Environment, kernel::signal, service::notify::Manager};
use crate::vault::{doctor::Status, files, master::source, store::Store};

use super::{Args, Error, NOTHING, Result, doctor, host, is_not};

pub(super) fn run(environment: &Environment, args: &Args) -> Result<()> {
    let origins = Origins::with_extra(&environment.text(EXTRA_ORIGINS))?;
    let hosts = Hosts::new(&host::machine_name(), &environment.text(EXTRA_HOSTS))?;
    let mut inherited = inherited(environment, args)?;
    let addresses = match &inherited {
        None => addresses(environment, args)?,
        Some(listeners) => own_addresses(listeners)?,
    };
    let setup = setup(environment, args, addresses.clone())?;
    check(&setup)?;
    // A passphrase may still come; one that is given twice stays so for as long as this runs.
    if let Err(error @ Error::Usage { .. }) = source::given_once(&environment.passphrase) {
        return Err(error);
    }
    // Whoever can change the list of pairings can bring a revoked token back.
    if let Some(sentence) = files::tighten(&setup.state) {
        warn(&sentence);
    }
    let permit = setup.permit()?;
    let (pairings, helpers) = (setup.pairings(), setup.pairings());
    match pairings.list() {
        Ok(list) if list.is_empty() => host::eprint(NOTHING),
        Ok(_) => {}
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            warn(&format!("the gateway recognises no pairing: {error}; {hint}"));
        }
    }
    #[cfg(unix)]
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
        host::eprint("lf: note: there are no keys yet; the audit log begins with the first one\n");
    }
    let gateway = Gateway::new(guard, api, permit, warn);
    let idle = inherited.is_some().then_some(IDLE);
    let listeners = inherited.map_or_else(|| listen(&addresses), Ok)?;
    let addresses = own_addresses(&listeners)?;
    let address = addresses[0];
    let _ = state::record(&state::dir(&setup.root), address);
    let manager = Manager::at(environment.value("NOTIFY_SOCKET").as_deref());
    let sandbox = sandbox::enter(&setup.root, &environment.keys()?)?;
    host::eprint(&format!("lf: sandbox: {}\n", printable(&sandbox)));
    for other in &addresses[1..] {
        host::eprint(&format!("lf: note: the gateway also listens on http://{other}\n"));
    }
    host::print(&format!("listening on http://{address}\n"))?;
    manager.tell(&format!("READY=1\nSTATUS=listening on http://{address}"));
    gateway.serve(listeners, &helper.life, idle, || manager.tell("STOPPING=1"))?;
    if helper.is_over() {
        let sentence = "the helper of the gateway has ended, so the gateway ends".to_owned();
        let hint = "lf gateway serve starts both again".to_owned();
        return Err(Error::ServiceFailed(sentence, hint));
    }
    Ok(())
}

fn warn(sentence: &str) {
    host::eprint(&format!("lf: warning: {}\n", printable(sentence)));
}

fn failed(action: &'static str, what: &str, error: std::io::Error) -> Error {
    Error::from_io(action, Path::new(what), error)
}

/// The sockets that a service manager opened, if it opened some for this process.
#[cfg(target_os = "linux")]
fn inherited(environment: &Environment, args: &Args) -> Result<Option<Vec<TcpListener>>> {
    use crate::base::secret::shown;
    let me = std::process::id().to_string();
    let count = environment.text("LISTEN_FDS");
    if environment.text("LISTEN_PID") != me || count.is_empty() {
        return Ok(None);
    }
    let is_given = args.flag("--bind") || args.flag("--port");
    Err(Error::usage(match count.parse() {
        Ok(0) => return Ok(None),
        Ok(1..) if is_given => "the service manager has already opened the sockets; put --bind and --port into its unit".to_owned(),
        Ok(count @ 1..) => match inherit::listeners(count) {
            Ok(listeners) => return Ok(Some(listeners)),
            Err(error) => format!("LISTEN_FDS={count} promises sockets to listen on, but {error}"),
        },
        _ => format!("LISTEN_FDS={} is not a number of sockets", shown(&count)),
    }))
}

#[cfg(not(target_os = "linux"))]
fn inherited(_: &Environment, _: &Args) -> Result<Option<Vec<TcpListener>>> {
    Ok(None)
}

fn own_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.collect::<std::io::Result<_>>().map_err(unusable)
}

/// A gateway as the flags and the environment have it.
pub(super) fn setup<'a>(
    environment: &'a Environment,
    args: &Args,
    addresses: Vec<SocketAddr>,
) -> Result<Setup<'a>> {
    environment.check_switches("LF_GATEWAY")?;
    let root = environment.root()?;
    Ok(Setup {
        addresses,
        keys_only: args.flag("--keys-only") || environment.is_on("LF_GATEWAY_KEYS_ONLY"),
        wants_tailscale: wants_tailscale(environment, args),
        state: state::dir(&root),
        root,
        // A request cannot wait for a person who unlocks the keychain, so it gets three seconds.
        keychain: Keychain::new(environment, Patience::SHORT),
        environment,
    })
}

/// Is Tailscale's consent asked for?
pub(super) fn wants_tailscale(environment: &Environment, args: &Args) -> bool {
    args.flag("--tailscale") || environment.is_on("LF_GATEWAY_TAILSCALE")
}

/// What the flags or else the environment say of where to listen, separated by commas.
pub(super) fn binds(environment: &Environment, args: &Args) -> String {
    match &args.all("--bind")[..] {
        [] => environment.text("LF_GATEWAY_BIND"),
        binds => binds.join(","),
    }
}

/// Where to listen: there, or else on loopback, and where Tailscale is asked for on the address that a
/// consent covers. With 127.0.0.1 goes ::1, where this machine has it, and the other way round: a page that
/// asks for localhost gets whichever its browser prefers, and another user could listen there.
pub(super) fn addresses(environment: &Environment, args: &Args) -> Result<Vec<SocketAddr>> {
    let port = match (args.value("--port"), &*environment.text("LF_GATEWAY_PORT")) {
        (Some(text), _) => port(&text, "--port")?,
        (None, "") => PORT,
        (None, text) => port(text, "LF_GATEWAY_PORT")?,
    };
    let source = if args.flag("--bind") { "--bind" } else { "LF_GATEWAY_BIND" };
    let binds = binds(environment, args);
    let binds = binds.split(',').map(str::trim).filter(|text| !text.is_empty());
    let mut ips = binds.map(|text| bind(text, source)).collect::<Result<Vec<_>>>()?;
    if ips.is_empty() {
        ips.push(LOCALHOST);
        if wants_tailscale(environment, args) {
            // Without one that holds, the precondition says so.
            let consent = consent::in_force(&state::dir(&environment.root()?)).ok();
            ips.extend(consent.and_then(|consent| consent.live()));
        }
    }
    if ips.len() > 1 && ips.iter().any(IpAddr::is_unspecified) {
        return Err(Error::usage("0.0.0.0 and :: mean every address; use one of them alone"));
    }
    let with_twin = |ip| {
        let twin = match ip {
            LOCALHOST | IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(LOCALHOST_6),
            LOCALHOST_6 => Some(LOCALHOST),
            _ => None,
        };
        [ip].into_iter().chain(twin.filter(|twin| is_own(*twin)))
    };
    let all = distinct(ips.into_iter().flat_map(with_twin));
    Ok(all.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn port(text: &str, source: &str) -> Result<u16> {
    text.parse().map_err(|_| is_not(text, &format!("a port from 0 to 65535, which {source} needs")))
}

fn bind(text: &str, source: &str) -> Result<IpAddr> {
    if text == "localhost" {
        return Ok(LOCALHOST);
    }
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let what = match text.rsplit_once(':') {
        Some((host, port)) if bind(host, source).is_ok() && port.parse::<u16>().is_ok() => {
            format!("an address without a port, which {source} needs; use --port for the port")
        }
        _ => format!("an address; {source} needs a literal such as 127.0.0.1"),
    };
    literal.unwrap_or(text).parse().map_err(|_| is_not(text, &what))
}

/// The setup of a gateway that is to be asked.
pub(super) fn known<'a>(environment: &'a Environment, args: &Args) -> Result<Setup<'a>> {
    let addresses = addresses(environment, args)?;
    if addresses[0].port() == 0 {
        return Err(Error::usage(
            "port 0 means any free one; use the port that the gateway printed after \"listening on\"",
        ));
    }
    setup(environment, args, addresses)
}

/// Prints the preconditions, where keys alone are served only those that do not hold.
fn check(setup: &Setup<'_>) -> Result<()> {
    let checks = setup.preconditions();
    for check in &checks {
        if !setup.keys_only || check.status != Status::Pass {
            let (word, id) = (doctor::word(check.status), check.id);
            let message = printable(&check.message);
            host::eprint(&format!("[precondition] {word} {id}: {message}\n"));
        }
    }
    let ips = setup.addresses.iter().map(SocketAddr::ip);
    let beyond: Vec<IpAddr> = ips.filter(|ip| !ip.is_loopback()).collect();
    for bind in beyond.iter().filter(|_| setup.keys_only) {
        warn(&format!(
            "{bind} is not a loopback address, and lf does not encrypt the traffic. Tailscale does; on a LAN, everybody who listens can read your keys"
        ));
    }
    let other = beyond.iter().find(|ip| !is_tailscale(**ip));
    let failed = || checks.iter().filter(|check| check.status == Status::Fail);
    let mut hints: Vec<&str> = failed().filter_map(|check| check.hint.as_deref()).collect();
    hints.dedup();
    let failed: Vec<&str> = failed().map(|check| check.id).collect();
    match (&failed[..], other.or(beyond.first())) {
        ([], _) => Ok(()),
        // Only the consent is missing. Where no consent could cover the address, it is the address.
        (["tailscale_consent"] | ["bind_safe", "tailscale_consent"], _) if other.is_none() => {
            Err(Error::ConsentMissing(
                "full mode over Tailscale needs a consent that fits, as named above".to_owned(),
            ))
        }
        (["bind_safe", ..], Some(bind)) => Err(Error::UnsafeBind(bind.to_string())),
        _ => Err(Error::PreconditionFailed(failed.len(), hints.join("; and "))),
    }
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const PORT: u16 = 38080;
/// The service manager that opened the socket starts the gateway again at the next connection.
const IDLE: Duration = Duration::from_secs(600);

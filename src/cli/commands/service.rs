//! `lf gateway install` and `uninstall`: the gateway as a service of this user, kept by systemd's user
//! manager, on macOS by launchd.

use std::path::{Path, PathBuf};

use crate::base::secret::printable;
use crate::error::{Error, Result};
use crate::gateway::listen;
use crate::gateway::origin::Origins;
use crate::system::fs::{self, Dir, Publish};
use crate::system::host::{self, Environment};
use crate::system::service::{
    LABEL, SERVICE, SOCKET, Service, ask, is_ours, signed, without_namespaces,
};

use super::{InstallOptions, serve};

pub(super) fn install(environment: &Environment, options: &InstallOptions) -> Result<()> {
    if cfg!(target_os = "macos") {
        return install_agent(environment, options);
    }
    let (service, foreground) = service(environment, options)?;
    // No quoting helps: systemd takes no such name.
    if service.program.contains(['"', '\'', '\\']) {
        return Err(Error::usage(format!(
            "systemd runs nothing by a name with quotes or backslashes: {}",
            service.program
        )));
    }
    let (mut unit, socket) = (service.unit(), service.socket());
    if options.print {
        if options.socket {
            host::print(&(signed(&socket) + "\n"))?;
        }
        return host::print(&signed(&unit));
    }
    let path = environment.config()?.join("systemd/user");
    let dir = fs::open_named(&path)?;
    let old = units(dir.as_ref())?;
    find_manager(foreground)?;
    if let Some(file) = &service.credential {
        fs::read_named(Path::new(file), 0)?;
    }
    if !serves(dir.as_ref(), &old, &service) {
        // systemd would only say that the start failed.
        drop(listen(service.address)?);
    }
    prepare(environment, &service)?;
    if !has_namespaces(&service.program) {
        unit = without_namespaces(&unit).to_owned();
    }
    stop(&old);
    let dir = dir.map_or_else(|| Dir::create(&path), Ok)?;
    publish(&dir, SERVICE, &unit)?;
    let first = if options.socket {
        publish(&dir, SOCKET, &socket)?;
        SOCKET
    } else {
        remove(&dir, SOCKET)?;
        SERVICE
    };
    told("daemon-reload")?;
    // The manager may look in other places than this environment names, and know another unit by that name.
    if !fs::is_below(Path::new(&source(first)), dir.path()) {
        remove(&dir, SOCKET)?;
        remove(&dir, SERVICE)?;
        return Err(elsewhere(first, dir.path()));
    }
    told(&format!("--quiet enable --now {first}"))?;
    // A user manager ends with its user's last session, unless the user lingers.
    if ask("loginctl", &["show-user", "--property=Linger", "--value"]).as_deref() != Ok("yes") {
        note("it runs while you are logged in; from boot on with: loginctl enable-linger");
    }
    let what = if options.socket {
        "starts the gateway at the first connection to"
    } else {
        "serves on"
    };
    host::print(&format!(
        "{first}: enabled, and {what} http://{}\nwritten to {}\n",
        service.address,
        dir.path().display()
    ))
}

pub(super) fn uninstall(environment: &Environment) -> Result<()> {
    if cfg!(target_os = "macos") {
        return uninstall_agent(environment);
    }
    let path = environment.config()?.join("systemd/user");
    let dir = fs::open_named(&path)?;
    let old = units(dir.as_ref())?;
    let Some(dir) = dir.filter(|_| !old.is_empty()) else {
        return match [SOCKET, SERVICE].into_iter().find(|unit| is_active(unit)) {
            Some(unit) => Err(elsewhere(unit, &path)),
            None => host::print(NOT_INSTALLED),
        };
    };
    find_manager(format!("rm {}", path.join(SERVICE).display()))?;
    stop(&old);
    for unit in &old {
        remove(&dir, unit)?;
    }
    told("daemon-reload")?;
    for unit in old {
        if is_active(unit) {
            return Err(failed("it still runs"));
        }
        host::print(&format!("{unit}: stopped and removed\n"))?;
    }
    Ok(())
}

/// What is to run, and the command for the same without a service manager. Everything that `lf gateway
/// serve` would refuse is refused here, before anything is written.
fn service(environment: &Environment, options: &InstallOptions) -> Result<(Service, String)> {
    let gateway = &environment.gateway;
    let address = serve::address(environment, &options.serve)?;
    let (ip, port) = (address.ip(), address.port());
    if port == 0 {
        return Err(Error::usage(
            "a service needs a port that its clients know; 0 is any",
        ));
    }
    Origins::with_extra(&gateway.extra_origins)?;
    let is_keys_only = serve::is_keys_only(environment, &options.serve);
    let wants_tailscale = options.serve.tailscale || gateway.tailscale;
    let mode = match (is_keys_only, wants_tailscale) {
        (true, _) => "--keys-only ",
        (false, true) => "--tailscale ",
        (false, false) if !ip.is_loopback() => return Err(Error::UnsafeBind(ip.to_string())),
        (false, false) => "",
    };
    if options.credential.is_some() && environment.passphrase.file.is_some() {
        return Err(Error::usage(
            "--credential and LENSERFIGHT_KEYS_PASSPHRASE_FILE would both give the passphrase; unset the variable",
        ));
    }
    let is_on = |on: bool| PathBuf::from(u8::from(on).to_string());
    let force = environment.passphrase.force;
    // The switches in any case: the service manager may have variables of its own.
    let mut variables = vec![
        ("LF_GATEWAY_KEYS_ONLY", is_on(is_keys_only)),
        (
            "LF_GATEWAY_TAILSCALE",
            is_on(wants_tailscale && !is_keys_only),
        ),
        (
            "LF_GATEWAY_EXTRA_ORIGINS",
            gateway.extra_origins.clone().into(),
        ),
        ("LF_GATEWAY_EXTRA_HOSTS", gateway.extra_hosts.clone().into()),
        ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", is_on(force)),
    ];
    variables.extend(environment.places());
    let variables = variables.into_iter();
    let service = Service {
        program: text(&host::program()?)?,
        address,
        variables: variables
            .map(|(name, value)| Ok((name, text(&value)?)))
            .collect::<Result<_>>()?,
        credential: match &options.credential {
            Some(file) => Some(text(&absolute(file))?),
            None => None,
        },
        is_private: is_keys_only && options.socket,
        root: text(&absolute(&environment.root()?))?,
        keys: text(&absolute(&environment.keys()?))?,
    };
    let foreground = format!("lf gateway serve {mode}--bind {ip} --port {port}");
    Ok((service, foreground))
}

/// Makes what the service will write to, and says what may surprise.
fn prepare(environment: &Environment, service: &Service) -> Result<()> {
    let root = environment.root()?;
    Dir::create(&root)?;
    if (environment.passphrase.variable)().is_some() {
        note(
            "the service does not get LENSERFIGHT_KEYS_PASSPHRASE from here; it asks the keychain, or what LENSERFIGHT_KEYS_PASSPHRASE_FILE or --credential names",
        );
    }
    let keys = environment.keys()?;
    if !keys.starts_with(root) && !matches!(Dir::open(&keys), Ok(Some(_))) {
        note(&format!(
            "{} does not exist yet; install once more after lf keys init, or the service cannot write there",
            keys.display()
        ));
    }
    if service.program.contains("/target/") {
        note(&format!(
            "{} is where cargo builds, and cargo clean removes it; copy lf to a lasting place, and install from there",
            service.program
        ));
    }
    Ok(())
}

/// The units of ours that are there; the socket first, which would start the service again.
fn units(dir: Option<&Dir>) -> Result<Vec<&'static str>> {
    let mut units = Vec::new();
    for unit in [SOCKET, SERVICE] {
        let removal = format!("systemctl --user disable --now {unit} && rm");
        if is_installed(dir, unit, &removal)? {
            units.push(unit);
        }
    }
    Ok(units)
}

/// Is one of these running, at the address of this service?
fn serves(dir: Option<&Dir>, units: &[&str], service: &Service) -> bool {
    let text = dir.and_then(|dir| dir.read(SERVICE, MAX).ok().flatten());
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let unit = service.unit();
    let is_there = |line: &str| line.contains("LF_GATEWAY_BIND") && text.contains(line);
    unit.lines().any(is_there) && units.iter().any(|unit| is_active(unit))
}

fn stop(units: &[&str]) {
    for unit in units {
        // What is not loaded need not be stopped.
        let _ = systemctl(&format!("disable --now {unit}"));
        // Earlier starts, failed or repeated by hand, would count against the next one.
        let _ = systemctl(&format!("reset-failed {unit}"));
    }
}

/// Is there a manager for this user's services?
fn find_manager(instead: String) -> Result<()> {
    systemctl("show --property=Version")
        .map(drop)
        .map_err(|said| no_manager("systemd", &said, instead))
}

fn no_manager(name: &str, said: &str, instead: String) -> Error {
    let said = said.lines().next().unwrap_or("it does not answer");
    Error::NoServiceManager {
        sentence: format!("{name} keeps no services for this user: {said}; nothing was done"),
        hint: instead,
    }
}

/// Some systems give users no namespaces: tries it with this program.
fn has_namespaces(program: &str) -> bool {
    let mut arguments: Vec<&str> = CONFINED.split(' ').collect();
    arguments.extend([program, "--version"]);
    let has = ask("systemd-run", &arguments).is_ok();
    if !has {
        note(
            "this system gives users no namespaces, so the unit goes without ProtectSystem= and its like; Landlock and the system call filter remain",
        );
    }
    has
}

fn is_active(unit: &str) -> bool {
    let (Ok(state) | Err(state)) = systemctl(&format!("is-active {unit}"));
    ["active", "activating", "reloading", "deactivating"].contains(&state.as_str())
}

fn elsewhere(unit: &str, dir: &Path) -> Error {
    let source = match source(unit) {
        source if source.is_empty() => "nowhere".to_owned(),
        source => source,
    };
    Error::Refused {
        sentence: format!(
            "systemd has {unit} from {source}, and not from {}: HOME or XDG_CONFIG_HOME is another one there",
            dir.display()
        ),
        hint: "systemctl --user show-environment".to_owned(),
    }
}

/// The file that the manager has a unit from; empty if it knows none.
fn source(unit: &str) -> String {
    systemctl(&format!("show --property=FragmentPath --value {unit}")).unwrap_or_default()
}

fn told(command: &str) -> Result<()> {
    systemctl(command).map(drop).map_err(|said| failed(&said))
}

fn failed(said: &str) -> Error {
    let said = said.lines().next().unwrap_or("it says nothing");
    let (name, hint) = if cfg!(target_os = "macos") {
        (LABEL, format!("launchctl print {}", domain(LABEL)))
    } else {
        (SERVICE, format!("journalctl --user -u {SERVICE}"))
    };
    let sentence = format!("{name}: {said}");
    Error::ServiceFailed { sentence, hint }
}

fn systemctl(command: &str) -> std::result::Result<String, String> {
    let arguments = ["--user", "--no-pager"].into_iter();
    let all: Vec<&str> = arguments.chain(command.split(' ')).collect();
    ask("systemctl", &all)
}

fn install_agent(environment: &Environment, options: &InstallOptions) -> Result<()> {
    if options.socket || options.credential.is_some() {
        return Err(Error::usage("--socket and --credential are systemd's"));
    }
    let (service, foreground) = service(environment, options)?;
    let home = environment.home()?;
    let agent = service.agent(&text(&home.join("Library/Logs/lf-gateway.log"))?);
    if options.print {
        return host::print(&signed(&agent));
    }
    let (path, name) = (home.join(AGENTS), format!("{LABEL}.plist"));
    let dir = fs::open_named(&path)?;
    if is_installed(dir.as_ref(), &name, REMOVAL)? {
        bootout();
    }
    drop(listen(service.address)?);
    prepare(environment, &service)?;
    let dir = dir.map_or_else(|| Dir::create(&path), Ok)?;
    publish(&dir, &name, &agent)?;
    let file = text(&dir.path().join(name))?;
    ask("launchctl", &["bootstrap", &domain(""), &file])
        .map_err(|said| no_manager("launchd", &said, foreground))?;
    if !is_loaded() {
        return Err(failed("launchd did not start it"));
    }
    host::print(&format!(
        "{LABEL}: starts with your session, and serves on http://{}\nwritten to {file}\n",
        service.address
    ))
}

fn uninstall_agent(environment: &Environment) -> Result<()> {
    let dir = fs::open_named(&environment.home()?.join(AGENTS))?;
    let name = format!("{LABEL}.plist");
    let is_there = is_installed(dir.as_ref(), &name, REMOVAL)?;
    let Some(dir) = dir.filter(|_| is_there) else {
        return host::print(NOT_INSTALLED);
    };
    bootout();
    if is_loaded() {
        return Err(failed("it still runs"));
    }
    remove(&dir, &name)?;
    host::print(&format!("{LABEL}: stopped and removed\n"))
}

/// What is not loaded need not be stopped.
fn bootout() {
    let _ = ask("launchctl", &["bootout", &domain(LABEL)]);
}

fn is_loaded() -> bool {
    ask("launchctl", &["print", &domain(LABEL)]).is_ok()
}

/// What launchd calls this user's session, or a service in it.
fn domain(service: &str) -> String {
    let domain = format!("gui/{}/{service}", fs::own_user());
    domain.trim_end_matches('/').to_owned()
}

/// Is a file of ours there? One that is not as we wrote it is in the way.
fn is_installed(dir: Option<&Dir>, name: &str, removal: &str) -> Result<bool> {
    let Some(dir) = dir else { return Ok(false) };
    let Some(bytes) = dir.read(name, MAX)? else {
        return Ok(false);
    };
    if is_ours(&String::from_utf8_lossy(&bytes)) {
        return Ok(true);
    }
    let path = dir.path().join(name);
    let sentence = format!(
        "{} is not as lf gateway install wrote it; nothing was done",
        path.display()
    );
    let hint = format!("{removal} {}", printable(&path.to_string_lossy()));
    Err(Error::Refused { sentence, hint })
}

fn publish(dir: &Dir, name: &str, text: &str) -> Result<()> {
    let text = signed(text);
    dir.lock()?
        .publish(name, text.as_bytes(), Publish::Replacement)
}

fn remove(dir: &Dir, name: &str) -> Result<()> {
    dir.lock()?.remove(name).map(drop)
}

/// What a line of a unit can hold: a backslash at its end would join it with the next one.
fn text(path: &Path) -> Result<String> {
    let text = path.to_str();
    let text = text.filter(|text| !text.contains(char::is_control) && !text.ends_with('\\'));
    text.map(str::to_owned).ok_or_else(|| {
        let shown = printable(&path.to_string_lossy());
        Error::usage(format!(
            "{shown} has control characters, ends with a backslash, or is not UTF-8 text"
        ))
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn note(sentence: &str) {
    host::complain(&format!("lf: note: {sentence}\n"));
}

const NOT_INSTALLED: &str = "the gateway is not installed as a service; nothing to do\n";
/// The start of a oneshot is its whole run: --wait would need a session bus, which not every user manager has.
const CONFINED: &str = "--user --quiet --collect -p Type=oneshot -p PrivateUsers=yes -p PrivateDevices=yes -p PrivateMounts=yes -p PrivateNetwork=yes -p ProtectHome=read-only -p ProtectHostname=yes -p ProtectSystem=strict --";
const AGENTS: &str = "Library/LaunchAgents";
const REMOVAL: &str = "look at it, and then: rm";
const MAX: usize = 64 * 1024;

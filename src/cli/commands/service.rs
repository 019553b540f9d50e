//! `lf gateway install` and `uninstall`: the gateway as a service of this user, kept by systemd's user
//! manager, on macOS by launchd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{secret::printable, time::Deadline};
use crate::gateway::{EXTRA_HOSTS, EXTRA_ORIGINS, Hosts, Origins, listen, precondition::Setup};
use crate::system::{Dir, Environment, Publish, fs, service::AGENT, service::SERVICE};
use crate::system::{service::SOCKET, service::Service, service::ask, service::is_for};
use crate::system::{service::is_ours, service::signed, service::without_namespaces};

use super::{Args, Error, Result, host, serve};

pub(super) fn install(environment: &Environment, args: &Args) -> Result<()> {
    let addresses = serve::addresses(environment, args)?;
    let setup = serve::setup(environment, args, addresses)?;
    let (service, foreground) = service(&setup, args)?;
    let mut files = match args.flag("--socket") {
        _ if IS_MAC => {
            let log = environment.home()?.join("Library/Logs/lf-gateway.log");
            vec![(AGENT, service.agent(&text(log)?))]
        }
        true => vec![(SOCKET, service.socket()), (SERVICE, service.unit())],
        false => vec![(SERVICE, service.unit())],
    };
    if args.flag("--print") {
        let texts: Vec<String> = files.iter().map(|(_, text)| signed(text)).collect();
        return host::print_exactly(&texts.join("\n"));
    }
    let (path, dir, old) = installed(environment)?;
    find_manager(foreground)?;
    if let Some(file) = &service.credential {
        fs::read_exposed(Path::new(file), 0)?;
    }
    let serves = |(name, text): &(&str, String)| is_for(text, service.address) && is_running(name);
    if !old.iter().any(serves) {
        // A manager would only say that the start failed.
        drop(listen(&setup.addresses)?);
    }
    Dir::create(&environment.root()?)?;
    say_what_may_surprise(environment, &service)?;
    // Some systems give users no namespaces: tries it with this program.
    let confined = CONFINED.split(' ').chain([&*service.program, "--version"]);
    if !IS_MAC && ask("systemd-run", &confined.collect::<Vec<_>>()).is_err() {
        note(
            "this system gives users no namespaces, so the unit has no ProtectSystem= and the like; Landlock and the filter on system calls remain",
        );
        for (_, text) in &mut files {
            *text = without_namespaces(text).to_owned();
        }
    }
    let dir = dir.map_or_else(|| Dir::create(&path), Ok)?;
    stop_and_remove(&old, &dir)?;
    for (name, text) in &files {
        dir.lock()?.publish(name, signed(text).as_bytes(), Publish::Replacement)?;
    }
    let first = files[0].0;
    start(first, &dir)?;
    // A user manager ends with its user's last session, unless the user lingers.
    let lingers = ["show-user", "--property=Linger", "--value"];
    if !IS_MAC && ask("loginctl", &lingers).as_deref() != Ok("yes") {
        note("it runs while you are logged in; to start it at boot: loginctl enable-linger");
    }
    let what = if args.flag("--socket") {
        "starts the gateway at the first connection to"
    } else {
        "serves on"
    };
    host::print(&format!(
        "{first}: enabled, and {what} http://{}\nwritten to {}\n",
        service.address,
        printable(&dir.path().to_string_lossy())
    ))
}

pub(super) fn uninstall(environment: &Environment) -> Result<()> {
    let (path, dir, old) = installed(environment)?;
    let Some(dir) = dir.filter(|_| !old.is_empty()) else {
        return match FILES.iter().find(|name| !IS_MAC && is_running(name)) {
            Some(name) => Err(elsewhere(name, &path)),
            None => host::print("the gateway is not a service; there is nothing to do\n"),
        };
    };
    find_manager(format!("rm {}", path.join(old[0].0).display()))?;
    stop_and_remove(&old, &dir)?;
    if !IS_MAC {
        systemctl("daemon-reload", "").map_err(|said| failed(&said))?;
    }
    for (name, _) in old {
        if is_running(name) {
            return Err(failed("it still runs"));
        }
        host::print(&format!("{name}: stopped and removed\n"))?;
    }
    Ok(())
}

/// What is to run, and the command for the same without a service manager. Everything that `lf gateway
/// serve` would refuse is refused here, before anything is written.
fn service(setup: &Setup<'_>, args: &Args) -> Result<(Service, String)> {
    let (environment, addresses) = (setup.environment, &setup.addresses);
    let [origins, hosts] = [EXTRA_ORIGINS, EXTRA_HOSTS].map(|name| environment.text(name));
    let (address, port) = (addresses[0], addresses[0].port());
    if port == 0 {
        return Err(Error::usage("a service needs a fixed port; 0 means any"));
    }
    if IS_MAC && (args.flag("--socket") || args.flag("--credential")) {
        return Err(Error::usage("--socket and --credential need systemd"));
    }
    Origins::with_extra(&origins)?;
    Hosts::new("", &hosts)?;
    let beyond = addresses.iter().find(|address| !address.ip().is_loopback());
    let mode = match (setup.keys_only, setup.wants_tailscale, beyond) {
        (true, true, _) => "--keys-only --tailscale ",
        (true, false, _) => "--keys-only ",
        (false, true, _) => "--tailscale ",
        (false, false, Some(at)) => return Err(Error::UnsafeBind(at.ip().to_string())),
        (false, false, None) => "",
    };
    if args.flag("--credential") && environment.passphrase.file.is_some() {
        return Err(Error::usage(
            "--credential and LENSERFIGHT_KEYS_PASSPHRASE_FILE would both give the passphrase; unset the variable",
        ));
    }
    let bind = address.ip();
    let foreground = format!("lf gateway serve {mode}--bind {bind} --port {port}");
    if cfg!(windows) {
        let sentence = "Windows has no services of users; nothing was done".to_owned();
        return Err(Error::NoServiceManager(sentence, foreground));
    }
    let is_on = |on: bool| PathBuf::from(u8::from(on).to_string());
    let force = environment.passphrase.force;
    // The switches in any case: the service manager may have variables of its own.
    let mut variables = vec![
        ("LF_GATEWAY_KEYS_ONLY", is_on(setup.keys_only)),
        ("LF_GATEWAY_TAILSCALE", is_on(setup.wants_tailscale)),
        (EXTRA_ORIGINS, origins.into()),
        (EXTRA_HOSTS, hosts.into()),
        ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", is_on(force)),
    ];
    let place = |name| Some((name, absolute(environment.path(name)?)));
    variables.extend(PLACES.into_iter().filter_map(place));
    let variables = variables.into_iter().map(|(name, value)| Ok((name, text(value)?)));
    let program = text(host::program()?)?;
    // No quoting helps: systemd takes no such name.
    if !IS_MAC && program.contains(['"', '\'', '\\']) {
        return Err(Error::usage(format!(
            "systemd cannot run a program with quotes or backslashes in its name: {program}"
        )));
    }
    let credential = args.value("--credential").map(|file| absolute(file.into()));
    let (root, keys) = (absolute(setup.root.clone()), absolute(environment.keys()?));
    // Forced, the passphrase's file or credential is all that it asks, so it can go without the bus.
    let file = environment.passphrase.file.clone().map(absolute);
    let has_source = file.is_some() || credential.is_some();
    let runtime = environment.bus.runtime_dir.as_ref();
    let is_seen = |path: &PathBuf| runtime.is_none_or(|runtime| !path.starts_with(runtime));
    let needs_no_bus = force && has_source && [&root, &keys].into_iter().chain(&file).all(is_seen);
    let service = Service {
        program,
        address,
        binds: serve::binds(environment, args),
        streams: addresses.iter().map(|address| format!("ListenStream={address}\n")).collect(),
        variables: variables.collect::<Result<_>>()?,
        credential: credential.map(text).transpose()?,
        is_private: setup.keys_only && args.flag("--socket"),
        hidden: if needs_no_bus { "%t" } else { "%t/systemd" },
        root: text(root)?,
        keys: text(keys)?,
    };
    Ok((service, foreground))
}

fn say_what_may_surprise(environment: &Environment, service: &Service) -> Result<()> {
    if !matches!((environment.passphrase.variable)(), Ok(None)) {
        note(
            "the service does not get LENSERFIGHT_KEYS_PASSPHRASE; it uses the keychain, LENSERFIGHT_KEYS_PASSPHRASE_FILE or --credential",
        );
    }
    let keys = environment.keys()?;
    if !keys.starts_with(environment.root()?) && !matches!(Dir::open(&keys), Ok(Some(_))) {
        note(&format!(
            "{} does not exist yet; run lf keys init and install again, or the service cannot write there",
            keys.display()
        ));
    }
    if service.program.contains("/target/") {
        note(&format!(
            "cargo builds in {}, and cargo clean removes it; copy lf to another place, and install from there",
            service.program
        ));
    }
    Ok(())
}

type Files = Vec<(&'static str, String)>;

/// Where the service manager looks for its files, and the ones of ours that are there, with their texts.
/// One that is not as we wrote it is in the way.
fn installed(environment: &Environment) -> Result<(PathBuf, Option<Dir>, Files)> {
    let path = if IS_MAC {
        environment.home()?.join("Library/LaunchAgents")
    } else {
        environment.config()?.join("systemd/user")
    };
    let mut files = Vec::new();
    let Some(dir) = fs::open_named(&path)? else { return Ok((path, None, files)) };
    for name in FILES {
        let Some(bytes) = dir.read(name, 64 * 1024)? else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !is_ours(&text) {
            let stop = command("bootout", "disable --now", name);
            let file = dir.path().join(name);
            let file = file.display();
            let sentence =
                format!("{file} was changed since lf gateway install wrote it; nothing was done");
            return Err(Error::refused(sentence, format!("{stop} && rm {file}")));
        }
        files.push((*name, text));
    }
    Ok((path, Some(dir), files))
}

/// Is there a manager for this user's services?
fn find_manager(instead: String) -> Result<()> {
    let answer = manage("print", "show --property=Version", "");
    answer.map(drop).map_err(|said| {
        let said = said.lines().next().unwrap_or("it does not answer");
        Error::NoServiceManager(
            format!("no service manager answers for this user: {said}; nothing was done"),
            instead,
        )
    })
}

fn is_running(name: &str) -> bool {
    let answer = manage("print", "is-active", name);
    if IS_MAC {
        return answer.is_ok();
    }
    let (Ok(state) | Err(state)) = answer;
    ["active", "activating", "reloading", "deactivating"].contains(&state.as_str())
}

/// Stops them, here and from the next login on. What is not loaded need not be stopped.
fn stop_and_remove(files: &Files, dir: &Dir) -> Result<()> {
    for (name, _) in files {
        let _ = manage("bootout", "disable --now", name);
        // launchctl returns before the old gateway has ended, which would be in the way of a new one.
        let has_ended = || Ok::<_, Error>((!IS_MAC || !is_running(name)).then_some(()));
        Deadline::after(FAREWELL).poll(PAUSE, has_ended)?;
        if !IS_MAC {
            // Earlier starts, failed or repeated by hand, would count against the next one.
            let _ = systemctl("reset-failed", name);
        }
        dir.lock()?.remove(name)?;
    }
    Ok(())
}

/// Starts it, now and from the next login on.
fn start(name: &str, dir: &Dir) -> Result<()> {
    if IS_MAC {
        let file = text(dir.path().join(name))?;
        // launchd goes on refusing a name for a moment after its service has ended.
        let (deadline, domain) = (Deadline::after(MOMENT), domain(""));
        let start = || match ask("launchctl", &["bootstrap", &domain, &file]) {
            Err(_) if deadline.left().is_some() => Ok(None),
            started => started.map(Some),
        };
        return deadline.poll(PAUSE, start).map(drop).map_err(|said| failed(&said));
    }
    systemctl("daemon-reload", "").map_err(|said| failed(&said))?;
    // The manager may look in other places than this environment names, and know another unit by that name.
    if !fs::is_below(Path::new(&source(name)), dir.path()) {
        for name in FILES {
            dir.lock()?.remove(name)?;
        }
        return Err(elsewhere(name, dir.path()));
    }
    systemctl("--quiet enable --now", name).map(drop).map_err(|said| failed(&said))
}

fn elsewhere(unit: &str, dir: &Path) -> Error {
    let source = Some(source(unit)).filter(|source| !source.is_empty());
    let source = source.as_deref().unwrap_or("nowhere");
    let sentence = format!(
        "systemd reads {unit} from {source}, not from {}: it has another HOME or XDG_CONFIG_HOME",
        dir.display()
    );
    Error::refused(sentence, "systemctl --user show-environment")
}

/// The file that the manager has a unit from; empty if it knows none.
fn source(unit: &str) -> String {
    systemctl("show --property=FragmentPath --value", unit).unwrap_or_default()
}

fn failed(said: &str) -> Error {
    let said = said.lines().next().unwrap_or("it printed nothing");
    let (name, hint) = if IS_MAC {
        (AGENT, format!("launchctl print {}", domain(AGENT)))
    } else {
        (SERVICE, format!("journalctl --user -u {SERVICE}"))
    };
    Error::ServiceFailed(format!("{name}: {said}"), hint)
}

/// What tells the service manager to do this with a service, or where no name is given with itself.
fn command(launchctl: &str, systemctl: &str, name: &str) -> String {
    match IS_MAC {
        true => format!("launchctl {launchctl} {}", domain(name)),
        false => format!("systemctl --user {systemctl} {name}"),
    }
}

fn manage(launchctl: &str, systemctl: &str, name: &str) -> std::result::Result<String, String> {
    let command = command(launchctl, systemctl, name);
    let words: Vec<&str> = command.split_whitespace().collect();
    ask(words[0], &words[1..])
}

/// As [`manage`], for what systemd alone needs.
fn systemctl(what: &str, name: &str) -> std::result::Result<String, String> {
    manage("", what, name)
}

/// What launchd calls this user's session, or a service in it.
fn domain(name: &str) -> String {
    let name = name.trim_end_matches(".plist");
    format!("gui/{}/{name}", fs::own_user()).trim_end_matches('/').to_owned()
}

/// What a line of a unit can hold: a backslash at its end would join it with the next one.
fn text(path: PathBuf) -> Result<String> {
    let shown = printable(&path.to_string_lossy());
    match path.into_os_string().into_string() {
        Ok(text) if !text.contains(char::is_control) && !text.ends_with('\\') => Ok(text),
        Ok(_) | Err(_) => Err(Error::usage(format!(
            "{shown} has control characters, ends with a backslash, or is not UTF-8 text"
        ))),
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn note(sentence: &str) {
    host::eprint(&format!("lf: note: {sentence}\n"));
}

/// The variables that say where things are.
const PLACES: [&str; 3] =
    ["LENSERFIGHT_RUNTIME_DIR", "LENSERFIGHT_KEYS_DIR", "LENSERFIGHT_KEYS_PASSPHRASE_FILE"];
/// A gateway finishes what it has begun in this time.
const FAREWELL: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// Else it is systemd.
const IS_MAC: bool = cfg!(target_os = "macos");
/// What may be there of ours; the socket first, which would start the service again.
const FILES: &[&str] = if IS_MAC { &[AGENT] } else { &[SOCKET, SERVICE] };
/// The start of a oneshot is its whole run: --wait would need a session bus, which not every user manager has.
const CONFINED: &str = "--user --quiet --collect -p Type=oneshot -p PrivateUsers=yes -p PrivateDevices=yes -p PrivateMounts=yes -p PrivateNetwork=yes -p ProtectHome=read-only -p ProtectHostname=yes -p ProtectSystem=strict --";

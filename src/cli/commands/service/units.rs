//! The units of a systemd user manager: written, started, stopped, removed.

use std::path::Path;

use crate::base::secret::printable;
use crate::error::{Error, Result};
use crate::gateway::listen;
use crate::system::fs::{self, Dir};
use crate::system::host::{self, Environment};
use crate::system::service::manager::{Answer, ask};
use crate::system::service::systemd::{
    CREDENTIALS_SINCE, SERVICE, SOCKET, listening, service_unit, socket_unit, walls,
};
use crate::system::service::{Service, Start, Walls};

use super::{InstallOptions, look, note, prepare, publish, read, remove, shelf};

pub(super) fn install(
    environment: &Environment,
    options: &InstallOptions,
    mut service: Service,
) -> Result<()> {
    // No quoting helps: systemd takes no such name.
    let is_barred = |c: char| c.is_control() || matches!(c, '"' | '\'' | '\\');
    if service.program.contains(is_barred) {
        return Err(Error::usage(format!(
            "systemd runs nothing by a name with quotes, backslashes or control characters: {}",
            printable(&service.program)
        )));
    }
    if options.print {
        return host::print(&match service.start {
            Start::AtLogin => service_unit(&service),
            Start::OnConnection => socket_unit(&service) + "\n" + &service_unit(&service),
        });
    }
    let path = environment.config()?.join("systemd/user");
    let shelved = shelf(&path)?;
    let old = installed(shelved.as_ref())?;
    let version = version(&service.foreground())?;
    if let Some(file) = &service.credential {
        check_credential(file, version)?;
    }
    let has_it = |unit: &&str| is_active(unit) && names(shelved.as_ref(), unit, &service);
    if !old.iter().any(has_it) {
        // Whoever has the port now would have it then, and systemd would only say that it failed.
        drop(listen(service.address)?);
    }
    prepare(environment)?;
    service.walls = probe(&service);
    stop(&old);
    let dir = match shelved {
        Some(dir) => dir,
        None => Dir::create(&path)?,
    };
    publish(&dir, SERVICE, &service_unit(&service))?;
    let first = match service.start {
        Start::AtLogin => {
            remove(&dir, SOCKET)?;
            SERVICE
        }
        Start::OnConnection => {
            publish(&dir, SOCKET, &socket_unit(&service))?;
            SOCKET
        }
    };
    told(&["daemon-reload"])?;
    if let Err(error) = is_from(first, &dir) {
        remove(&dir, SOCKET)?;
        remove(&dir, SERVICE)?;
        return Err(error);
    }
    told(&["--quiet", "enable", "--now", first])?;
    if !is_active(first) {
        return Err(failed(first, "it is not active"));
    }
    explain_linger();
    host::print(&format!(
        "{first}: {} http://{}\nwritten to {}\n",
        match service.start {
            Start::AtLogin => "enabled, and serves on",
            Start::OnConnection => "enabled, and starts the gateway at the first connection to",
        },
        service.address,
        dir.path().display()
    ))
}

pub(super) fn uninstall(environment: &Environment) -> Result<()> {
    let path = environment.config()?.join("systemd/user");
    let dir = shelf(&path)?;
    let old = installed(dir.as_ref())?;
    let Some(dir) = dir.filter(|_| !old.is_empty()) else {
        if let Some(unit) = [SOCKET, SERVICE].into_iter().find(|unit| is_active(unit)) {
            return Err(elsewhere(unit, &path));
        }
        return host::print("the gateway is not installed as a service; nothing to do\n");
    };
    version(&format!("rm {}", path.join(SERVICE).display()))?;
    stop(&old);
    for unit in &old {
        remove(&dir, unit)?;
    }
    told(&["daemon-reload"])?;
    for unit in old {
        if is_active(unit) {
            return Err(failed(unit, "it still runs"));
        }
        host::print(&format!("{unit}: stopped and removed\n"))?;
    }
    Ok(())
}

/// The units of ours that are there; the socket first, which would start the service again.
fn installed(dir: Option<&Dir>) -> Result<Vec<&'static str>> {
    let mut units = Vec::new();
    for unit in [SOCKET, SERVICE] {
        let removal = format!("systemctl --user disable --now {unit} && rm");
        if look(dir, unit, &removal)? {
            units.push(unit);
        }
    }
    Ok(units)
}

/// Does this unit listen where the service is to?
fn names(dir: Option<&Dir>, unit: &str, service: &Service) -> bool {
    let text = dir.and_then(|dir| read(dir, unit).ok().flatten());
    let text = text.unwrap_or_default();
    listening(service).iter().any(|line| text.contains(line))
}

fn stop(units: &[&str]) {
    for unit in units {
        // What is not loaded need not be stopped; whoever cares looks afterwards.
        let _ = systemctl(&["stop", unit]);
        let _ = systemctl(&["disable", unit]);
        // Starts that failed, or that somebody asked for in a row, would count against the next one.
        let _ = systemctl(&["reset-failed", unit]);
    }
}

/// The version of this user's manager.
fn version(instead: &str) -> Result<u32> {
    let absent = |sentence: String| Error::NoServiceManager {
        sentence: format!("{sentence}; nothing was done"),
        hint: instead.to_owned(),
    };
    let answer = systemctl(&["show", "--property=Version", "--value"])
        .map_err(|error| absent(format!("there is no systemd here: systemctl: {error}")))?;
    if !answer.is_done {
        let said = answer.text.lines().next().unwrap_or("it does not answer");
        return Err(absent(format!(
            "systemd keeps no services for this user now: {said}"
        )));
    }
    let digits = answer.text.split(|c: char| !c.is_ascii_digit());
    Ok(digits
        .into_iter()
        .find_map(|number| number.parse().ok())
        .unwrap_or(0))
}

fn check_credential(file: &str, version: u32) -> Result<()> {
    if version < CREDENTIALS_SINCE {
        return Err(Error::Refused {
            sentence: format!(
                "systemd {version} opens encrypted credentials for system services only; for those of a user it takes {CREDENTIALS_SINCE}"
            ),
            hint:
                "LENSERFIGHT_KEYS_PASSPHRASE_FILE=FILE lf gateway install, where FILE has mode 0600"
                    .to_owned(),
        });
    }
    fs::read_named(Path::new(file), 0).map(drop)
}

/// Asks the manager to run this program behind the same walls: some systems give users no namespaces.
fn probe(service: &Service) -> Walls {
    // A oneshot's start is its whole run. To --wait for it would take a session bus, which not every
    // user manager has.
    let mut arguments = vec!["--user", "--quiet", "--collect", "-p", "Type=oneshot"];
    for property in walls() {
        arguments.extend(["-p", property]);
    }
    arguments.extend(["--", &service.program, "--version"]);
    if ask("systemd-run", &arguments).is_ok_and(|answer| answer.is_done) {
        return Walls::Namespaces;
    }
    note(
        "this system gives users no namespaces, so the unit goes without ProtectSystem= and its like; Landlock and the system call filter remain",
    );
    Walls::NoNamespaces
}

/// A user manager ends with its user's last session, unless it lingers.
fn explain_linger() {
    let lingers = ask("loginctl", &["show-user", "--property=Linger", "--value"]);
    if !lingers.is_ok_and(|answer| answer.text == "yes") {
        note("it runs while you are logged in; from boot on with: loginctl enable-linger");
    }
}

fn is_active(unit: &str) -> bool {
    systemctl(&["is-active", unit]).is_ok_and(|answer| {
        let state = answer.text.as_str();
        matches!(
            state,
            "active" | "activating" | "reloading" | "deactivating"
        )
    })
}

/// The manager may look in other places than this environment names, and know another unit by that name.
fn is_from(unit: &str, dir: &Dir) -> Result<()> {
    let source = source(unit);
    if !source.is_empty() && fs::is_below(Path::new(&source), dir.path()) {
        return Ok(());
    }
    Err(elsewhere(unit, dir.path()))
}

fn elsewhere(unit: &str, dir: &Path) -> Error {
    let source = match source(unit) {
        source if source.is_empty() => "nowhere".to_owned(),
        source => printable(&source),
    };
    let dir = printable(&dir.to_string_lossy());
    Error::Refused {
        sentence: format!(
            "systemd has {unit} from {source}, and not from {dir}: HOME or XDG_CONFIG_HOME is another one there"
        ),
        hint: "systemctl --user show-environment".to_owned(),
    }
}

/// The file that the manager has a unit from; empty if it knows none.
fn source(unit: &str) -> String {
    systemctl(&["show", "--property=FragmentPath", "--value", unit])
        .map_or_else(|_| String::new(), |answer| answer.text)
}

fn told(arguments: &[&str]) -> Result<()> {
    let unit = arguments.last().copied().unwrap_or_default();
    match systemctl(arguments) {
        Ok(answer) if answer.is_done => Ok(()),
        Ok(answer) => Err(failed(unit, &answer.text)),
        Err(error) => Err(failed(unit, &error.to_string())),
    }
}

fn failed(unit: &str, said: &str) -> Error {
    let said = said.lines().next().unwrap_or("it says nothing");
    Error::ServiceFailed {
        sentence: format!("{unit}: {said}"),
        hint: format!("journalctl --user -u {SERVICE}"),
    }
}

fn systemctl(arguments: &[&str]) -> std::io::Result<Answer> {
    let mut all = vec!["--user", "--no-pager"];
    all.extend(arguments);
    ask("systemctl", &all)
}

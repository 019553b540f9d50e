//! `lf gateway install` and `uninstall`: the gateway as a service of this user.

mod agent;
mod units;

use std::path::{Path, PathBuf};

use crate::base::secret::printable;
use crate::error::{Error, Result};
use crate::gateway::origin::Origins;
use crate::system::fs::{self, Dir, Publish};
use crate::system::host::{self, Environment};
use crate::system::service::{Maker, Mode, Service, Walls, maker};

use super::{InstallOptions, ServeOptions, serve};

pub(super) fn install(environment: &Environment, options: &InstallOptions) -> Result<()> {
    let service = service(environment, options)?;
    if cfg!(target_os = "macos") {
        return agent::install(environment, options, &service);
    }
    units::install(environment, options, service)
}

pub(super) fn uninstall(environment: &Environment) -> Result<()> {
    if cfg!(target_os = "macos") {
        return agent::uninstall(environment);
    }
    units::uninstall(environment)
}

/// Everything that `lf gateway serve` would refuse is refused here, before anything is written.
fn service(environment: &Environment, options: &InstallOptions) -> Result<Service> {
    let variables = &environment.gateway;
    let address = serve::address(environment, &options.serve)?;
    if address.port() == 0 {
        return Err(Error::usage(
            "a service needs a port that its clients know; 0 is any",
        ));
    }
    Origins::with_extra(&variables.extra_origins)?;
    let mode = mode(environment, &options.serve);
    if mode == Mode::Full && !address.ip().is_loopback() {
        return Err(Error::UnsafeBind(address.ip().to_string()));
    }
    if options.credential.is_some() && environment.passphrase.file.is_some() {
        return Err(Error::usage(
            "--credential and LENSERFIGHT_KEYS_PASSPHRASE_FILE would both give the passphrase; unset the variable",
        ));
    }
    let mut carried = Vec::new();
    for (name, path) in environment.places() {
        carried.push((name, text(&path)?));
    }
    let others = [
        ("LF_GATEWAY_EXTRA_ORIGINS", variables.extra_origins.as_str()),
        ("LF_GATEWAY_EXTRA_HOSTS", variables.extra_hosts.as_str()),
        (
            "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV",
            if environment.passphrase.force {
                "1"
            } else {
                ""
            },
        ),
    ];
    let others = others.into_iter().filter(|(_, value)| !value.is_empty());
    carried.extend(others.map(|(name, value)| (name, value.to_owned())));
    let (root, keys) = (
        absolute(&environment.root()?),
        absolute(&environment.keys()?),
    );
    let mut writable = vec![text(&root)?];
    if !keys.starts_with(&root) {
        writable.push(text(&keys)?);
    }
    let credential = options.credential.as_deref();
    Ok(Service {
        program: text(&host::program()?)?,
        address,
        mode,
        start: options.start,
        variables: carried,
        writable,
        credential: credential.map(|path| text(&absolute(path))).transpose()?,
        walls: Walls::Namespaces,
    })
}

fn mode(environment: &Environment, options: &ServeOptions) -> Mode {
    if serve::is_keys_only(environment, options) {
        Mode::KeysOnly
    } else if options.tailscale || environment.gateway.tailscale {
        Mode::Tailscale
    } else {
        Mode::Full
    }
}

/// Makes what the service will write to, and says what it will not have.
fn prepare(environment: &Environment) -> Result<()> {
    Dir::create(&environment.root()?)?;
    if (environment.passphrase.variable)().is_some() {
        note(
            "the service does not get LENSERFIGHT_KEYS_PASSPHRASE from here; it asks the keychain, or what LENSERFIGHT_KEYS_PASSPHRASE_FILE or --credential names",
        );
    }
    let keys = environment.keys()?;
    if !keys.starts_with(environment.root()?) && !matches!(Dir::open(&keys), Ok(Some(_))) {
        note(&format!(
            "{} does not exist yet; install once more after lf keys init, or the service cannot write there",
            keys.display()
        ));
    }
    Ok(())
}

/// The directory of units or agents, if it is there.
fn shelf(path: &Path) -> Result<Option<Dir>> {
    fs::open_named(path)
}

/// Is a file of ours there? One that is not ours, or not as we wrote it, is in the way.
fn look(dir: Option<&Dir>, name: &str, removal: &str) -> Result<bool> {
    let Some(dir) = dir else { return Ok(false) };
    let Some(text) = read(dir, name)? else {
        return Ok(false);
    };
    let path = dir.path().join(name);
    let sentence = match maker(&text) {
        Maker::Lf => return Ok(true),
        Maker::Edited => format!(
            "{} was changed since lf wrote it; nothing was done",
            path.display()
        ),
        Maker::Stranger => format!("{} is not a file of lf's; nothing was done", path.display()),
    };
    Err(Error::Refused {
        sentence,
        hint: format!("{removal} {}", printable(&path.to_string_lossy())),
    })
}

fn read(dir: &Dir, name: &str) -> Result<Option<String>> {
    let bytes = dir.read(name, MAX)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn publish(dir: &Dir, name: &str, text: &str) -> Result<()> {
    dir.lock()?
        .publish(name, text.as_bytes(), Publish::Replacement)
}

fn remove(dir: &Dir, name: &str) -> Result<()> {
    dir.lock()?.remove(name).map(drop)
}

/// A path, as far as a line of a unit can hold it.
fn text(path: &Path) -> Result<String> {
    let text = path.to_str();
    // A backslash at the end of a line takes the next one for its rest.
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

const MAX: usize = 64 * 1024;

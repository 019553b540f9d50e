//! The agent of macOS's launchd: written, started, stopped, removed.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::gateway::listen;
use crate::system::fs::{self, Dir};
use crate::system::host::{self, Environment};
use crate::system::service::launchd::{LABEL, agent};
use crate::system::service::manager::ask;
use crate::system::service::{Service, Start};

use super::{InstallOptions, look, prepare, publish, remove, shelf, text};

pub(super) fn install(
    environment: &Environment,
    options: &InstallOptions,
    service: &Service,
) -> Result<()> {
    if service.start == Start::OnConnection || service.credential.is_some() {
        return Err(Error::usage("--socket and --credential are systemd's"));
    }
    let log = environment.home()?.join("Library/Logs/lf-gateway.log");
    let list = agent(service, &text(&log)?);
    if options.print {
        return host::print(&list);
    }
    let (path, name, domain) = (path(environment)?, name(), domain());
    let old = look(shelf(&path)?.as_ref(), &name, REMOVAL)?;
    if old {
        bootout();
    }
    drop(listen(service.address)?);
    prepare(environment)?;
    let dir = match shelf(&path)? {
        Some(dir) => dir,
        None => Dir::create(&path)?,
    };
    publish(&dir, &name, &list)?;
    let file = text(&dir.path().join(&name))?;
    let answer = ask("launchctl", &["bootstrap", &domain, &file]).map_err(|error| {
        Error::NoServiceManager {
            sentence: format!("launchctl: {error}"),
            hint: service.foreground(),
        }
    })?;
    if !answer.is_done || !is_loaded() {
        return Err(failed(&format!(
            "launchd did not start it: {}",
            answer.text
        )));
    }
    host::print(&format!(
        "{LABEL}: starts with your session, and serves on http://{}\nwritten to {file}\n",
        service.address
    ))
}

pub(super) fn uninstall(environment: &Environment) -> Result<()> {
    let (path, name) = (path(environment)?, name());
    let dir = shelf(&path)?;
    let is_there = look(dir.as_ref(), &name, REMOVAL)?;
    let Some(dir) = dir.filter(|_| is_there) else {
        return host::print("the gateway is not installed as a service; nothing to do\n");
    };
    bootout();
    if is_loaded() {
        return Err(failed("it still runs"));
    }
    remove(&dir, &name)?;
    host::print(&format!("{LABEL}: stopped and removed\n"))
}

/// Ends it; what is not loaded need not be.
fn bootout() {
    let _ = ask("launchctl", &["bootout", &target()]);
}

fn is_loaded() -> bool {
    ask("launchctl", &["print", &target()]).is_ok_and(|answer| answer.is_done)
}

fn failed(sentence: &str) -> Error {
    Error::ServiceFailed {
        sentence: format!("{LABEL}: {sentence}"),
        hint: format!("launchctl print {}", target()),
    }
}

fn path(environment: &Environment) -> Result<PathBuf> {
    Ok(environment.home()?.join("Library/LaunchAgents"))
}

fn name() -> String {
    format!("{LABEL}.plist")
}

fn domain() -> String {
    format!("gui/{}", fs::own_user())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

const REMOVAL: &str = "look at it, and then: rm";

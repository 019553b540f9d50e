//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use miniserde::{Serialize, json};

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::gateway::{diagnosis, probe};
use crate::keychain::{Keychain, Patience};
use crate::system::host;

use super::pair::pairings_in;
use super::{Context, Format, ServeOptions, doctor, serve};

pub(super) fn status(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let address = serve::known_address(context.environment, options)?;
    let (version, time) = probe::ask(address).health(address)?;
    let view = View {
        address: format!("http://{address}"),
        daemon_version: version,
        time: time.to_string(),
        pairings: pairings_in(context, keychain(context))?.list()?.len(),
    };
    host::show(&match context.format {
        Format::Json => json::to_string(&view) + "\n",
        Format::Text => format!(
            "running   {}\nversion   {}\nclock     {}\npairings  {}\n",
            view.address, view.daemon_version, view.time, view.pairings
        ),
    })
}

pub(super) fn doctor(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let address = serve::known_address(context.environment, options)?;
    let (root, keychain) = (context.environment.root()?, keychain(context));
    let setup = serve::setup(context.environment, options, address, &root, &keychain);
    let pairings = pairings_in(context, keychain.clone())?;
    let checks = diagnosis::examine(&setup, &pairings, Timestamp::now());
    doctor::report(context, &checks, &[])
}

#[derive(Serialize)]
struct View {
    address: String,
    daemon_version: String,
    time: String,
    pairings: usize,
}

/// As patient as the gateway's.
fn keychain(context: &Context<'_>) -> Keychain {
    Keychain::new(context.environment, Patience::SHORT)
}

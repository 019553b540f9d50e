//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::gateway::diagnosis::{self, Subject};
use crate::gateway::probe;
use crate::keychain::{Keychain, Patience};
use crate::system::host;

use super::pair::pairings_in;
use super::{Context, Format, ServeOptions, doctor, serve};

pub(super) fn status(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let address = serve::known_address(context.environment, options)?;
    let (version, time) = probe::ask(address).health(address)?;
    let pairings = pairings_in(context, keychain(context))?.list()?.len();
    host::show(&match context.format {
        Format::Json => format!(
            "{{\"address\":\"http://{address}\",\"daemon_version\":\"{version}\",\"time\":\"{time}\",\"pairings\":{pairings}}}\n"
        ),
        Format::Text => format!(
            "running   http://{address}\nversion   {version}\nclock     {time}\npairings  {pairings}\n"
        ),
    })
}

pub(super) fn doctor(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let variables = &context.environment.gateway;
    let address = serve::known_address(context.environment, options)?;
    let (root, keychain) = (context.environment.root()?, keychain(context));
    let subject = Subject {
        scene: serve::scene(context.environment, options, address.ip(), &root, &keychain),
        address,
        is_keys_only: serve::is_keys_only(context.environment, options),
        pairings: &pairings_in(context, keychain.clone())?,
        extra_origins: &variables.extra_origins,
    };
    doctor::report(
        context,
        &diagnosis::examine(&subject, Timestamp::now()),
        &[],
    )
}

/// As patient as the gateway's.
fn keychain(context: &Context<'_>) -> Keychain {
    Keychain::new(context.environment, Patience::SHORT)
}

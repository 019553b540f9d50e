//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::gateway::diagnosis::{self, Subject};
use crate::gateway::probe;
use crate::keychain::{Keychain, Patience};
use crate::system::host;

use super::pair::pairings_in;
use super::{Desk, Format, ServeOptions, doctor, serve};

pub(super) fn status(desk: &Desk<'_>, options: &ServeOptions) -> Result<()> {
    let address = serve::known_address(desk.environment, options)?;
    let (version, time) = probe::ask(address).health(address)?;
    let pairings = pairings_in(desk, keychain(desk))?.list()?.len();
    host::show(&match desk.format {
        Format::Json => format!(
            "{{\"address\":\"http://{address}\",\"daemon_version\":\"{version}\",\"time\":\"{time}\",\"pairings\":{pairings}}}\n"
        ),
        Format::Text => format!(
            "running   http://{address}\nversion   {version}\nclock     {time}\npairings  {pairings}\n"
        ),
    })
}

pub(super) fn doctor(desk: &Desk<'_>, options: &ServeOptions) -> Result<()> {
    let variables = &desk.environment.gateway;
    let address = serve::known_address(desk.environment, options)?;
    let (root, keychain) = (desk.environment.root()?, keychain(desk));
    let subject = Subject {
        scene: serve::scene(desk.environment, options, address.ip(), &root, &keychain),
        address,
        is_keys_only: serve::is_keys_only(desk.environment, options),
        pairings: &pairings_in(desk, keychain.clone())?,
        extra_origins: &variables.extra_origins,
    };
    doctor::report(desk, &diagnosis::examine(&subject, Timestamp::now()), &[])
}

/// As patient as the gateway's.
fn keychain(desk: &Desk<'_>) -> Keychain {
    Keychain::new(desk.environment.bus.clone(), Patience::SHORT)
}

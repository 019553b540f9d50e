//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use local_keys::error::{Error, Result};
use local_keys::gateway::diagnosis::{self, Subject};
use local_keys::gateway::probe::{self, Answer};
use local_keys::host;
use local_keys::keychain::{Keychain, Patience};

use local_keys::time::Timestamp;

use super::pair::pairings_in;
use super::{Desk, Format, ServeOptions, doctor, serve};

pub(super) fn status(desk: &Desk<'_>, options: &ServeOptions) -> Result<()> {
    let address = serve::known_address(desk.environment, options)?;
    let (version, time) = match probe::ask(probe::reachable(address)) {
        Answer::Gateway { version, time } => (version, time),
        Answer::Waiting => {
            return Err(Error::ConsentMissing(format!(
                "a gateway listens on {address} and answers nobody: its interface is not as consented to"
            )));
        }
        Answer::Stranger(reason) => {
            return Err(Error::GatewayUnreachable {
                sentence: format!("something else listens on {address}: {reason}"),
                hint: "lf gateway serve --port N, with another port",
            });
        }
        Answer::Nobody(error) => {
            return Err(Error::GatewayUnreachable {
                sentence: format!("no gateway listens on {address}: {error}"),
                hint: "lf gateway serve --keys-only; or name its address with --bind and --port",
            });
        }
    };
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

//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use miniserde::Serialize;

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::gateway::probe;
use crate::system::host;

use super::{Context, Format, NOTHING, ServeOptions, doctor, format, serve};

pub(super) fn status(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let setup = serve::known(context.environment, options)?;
    let health = probe::ask(setup.address).map_err(|absence| absence.error(setup.address))?;
    let (list, now) = (setup.pairings().list()?, Timestamp::now());
    let view = View {
        address: format!("http://{}", setup.address),
        daemon_version: health.daemon_version,
        time: health.time,
        pairings: list.iter().filter(|(pairing, _)| pairing.is_good(now)).count(),
    };
    if view.pairings == 0 {
        host::eprint(NOTHING);
    }
    host::show(&match context.format {
        Format::Json => format::json(&view),
        Format::Text => format!(
            "running   {}\nversion   {}\nclock     {}\npairings  {}\n",
            view.address, view.daemon_version, view.time, view.pairings
        ),
    })
}

pub(super) fn doctor(context: &Context<'_>, options: &ServeOptions) -> Result<()> {
    let setup = serve::known(context.environment, options)?;
    doctor::report(context, &setup.examine(Timestamp::now()), &[])
}

#[derive(Serialize)]
struct View {
    address: String,
    daemon_version: String,
    time: Timestamp,
    pairings: usize,
}

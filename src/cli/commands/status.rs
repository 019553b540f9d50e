//! `lf gateway status` and `doctor`: is a gateway running, and is all well with it?

use std::net::SocketAddr;

use crate::gateway::probe;

use super::{Args, Context, Format, NOTHING, Result, Timestamp, doctor, format, host, serve};

pub(super) fn status(context: &Context, args: &Args) -> Result<()> {
    let setup = serve::known(&context.environment, args)?;
    let address = setup.addresses[0];
    let answer = probe::ask(address);
    warn_of_others(context, &setup.addresses, answer.is_ok());
    let health = answer.map_err(|absence| absence.error(address))?;
    let (list, now) = (setup.pairings().list()?, Timestamp::now());
    let (address, version, time) =
        (format!("http://{address}"), health.daemon_version, health.time);
    let pairings = list.iter().filter(|(pairing, _)| pairing.is_good(now)).count();
    if pairings == 0 {
        host::eprint(NOTHING);
    }
    host::show(&match context.format {
        Format::Json => format::object([
            ("address", &address),
            ("daemon_version", &version),
            ("time", &time),
            ("pairings", &pairings),
        ]),
        Format::Text => format!(
            "running   {address}\nversion   {version}\nclock     {time}\npairings  {pairings}\n"
        ),
    })
}

/// Warns of other programs that answer where pages look for the gateway.
pub(super) fn warn_of_others(context: &Context, addresses: &[SocketAddr], is_running: bool) {
    for doubt in probe::doubts(addresses, is_running) {
        context.warn(&doubt.to_string(), &doubt);
    }
}

pub(super) fn doctor(context: &Context, args: &Args) -> Result<()> {
    let setup = serve::known(&context.environment, args)?;
    doctor::report(context, &setup.examine(Timestamp::now()), &[])
}

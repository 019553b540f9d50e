//! `lf gateway pair`, `pairings` and `unpair`: which programs may use the gateway.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::secret::{Secret, printable};
use crate::gateway::origin::is_for_pages;
use crate::gateway::pairing::{Others, Pairing, Pairings};
#[cfg(unix)]
use crate::gateway::{probe, state};
use crate::vault::key::Label;
use zeroize::Zeroizing;

#[cfg(unix)]
use super::{Args, serve, status};
use super::{Context, Error, Format, NOTHING, Result, Timestamp, format, host, table};
use crate::system::term;

/// A new pairing, or a new token for an old one.
pub(super) fn pair(
    context: &Context<'_>,
    (mut wanted, keys, term, others): (Pairing, Vec<String>, Option<Duration>, Others),
) -> Result<()> {
    #[cfg(unix)]
    if let Ok(addresses) = serve::addresses(context.environment, &Args::default()) {
        status::warn_of_others(context, &addresses, false);
    }
    let now = Timestamp::now();
    wanted.created_at = Some(now);
    wanted.expires_at = term.map(|term| now.after(term));
    let select = |key: &String| Ok(context.store.select(key)?.as_str().to_owned());
    let keys = keys.iter().map(select).collect::<Result<BTreeSet<_>>>()?;
    wanted.keys = (!keys.is_empty()).then(|| keys.into_iter().collect());
    if term.is_none() {
        host::eprint("lf: warning: this token never expires; only lf gateway unpair ends it\n");
    }
    let json = wanted.view(None);
    let end = wanted.expires_at.map_or("never ends".to_owned(), |at| format!("ends at {at}"));
    let (name, scope) = (printable(wanted.name.as_str()), scope(&wanted));
    let gateway = match running(context) {
        Some(at) if is_for_pages(at.ip()) => {
            format!("A gateway, and its page, are on http://{at}.")
        }
        Some(at) => format!("A gateway is on http://{at}."),
        None => "No gateway answers yet; it says where its page is when it starts.".to_owned(),
    };
    let is_printed = Cell::new(false);
    let print = |token: &Secret, old: Option<&Pairing>| {
        let token = token.expose();
        let old = old.map_or("", |_| "An older token of that name is dead now.\n");
        let text = match context.format {
            Format::Json => format!("{{\"token\":\"{token}\",{}\n", &json[1..]),
            Format::Text => format!(
                "{token}\n\nThis is the pairing token of \"{name}\" ({scope}). It is shown once, and {end}.\n\
                 {old}{gateway} To pair the web app:\n\
                 \x20 1. Leave the gateway running: lf gateway serve --keys-only\n\
                 \x20 2. In the Funding panel, click the Local Keys tile.\n\
                 \x20 3. Paste the token into the box and click Pair gateway.\n"
            ),
        };
        match host::print(&Zeroizing::new(text)) {
            Err(Error::Output(source)) => {
                Err(Error::Io("write to", "standard output".into(), source))
            }
            printed => printed.map(|()| is_printed.set(true)),
        }
    };
    let tidied = pairings(context)?.pair(wanted, others, now, print).inspect_err(|_| {
        if is_printed.get() {
            host::eprint("lf: nothing was changed; the token that was printed is no good\n");
        }
    })?;
    if let Err(error) = tidied {
        let sentence = format!("the new token is good; what is dead was not all removed: {error}");
        context.warn(&sentence, &error);
    }
    Ok(())
}

/// Where a gateway of this root answers: where one said that it listens, or else by default.
#[cfg(unix)]
fn running(context: &Context<'_>) -> Option<SocketAddr> {
    let root = context.environment.root().ok();
    let recorded = root.and_then(|root| state::recorded(&state::dir(&root)));
    let default = serve::addresses(context.environment, &Args::default());
    let default = default.ok().and_then(|addresses| addresses.first().copied());
    recorded.into_iter().chain(default).find(|place| probe::ask(*place).is_ok())
}

#[cfg(not(unix))]
fn running(_: &Context<'_>) -> Option<SocketAddr> {
    None
}

pub(super) fn list(context: &Context<'_>) -> Result<()> {
    let (pairings, now) = (pairings(context)?, Timestamp::now());
    // What the keychain does not tell now is not in the list yet.
    let _ = pairings.settle(now);
    let list = pairings.list()?;
    for (pairing, _) in list.iter().filter(|(pairing, _)| pairing.is_outdated()) {
        let name = printable(pairing.name.as_str());
        host::eprint(&format!(
            "lf: note: the token of \"{name}\" is from a former version of lf, or from another root that was moved or copied here, and is no longer good; lf gateway pair --name NAME makes a new one\n"
        ));
    }
    let or = |at: Option<Timestamp>, other: &str| at.map_or(other.to_owned(), Timestamp::minute);
    let row = |(pairing, used): &(Pairing, Option<Timestamp>)| {
        let unknown = pairing.taken_over.map_or("unknown", |_| "predecessor");
        let end =
            if pairing.is_expired(now) { (None, "expired") } else { (pairing.expires_at, "never") };
        vec![
            or(pairing.created_at, unknown),
            or(end.0, end.1),
            or(*used, "-"),
            scope(pairing),
            pairing.name.as_str().to_owned(),
        ]
    };
    host::show(&match context.format {
        Format::Json => format::json_array(list.iter().map(|(it, used)| it.view(*used))),
        Format::Text if list.is_empty() => {
            host::eprint(NOTHING);
            return Ok(());
        }
        Format::Text => {
            let rows: Vec<Vec<String>> = list.iter().map(row).collect();
            let titles = ["CREATED", "EXPIRES", "LAST USED", "SCOPE", "NAME"];
            table::text(&titles, &rows, term::columns())
        }
    })
}

/// What a pairing may do, in few words.
fn scope(pairing: &Pairing) -> String {
    let acts = pairing.allow.as_ref().map_or("all".to_owned(), |acts| acts.join(","));
    acts + &pairing.keys.as_ref().map_or(String::new(), |keys| format!(", keys: {}", keys.len()))
}

pub(super) fn unpair(context: &Context<'_>, name: Option<&Label>) -> Result<()> {
    let (gone, forgotten) = pairings(context)?.revoke(name, Timestamp::now())?;
    for name in &gone {
        let name = printable(name.as_str());
        host::print(&format!("revoked \"{name}\"; its token is dead\n"))?;
    }
    // What is left in the keychain is good for nothing any more, but it is there.
    forgotten?;
    match name {
        _ if !gone.is_empty() => {}
        Some(name) => return Err(Error::PairingNotFound(printable(name.as_str()))),
        None => host::eprint("nothing is paired\n"),
    }
    Ok(())
}

pub(super) fn pairings(context: &Context<'_>) -> Result<Pairings> {
    let root = context.environment.root()?;
    Ok(Pairings::at(root, context.environment, context.keychain.clone()))
}

//! `lf gateway pair`, `pairings` and `unpair`: which programs may use the gateway.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::base::{Secret, printable, time::parse_span};
use crate::gateway::{ACTS, Pairing, origin::is_for_pages, pairing::DEFAULT_NAME, pairing::Others};
use crate::gateway::{Pairings, pairing::TERM, probe, state};
use crate::vault::key::Label;
use zeroize::Zeroizing;

use super::{Args, Context, Error, Format, NOTHING, Result, Timestamp, format, host, table};
use super::{is_not, serve, status};
use crate::system::term;

/// The pairing that is wanted, with its keys as they were named, and what becomes of the other pairings.
pub(super) fn wanted(args: &mut Args) -> Result<(Pairing, Others)> {
    args.no_operands()?;
    let (name, now) = (args.open_value("--name")?, Timestamp::now());
    let mut pairing = Pairing::new(Label::parse(name.as_deref().unwrap_or(DEFAULT_NAME))?);
    let term = match args.value("--expires").as_deref() {
        None => Some(TERM),
        Some("never") => None,
        Some(span) => Some(parse_span(span).ok_or_else(|| is_not(span, SPANS))?),
    };
    pairing.created_at = Some(now);
    pairing.expires_at = term.map(|term| now.after(term));
    pairing.keys = Some(args.all("--key")).filter(|keys| !keys.is_empty());
    let (allow, read_only) = (args.value("--allow"), args.flag("--read-only"));
    if allow.is_some() && read_only {
        return Err(Error::usage("--read-only means --allow list,resolve; use one of the two"));
    }
    let allow = allow.or_else(|| read_only.then(|| "list,resolve".to_owned()));
    let words: Vec<&str> = allow.iter().flat_map(|allow| allow.split(',')).collect();
    if let Some(word) = words.iter().find(|word| !ACTS.contains(word)) {
        return Err(is_not(word, &format!("one of {}", ACTS.join(","))));
    }
    if pairing.keys.is_some() && words.contains(&"add") {
        return Err(Error::usage("a pairing with --key cannot add keys; leave out --key or add"));
    }
    let acts = || ACTS.into_iter().filter(|act| words.contains(act)).map(str::to_owned);
    pairing.allow = allow.as_ref().map(|_| acts().collect());
    let others = if args.flag("--rotate") { Others::Revoke } else { Others::Keep };
    Ok((pairing, others))
}

/// The name, or none for all of them.
pub(super) fn name_or_all(args: &mut Args) -> Result<Option<Label>> {
    if args.flag("--all") {
        return args.no_operands().map(|()| None);
    }
    Label::parse(&args.one_operand("NAME")?).map(Some)
}

/// A new pairing, or a new token for an old one.
pub(super) fn pair(context: &Context, (mut wanted, others): (Pairing, Others)) -> Result<()> {
    if let Ok(addresses) = serve::addresses(&context.environment, &Args::default()) {
        status::warn_of_others(context, &addresses, false);
    }
    let select = |key: &String| Ok(context.store.select(key)?.as_str().to_owned());
    let ids = wanted.keys.iter().flatten().map(select).collect::<Result<BTreeSet<_>>>()?;
    wanted.keys = wanted.keys.map(|_| ids.into_iter().collect());
    if wanted.expires_at.is_none() {
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
        None => "No gateway answers yet; it prints its address when it starts.".to_owned(),
    };
    let is_printed = Cell::new(false);
    let print = |token: &Secret, old: Option<&Pairing>| {
        let token = token.expose();
        let old = old.map_or("", |_| "An older token of that name is no longer valid.\n");
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
    let tidied =
        pairings(context)?.pair(wanted, others, Timestamp::now(), print).inspect_err(|_| {
            if is_printed.get() {
                host::eprint("lf: nothing was changed; the token above is not valid\n");
            }
        })?;
    if let Err(error) = tidied {
        let sentence = format!("the new token is valid, but lf could not remove old ones: {error}");
        context.warn(&sentence, &error);
    }
    Ok(())
}

/// Where a gateway of this root answers: where one said that it listens, or else by default.
fn running(context: &Context) -> Option<SocketAddr> {
    let root = context.environment.root().ok();
    let recorded = root.and_then(|root| state::recorded(&state::dir(&root)));
    let default = serve::addresses(&context.environment, &Args::default());
    let default = default.ok().and_then(|addresses| addresses.first().copied());
    recorded.into_iter().chain(default).find(|place| probe::ask(*place).is_ok())
}

pub(super) fn list(context: &Context) -> Result<()> {
    let (pairings, now) = (pairings(context)?, Timestamp::now());
    // What the keychain does not tell now is not in the list yet.
    let _ = pairings.settle(now);
    let list = pairings.list()?;
    for (pairing, _) in list.iter().filter(|(pairing, _)| pairing.is_outdated()) {
        let name = printable(pairing.name.as_str());
        host::eprint(&format!(
            "lf: note: the token of \"{name}\" is from a former version of lf, or from a root that was moved or copied here, and is no longer valid; lf gateway pair --name NAME makes a new one\n"
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
            let titles = ["CREATED", "EXPIRES", "LAST USED", "SCOPE", "NAME"];
            table::text(&titles, list.iter().map(row).collect(), term::columns())
        }
    })
}

/// What a pairing may do, in few words.
fn scope(pairing: &Pairing) -> String {
    let acts = pairing.allow.as_ref().map_or("all".to_owned(), |acts| acts.join(","));
    acts + &pairing.keys.as_ref().map_or(String::new(), |keys| format!(", keys: {}", keys.len()))
}

pub(super) fn unpair(context: &Context, name: Option<&Label>) -> Result<()> {
    let (gone, forgotten) = pairings(context)?.revoke(name, Timestamp::now())?;
    for name in &gone {
        let name = printable(name.as_str());
        host::print(&format!("revoked \"{name}\"; its token is no longer valid\n"))?;
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

pub(super) fn pairings(context: &Context) -> Result<Pairings> {
    Ok(Pairings::at(context.environment.root()?, &context.environment, context.keychain.clone()))
}

const SPANS: &str = "never, or a time such as 90d or 12h, from a minute to ten years";

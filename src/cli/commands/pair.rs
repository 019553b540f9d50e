//! `lf gateway pair`, `pairings` and `unpair`: which programs may use the gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::secret::printable;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::gateway::pairing::{Others, Pairing, Pairings};
use crate::gateway::state;
use crate::system::host;
use crate::vault::key::Label;
use zeroize::Zeroizing;

use super::{Context, Format, format, table};
use crate::system::term;

/// A new pairing, or a new token for an old one.
pub(super) fn pair(
    context: &Context<'_>,
    (name, expires, others): (Label, Option<Duration>, Others),
) -> Result<()> {
    let now = Timestamp::now();
    let expires_at = expires.map(|span| now.after(span));
    let token = pairings(context)?.pair(&name, expires_at, others, now)?;
    let (name, token) = (name.as_str(), token.expose());
    let text = match context.format {
        Format::Json => format::json(&BTreeMap::from([
            ("name", Some(name)),
            ("token", Some(token)),
            ("createdAt", Some(&*now.to_string())),
            ("expiresAt", expires_at.map(|at| at.to_string()).as_deref()),
        ])),
        Format::Text => format!(
            "{token}\n\nThis is the pairing token of \"{}\"{}. It is shown once. To pair the web app:\n\
             \x20 1. Leave the gateway running: lf gateway serve --keys-only\n\
             \x20 2. In the Funding panel, click the Local Keys tile.\n\
             \x20 3. Paste the token into the box and click Pair gateway.\n",
            printable(name),
            expires_at.map_or_else(String::new, |at| format!(", good until {at}")),
        ),
    };
    host::print(&Zeroizing::new(text))
}

pub(super) fn list(context: &Context<'_>) -> Result<()> {
    let list = pairings(context)?.list()?;
    for (pairing, _) in list.iter().filter(|(pairing, _)| pairing.is_outdated()) {
        let name = printable(pairing.name.as_str());
        host::eprint(&format!(
            "lf: note: the token of \"{name}\" was sealed by a former version of lf and is no longer good; lf gateway pair --name NAME makes a new one\n"
        ));
    }
    let or = |at: Option<Timestamp>, otherwise: &str| {
        at.map_or_else(|| otherwise.to_owned(), Timestamp::minute)
    };
    let row = |(pairing, used): &(Pairing, Option<Timestamp>)| {
        vec![
            or(pairing.created_at, "unknown"),
            or(pairing.expires_at, "never"),
            or(*used, "-"),
            pairing.name.as_str().to_owned(),
        ]
    };
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let view = |(pairing, used): &(Pairing, Option<Timestamp>)| {
        BTreeMap::from([
            ("name", Some(pairing.name.as_str().to_owned())),
            ("createdAt", at(pairing.created_at)),
            ("expiresAt", at(pairing.expires_at)),
            ("lastUsedAt", at(*used)),
        ])
    };
    host::show(&match context.format {
        Format::Json => format::json(&list.iter().map(view).collect::<Vec<_>>()),
        Format::Text if list.is_empty() => {
            host::eprint("nothing is paired; lf gateway pair makes a token\n");
            return Ok(());
        }
        Format::Text => {
            let rows: Vec<Vec<String>> = list.iter().map(row).collect();
            let titles = ["CREATED", "EXPIRES", "LAST USED", "NAME"];
            table::text(&titles, &rows, term::columns())
        }
    })
}

pub(super) fn unpair(context: &Context<'_>, name: Option<&Label>) -> Result<()> {
    let (gone, forgotten) = pairings(context)?.revoke(name)?;
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
    let dir = state::dir(&context.environment.root()?);
    let sources = context.environment.passphrase.clone();
    Ok(Pairings::at(dir, sources, context.keychain.clone()))
}

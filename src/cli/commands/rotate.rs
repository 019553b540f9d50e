//! `lf keys rotate`: re-encrypts keys under fresh salts and IVs; with `--new-value`, replaces a value.

use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::key::{KeyId, KeyMeta};

use super::{Context, all_of};

/// Which keys to rotate, or the key that gets a new value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Some(Vec<String>),
    All,
    NewValue(String),
}

pub(super) fn run(context: &Context<'_>, what: &What) -> Result<()> {
    match what {
        What::NewValue(selector) => {
            let replace = |id: &KeyId| context.replace_value(id, None);
            let key = context.on_key(Kind::Update, COMMAND, selector, replace)?;
            host::print(&format!("{key} has a new value\n"))
        }
        What::Some(selectors) => match selectors.as_slice() {
            [selector] => {
                let rotate = |id: &KeyId| context.store.rotate(id, &context.sealing_master()?);
                let key = context.on_key(Kind::Update, COMMAND, selector, rotate)?;
                host::print(&said(&key))
            }
            selectors => several(context, || {
                // All are found before the first is changed.
                let found = selectors
                    .iter()
                    .map(|selector| context.store.select(selector));
                let mut ids = found.collect::<Result<Vec<_>>>()?;
                ids.sort();
                ids.dedup();
                Ok((ids, 0))
            }),
        },
        What::All => several(context, || {
            let listing = context.store.list()?;
            context.warn_unreadable(&listing.unreadable);
            let ids = listing.keys.into_iter().map(|key| key.id).collect();
            Ok((ids, listing.unreadable.len()))
        }),
    }
}

/// `find` returns the keys, and how many others cannot be read.
fn several(
    context: &Context<'_>,
    find: impl FnOnce() -> Result<(Vec<KeyId>, usize)>,
) -> Result<()> {
    let found = find().and_then(|(ids, failed)| {
        let some = !ids.is_empty();
        let master = some.then(|| context.sealing_master()).transpose()?;
        Ok((ids, failed, master))
    });
    let none = |error: &Error| context.audit(Kind::Update, COMMAND, None, Some(error));
    let (ids, failed, master) = found.inspect_err(none)?;
    let Some(master) = master else {
        host::complain("no keys to rotate\n");
        return all_of(failed, 0);
    };
    let rotated = context.on_each("rotating", &ids, KeyId::as_str, |id| {
        let rotated = context.store.rotate(id, &master);
        context.audit(Kind::Update, COMMAND, Some(id), rotated.as_ref().err());
        rotated
    });
    host::print(&rotated.iter().map(said).collect::<String>())?;
    all_of(ids.len() + failed, rotated.len())
}

fn said(key: &KeyMeta) -> String {
    format!("{key} is re-encrypted under a fresh salt and IV; its value stays\n")
}

const COMMAND: &str = "keys rotate";

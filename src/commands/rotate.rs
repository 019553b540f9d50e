//! `lf keys rotate`: fresh salts and IVs; with `--new-value`, a fresh value.

use local_keys::audit::Kind;
use local_keys::crew;
use local_keys::error::{Error, Result};
use local_keys::host;
use local_keys::key::{KeyId, KeyMeta};

use super::Desk;

/// Which keys, and what of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Some(Vec<String>),
    All,
    NewValue(String),
}

pub(super) fn run(desk: &Desk<'_>, what: &What) -> Result<()> {
    match what {
        What::NewValue(selector) => {
            let replace = |id: &KeyId| desk.replace_value(id, None);
            let key = desk.on_key(Kind::Update, COMMAND, selector, replace)?;
            host::print(&format!("{key} has a new value\n"))
        }
        What::Some(selectors) => match selectors.as_slice() {
            [selector] => {
                let rotate = |id: &KeyId| desk.store.rotate(id, &desk.sealing_master()?);
                let key = desk.on_key(Kind::Update, COMMAND, selector, rotate)?;
                host::print(&said(&key))
            }
            selectors => several(desk, || {
                // All are found before the first is touched.
                let found = selectors.iter().map(|selector| desk.store.select(selector));
                let mut ids = found.collect::<Result<Vec<_>>>()?;
                ids.sort();
                ids.dedup();
                Ok((ids, 0))
            }),
        },
        What::All => several(desk, || {
            let listing = desk.store.list()?;
            desk.warn_unreadable(&listing.unreadable);
            let ids = listing.keys.into_iter().map(|key| key.id).collect();
            Ok((ids, listing.unreadable.len()))
        }),
    }
}

/// Rotates each for itself: one that fails is named, and does not keep the others from it. `find`
/// tells which, and how many have failed already.
fn several(desk: &Desk<'_>, find: impl FnOnce() -> Result<(Vec<KeyId>, usize)>) -> Result<()> {
    let found = find().and_then(|(ids, failed)| {
        if ids.is_empty() {
            return Ok((ids, failed, None));
        }
        Ok((ids, failed, Some(desk.sealing_master()?)))
    });
    if let Err(error) = &found {
        desk.audit(Kind::Update, COMMAND, None, Some(error));
    }
    let (ids, mut failed, master) = found?;
    let total = ids.len() + failed;
    let Some(master) = master else {
        host::complain("no keys to rotate\n");
        return if failed == 0 {
            Ok(())
        } else {
            Err(Error::Incomplete { failed, total })
        };
    };
    let rotate = |id: &KeyId| {
        let rotated = desk.store.rotate(id, &master);
        // At once, because the next one may be the last that we live to do.
        desk.audit(Kind::Update, COMMAND, Some(id), rotated.as_ref().err());
        rotated
    };
    let rotated = crew::each(&ids, rotate, |done| {
        desk.progress("rotating", done, ids.len());
    });
    let mut report = String::new();
    for rotated in rotated {
        match rotated {
            Ok(key) => report.push_str(&said(&key)),
            Err(error) => {
                failed += 1;
                desk.warn(&format!("{}: {error}", error.code()), &error);
            }
        }
    }
    host::print(&report)?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Error::Incomplete { failed, total })
    }
}

fn said(key: &KeyMeta) -> String {
    format!("{key} is re-encrypted under a fresh salt and IV; its value stays\n")
}

const COMMAND: &str = "keys rotate";

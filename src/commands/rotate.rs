//! `lf keys rotate`: fresh salts and IVs; with `--new-value`, a fresh value.

use local_keys::audit::Kind;
use local_keys::crew;
use local_keys::error::{Error, Result};
use local_keys::host;
use local_keys::key::KeyId;

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
            let key = desk.on_key(Kind::Update, COMMAND, selector, |id| {
                desk.replace_value(id, None)
            })?;
            host::print(&format!("{key} has a new value\n"))
        }
        What::Some(selectors) => match selectors.as_slice() {
            [selector] => {
                let key = desk.on_key(Kind::Update, COMMAND, selector, |id| {
                    desk.store.rotate(id, &desk.passphrase()?)
                })?;
                host::print(&format!("{key} {SAID}\n"))
            }
            selectors => {
                // All are found before the first is touched.
                let mut ids = selectors
                    .iter()
                    .map(|selector| desk.store.select(selector))
                    .collect::<Result<Vec<_>>>()?;
                ids.sort();
                ids.dedup();
                rotate(desk, &ids)
            }
        },
        What::All => {
            let listing = desk.store.list()?;
            for error in &listing.unreadable {
                desk.warn(&error.to_string(), error);
            }
            let ids: Vec<KeyId> = listing.keys.into_iter().map(|key| key.id).collect();
            rotate(desk, &ids)?;
            if listing.unreadable.is_empty() {
                return Ok(());
            }
            Err(Error::Incomplete {
                failed: listing.unreadable.len(),
                total: listing.unreadable.len() + ids.len(),
            })
        }
    }
}

/// Rotates each for itself: one that fails is named, and does not keep the others from it.
fn rotate(desk: &Desk<'_>, ids: &[KeyId]) -> Result<()> {
    if ids.is_empty() {
        host::complain("no keys to rotate\n");
        return Ok(());
    }
    let passphrase = desk.passphrase()?;
    let rotated = crew::each(
        ids,
        |id| desk.store.rotate(id, &passphrase),
        |done| desk.progress("rotating", done, ids.len()),
    );
    let (mut report, mut failed) = (String::new(), 0);
    for (id, rotated) in ids.iter().zip(rotated) {
        desk.audit(Kind::Update, COMMAND, Some(id), rotated.as_ref().err());
        match rotated {
            Ok(key) => report.push_str(&format!("{key} {SAID}\n")),
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
        Err(Error::Incomplete {
            failed,
            total: ids.len(),
        })
    }
}

const COMMAND: &str = "keys rotate";
const SAID: &str = "is re-encrypted under a fresh salt and IV; its value stays";

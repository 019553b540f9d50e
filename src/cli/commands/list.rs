//! `lf keys list`: what is there, without a passphrase.

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::envelope::UsedView;
use crate::vault::history::{self, LastUsed};
use crate::vault::key::KeyMeta;

use super::{Context, Format, format, table};
use crate::system::term;

pub(super) fn run(context: &Context<'_>, last_used: bool) -> Result<()> {
    let listed = context.store.list();
    context.audit(Kind::List, "keys list", None, listed.as_ref().err());
    let listing = listed?;
    context.warn_unreadable(&listing.unreadable);
    // Plain --json does not have the last use, so the log is not read for it.
    let used = match context.store.dir()? {
        Some(dir) if last_used || context.format == Format::Text => history::last_used(&dir),
        Some(_) | None => LastUsed::default(),
    };
    let used = |key: &KeyMeta| used.of(&key.id);
    let keys = listing.keys.iter();
    host::show(&match context.format {
        Format::Json if last_used => {
            let views = keys.map(|key| UsedView::of(key, used(key)));
            format::json(&views.collect::<Vec<_>>())
        }
        Format::Json => format::json(&listing.keys),
        Format::Text if listing.keys.is_empty() => {
            if listing.unreadable.is_empty() {
                host::complain("no keys yet; lf keys add --help shows how to add one\n");
            }
            return Ok(());
        }
        Format::Text => {
            let columns = term::columns();
            let is_narrow = columns.is_some_and(|columns| columns < ROOMY);
            let time = if is_narrow {
                Timestamp::day
            } else {
                Timestamp::minute
            };
            let row = |key: &KeyMeta| {
                vec![
                    key.id.to_string(),
                    key.provider.to_string(),
                    time(key.created_at),
                    used(key).map_or_else(|| "-".to_owned(), time),
                    key.label.as_str().to_owned(),
                ]
            };
            let rows: Vec<Vec<String>> = keys.map(row).collect();
            let titles = ["ID", "PROVIDER", "CREATED", "LAST USED", "LABEL"];
            table::text(&titles, &rows, columns)
        }
    })
}

/// With fewer columns, times are shown as days, to leave room for the label.
const ROOMY: usize = 94;

//! `lf keys add`: a new key, its value from standard input.

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::envelope::MetaView;
use crate::vault::key::{KeyMeta, Label, Provider};

use super::{Desk, Format};

pub(super) fn run(desk: &Desk<'_>, provider: Provider, label: Option<Label>) -> Result<()> {
    let added = add(desk, provider, label);
    desk.audit(
        Kind::Add,
        "keys add",
        added.as_ref().ok().map(|key| &key.id),
        added.as_ref().err(),
    );
    let key = added?;
    match desk.format {
        Format::Text => {
            // The id alone on standard output, so that a script can keep it.
            host::complain(&format!("added {key}\n"));
            host::print(&format!("{}\n", key.id))
        }
        Format::Json => host::print(&format!(
            "{}\n",
            miniserde::json::to_string(&MetaView::of(&key))
        )),
    }
}

fn add(desk: &Desk<'_>, provider: Provider, label: Option<Label>) -> Result<KeyMeta> {
    // Before anybody is asked for a value that could not be stored.
    let master = desk.sealing_master()?;
    let value = desk.read_value(&format!("value of the {provider} key"))?;
    let label = label.unwrap_or_else(|| provider.as_label());
    let named = (provider, label);
    let key = desk.store.add(named, &value, &master, Timestamp::now())?;
    desk.notice_provider(&key, &value);
    Ok(key)
}

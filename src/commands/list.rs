//! `lf keys list`: what is there, without a passphrase.

use std::fmt::Write;

use local_keys::audit::Kind;
use local_keys::envelope::MetaView;
use local_keys::error::Result;
use local_keys::host;
use local_keys::secret::printable;

use super::{Desk, Format};

pub(super) fn run(desk: &Desk<'_>) -> Result<()> {
    let listed = desk.store.list();
    desk.audit(Kind::List, "keys list", None, listed.as_ref().err());
    let listing = listed?;
    desk.warn_unreadable(&listing.unreadable);
    let mut text = String::new();
    match desk.format {
        Format::Json => {
            let views: Vec<MetaView<'_>> = listing.keys.iter().map(MetaView::of).collect();
            text = miniserde::json::to_string(&views);
            text.push('\n');
        }
        Format::Text if listing.keys.is_empty() => {
            host::complain("no keys yet; lf keys add --help shows how to add one\n");
        }
        Format::Text => {
            let width = |column: fn(&local_keys::key::KeyMeta) -> &str, title: &str| {
                listing
                    .keys
                    .iter()
                    .map(|key| column(key).len())
                    .fold(title.len(), usize::max)
            };
            let (id, provider) = (
                width(|key| key.id.as_str(), "ID"),
                width(|key| key.provider.as_str(), "PROVIDER"),
            );
            let _ = writeln!(
                text,
                "{:id$}  {:provider$}  {:24}  LABEL",
                "ID", "PROVIDER", "CREATED"
            );
            for key in &listing.keys {
                let _ = writeln!(
                    text,
                    "{:id$}  {:provider$}  {:24}  {}",
                    key.id,
                    key.provider,
                    key.created_at.to_string(),
                    printable(key.label.as_str())
                );
            }
        }
    }
    host::print(&text)
}

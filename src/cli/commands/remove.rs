//! `lf keys remove`: one key, for good.

use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;

use super::{Context, confirm};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) key: String,
    pub(crate) yes: bool,
}

pub(super) fn run(context: &Context<'_>, Options { key, yes }: &Options) -> Result<()> {
    let name = context.on_key(Kind::Remove, "keys remove", key, |id| {
        // A damaged file has no name to show, but can be removed.
        let known = context.store.meta(id);
        let name = known.map_or_else(|_| format!("{id} (unreadable)"), |key| key.to_string());
        confirm(
            &format!("{name} will be removed for good."),
            *yes,
            &format!("lf keys remove --yes -- {id}"),
        )?;
        context.store.remove(id).map(|()| name)
    })?;
    host::print(&format!("removed {name}\n"))
}

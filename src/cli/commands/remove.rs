//! `lf keys remove`: one key, for good.

use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;

use super::{Context, confirm};

pub(super) fn run(context: &Context<'_>, selector: &str, yes: bool) -> Result<()> {
    let name = context.on_key(Kind::Remove, "keys remove", selector, |id| {
        // By its name where it can be read; a damaged one is removed by its id.
        let known = context.store.meta(id);
        let name = known.map_or_else(|_| format!("{id} (unreadable)"), |key| key.to_string());
        confirm(
            &format!("{name} will be removed for good."),
            yes,
            &format!("lf keys remove --yes -- {id}"),
        )?;
        context.store.remove(id).map(|()| name)
    })?;
    host::print(&format!("removed {name}\n"))
}

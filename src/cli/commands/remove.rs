//! `lf keys remove`: one key, for good.

use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;

use super::{Desk, confirm};

pub(super) fn run(desk: &Desk<'_>, selector: &str, yes: bool) -> Result<()> {
    let name = desk.on_key(Kind::Remove, "keys remove", selector, |id| {
        // By its name where it can be read; a damaged one is removed by its id.
        let known = desk.store.meta(id);
        let name = known.map_or_else(|_| format!("{id} (unreadable)"), |key| key.to_string());
        confirm(
            &format!("{name} will be removed for good."),
            yes,
            &format!("lf keys remove --yes -- {id}"),
        )?;
        desk.store.remove(id).map(|()| name)
    })?;
    host::print(&format!("removed {name}\n"))
}

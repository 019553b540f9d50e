//! `lf keys remove`: one key, for good.

use local_keys::audit::Kind;
use local_keys::error::Result;
use local_keys::host;

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

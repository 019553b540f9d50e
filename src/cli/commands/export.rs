//! `lf keys export`: one value, in the clear, on standard output.

use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;
use zeroize::Zeroizing;

use super::Context;

pub(super) fn run(context: &Context<'_>, selector: &str) -> Result<()> {
    // Logged before the first byte is written: the reader may kill lf at any moment.
    let (id, value) = context.on_key(Kind::Export, "keys export", selector, |id| {
        Ok((id.clone(), context.store.resolve(id, &context.master()?)?))
    })?;
    host::complain(&format!(
        "lf: warning: the value of {id} goes to standard output in the clear; keep it out of files and logs\n"
    ));
    let mut line = Zeroizing::new(String::with_capacity(value.expose().len() + 1));
    line.push_str(value.expose());
    line.push('\n');
    host::print(&line)
}

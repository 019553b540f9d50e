//! `lf keys add`: stores a new key, with the value from standard input.

use crate::base::time::Timestamp;
use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::key::{KeyMeta, Label, Provider};

use super::{Context, Format, format};

/// Without a label, the key gets the provider's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) provider: Provider,
    pub(crate) label: Option<Label>,
}

pub(super) fn run(context: &Context<'_>, options: Options) -> Result<()> {
    let added = add(context, options);
    context.audit(
        Kind::Add,
        "keys add",
        added.as_ref().ok().map(|key| &key.id),
        added.as_ref().err(),
    );
    let key = added?;
    match context.format {
        Format::Text => {
            // Only the id goes to standard output, so that a script can keep it.
            host::complain(&format!("added {key}\n"));
            host::print(&format!("{}\n", key.id))
        }
        Format::Json => host::print(&format::json(&key)),
    }
}

fn add(context: &Context<'_>, Options { provider, label }: Options) -> Result<KeyMeta> {
    // First, so that nobody types a value that cannot be stored.
    let master = context.sealing_master()?;
    let value = context.read_value(&format!("value of the {provider} key"))?;
    let label = label.unwrap_or_else(|| provider.as_label());
    let named = (provider, label);
    let key = context
        .store
        .add(named, &value, &master, Timestamp::now())?;
    context.check_provider("the value", &key.provider, &value);
    Ok(key)
}

//! `lf keys update`: a new label, a new value, or both.

use crate::error::Result;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::key::Label;

use super::Context;

/// What is to change; there is always something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Label(Label),
    Value(Option<Label>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) key: String,
    pub(crate) change: Change,
}

pub(super) fn run(context: &Context<'_>, Options { key, change }: &Options) -> Result<()> {
    let (key, what) = context.on_key(Kind::Update, "keys update", key, |id| match change {
        Change::Label(label) => Ok((
            context.store.relabel(id, label)?,
            "has a new label; its value stays",
        )),
        Change::Value(label) => {
            let key = context.replace_value(id, label.as_ref())?;
            Ok((
                key,
                if label.is_some() {
                    "has a new label and a new value"
                } else {
                    "has a new value"
                },
            ))
        }
    })?;
    host::print(&format!("{key} {what}\n"))
}

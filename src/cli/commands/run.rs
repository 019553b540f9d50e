//! `lf keys run`: replaces lf by a program that has the named keys, and no others, in its environment.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use crate::base::pool;
use crate::base::secret::{Secret, shown};
use crate::error::{Error, Result};
use crate::system::environment::is_set;
use crate::system::program::{self, Program};
use crate::vault::audit::Kind;
use crate::vault::key::KeyId;
use crate::vault::provider;

use super::Context;

/// What is to be run, and which keys go where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Keys that go into their providers' variables.
    pub(crate) keys: Vec<String>,
    /// Variables, and the keys that go into them.
    pub(crate) variables: Vec<(String, String)>,
    /// The key that goes to standard input.
    pub(crate) input: Option<String>,
    /// May variables be replaced that are set already?
    pub(crate) overrides: bool,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// Returns only if the program did not start, with the reason.
pub(super) fn run(context: &Context<'_>, options: &Options) -> Result<()> {
    let name = Path::new(&options.program).file_name().unwrap_or_default();
    let name = shown(&name.to_string_lossy());
    let audit = |key: Option<&KeyId>, failure: Option<&Error>| {
        let details = [("command", "keys run"), ("program", name.as_str())];
        context.audit_with(Kind::Run, &details, key, failure);
    };
    let plan = plan(context, options, &audit)?;
    let nothing = |error: &Error| {
        let keys = plan.keys.iter();
        keys.for_each(|key| audit(Some(key), Some(error)));
    };
    // What can fail without the passphrase comes first: a person may be asked for it.
    check(&plan.variables, options).inspect_err(nothing)?;
    let program = Program::find(&options.program).inspect_err(nothing)?;
    let master = context.master().inspect_err(nothing)?;
    let open = |key: &KeyId| {
        let value = context.store.resolve(key, &master);
        value.inspect_err(|error| audit(Some(key), Some(error)))
    };
    let values = pool::each(&plan.keys, open, |_| {});
    let values = values.into_iter().collect::<Result<Vec<Secret>>>()?;
    let variables = plan.variables.iter();
    let variables = variables.map(|(name, at)| (name.as_str(), &values[*at]));
    let variables: Vec<(&str, &Secret)> = variables.collect();
    refuse_nul(&plan, &values, &audit)?;
    let input = match plan.input {
        Some(at) => program::input(&values[at]).inspect_err(nothing)?,
        None => Stdio::inherit(),
    };
    // Logged before the program starts, because lf ends with that.
    plan.keys.iter().for_each(|key| audit(Some(key), None));
    let error = program.start(&options.arguments, &variables, input);
    nothing(&error);
    Err(error)
}

/// Logs the result for one key, or for none if none was found.
type Audit<'a> = &'a dyn Fn(Option<&KeyId>, Option<&Error>);

/// The keys, each once, and where each of them goes, by its index.
struct Plan {
    keys: Vec<KeyId>,
    variables: Vec<(String, usize)>,
    input: Option<usize>,
}

fn plan(context: &Context<'_>, options: &Options, audit: Audit<'_>) -> Result<Plan> {
    let mut keys: Vec<KeyId> = Vec::new();
    let mut find = |selector: &String| -> Result<usize> {
        let id = context.store.select(selector);
        let id = id.inspect_err(|error| audit(None, Some(error)))?;
        let known = keys.iter().position(|known| *known == id);
        Ok(known.unwrap_or_else(|| {
            keys.push(id);
            keys.len() - 1
        }))
    };
    let unnamed = options
        .keys
        .iter()
        .map(&mut find)
        .collect::<Result<Vec<_>>>()?;
    let mut named = Vec::new();
    for (name, key) in &options.variables {
        named.push((name.clone(), find(key)?));
    }
    let input = options.input.as_ref().map(find).transpose()?;
    let mut variables = Vec::new();
    for at in unnamed {
        let meta = context.store.meta(&keys[at]);
        let meta = meta.inspect_err(|error| audit(Some(&keys[at]), Some(error)))?;
        variables.push((provider::variable(meta.provider.as_str()), at));
    }
    variables.append(&mut named);
    Ok(Plan {
        keys,
        variables,
        input,
    })
}

/// Refuses two keys for one variable, and variables that are set already.
fn check(variables: &[(String, usize)], options: &Options) -> Result<()> {
    for (at, (name, _)) in variables.iter().enumerate() {
        if variables[..at].iter().any(|(other, _)| other == name) {
            return Err(Error::usage(format!(
                "two keys would go into {name}; give one of them a variable of its own with --env NAME=ID"
            )));
        }
        if !options.overrides && is_set(name) {
            return Err(Error::Refused {
                sentence: format!("{name} is set already; nothing was started"),
                hint: format!(
                    "unset {name}, or put --override before the -- to replace it for this program"
                ),
            });
        }
    }
    Ok(())
}

fn refuse_nul(plan: &Plan, values: &[Secret], audit: Audit<'_>) -> Result<()> {
    for (_, at) in &plan.variables {
        if values[*at].expose().contains('\0') {
            let key = &plan.keys[*at];
            let error = Error::Refused {
                sentence: format!(
                    "the value of {key} has a NUL character, which no variable can hold; nothing was started"
                ),
                hint: format!("lf keys run --stdin={key} -- CMD"),
            };
            audit(Some(key), Some(&error));
            return Err(error);
        }
    }
    Ok(())
}

//! `lf keys run`: replaces lf by a program that has the named keys, and no others, in its environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use crate::base::{Secret, distinct::distinct, pool, printable, shown};
use crate::system::{Environment, program, program::Program};
use crate::vault::project::{self, Assignment, Project, Variables, assignment};
use crate::vault::{key::KeyId, provider};

use super::{Args, Context, Error, Kind, Result, flags, host};

/// The arguments, and the variables of `--env` with the keys that go into them.
pub(super) fn options(args: &mut Args) -> Result<(Args, Vec<Assignment>)> {
    let args = flags(args)?;
    let variable =
        |text: &String| assignment(text).map_err(|fault| Error::usage(format!("--env: {fault}")));
    let variables = args.all("--env").iter().map(variable).collect::<Result<_>>()?;
    Ok((args, variables))
}

/// Allows the project's `.lf` file, and shows what it says.
pub(super) fn allow(context: &Context) -> Result<()> {
    let project = Project::find()?.ok_or_else(|| {
        Error::usage("there is no .lf file here or above; write one with NAME=ID lines")
    })?;
    project.allow(&context.environment.config()?)?;
    let mut text = format!("allowed {}:\n", printable(&project.path.to_string_lossy()));
    for (name, key) in &project.variables {
        text += &format!("  {name}={}\n", printable(key));
        if let Err(error) = context.store.select(key) {
            context.warn(&format!("{name}: {error}"), &error);
        }
    }
    host::print(&text)
}

/// The variables of `--env` and of `--env-file`; or, where no key is named, of the project's `.lf`.
fn variables(context: &Context, args: &Args, own: Vec<Assignment>) -> Result<Variables> {
    let file = args.value("--env-file").map(|file| project::env_file(Path::new(&file)));
    let mut variables = file.transpose()?.unwrap_or_default();
    variables.keys.extend(own);
    let is_named = ["--key", "--stdin", "--env-file"].iter().any(|name| args.flag(name));
    if is_named || !variables.keys.is_empty() {
        return Ok(variables);
    }
    let Some(project) = Project::find()? else {
        let sentence =
            "lf keys run needs --key, --env, --env-file, --stdin or a .lf file".to_owned();
        return Err(Error::Usage { sentence, hint: Some("lf keys run --help".to_owned()) });
    };
    if !project.is_allowed(&context.environment.config()?)? {
        let path = project.path.display();
        let sentence = format!("{path} is not allowed, or was changed since; nothing was started");
        return Err(Error::refused(sentence, "read it; then run lf keys allow"));
    }
    Ok(Variables { keys: project.variables, ..variables })
}

/// Returns only if the program did not start, with the reason.
pub(super) fn run(context: &Context, (mut args, own): (Args, Vec<Assignment>)) -> Result<()> {
    let (program, arguments) = args.program();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let _ = context.program.set(shown(&name.to_string_lossy()));
    // Logs the result for one key, or for none if none was found.
    let audit =
        |key: Option<&KeyId>, failure: Option<&Error>| context.audit(Kind::Run, key, failure);
    let given = variables(context, &args, own).inspect_err(|error| audit(None, Some(error)))?;
    let plain = &given.plain;
    let find = |selector: &String| {
        context.store.select(selector).inspect_err(|error| audit(None, Some(error)))
    };
    let mut variables = Vec::new();
    for selector in &args.all("--key") {
        let id = find(selector)?;
        let meta = context.store.meta(&id).inspect_err(|error| audit(Some(&id), Some(error)))?;
        let names = provider::variables(meta.provider.as_str()).into_iter();
        variables.extend(names.map(|name| (name, id.clone())));
    }
    for (name, selector) in &given.keys {
        variables.push((name.clone(), find(selector)?));
    }
    let input = args.value("--stdin").as_ref().map(find).transpose()?;
    let keys: Vec<&KeyId> = distinct(variables.iter().map(|(_, key)| key).chain(&input));
    let nothing = |error: &Error| keys.iter().for_each(|key| audit(Some(key), Some(error)));
    // What can fail without the passphrase comes first: a person may be asked for it.
    let names = variables.iter().map(|(name, _)| name).chain(plain.iter().map(|(name, _)| name));
    let names: Vec<_> = names.collect();
    check(&context.environment, &names, args.flag("--override")).inspect_err(nothing)?;
    let program = Program::find(&program).inspect_err(nothing)?;
    let master = context.master().inspect_err(nothing)?;
    let open = |key: &&KeyId| {
        context.store.resolve(key, &master).inspect_err(|error| audit(Some(key), Some(error)))
    };
    let values =
        pool::each(&keys, open, &|_, _| {}).into_iter().collect::<Result<Vec<Secret>>>()?;
    let values: BTreeMap<&KeyId, Secret> = keys.iter().copied().zip(values).collect();
    let mut filled: Vec<_> = plain.iter().map(|(name, value)| (name.as_str(), value)).collect();
    for (name, key) in &variables {
        let value = &values[key];
        if value.expose().contains('\0') {
            let sentence = format!(
                "the value of {key} has a NUL character, and no variable can hold it; nothing was started"
            );
            let error = Error::refused(sentence, format!("lf keys run --stdin={key} -- CMD"));
            audit(Some(key), Some(&error));
            return Err(error);
        }
        filled.push((name.as_str(), value));
    }
    let input = match &input {
        Some(key) => program::input(&values[key]).inspect_err(nothing)?,
        None => Stdio::inherit(),
    };
    keys.iter().for_each(|key| context.warn_expired(key));
    // Logged before the program starts, because lf ends with that.
    keys.iter().for_each(|key| audit(Some(key), None));
    let started = program.start(&arguments, &filled, input);
    // Where this process has to stay, it keeps none of what the program got.
    drop((values, master, given));
    let error = started.map_or_else(|error| error, |wait| wait());
    nothing(&error);
    Err(error)
}

/// Refuses two values for one variable, and variables that are set already.
fn check(environment: &Environment, names: &[&String], overrides: bool) -> Result<()> {
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Error::usage(format!(
                "{name} would get two values; give one of them another variable with --env NAME=ID"
            )));
        }
        if !overrides && environment.value(name).is_some() {
            let sentence = format!("{name} is already set; nothing was started");
            let hint = format!(
                "unset {name}, or put --override before the -- to replace it for this program"
            );
            return Err(Error::refused(sentence, hint));
        }
    }
    Ok(())
}

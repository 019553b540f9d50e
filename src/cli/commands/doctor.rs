//! `lf keys doctor`: the report, and `--fix`.

use crate::base::secret::printable;
use crate::vault::doctor::{self, Check, Status};

use super::{Context, Error, Format, Result, format, host};

pub(super) fn run(context: &Context, fix: bool) -> Result<()> {
    let root = context.root();
    let done = if fix { doctor::fix(&context.store, root.as_deref()) } else { Vec::new() };
    let told = |done: Result<String>| {
        done.inspect_err(|error| context.warn(&error.to_string(), error)).ok()
    };
    let fixed: Vec<String> = done.into_iter().filter_map(told).collect();
    let Context { environment, store, keychain, .. } = context;
    let tell = context.progress("decrypting");
    let checks = doctor::examine(environment, store.path(), keychain, root.as_deref(), &tell);
    report(context, &checks, &fixed)
}

/// Prints the checks; an error if one failed.
pub(super) fn report(context: &Context, checks: &[Check], fixed: &[String]) -> Result<()> {
    let is_failed = |check: &&Check| check.status == Status::Fail;
    let (failed, total) = (checks.iter().filter(is_failed).count(), checks.len());
    let ok = failed == 0;
    if context.format == Format::Json {
        host::show(&format::object([("ok", &ok), ("checks", &checks), ("fixed", &fixed)]))?;
    } else {
        let text = |name| context.environment.text(name);
        let may = text("NO_COLOR").is_empty() && text("TERM") != "dumb";
        let colour = may && host::output_is_terminal();
        let fixed = fixed.iter().map(|sentence| ("", format!("fixed {}\n", printable(sentence))));
        let texts: Vec<_> = fixed.chain(checks.iter().flat_map(parts)).collect();
        let shown = texts.iter().map(|(on, text)| (if colour { on } else { "" }, text.as_str()));
        host::show_coloured(&shown.collect::<Vec<_>>())?;
    }
    if ok { Ok(()) } else { Err(Error::ChecksFailed(failed, total)) }
}

/// In two parts, each with the sequence that colours it.
fn parts(check: &Check) -> [(&'static str, String); 2] {
    let on = match check.status {
        Status::Pass => "\x1b[32m",
        Status::Fail => "\x1b[1;31m",
        Status::Note => "\x1b[33m",
    };
    let hint = check.hint.as_ref();
    let hint = hint.map_or_else(String::new, |hint| format!("      hint: {}\n", printable(hint)));
    let rest = format!("  {}: {}\n{hint}", check.id, printable(&check.message));
    [(on, word(check.status).to_owned()), ("\x1b[0m", rest)]
}

/// In text a failure is in capitals, so that it is easy to find; JSON has it in small letters.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::Note => "note",
    }
}

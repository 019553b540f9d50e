//! `lf keys doctor`: the report, and `--fix`.

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::doctor::{self, Check, Status};
use miniserde::Serialize;

use super::{Context, Format, format};

pub(super) fn run(context: &Context<'_>, fix: bool) -> Result<()> {
    let root = context.root();
    let mut fixed = Vec::new();
    if fix {
        for done in doctor::fix(&context.store, root.as_deref()) {
            match done {
                Ok(sentence) => fixed.push(sentence),
                Err(error) => context.warn(&error.to_string(), &error),
            }
        }
    }
    let (vault, state) = (context.vault(), context.state.as_deref());
    let checks = doctor::examine(&vault, state, root.as_deref(), |done, total| {
        context.progress("decrypting", done, total);
    });
    report(context, &checks, &fixed)
}

/// Prints the checks; an error if one failed.
pub(super) fn report(context: &Context<'_>, checks: &[Check], fixed: &[String]) -> Result<()> {
    let failed = checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .count();
    host::show(&match context.format {
        Format::Text => text(
            checks,
            fixed,
            context.environment.colour && host::output_is_terminal(),
        ),
        Format::Json => json(checks, fixed, failed == 0),
    })?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Error::ChecksFailed {
            failed,
            total: checks.len(),
        })
    }
}

fn text(checks: &[Check], fixed: &[String], colour: bool) -> String {
    let mut text = String::new();
    for sentence in fixed {
        let _ = writeln!(text, "fixed {sentence}");
    }
    for check in checks {
        let paint = match check.status {
            Status::Pass => "\x1b[32m",
            Status::Fail => "\x1b[1;31m",
            Status::Note => "\x1b[33m",
        };
        let word = word(check.status);
        let (on, off) = if colour { (paint, "\x1b[0m") } else { ("", "") };
        let _ = writeln!(text, "{on}{word}{off}  {}: {}", check.id, check.message);
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "      hint: {hint}");
        }
    }
    text
}

/// In text a failure is in capitals, so that it is easy to find; JSON has it in small letters.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::Note => "note",
    }
}

#[derive(Serialize)]
struct ReportView<'a> {
    ok: bool,
    checks: Vec<CheckView<'a>>,
    fixed: &'a [String],
}

#[derive(Serialize)]
struct CheckView<'a> {
    id: &'a str,
    status: String,
    message: &'a str,
    hint: Option<&'a str>,
}

fn json(checks: &[Check], fixed: &[String], ok: bool) -> String {
    let checks = checks
        .iter()
        .map(|check| CheckView {
            id: check.id,
            status: word(check.status).to_ascii_lowercase(),
            message: &check.message,
            hint: check.hint.as_deref(),
        })
        .collect();
    format::json(&ReportView { ok, checks, fixed })
}

//! `lf`: keeps the API keys you pay for, encrypted, and gives them to whom you say.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cli;
mod commands;
mod term;

use std::alloc::System;
use std::process::ExitCode;

use local_keys::error::Error;
use local_keys::host::{self, Environment};
use local_keys::kernel::memory::{self, Paged, Wiping};
use local_keys::secret::printable;
use miniserde::{Serialize, json};

use crate::commands::Format;

#[global_allocator]
static MEMORY: Wiping<Paged<System>> = Wiping(Paged(System));

fn main() -> ExitCode {
    memory::share_one_heap();
    host::harden();
    let argv = host::args();
    let format = cli::format(&argv);
    match cli::parse(argv).and_then(|command| commands::run(command, &Environment::read())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            host::complain(&report(&error, format));
            ExitCode::from(error.exit_code())
        }
    }
}

fn report(error: &Error, format: Format) -> String {
    let (code, message, hint) = (error.code(), error.to_string(), error.hint());
    match format {
        // A path in it is named as somebody else pleased.
        Format::Text => {
            let hint = hint.map_or_else(String::new, |hint| {
                format!("lf: hint: {}\n", printable(&hint))
            });
            format!("lf: {code}: {}\n{hint}", printable(&message))
        }
        Format::Json => {
            json::to_string(&Report {
                error: ErrorView {
                    code,
                    message,
                    hint,
                },
            }) + "\n"
        }
    }
}

#[derive(Serialize)]
struct Report {
    error: ErrorView,
}

#[derive(Serialize)]
struct ErrorView {
    code: &'static str,
    message: String,
    hint: Option<String>,
}

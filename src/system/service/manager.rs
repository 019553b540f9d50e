//! Asks the system's own tools: `systemctl`, `systemd-run`, `launchctl`.

use std::io;
use std::process;

/// What a tool answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Did it do what it was asked?
    pub is_done: bool,
    /// What it wrote to standard output, or, where that is nothing, to standard error.
    pub text: String,
}

/// Runs a tool to its end. It gets no input and not the passphrase.
///
/// # Errors
/// What the system says: `NotFound` if there is no such tool.
pub fn ask(tool: &str, arguments: &[&str]) -> io::Result<Answer> {
    let mut command = process::Command::new(tool);
    command
        .args(arguments)
        .stdin(process::Stdio::null())
        .env_remove("LENSERFIGHT_KEYS_PASSPHRASE")
        .env("LC_ALL", "C");
    let output = command.output()?;
    let said = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    Ok(Answer {
        is_done: output.status.success(),
        text: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

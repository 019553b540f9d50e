//! Which `lf` this is: its version, and what it was built for and from.

use std::env::consts::{ARCH, OS};

use super::format::{self, Format};

/// For standard output.
pub(super) fn text(format: Format) -> String {
    let (version, libc) = (env!("CARGO_PKG_VERSION"), LIBC);
    let target = option_env!("LF_TARGET").filter(|target| !target.is_empty());
    let target = target.map_or_else(|| format!("{ARCH}-{OS}"), str::to_owned);
    let commit = option_env!("LF_COMMIT").filter(|commit| !commit.is_empty());
    match format {
        // Without the Makefile there is no commit, and of the target only the processor and the system.
        Format::Json => format::object([
            ("version", &version),
            ("target", &target),
            ("libc", &libc),
            ("commit", &commit),
        ]),
        Format::Text => {
            let commit = commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
            format!("lf {version} ({target}, {libc}{commit})\n")
        }
    }
}

const LIBC: &str = match (cfg!(target_env = "musl"), cfg!(target_os = "linux")) {
    (true, _) => "musl",
    (false, true) => "glibc",
    (false, false) => "the system's libc",
};

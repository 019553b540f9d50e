//! What a release installs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use support::Home;

#[test]
fn lf_can_be_installed_used_and_removed_under_another_name() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release/install-check.sh");
    let tried = Home::new().program(&["sh", script, env!("CARGO_BIN_EXE_lf")]).ok();
    assert!(tried.out.ends_with("installed, used and removed as lf and as lfk\n"), "{tried}");
}

//! The gateway's own page and its client, in real browsers: Debian's Chromium and Firefox ESR, driven by the
//! scripts in tests/web/, which act as a person would and run `lf` beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::Home;
use support::bus::{self, Bus};

/// The scripts, and the packages that they use beside them.
fn scripts() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/install.sh");
        let done = Command::new("sh").arg(source).arg(&place).output().unwrap();
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        place
    })
}

/// Runs a script with a room of its own; it ends by itself, and with it what it started.
fn run(script: &str, home: &Home, more: &[(&str, String)]) {
    let room = home.path().join("room");
    std::fs::create_dir(&room).unwrap();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/web/client.js");
    let mut command = Command::new("node");
    command
        .arg(scripts().join(script))
        .env("LF", env!("CARGO_BIN_EXE_lf"))
        .env("ROOM", &room)
        .env("HOME", &room)
        .env("TMPDIR", &room)
        .env("CLIENT", client)
        .envs(more.iter().map(|(name, value)| (name, value)));
    let done = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}\n{out}{err}");
    assert!(!out.is_empty(), "{script} has run no test");
}

#[test]
fn a_person_with_a_browser_pairs_and_manages_keys() {
    run("person.mjs", &Home::new(), &[]);
}

#[test]
fn the_keyboard_is_enough_and_so_is_the_mouse_and_axe_finds_nothing() {
    for (script, browser) in support::rows([
        ("keyboard.mjs", "chromium"),
        ("keyboard.mjs", "firefox-esr"),
        ("mouse.mjs", "firefox-esr"),
    ]) {
        run(script, &Home::new(), &[("BROWSER", browser.to_owned())]);
    }
}

#[test]
fn the_client_has_types_and_knows_which_source_pays() {
    run("client.mjs", &Home::new(), &[]);
}

#[test]
fn pages_of_allowed_origins_use_the_client_and_others_get_nothing() {
    run("origins.mjs", &Home::new(), &[]);
}

#[test]
fn a_permission_prompt_may_stay_open_for_a_minute() {
    run("prompt.mjs", &Home::new(), &[]);
}

#[test]
fn a_missing_passphrase_and_a_locked_keychain_have_their_words() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    run("keychain.mjs", &home, &[("BUS", bus::address(&bus.socket()))]);
}

//! What `lf` says of variables of the environment that it cannot read, and of a gateway that lacks what
//! only full mode needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use support::gateway::Gateway;
use support::{Home, VALUE};

#[test]
fn a_switch_is_on_or_off_in_more_than_one_word() {
    let home = Home::new();
    for on in ["1", "yes", "true", "on", "TRUE"] {
        Gateway::run(home.lf("gateway serve --port 0").env("LF_GATEWAY_KEYS_ONLY", on));
    }
    for off in ["0", "no", "false", "off", ""] {
        let run = home.lf("gateway serve --port 0").env("LF_GATEWAY_KEYS_ONLY", off);
        run.fails(3, "precondition_failed");
    }
    let paused = home.lf("gateway serve --port 0").env("LF_GATEWAY_OWNER_PAUSED", "yes");
    assert!(paused.fails(3, "precondition_failed").err.contains("FAIL lenser_active"));
}

#[test]
fn a_variable_that_cannot_be_read_is_named() {
    let (home, _) = Home::with_key();
    for (name, value, command) in [
        ("LF_GATEWAY_KEYS_ONLY", "maybe", "gateway serve --port 0"),
        ("LF_GATEWAY_KEYS_ONLY", "maybe", "gateway install --print --port 4711"),
        ("LF_GATEWAY_TAILSCALE", "2", "gateway status"),
        ("LF_GATEWAY_OWNER_PAUSED", "maybe", "gateway doctor"),
        ("LF_GATEWAY_GLOBAL_KILL_SWITCH", "maybe", "gateway serve --keys-only --port 0"),
        ("LF_GATEWAY_PORT", "abc", "gateway serve --keys-only"),
        ("LF_GATEWAY_PORT", "65536", "gateway status"),
        ("LF_GATEWAY_BIND", "example.com", "gateway serve --keys-only --port 0"),
        ("LF_GATEWAY_EXTRA_ORIGINS", "(", "gateway serve --keys-only --port 0"),
        ("LF_GATEWAY_EXTRA_HOSTS", "http://a", "gateway serve --keys-only --port 0"),
        ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "maybe", "keys list"),
    ] {
        let refused = home.lf(command).env(name, value).fails(2, "usage");
        assert!(refused.err.contains(name), "{name}: {refused}");
    }
    // What is about the gateway alone stops nothing else.
    let run = home.lf("keys get Prod").env("LF_GATEWAY_KEYS_ONLY", "maybe");
    assert_eq!(run.ok().out, VALUE);
    let bind = home.lf("gateway serve --keys-only --bind example.com").fails(2, "usage");
    assert!(bind.err.contains("--bind") && !bind.err.contains("LF_GATEWAY_BIND"), "{bind}");
}

#[test]
fn a_port_behind_the_address_belongs_to_its_own_flag() {
    let home = Home::new();
    for bind in ["127.0.0.1:4711", "[::1]:4711", "localhost:4711"] {
        let refused =
            home.lf(&format!("gateway serve --keys-only --bind {bind}")).fails(2, "usage");
        assert!(refused.err.contains("use --port for the port"), "{refused}");
    }
    let from_variable = home.lf("gateway serve --keys-only").env("LF_GATEWAY_BIND", "0.0.0.0:1");
    let refused = from_variable.fails(2, "usage");
    assert!(refused.err.contains("LF_GATEWAY_BIND") && refused.err.contains("--port"), "{refused}");
}

#[test]
fn the_hint_is_what_mends_the_preconditions_that_failed() {
    let home = Home::new();
    let hint = |arguments: &str, role: &str| {
        let run = home.lf(arguments).env("SUPABASE_SERVICE_ROLE_KEY", role);
        let failed = run.fails(3, "precondition_failed");
        assert!(!failed.err.contains("<root>"), "{failed}");
        let hint = failed.err.lines().find(|line| line.starts_with("lf: hint: "));
        (hint.unwrap().to_owned(), failed.err)
    };
    let (full, said) = hint("gateway serve --port 0", "");
    assert!(full.contains("lf gateway serve --keys-only") && !full.contains("unset"), "{full}");
    let root = home.path().join(".lenserfight");
    for file in ["gateway/identity.json", "config.json"] {
        assert!(said.contains(root.join(file).to_str().unwrap()), "{said}");
    }
    let (role, _) = hint("gateway serve --keys-only --port 0", "x");
    assert!(role.contains("unset SUPABASE") && !role.contains("--keys-only"), "{role}");
    let (both, _) = hint("gateway serve --port 0", "x");
    assert!(both.contains("unset SUPABASE") && both.contains("--keys-only"), "{both}");
}

#[test]
fn an_identity_is_not_needed_for_keys_alone() {
    let home = Home::new();
    for arguments in ["gateway identity", "gateway identity create --force"] {
        let refused = home.bare(arguments).fails(2, "usage");
        assert!(refused.err.contains("needs none with --keys-only"), "{refused}");
        assert!(refused.err.contains("hint: lf gateway serve --keys-only"), "{refused}");
    }
}

#[test]
fn a_passphrase_file_that_is_there_stays_and_the_way_out_is_named() {
    let home = Home::new();
    let init = || home.words(&["keys", "init", "--passphrase-file", "passphrase"]);
    let here = ["sh", "-c", "cd \"$HOME\" && exec \"$@\"", "sh"];
    init().under(&here).ok();
    let before = std::fs::read_to_string(home.path().join("passphrase")).unwrap();
    let refused = init().under(&here).fails(2, "refused");
    assert!(
        refused.err.contains("hint: ") && refused.err.contains("_PASSPHRASE_FILE"),
        "{refused}"
    );
    assert_eq!(std::fs::read_to_string(home.path().join("passphrase")).unwrap(), before);
}

//! Where the master passphrase comes from: the rows of the table that need no keychain. The others
//! are in tests/keychain.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use support::{Home, PASSPHRASE, VALUE, chmod};

#[test]
fn without_any_the_error_says_what_was_tried() {
    let home = Home::new();
    let missing =
        home.bare("keys add --provider openai").input(VALUE).fails(1, "keychain_unavailable");
    assert!(
        missing.err.contains("Secret Service")
            && missing.err.contains("LENSERFIGHT_KEYS_PASSPHRASE_FILE"),
        "{missing}"
    );
    assert!(!home.keys().exists());
}

#[test]
fn an_unreachable_keychain_leaves_it_to_the_environment() {
    let (home, id) = Home::with_key();
    let nowhere = format!("unix:path={}", home.path().join("no-bus").display());
    for forced in ["", "0", "1"] {
        let run =
            home.lf("keys export Prod --i-understand").env("DBUS_SESSION_BUS_ADDRESS", &nowhere);
        assert_eq!(
            run.env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", forced).ok().out,
            format!("{VALUE}\n")
        );
    }
    let _ = id;
}

#[test]
fn a_file_holds_it_without_one_trailing_newline() {
    let (home, _) = Home::with_key();
    let file = home.path().join("passphrase");
    for (content, opens) in [
        (PASSPHRASE.to_owned(), true),
        (format!("{PASSPHRASE}\n"), true),
        (format!("{PASSPHRASE}\r\n"), true),
        (format!("{PASSPHRASE}\n\n"), false),
        (format!(" {PASSPHRASE}"), false),
    ] {
        fs::write(&file, &content).unwrap();
        chmod(&file, 0o600);
        let run = home
            .bare("keys export Prod --i-understand")
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
        if opens {
            drop(run.ok());
        } else {
            drop(run.fails(1, "decryption_failed"));
        }
    }
}

#[test]
fn a_file_that_others_can_reach_is_refused() {
    let (home, _) = Home::with_key();
    let file = home.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    for (mode, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o440, true),
        (0o640, true),
        (0o604, false),
        (0o644, false),
        (0o602, false),
        (0o601, false),
    ] {
        chmod(&file, mode);
        let run = home
            .bare("keys export Prod --i-understand")
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
        if accepted {
            run.ok();
        } else {
            let refused = run.fails(2, "passphrase_invalid");
            assert!(
                refused.err.contains("chmod 600") && refused.err.contains("passphrase can"),
                "{mode:o}: {refused}"
            );
        }
    }
}

#[test]
fn a_bad_file_is_named() {
    let (home, _) = Home::with_key();
    let export = |path: &std::path::Path| {
        home.bare("keys export Prod --i-understand").env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", path)
    };
    let file = home.path().join("passphrase");
    assert!(export(&file).fails(2, "passphrase_invalid").err.contains(file.to_str().unwrap()));
    for (content, problem) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (&[b'x'; 70_000], "more than"),
    ] {
        fs::write(&file, content).unwrap();
        chmod(&file, 0o600);
        let refused = export(&file).fails(2, "passphrase_invalid");
        assert!(refused.err.contains(problem), "{refused}");
    }
    chmod(home.path(), 0o755);
    export(home.path()).fails(2, "passphrase_invalid");
    chmod(home.path(), 0o700);
    export(home.path()).fails(1, "io_error");
}

#[test]
fn a_pipe_will_do_for_a_file() {
    let (home, _) = Home::with_key();
    let script = format!(
        "printf %s '{PASSPHRASE}' | LENSERFIGHT_KEYS_PASSPHRASE_FILE=/dev/stdin exec \"$0\" \"$@\""
    );
    home.bare("keys export Prod --i-understand").under(&["sh", "-c", &script]).ok();
}

#[test]
fn a_systemd_credential_counts_as_the_file() {
    let (home, _) = Home::with_key();
    let credentials = home.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let export =
        || home.bare("keys export Prod --i-understand").env("CREDENTIALS_DIRECTORY", &credentials);
    export().fails(1, "keychain_unavailable");
    let credential = credentials.join("lenserfight-keys-passphrase");
    fs::write(&credential, format!("{PASSPHRASE}\n")).unwrap();
    chmod(&credential, 0o440);
    export().ok();
    export().env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).fails(2, "usage");
    // A unit may point the variable at the credential itself, but not at something else.
    export().env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &credential).ok();
    let other = home.path().join("other");
    fs::copy(&credential, &other).unwrap();
    export().env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &other).fails(2, "usage");
    chmod(&credential, 0o444);
    export().fails(2, "passphrase_invalid");
    // There, but not for us: an error, not "no credential".
    support::hand_over(home.path());
    chmod(&credential, 0o000);
    export().unprivileged().fails(1, "permission_error");
}

#[test]
fn two_at_once_are_a_usage_error_wherever_a_passphrase_is_needed() {
    let (home, id) = Home::with_key();
    let file = home.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    chmod(&file, 0o600);
    for arguments in [
        "keys add --provider openai",
        "keys rotate --new-value Prod",
        "keys export Prod --i-understand",
        "keys update Prod --rotate",
        "keys init",
        "gateway serve --keys-only --port 0",
    ] {
        let refused = home
            .lf(arguments)
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file)
            .input("v")
            .fails(2, "usage");
        assert!(refused.err.contains("two master passphrases"), "{refused}");
    }
    home.lf("keys list").env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file).ok();
    home.lf("keys doctor").env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file).fails(3, "checks_failed");
    let _ = id;
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let (home, _) = Home::with_key();
    home.bare("keys export Prod --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "")
        .fails(1, "keychain_unavailable");
}

#[test]
fn a_short_passphrase_opens_what_is_there_but_encrypts_nothing() {
    let home = Home::new();
    let vectors = include_str!("vectors/envelopes.json");
    assert!(vectors.contains("correct horse battery staple"));
    for arguments in ["keys add --provider openai", "keys init"] {
        let refused = home
            .bare(arguments)
            .env("LENSERFIGHT_KEYS_PASSPHRASE", "fifteen chars 1")
            .input(VALUE)
            .fails(2, "passphrase_invalid");
        assert!(
            refused.err.contains("15 characters") && !refused.err.contains("fifteen"),
            "{refused}"
        );
    }
    let (home, id) = Home::with_key();
    let before = fs::read(home.file(&id)).unwrap();
    for arguments in ["keys rotate Prod --new-value", "keys update Prod --rotate"] {
        home.bare(arguments)
            .env("LENSERFIGHT_KEYS_PASSPHRASE", "short")
            .input("v")
            .fails(2, "passphrase_invalid");
    }
    home.bare("keys export Prod --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "short")
        .fails(1, "decryption_failed");
    assert_eq!(fs::read(home.file(&id)).unwrap(), before);
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let (home, id) = Home::with_key();
    let before = fs::read(home.file(&id)).unwrap();
    for arguments in ["keys rotate Prod", "keys export Prod --i-understand"] {
        home.bare(arguments)
            .env("LENSERFIGHT_KEYS_PASSPHRASE", "Correct horse battery staple")
            .fails(1, "decryption_failed");
    }
    home.bare("keys rotate --all")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "Correct horse battery staple")
        .fails(1, "incomplete");
    assert_eq!(fs::read(home.file(&id)).unwrap(), before);
}

#[test]
fn a_byte_order_mark_before_a_files_passphrase_is_no_part_of_it() {
    let (home, _) = Home::with_key();
    let file = home.path().join("passphrase");
    fs::write(&file, format!("\u{feff}{PASSPHRASE}\r\n")).unwrap();
    chmod(&file, 0o600);
    let with_file =
        |arguments: &str| home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
    let exported = with_file("keys export Prod --i-understand").ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    assert_eq!(exported.err.matches("byte-order mark").count(), 1, "{exported}");
    with_file("keys add --provider openai --label New").input("new").ok();
    home.lf("keys export New --i-understand").ok();
    // What a version sealed that took the mark for a part of it opens too, and is brought under the
    // rest.
    let marked = format!("\u{feff}{PASSPHRASE}");
    let sealed = |arguments: &str| home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", &marked);
    home.lf("keys remove --yes Prod").ok();
    home.lf("keys remove --yes New").ok();
    sealed("keys add --provider openai --label Old").input("old").ok();
    assert_eq!(with_file("keys export Old --i-understand").ok().out, "old\n");
    with_file("keys rotate --all").ok();
    assert_eq!(home.lf("keys export Old --i-understand").ok().out, "old\n");
    sealed("keys export Old --i-understand").fails(1, "decryption_failed");
    fs::write(&file, "\u{feff}\n").unwrap();
    with_file("keys list").ok();
    let empty = with_file("keys export Old --i-understand").fails(2, "passphrase_invalid");
    assert!(empty.err.contains("is empty"), "{empty}");
}

#[test]
fn a_byte_order_mark_before_what_is_piped_is_refused() {
    let (home, id) = Home::with_key();
    for arguments in [
        "keys add --provider openai",
        "keys rotate --new-value Prod",
        "keys rekey --passphrase-stdin",
    ] {
        let refused = home.lf(arguments).input(format!("\u{feff}{VALUE}new")).fails(2, "refused");
        assert!(refused.err.contains("byte-order mark"), "{refused}");
        assert!(!refused.err.contains(VALUE), "{refused}");
    }
    assert_eq!(home.value(&id), VALUE);
    assert_eq!(home.names().len(), 1);
}

#[test]
fn a_command_prints_it_and_runs_without_a_shell() {
    let (home, _) = Home::with_key();
    let export = |line: &str| {
        let run = home.bare("keys export Prod --i-understand");
        run.env("LENSERFIGHT_KEYS_PASSPHRASE_COMMAND", line)
    };
    let quoted = format!("printf '%s\\n' '{PASSPHRASE}'");
    let inner = format!("test -z \"$LENSERFIGHT_KEYS_PASSPHRASE_COMMAND\" && {quoted}");
    for line in [quoted.clone(), format!("sh -c {}", in_quotes(&inner))] {
        assert_eq!(export(&line).ok().out, format!("{VALUE}\n"), "{line}");
    }
    export("printf %s $HOME").fails(1, "decryption_failed");
    for (line, code, fault) in [
        ("printf 'x", "passphrase_invalid", "not closed"),
        (" ", "passphrase_invalid", "names no program"),
        ("no-such-program", "command_not_found", "no-such-program"),
        ("true", "passphrase_invalid", "printed nothing"),
        ("false", "passphrase_invalid", "failed"),
        ("printf '\\377'", "passphrase_invalid", "no UTF-8 text"),
        ("yes", "passphrase_invalid", "more than"),
    ] {
        let refused = export(line).fails(if code == "command_not_found" { 127 } else { 2 }, code);
        assert!(refused.err.contains(fault), "{line}: {refused}");
    }
    let file = home.path().join("passphrase");
    export(&quoted).env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file).fails(2, "usage");
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    let (home, _) = Home::with_key();
    let run = home.bare("keys export Prod --i-understand");
    let run = run.env("LENSERFIGHT_KEYS_PASSPHRASE_COMMAND", "sleep 600");
    let refused = run.fails(2, "passphrase_invalid");
    assert!(refused.err.contains("has not ended after 10 seconds"), "{refused}");
}

fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[test]
fn init_makes_a_passphrase_file_where_there_is_no_keychain() {
    let home = Home::new();
    let way = home.bare("keys init").fails(1, "keychain_unavailable");
    for line in ["umask 077", "/dev/urandom", "export LENSERFIGHT_KEYS_PASSPHRASE_FILE="] {
        assert!(way.err.contains(line), "{way}");
    }
    assert!(!home.keys().exists());
    let file = home.path().join("new/pass phrase");
    let init = || home.words(&["keys", "init", "--passphrase-file", file.to_str().unwrap()]);
    let made = init().ok();
    let line = "export LENSERFIGHT_KEYS_PASSPHRASE_FILE=";
    assert!(made.out.starts_with(line) && made.out.ends_with("/new/pass\\ phrase\n"), "{made}");
    assert!(made.err.contains("lf keys add") && made.err.contains("recovery export"), "{made}");
    let passphrase = fs::read_to_string(&file).unwrap();
    assert_eq!((passphrase.len(), support::mode(&file)), (44, 0o600));
    assert!(!made.out.contains(passphrase.trim()) && !made.err.contains(passphrase.trim()));
    let with = |words: &str| home.bare(words).env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
    with("keys add --provider openai").input(VALUE).ok();
    assert_eq!(with("keys get openai").ok().out, VALUE);
    // Neither the file nor the keys are given up for a new passphrase.
    init().fails(2, "refused");
    with("keys remove openai --yes").ok();
    init().fails(2, "refused");
    assert_eq!(fs::read_to_string(&file).unwrap(), passphrase);
    with("keys init --passphrase-file other").fails(2, "already_configured");
}

//! `lf keys doctor`: what it finds, what it mends, and what it leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;

use miniserde::json::{self, Value};
use support::pty::Terminal;
use support::{Home, VALUE, chmod, mode};

/// The findings of this check: status and message.
fn findings(home: &Home, check: &str) -> Vec<(String, String)> {
    let outcome = home.lf("keys doctor --json").go();
    let report: json::Object = json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{outcome}"));
    let text = |object: &json::Object, name: &str| match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{name} is {other:?} in {outcome}"),
    };
    let Some(Value::Array(checks)) = report.get("checks") else { panic!("{outcome}") };
    let checks = checks.iter().map(|check| match check {
        Value::Object(check) => check,
        other => panic!("{other:?}"),
    });
    let mut failed = checks.clone().filter(|check| text(check, "status") == "fail");
    let is_well = failed.clone().next().is_none();
    assert!(failed.all(|check| !text(check, "hint").is_empty()));
    assert!(matches!(report.get("ok"), Some(Value::Bool(ok)) if *ok == is_well), "{outcome}");
    assert_eq!(outcome.status, Some(if is_well { 0 } else { 3 }), "{outcome}");
    checks
        .filter(|each| text(each, "id") == check)
        .map(|each| (text(each, "status"), text(each, "message")))
        .collect()
}

fn fails(home: &Home, check: &str, part: &str) {
    let findings = findings(home, check);
    assert!(
        findings.iter().any(|(status, message)| status == "fail" && message.contains(part)),
        "{check}, {part}: {findings:?}"
    );
}

fn passes(home: &Home, check: &str) {
    let findings = findings(home, check);
    assert!(
        !findings.is_empty() && findings.iter().all(|(status, _)| status == "pass"),
        "{check}: {findings:?}"
    );
}

#[test]
fn a_healthy_store_passes_every_check() {
    let (home, _) = Home::with_key();
    home.lf("keys doctor").ok();
    for check in [
        "keys_directory",
        "modes",
        "owners",
        "temporary_files",
        "passphrase",
        "envelopes",
        "decryption",
        "audit_log",
    ] {
        passes(&home, check);
    }
    let report = home.lf("keys doctor").ok();
    assert!(!report.out.contains('\u{1b}'), "no colours in a pipe: {report}");
}

#[test]
fn a_missing_store_is_a_finding_and_is_not_made() {
    let home = Home::new();
    fails(&home, "keys_directory", "does not exist");
    home.lf("keys doctor --fix").fails(3, "checks_failed");
    assert!(!home.keys().exists());
}

#[test]
fn every_injury_is_named() {
    let (home, id) = Home::with_key();
    let other = home.add("mistral", "Other", VALUE);
    passes(&home, "decryption");

    chmod(&home.keys(), 0o755);
    fails(&home, "modes", "has mode 0755");
    chmod(&home.keys(), 0o700);
    chmod(&home.file(&id), 0o640);
    fails(&home, "modes", &id);
    chmod(&home.file(&id), 0o400);
    fails(&home, "modes", "has mode 0400 instead of 0600");
    chmod(&home.file(&id), 0o600);
    chmod(&home.keys().join("audit.log"), 0o604);
    fails(&home, "modes", "audit.log");
    chmod(&home.keys().join("audit.log"), 0o600);
    passes(&home, "modes");

    let left = home.keys().join(".lf-0123456789abcdef.tmp");
    fs::write(&left, "{").unwrap();
    fails(&home, "temporary_files", ".lf-0123456789abcdef.tmp");
    assert!(findings(&home, "other_files").is_empty(), "it is one of lf's");
    let state = home.path().join(".lenserfight/gateway");
    fs::create_dir_all(&state).unwrap();
    chmod(&state, 0o700);
    fs::rename(left, state.join(".lf-0123456789abcdef.tmp")).unwrap();
    fails(&home, "temporary_files", "gateway/.lf-0123456789abcdef.tmp");
    fs::remove_dir_all(state).unwrap();

    let text = fs::read_to_string(home.file(&id)).unwrap();
    fs::write(home.file(&id), text.replace("\"tag\":\"", "\"tag\":\"AAAA").replacen("AAAA", "", 0))
        .unwrap();
    fails(&home, "envelopes", &id);
    fs::write(home.file(&id), "garbage").unwrap();
    fails(&home, "envelopes", &id);
    fs::write(home.file(&id), fs::read(home.file(&other)).unwrap()).unwrap();
    fails(&home, "envelopes", "meta.id");
    fs::remove_file(home.file(&id)).unwrap();
    symlink(home.file(&other), home.file(&id)).unwrap();
    fails(&home, "envelopes", "symbolic link");
    fs::remove_file(home.file(&id)).unwrap();
    fs::write(home.keys().join("notes.json"), "{}").unwrap();
    fails(&home, "envelopes", "notes.json");
    fs::remove_file(home.keys().join("notes.json")).unwrap();
    passes(&home, "envelopes");

    fs::rename(home.keys().join("audit.log"), home.keys().join("aside")).unwrap();
    fs::create_dir(home.keys().join("audit.log")).unwrap();
    fails(&home, "audit_log", "lf logs nothing");
    fs::remove_dir(home.keys().join("audit.log")).unwrap();
    passes(&home, "audit_log");
    assert_eq!(findings(&home, "other_files").len(), 1, "a foreign file is noted, and no failure");
}

#[test]
fn a_wrong_passphrase_and_tampering_are_found_by_decrypting() {
    let empty = Home::new();
    empty.lf("keys init").go();
    let nothing = empty.bare("keys doctor").go();
    assert!(!nothing.out.contains("could not check"), "{nothing}");
    let (home, id) = Home::with_key();
    let wrong = "another long passphrase";
    let doctor = || home.bare("keys doctor").env("LENSERFIGHT_KEYS_PASSPHRASE", wrong);
    let one = doctor().fails(3, "checks_failed").out;
    assert!(
        one.contains(&id) && one.contains("openai \"Prod\"") && one.contains("--rotate"),
        "{one}"
    );
    assert!(one.contains("if you have the right passphrase"), "{one}");
    // Where another key opens, the passphrase is the right one.
    let add = home.lf("keys add --provider openai --label Other").input("v");
    let other = add.ok().out.trim_end().to_owned();
    let aside = home.path().join("aside");
    fs::rename(home.file(&id), &aside).unwrap();
    home.lf("keys rekey --passphrase-stdin").input(wrong).ok();
    doctor().ok();
    fs::rename(&aside, home.file(&id)).unwrap();
    let both = doctor().fails(3, "checks_failed").out;
    assert!(both.contains(&id) && !both.contains("the right passphrase"), "{both}");
    fs::remove_file(home.file(&other)).unwrap();
    let outcome = home.bare("keys doctor").fails(3, "checks_failed");
    assert!(
        outcome
            .out
            .contains("FAIL  decryption: without a passphrase lf could not check 1 envelope"),
        "{outcome}"
    );
    let text = fs::read_to_string(home.file(&id)).unwrap();
    let at = text.find("\"ciphertext\":\"").unwrap() + 14;
    let flipped = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(home.file(&id), format!("{}{flipped}{}", &text[..at], &text[at + 1..])).unwrap();
    fails(&home, "decryption", &id);
}

#[test]
fn fix_mends_modes_and_temporary_files_and_nothing_else() {
    let (home, id) = Home::with_key();
    chmod(&home.keys(), 0o777);
    chmod(&home.file(&id), 0o666);
    chmod(&home.keys().join("audit.log"), 0o644);
    let ours = home.keys().join(".lf-0123456789abcdef.tmp");
    let foreign = [".lf-short.tmp", "x.tmp", "notes.txt", "aaaaaaaaaaaaaaaaaaaaaaaa.json"]
        .map(|name| home.keys().join(name));
    for path in foreign.iter().chain([&ours]) {
        fs::write(path, "x").unwrap();
        chmod(path, 0o644);
    }
    let log = fs::read(home.keys().join("audit.log")).unwrap();
    home.lf("keys doctor").fails(3, "checks_failed");
    assert_eq!(mode(&home.keys()), 0o777, "nothing changes without --fix");
    assert!(ours.exists());
    let fixed = home.lf("keys doctor --fix").fails(3, "checks_failed");
    assert!(fixed.out.contains("fixed"), "{fixed}");
    assert_eq!(
        (mode(&home.keys()), mode(&home.file(&id)), mode(&home.keys().join("audit.log"))),
        (0o700, 0o600, 0o600)
    );
    assert!(!ours.exists());
    assert!(foreign.iter().all(|path| fs::read(path).unwrap() == b"x"), "what is not ours stays");
    assert_eq!(mode(&foreign[2]), 0o644);
    assert_eq!(fs::read(home.keys().join("audit.log")).unwrap(), log);
    fs::remove_file(&foreign[3]).unwrap();
    home.lf("keys doctor").ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn fix_goes_on_past_what_it_cannot_change() {
    let (home, id) = Home::with_key();
    let (theirs, stale) = (
        home.keys().join("bbbbbbbbbbbbbbbbbbbbbbbb.json"),
        home.keys().join(".lf-0123456789abcdef.tmp"),
    );
    fs::copy(home.file(&id), &theirs).unwrap();
    fs::write(&stale, "x").unwrap();
    chmod(&theirs, 0o644);
    chmod(&home.file(&id), 0o644);
    support::hand_over(home.path());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&theirs, Some(0), Some(0)).unwrap();
    } else {
        chmod(&theirs, 0o044);
    }
    let fixed = home.lf("keys doctor --fix").unprivileged().fails(3, "checks_failed");
    let theirs = "bbbbbbbbbbbbbbbbbbbbbbbb.json";
    assert!(fixed.out.contains("FAIL") && fixed.out.contains(theirs), "{fixed}");
    assert!(!stale.exists());
    assert_eq!(mode(&home.file(&id)), 0o600);
}

#[test]
fn a_directory_that_cannot_be_opened_is_a_finding_for_fix_too() {
    let (home, _) = Home::with_key();
    let elsewhere = home.path().join("elsewhere");
    fs::rename(home.keys(), &elsewhere).unwrap();
    symlink(&elsewhere, home.keys()).unwrap();
    fails(&home, "keys_directory", "symbolic link");
    let fixed = home.lf("keys doctor --fix").fails(3, "checks_failed");
    assert!(fixed.out.contains("FAIL  keys_directory"), "{fixed}");
}

#[test]
fn a_store_in_a_folder_that_is_synced_is_noted() {
    let (home, _) = Home::with_key();
    assert!(!home.lf("keys doctor").ok().out.contains(" place: "));
    for (folder, name) in [
        ("Library/Mobile Documents/com~apple~CloudDocs", "Library/Mobile Documents"),
        ("Library/CloudStorage/GoogleDrive-me@example.com", "Library/CloudStorage"),
        ("Dropbox", "Dropbox"),
        ("OneDrive - Contoso", "OneDrive"),
    ] {
        let folder = home.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::rename(home.keys(), folder.join("keys")).unwrap();
        let doctor = home.lf("keys doctor").env("LENSERFIGHT_KEYS_DIR", folder.join("keys")).ok();
        assert!(doctor.out.contains("note  place: "), "{doctor}");
        assert!(doctor.out.contains(&format!(" lies in {name}, which is synced")), "{doctor}");
        fs::rename(folder.join("keys"), home.keys()).unwrap();
    }
}

#[test]
fn a_store_that_cannot_be_written_is_a_finding() {
    let (home, id) = Home::with_key();
    support::hand_over(home.path());
    chmod(&home.keys(), 0o500);
    let report = home.lf("keys doctor").unprivileged().fails(3, "checks_failed");
    assert!(report.out.contains("FAIL  writable"), "{report}");
    chmod(&home.keys(), 0o700);
    chmod(&home.file(&id), 0o000);
    let report = home.lf("keys doctor").unprivileged().fails(3, "checks_failed");
    assert!(report.out.contains("chmod 600") && !report.out.contains("keys remove"), "{report}");
    chmod(&home.file(&id), 0o600);
    let (log, older) = (home.keys().join("audit.log"), home.keys().join("audit.log.1"));
    fs::copy(&log, &older).unwrap();
    support::hand_over(home.path());
    for (file, is_told) in [(&older, false), (&log, true)] {
        chmod(file, 0o400);
        let report = home.lf("keys doctor").unprivileged().fails(3, "checks_failed").out;
        let told = format!("audit_log: {} cannot be written", file.display());
        assert_eq!(report.contains(&told), is_told, "{report}");
        chmod(file, 0o600);
    }
    fs::remove_file(&older).unwrap();
    fs::create_dir(&older).unwrap();
    let report = home.lf("keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("FAIL  audit_log"), "{report}");
}

#[test]
fn the_root_is_looked_at_too() {
    let (home, _) = Home::with_key();
    let root = home.path().join(".lenserfight");
    chmod(&root, 0o777);
    fails(&home, "modes", "has mode 0777");
    home.lf("keys doctor --fix").ok();
    assert_eq!(mode(&root), 0o700);
    chmod(&root, 0o755);
    home.lf("keys init").go();
    assert_eq!(mode(&root), 0o700);
    // Keys elsewhere: what is above them is none of our business.
    chmod(&root, 0o755);
    home.lf("keys doctor")
        .env("LENSERFIGHT_RUNTIME_DIR", home.path().join("else"))
        .env("LENSERFIGHT_KEYS_DIR", home.keys())
        .ok();
}

#[test]
fn a_directory_that_others_use_is_not_closed_to_them() {
    let (home, _) = Home::with_key();
    fs::create_dir(home.keys().join("Documents")).unwrap();
    chmod(&home.keys(), 0o755);
    let initialised = home.lf("keys init").fails(2, "refused");
    let fixed = home.lf("keys doctor --fix").fails(3, "checks_failed");
    for told in [initialised, fixed] {
        let sentence = "also has \"Documents\" in it";
        assert!(told.err.contains(sentence), "{told}");
        assert_eq!(mode(&home.keys()), 0o755);
    }
    fs::remove_dir(home.keys().join("Documents")).unwrap();
    home.lf("keys doctor --fix").ok();
    assert_eq!(mode(&home.keys()), 0o700);
}

#[test]
fn no_threads_to_be_had_is_no_reason_to_fail() {
    let (home, id) = Home::with_key();
    home.lf("keys doctor").inject("clone,clone3:error=EAGAIN").ok();
    home.lf("keys rotate --all").inject("clone,clone3:error=EAGAIN").ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn fix_follows_no_link() {
    let (home, id) = Home::with_key();
    let outside = home.path().join("outside");
    fs::write(&outside, "x").unwrap();
    chmod(&outside, 0o644);
    fs::remove_file(home.keys().join("audit.log")).unwrap();
    symlink(&outside, home.keys().join("audit.log")).unwrap();
    symlink(&outside, home.keys().join(".lf-0123456789abcdef.tmp")).unwrap();
    home.lf("keys doctor --fix").go();
    assert_eq!((mode(&outside), fs::read(&outside).unwrap()), (0o644, b"x".to_vec()));
    let _ = id;
}

#[test]
fn a_person_sees_progress_and_colours_a_pipe_does_not() {
    let (home, _) = Home::with_key();
    home.add("openai", "Second", VALUE);
    let (status, screen) = Terminal::start(&home.lf("keys doctor")).ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("decrypting 1/2") && screen.contains("\u{1b}[32mpass"), "{screen}");
    let (_, screen) = Terminal::start(&home.lf("keys doctor").env("NO_COLOR", "1")).ends();
    assert!(!screen.contains("\u{1b}[32m"), "{screen}");
    assert!(!home.lf("keys doctor").ok().err.contains("decrypting"));
}

#[test]
fn a_directory_that_others_can_reach_is_said_at_each_write_and_closed_if_it_is_ours_alone() {
    let (home, _) = Home::with_key();
    let token = support::gateway::pair(&home, "");
    let gateway = support::gateway::Gateway::start(&home);
    let place = home.keys().display().to_string();
    let authorization = support::gateway::bearer(&token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let body = r#"{"provider":"openai","label":"New","rawKey":"v"}"#;
    let add = || home.lf("keys add --provider openai --label More").input("v").ok();
    assert!(!add().err.contains("warning"), "nothing to say");
    for open in [0o755, 0o777, 0o770, 0o701] {
        chmod(&home.keys(), open);
        assert_eq!(home.lf("keys list").ok().err, "", "reading says nothing");
        assert_eq!(mode(&home.keys()), open);
        let told = add();
        let sentence = format!("{place} had mode {open:04o}; now only its owner can reach it");
        assert_eq!(told.err.matches(&sentence).count(), 1, "{told}");
        assert_eq!(mode(&home.keys()), 0o700);
    }
    for command in ["keys update Prod --label Prod", "keys rotate --all", "keys remove --yes Prod"]
    {
        chmod(&home.keys(), 0o777);
        let told = home.lf(command).ok();
        assert_eq!(told.err.matches("had mode 0777").count(), 1, "{told}");
    }
    chmod(&home.keys(), 0o777);
    assert_eq!(gateway.ask("POST /keys", &headers, body).status, 201);
    assert_eq!(mode(&home.keys()), 0o700);
    // Others use it for something else.
    fs::create_dir(home.keys().join("photos")).unwrap();
    chmod(&home.keys(), 0o777);
    for _ in 0..2 {
        let told = add();
        assert!(
            told.err.contains("others can reach it: ") && told.err.contains("photos"),
            "{told}"
        );
    }
    assert_eq!(gateway.ask("POST /keys", &headers, body).status, 201);
    assert_eq!(mode(&home.keys()), 0o777);
    let json = home.lf("keys add --provider openai --json").input("v").ok();
    assert!(json.err.contains(r#"{"warning":{"code":"permission_error","message":"#), "{json}");
    let ended = gateway.ends();
    for sentence in ["had mode 0777; now only", "others can reach it: "] {
        assert_eq!(ended.err.matches(sentence).count(), 1, "{ended}");
    }
    if rustix::process::geteuid().is_root() {
        fs::remove_dir(home.keys().join("photos")).unwrap();
        std::os::unix::fs::chown(home.keys(), Some(65534), None).unwrap();
        for command in ["keys add --provider openai --label Last", "keys remove --yes Last"] {
            let told = home.lf(command).input("v").ok();
            assert!(
                told.err.contains(&format!("{place} belongs to user 65534, who can")),
                "{told}"
            );
        }
        assert_eq!(mode(&home.keys()), 0o777, "it is not ours to close");
    }
}

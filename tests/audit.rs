//! The audit log: one line per event, bounded, and never in the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use miniserde::json::{self, Value};
use support::{Home, VALUE, mode};

fn lines(home: &Home) -> Vec<json::Object> {
    home.audit()
        .lines()
        .map(|line| json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

fn text(object: &json::Object, name: &str) -> String {
    match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_command_leaves_one_line() {
    let home = Home::new();
    let id = home.add("openai", "Prod", VALUE);
    for (arguments, input, status, kind, reason) in [
        ("keys list", "", 0, "list", None),
        ("keys update Prod --label New", "", 0, "update", None),
        ("keys update New --rotate", "v", 0, "update", None),
        ("keys rotate New", "", 0, "update", None),
        ("keys rotate --all", "", 0, "update", None),
        ("keys export New --i-understand", "", 0, "export", None),
        (
            "keys export Old --i-understand",
            "",
            1,
            "export",
            Some("key_not_found"),
        ),
        (
            "keys add --provider openai",
            "",
            2,
            "add",
            Some("empty_key"),
        ),
        ("keys remove New", "", 2, "remove", Some("refused")),
        ("keys remove New --yes", "", 0, "remove", None),
    ] {
        let before = lines(&home).len();
        let outcome = home.lf(arguments).input(input).go();
        assert_eq!(outcome.status, Some(status), "{outcome}");
        let all = lines(&home);
        assert_eq!(all.len(), before + 1, "{arguments}");
        let last = &all[before];
        assert_eq!(text(last, "kind"), kind, "{arguments}");
        assert!(
            matches!(last.get("ok"), Some(Value::Bool(ok)) if *ok == reason.is_none()),
            "{arguments}: {last:?}"
        );
        assert_eq!(
            last.get("reason").map(|_| text(last, "reason")).as_deref(),
            reason,
            "{arguments}"
        );
        if kind != "list" && reason != Some("key_not_found") && reason != Some("empty_key") {
            assert_eq!(text(last, "keyId"), id, "{arguments}");
        }
        assert!(local_keys::time::Timestamp::parse(&text(last, "ts")).is_some());
    }
    assert_eq!(mode(&home.keys().join("audit.log")), 0o600);
}

#[test]
fn a_value_does_not_leave_without_its_line() {
    let (home, id) = Home::with_key();
    let log = home.path().join("strace.log");
    home.lf("keys export Prod --i-understand")
        .trace(&log, "write")
        .ok();
    let log = fs::read_to_string(&log).unwrap();
    let at = |what: &str| {
        log.find(what)
            .unwrap_or_else(|| panic!("no {what} in {log}"))
    };
    assert!(at("audit.log>") < at("\"sk-test"), "{log}");
    // And a rotation that is killed has left a line for each key that it changed.
    let second = home.add("openai", "Second", VALUE);
    let before = [&id, &second].map(|id| fs::read(home.file(id)).unwrap());
    let lines_before = lines(&home).len();
    home.lf("keys rotate --all")
        .inject("renameat:signal=SIGKILL:when=2")
        .go();
    let changed = [&id, &second]
        .iter()
        .zip(before)
        .filter(|(id, before)| fs::read(home.file(id)).unwrap() != *before)
        .count();
    assert!(
        changed == 0 || lines(&home).len() > lines_before,
        "{changed}"
    );
}

#[test]
fn a_line_is_written_with_one_call() {
    let (home, _) = Home::with_key();
    let log = home.path().join("strace.log");
    home.lf("keys list").trace(&log, "write,openat").ok();
    let log = fs::read_to_string(&log).unwrap();
    let writes: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" write(") && line.contains("audit.log>"))
        .collect();
    assert_eq!(writes.len(), 1, "{log}");
    assert!(
        log.lines().any(|line| line.contains("\"audit.log\"")
            && line.contains("O_APPEND")
            && line.contains("O_NOFOLLOW")),
        "{log}"
    );
}

#[test]
fn at_5_mib_it_becomes_the_older_generation() {
    let (home, _) = Home::with_key();
    let (log, older) = (
        home.keys().join("audit.log"),
        home.keys().join("audit.log.1"),
    );
    fs::write(&older, "the generation before").unwrap();
    let limit = 5 * 1024 * 1024;
    fs::write(&log, format!("{}\n", "x".repeat(limit - 2))).unwrap();
    home.lf("keys list").ok();
    assert_eq!(
        fs::read(&older).unwrap(),
        b"the generation before",
        "one byte short of the limit"
    );
    home.lf("keys list").ok();
    assert!(fs::metadata(&older).unwrap().len() as usize > limit);
    assert_eq!(lines(&home).len(), 1);
    home.lf("keys list").ok();
    assert_eq!(lines(&home).len(), 2);
    assert_eq!(home.names().len(), 2, "one key, one older generation");
}

#[test]
fn many_that_find_it_full_turn_it_over_once() {
    let (home, _) = Home::with_key();
    fs::write(
        home.keys().join("audit.log"),
        format!("{}\n", "x".repeat(5 * 1024 * 1024)),
    )
    .unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| home.lf("keys list").ok());
        }
    });
    // Who found it full while another was turning it over has written to the older generation.
    let older = fs::read_to_string(home.keys().join("audit.log.1")).unwrap();
    let late = older.lines().filter(|line| line.starts_with('{')).count();
    assert_eq!(lines(&home).len() + late, 8);
    assert_eq!(home.names().len(), 2, "turned over once");
}

#[test]
fn a_line_that_was_cut_short_spoils_only_itself() {
    let (home, _) = Home::with_key();
    fs::write(home.keys().join("audit.log"), "{\"ts\":\"2026-").unwrap();
    home.lf("keys list").ok();
    let log = home.audit();
    let last = log.lines().last().unwrap();
    assert!(
        log.lines().count() == 2 && json::from_str::<json::Object>(last).is_ok(),
        "{log}"
    );
}

#[test]
fn a_log_that_cannot_be_written_is_said_and_stops_nothing() {
    let (home, _) = Home::with_key();
    let (log, outside) = (home.keys().join("audit.log"), home.path().join("outside"));
    fs::remove_file(&log).unwrap();
    fs::write(&outside, "x").unwrap();
    symlink(&outside, &log).unwrap();
    let exported = home.lf("keys export Prod --i-understand").ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    assert!(
        exported.err.contains("not written to the audit log")
            && exported.err.contains("symbolic link"),
        "{exported}"
    );
    assert_eq!(fs::read(&outside).unwrap(), b"x");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert!(
        home.lf("keys list")
            .ok()
            .err
            .contains("not written to the audit log")
    );
}

#[test]
fn without_a_store_there_is_no_log() {
    let home = Home::new();
    assert_eq!(
        home.lf("keys list").ok().err.lines().count(),
        1,
        "only that there are no keys"
    );
    assert!(!home.keys().exists());
}

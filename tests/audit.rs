//! The audit log: one line per event, bounded, never in the way; and what can be read from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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
        ("keys export Old --i-understand", "", 1, "export", Some("key_not_found")),
        ("keys add --provider openai", "", 2, "add", Some("empty_key")),
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
        assert!(support::is_timestamp(&text(last, "ts")));
    }
    assert_eq!(mode(&home.keys().join("audit.log")), 0o600);
}

#[test]
fn a_value_does_not_leave_without_its_line() {
    let (home, id) = Home::with_key();
    let log = home.path().join("strace.log");
    home.lf("keys export Prod --i-understand").trace(&log, "write").ok();
    let log = fs::read_to_string(&log).unwrap();
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("no {what} in {log}"));
    assert!(at("audit.log>") < at("\"sk-test"), "{log}");
    // And a rotation that is killed has left a line for each key that it changed.
    let second = home.add("openai", "Second", VALUE);
    let before = [&id, &second].map(|id| fs::read(home.file(id)).unwrap());
    let lines_before = lines(&home).len();
    home.lf("keys rotate --all").inject("renameat:signal=SIGKILL:when=2").go();
    let changed = [&id, &second]
        .iter()
        .zip(before)
        .filter(|(id, before)| fs::read(home.file(id)).unwrap() != *before)
        .count();
    assert!(changed == 0 || lines(&home).len() > lines_before, "{changed}");
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
    let (log, older) = (home.keys().join("audit.log"), home.keys().join("audit.log.1"));
    fs::write(&older, "the generation before").unwrap();
    let limit = 5 * 1024 * 1024;
    fs::write(&log, format!("{}\n", "x".repeat(limit - 2))).unwrap();
    home.lf("keys list").ok();
    assert_eq!(fs::read(&older).unwrap(), b"the generation before", "one byte short of the limit");
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
    fs::write(home.keys().join("audit.log"), format!("{}\n", "x".repeat(5 * 1024 * 1024))).unwrap();
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
    assert!(log.lines().count() == 2 && json::from_str::<json::Object>(last).is_ok(), "{log}");
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
        exported.err.contains("could not write this to the audit log")
            && exported.err.contains("symbolic link"),
        "{exported}"
    );
    assert_eq!(fs::read(&outside).unwrap(), b"x");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert!(home.lf("keys list").ok().err.contains("could not write this to the audit log"));
}

#[test]
fn without_a_store_there_is_no_log() {
    let home = Home::new();
    assert_eq!(home.lf("keys list").ok().err.lines().count(), 1, "only that there are no keys");
    assert!(!home.keys().exists());
}

/// A line about the use of a key, `minute` minutes into the year.
fn used(minute: usize, kind: &str, id: &str, ok: &str) -> String {
    let (hour, day) = (minute / 60 % 24, minute / 1440 + 1);
    format!(
        r#"{{"ts":"2026-01-{day:02}T{hour:02}:{:02}:00.000Z","kind":"{kind}","keyId":"{id}","ok":{ok}}}"#,
        minute % 60
    )
}

#[test]
fn the_last_use_is_found_wherever_it_stands_in_either_generation() {
    let (home, first) = Home::with_key();
    let envelope = fs::read_to_string(home.file(&first)).unwrap();
    let ids: Vec<String> = (0..60).map(|n| format!("{n:020}")).collect();
    for id in &ids {
        fs::write(home.file(id), envelope.replace(&first, id)).unwrap();
    }
    // Built from the end: each use lies across another border of the pieces that are read, each a bit
    // further on, from right before it to right behind it.
    let piece = 64 * 1024;
    let mut generations = [String::new(), String::new()];
    for (n, id) in ids.iter().enumerate() {
        let log = &mut generations[n / 30];
        let line = used(n, "export", id, "true") + "\n";
        let after = piece * (n % 30 + 1) + n % 30 * line.len() / 28 - line.len();
        let stale = [("resolve", "false"), ("list", "true"), ("resolve", "1"), ("run", "tru")];
        let mut filler: String = stale.map(|(kind, ok)| used(9999, kind, id, ok) + "\n").concat();
        filler.push_str(&(used(0, "run", &ids[59 - n], "true") + "\n"));
        let room = after - log.len() - filler.len();
        filler.push_str(&("x".repeat(room - 1) + "\n"));
        *log = line + &filler + log;
    }
    fs::write(home.keys().join("audit.log.1"), &generations[1]).unwrap();
    fs::write(home.keys().join("audit.log"), &generations[0]).unwrap();
    let listed = home.bare("keys list --json --last-used").ok();
    let keys: Vec<json::Object> = json::from_str(&listed.out).unwrap();
    assert_eq!(keys.len(), 61);
    for key in &keys {
        let id = text(key, "id");
        match ids.iter().position(|known| *known == id) {
            Some(n) => assert_eq!(text(key, "lastUsedAt"), format!("2026-01-01T00:{n:02}:00.000Z")),
            None => assert!(matches!(key.get("lastUsedAt"), Some(Value::Null)), "{key:?}"),
        }
    }
    let table = home.bare("keys list").ok().out;
    let row = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(table.lines().next().unwrap().contains("LAST USED"), "{table}");
    assert!(row(&ids[7]).contains("  2026-01-01T00:07Z  "), "{table}");
    assert!(row(&first).contains("  -  "), "{table}");
}

#[test]
fn an_export_is_a_use_and_a_failed_one_is_none() {
    let (home, id) = Home::with_key();
    let last = || {
        let listed = home.lf("keys list --json --last-used").ok().out;
        let keys: Vec<json::Object> = json::from_str(&listed).unwrap();
        format!("{:?}", keys[0].get("lastUsedAt"))
    };
    home.lf("keys export Prod --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "not the one that it is under")
        .fails(1, "decryption_failed");
    home.lf("keys rotate Prod").ok();
    assert_eq!(last(), "Some(Null)");
    home.value(&id);
    assert!(last().contains("20"), "{}", last());
}

#[test]
fn audit_reads_both_generations_oldest_first_and_counts_what_is_no_event() {
    let (home, id) = Home::with_key();
    let (log, older) = (home.keys().join("audit.log"), home.keys().join("audit.log.1"));
    fs::write(&older, used(1, "resolve", &id, "true") + "\ngarbage\n").unwrap();
    let mut bytes = (used(2, "new_kind", &id, "true") + "\n\n{\"ts\":\"2026-\n").into_bytes();
    bytes.extend(b"\xff\xfe\n");
    bytes.extend(used(3, "resolve", "aaaaaaaaaaaaaaaaaaaaaaaa", "false").bytes());
    fs::write(&log, &bytes).unwrap();
    let read = home.bare("keys audit").ok();
    let rows: Vec<Vec<&str>> =
        read.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TIME", "KIND", "RESULT", "KEY", "CONTEXT"]);
    assert_eq!(
        rows[1..].iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>(),
        [
            ["resolve", "ok", &id],
            ["new_kind", "ok", &id],
            ["resolve", "failed", "aaaaaaaaaaaaaaaaaaaaaaaa"],
        ]
    );
    assert!(read.err.contains("not events: 3"), "{read}");
    let json = home.bare("keys audit --json").ok();
    let events: Vec<json::Object> = json::from_str(&json.out).unwrap();
    assert_eq!(
        events.iter().map(|event| text(event, "kind")).collect::<Vec<_>>(),
        ["resolve", "new_kind", "resolve"]
    );
    assert!(json.err.starts_with("{\"warning\":"), "{json}");
    assert_eq!(fs::read(&log).unwrap(), bytes, "reading is no event");
}

#[test]
fn audit_shows_one_key_a_span_or_the_tail() {
    let home = Home::new();
    let (one, two) = (home.add("openai", "One", VALUE), home.add("groq", "Two", VALUE));
    home.lf("keys remove One --yes").ok();
    let old = used(1, "resolve", &two, "true");
    fs::write(home.keys().join("audit.log.1"), old).unwrap();
    let kinds = |flags: &str| {
        let read = home.bare(&format!("keys audit {flags}")).ok();
        let kind = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
        read.out.lines().skip(1).map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(""), ["resolve", "add", "add", "remove"]);
    assert_eq!(kinds(&format!("--key {one}")), ["add", "remove"], "a key that is gone");
    assert_eq!(kinds("--key Two"), ["resolve", "add"]);
    assert_eq!(kinds("--key groq --tail 1"), ["add"]);
    assert_eq!(kinds("--tail 2"), ["add", "remove"]);
    assert_eq!(kinds("--tail 0").len() + kinds("--since 2999-01-01").len(), 0);
    assert_eq!(kinds("--since 1h"), ["add", "add", "remove"]);
    assert_eq!(kinds("--since 2026-01-01").len(), 4);
    assert_eq!(kinds("--since 2026-01-01T00:01:00.001Z").len(), 3);
    home.bare("keys audit --key One").fails(1, "key_not_found");
    home.bare("keys audit --key aaaaaaaaaaaaaaaaaaaaaaaa").fails(1, "key_not_found");
    let secret =
        home.bare("keys audit --key sk-test-0123456789abcdefghij").fails(2, "secret_in_argv");
    assert!(!secret.err.contains("0123456789"), "{secret}");
}

#[test]
fn what_the_log_says_cannot_drive_a_terminal_and_json_keeps_it() {
    let (home, _) = Home::with_key();
    let line = r#"{"ts":"2026-01-02T03:04:05.678Z","kind":"a\u001b[2Jb","ok":false,"reason":"c\u202ed","context":{"e":"f g\u0007\"","h":""},"later":[1]}"#;
    fs::write(home.keys().join("audit.log"), line).unwrap();
    let read = home.bare("keys audit").ok();
    assert!(!read.out.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{read}");
    assert!(read.out.contains("a\\u{1b}[2Jb"), "{read}");
    assert_eq!(home.bare("keys audit --json").ok().out, format!("[{line}]\n"));
}

#[test]
fn of_a_log_that_something_else_let_grow_audit_shows_the_end() {
    let (home, id) = Home::with_key();
    let early = (used(1, "resolve", &id, "true") + "\n").repeat(80_000);
    let late = used(59, "export", &id, "true");
    assert!(early.len() > 7 * 1024 * 1024);
    fs::write(home.keys().join("audit.log.1"), early + &late + "\n").unwrap();
    fs::remove_file(home.keys().join("audit.log")).unwrap();
    let read = home.bare("keys audit --tail 1 --json").ok();
    assert_eq!(read.out, format!("[{late}]\n"));
}

#[test]
fn audit_of_no_log_is_empty() {
    let home = Home::new();
    let none = home.bare("keys audit").ok();
    assert!(none.out.is_empty() && none.err.contains("no such events"), "{none}");
    assert_eq!(home.bare("keys audit --json").ok().out, "[]\n");
    assert!(!home.keys().exists());
    let (home, _) = Home::with_key();
    fs::remove_file(home.keys().join("audit.log")).unwrap();
    symlink("/dev/null", home.keys().join("audit.log")).unwrap();
    home.bare("keys audit").fails(1, "symlink_refused");
}

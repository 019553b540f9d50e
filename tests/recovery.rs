//! The ways back: a sheet of paper, a copy of the directory, and what the predecessor left in the clear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::bus::Bus;
use support::gateway::{Gateway, bearer};
use support::pty::Terminal;
use support::{Home, PASSPHRASE, VALUE, cores, mode};

fn sheet(home: &Home) -> String {
    home.lf("keys recovery export --i-understand").ok().out
}

/// The lines that a person types.
fn numbered(sheet: &str) -> Vec<&str> {
    let is_numbered = |line: &&str| line.trim().split(' ').next().unwrap().parse::<u8>().is_ok();
    sheet.lines().filter(is_numbered).collect()
}

/// A fresh machine: a keychain with nothing in it, and a copy of these keys.
fn second_machine(first: &Home) -> (Home, Bus) {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    fs::create_dir_all(home.path().join(".lenserfight")).unwrap();
    let copied = Command::new("cp").arg("-r").args([first.keys(), home.keys()]).status();
    assert!(copied.unwrap().success());
    (home, bus)
}

fn export(home: &Home, bus: &Bus, id: &str) -> String {
    let run = home.bare(&format!("keys export --i-understand -- {id}"));
    bus.on(run).ok().out.trim_end().to_owned()
}

#[test]
fn whoever_has_the_sheet_and_a_copy_of_the_directory_gets_every_key_back() {
    let (first, id) = Home::with_key();
    let other = first.add("mistral", "Other", "other");
    let sheet = sheet(&first);
    let (home, bus) = second_machine(&first);
    let imported = bus.on(home.bare("keys recovery import")).input(sheet).ok();
    assert!(imported.out.contains("opens 2 of 2 keys"), "{imported}");
    assert_eq!(export(&home, &bus, &id), VALUE);
    assert_eq!(export(&home, &bus, &other), "other");
    assert_eq!(bus.lookup("lenserfight-keys", "master"), PASSPHRASE);
    bus.on(home.bare("keys doctor")).ok();
}

#[test]
fn a_person_types_the_sheet_line_by_line_and_a_mistyped_line_again() {
    let (first, id) = Home::with_key();
    let sheet = sheet(&first);
    let lines = numbered(&sheet);
    let (home, bus) = second_machine(&first);
    let mut terminal = Terminal::start(&bus.on(home.bare("keys recovery import")));
    terminal.sees("line 1 of the sheet");
    terminal.types(&format!("{}\r", lines[0].trim().to_lowercase()));
    terminal.sees("line 2 of the sheet");
    terminal.types("ABCDE FGHJK 00\r");
    terminal.sees("line 2 has a mistyped");
    for line in &lines[1..] {
        terminal.types(&format!("{}\r", line.trim().split_once(' ').unwrap().1));
    }
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains(&lines[0].trim()[3..8]), "nothing typed is shown: {screen}");
    assert_eq!(export(&home, &bus, &id), VALUE);
}

#[test]
fn a_sheet_that_does_not_fit_changes_nothing() {
    let (first, _) = Home::with_key();
    let good = sheet(&first);
    let (home, bus) = second_machine(&first);
    let line = numbered(&good)[0];
    let typo = good.replace(line, &format!("{}U{}", &line[..9], &line[10..]));
    let foreign = "correct horse battery staple\n".to_owned();
    let cut = numbered(&good)[..1].join("\n");
    for input in [typo, foreign, cut, String::new()] {
        bus.on(home.bare("keys recovery import")).input(input).fails(2, "invalid_sheet");
    }
    // The sheet of another store.
    let other = Home::new();
    other
        .bare("keys add --provider openai")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "some other passphrase")
        .input("v")
        .ok();
    let others = other
        .bare("keys recovery export --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "some other passphrase")
        .ok()
        .out;
    let refused = bus.on(home.bare("keys recovery import")).input(others).fails(2, "refused");
    assert!(refused.err.contains("does not open the only key"), "{refused}");
    assert_eq!(bus.lookup("lenserfight-keys", "master"), "");
    // Nothing to try it on, and a passphrase that rules anyway.
    let empty = Home::new();
    bus.on(empty.bare("keys recovery import")).input(good.as_str()).fails(2, "refused");
    home.lf("keys recovery import").input(good.as_str()).fails(2, "usage");
    home.bare("keys recovery import").input(good).fails(1, "keychain_unavailable");
}

#[test]
fn a_sheet_replaces_a_passphrase_that_opens_nothing_here_and_joins_one_that_does() {
    let (first, id) = Home::with_key();
    let sheet = sheet(&first);
    let (home, bus) = second_machine(&first);
    // As somebody has it who ran init before copying the keys.
    let stale = ["service", "lenserfight-keys", "account", "master"];
    bus.store(&stale, "a passphrase of no use here");
    bus.on(home.bare("keys recovery import")).input(sheet.as_str()).ok();
    assert_eq!(bus.lookup("lenserfight-keys", "master"), PASSPHRASE);
    assert_eq!(export(&home, &bus, &id), VALUE);
    // One key more, under another passphrase: that one stays, and the sheet's goes on record.
    let foreign = "a passphrase with a key of its own";
    let other = Home::new();
    let own = other
        .bare("keys add --provider openai")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", foreign)
        .input("own")
        .ok();
    let own = own.out.trim_end();
    fs::copy(other.file(own), home.file(own)).unwrap();
    bus.store(&stale, foreign);
    let taken = bus.on(home.bare("keys recovery import")).input(sheet).ok();
    assert!(taken.out.contains("the master passphrase stays"), "{taken}");
    assert_eq!(bus.lookup("lenserfight-keys", "master"), foreign);
    assert_eq!(export(&home, &bus, own), "own");
    assert_eq!(export(&home, &bus, &id), VALUE);
    bus.on(home.bare("keys rotate --all")).ok();
    bus.on(home.bare("keys doctor")).ok();
}

#[test]
fn the_sheet_is_printed_only_for_whoever_understands_and_is_worth_something() {
    let (home, id) = Home::with_key();
    let refused = home.lf("keys recovery export").fails(2, "refused");
    assert!(refused.out.is_empty() && !refused.err.contains(PASSPHRASE));
    let printed = home.lf("keys recovery export --i-understand").ok();
    assert!(
        printed.out.is_ascii()
            && printed.out.contains(PASSPHRASE)
            && printed.err.contains("warning")
    );
    assert!(home.audit().contains(r#""command":"keys recovery export""#));
    home.bare("keys recovery export --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "not the one it is")
        .fails(2, "refused");
    // init takes a sheet for the passphrase that it is.
    let (second, bus) = second_machine(&home);
    bus.on(second.bare("keys init --passphrase-stdin")).input(printed.out).ok();
    assert_eq!(export(&second, &bus, &id), VALUE);
}

#[test]
fn a_copy_of_the_directory_brings_back_what_was_removed() {
    let (home, id) = Home::with_key();
    let other = home.add("mistral", "Other", "other");
    let restore = format!("keys restore {}", home.copy().display());
    let before = [&id, &other].map(|id| fs::read(home.file(id)).unwrap());
    home.lf(&format!("keys remove --yes -- {id}")).ok();
    let restored = home.lf(&restore).ok();
    assert_eq!(restored.out, "restored 1 of 2 keys; already here: 1\n", "{restored}");
    let after = [&id, &other].map(|id| fs::read(home.file(id)).unwrap());
    assert_eq!(before, after);
    assert_eq!(mode(&home.file(&id)), 0o600);
    assert_eq!(home.value(&id), VALUE);
    assert!(home.audit().contains(r#""kind":"add","keyId""#));
    let again = home.lf(&restore).ok();
    assert!(again.out.starts_with("restored 0 of 2 keys"), "{again}");
}

#[test]
fn restore_never_overwrites() {
    let (home, id) = Home::with_key();
    let dir = home.copy();
    let restore = format!("keys restore {}", dir.display());
    let late = home.add("openai", "Late", "late");
    // The same value, encrypted anew, is no other one.
    home.lf(&format!("keys rotate -- {id}")).ok();
    assert_eq!(home.lf(&restore).ok().out, "restored 0 of 1 key; already here: 1\n");
    home.lf(&format!("keys rotate --new-value -- {id}")).input("newer").ok();
    let differs = home.lf(&restore).ok();
    assert!(differs.out.contains("now a second key: 1"), "{differs}");
    let is_new = |name: &String| !name.contains(&id) && !name.contains(&late);
    let second = home.names().into_iter().find(is_new).unwrap().replace(".json", "");
    assert!(differs.err.contains(&id) && differs.err.contains(&second), "{differs}");
    for (id, value) in [(&id, "newer"), (&late, "late"), (&second, VALUE)] {
        assert_eq!(home.value(id), value);
    }
    // Nor what is damaged, or no file at all; but what is gone comes back.
    home.lf(&format!("keys remove --yes -- {second}")).ok();
    for damage in ["{}", ""] {
        fs::write(home.file(&id), damage).unwrap();
        home.lf(&restore).ok();
        assert_eq!(fs::read_to_string(home.file(&id)).unwrap(), damage);
    }
    fs::remove_file(home.file(&id)).unwrap();
    symlink("/nowhere", home.file(&id)).unwrap();
    home.lf(&restore).ok();
    assert!(fs::symlink_metadata(home.file(&id)).unwrap().is_symlink());
    assert_eq!(home.names().len(), 3, "the value is here since the first damage");
    fs::remove_file(home.file(&id)).unwrap();
    home.lf(&restore).ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn what_is_no_copy_of_a_keys_directory_is_said_to_be_none() {
    let (home, id) = Home::with_key();
    let dir = home.copy();
    let restore = |path: &Path| home.lf(&format!("keys restore {}", path.display()));
    let (file, empty) = (dir.join(format!("{id}.json")), home.path().join("empty"));
    let text = empty.join("text.json");
    fs::create_dir(&empty).unwrap();
    fs::write(&text, "{}").unwrap();
    for (path, why) in [
        (&text, "its version is not 1"),
        (&empty, "it has no keys"),
        (&home.path().join("none"), "it does not exist"),
    ] {
        let refused = restore(path).fails(2, "usage");
        let sentence = format!("is not a copy of keys: {why}");
        assert!(refused.err.contains(&sentence), "{refused}");
    }
    // What is damaged in one is named, and keeps nobody from the rest; nothing outside is taken for a key.
    let other = home.add("openai", "Other", "other");
    fs::copy(home.file(&other), dir.join(format!("{other}.json"))).unwrap();
    fs::write(&file, "{}").unwrap();
    let linked = "l".repeat(32);
    symlink(home.file(&other), dir.join(format!("{linked}.json"))).unwrap();
    for id in [&id, &other] {
        fs::remove_file(home.file(id)).unwrap();
    }
    let incomplete = restore(&dir).fails(1, "incomplete");
    assert!(incomplete.err.contains(&id) && incomplete.err.contains(&linked), "{incomplete}");
    assert_eq!(home.names(), [format!("{other}.json")]);
}

#[test]
fn keys_that_do_not_open_are_not_put_among_others_that_do() {
    let (first, id) = Home::with_key();
    let dir = first.copy();
    let restore = format!("keys restore {}", dir.display());
    let home = Home::new();
    let with = |arguments: &str| {
        home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", "another passphrase of one's own")
    };
    let own = with("keys add --provider openai").input("v").ok().out;
    let refused = with(&restore).fails(2, "refused");
    assert!(refused.err.contains(&id), "it is named: {refused}");
    assert_eq!(home.names().len(), 1);
    // Those that do open are restored all the same.
    let file = format!("{}.json", own.trim_end());
    fs::rename(home.keys().join(&file), dir.join(&file)).unwrap();
    with("keys add --provider openai").input("v").ok();
    let mixed = with(&restore).fails(1, "incomplete");
    assert!(mixed.out.starts_with("restored 1 of 2 keys"), "{mixed}");
    assert!(home.names().contains(&file) && home.names().len() == 2);
    fs::remove_file(dir.join(&file)).unwrap();
    // On a machine with nothing but the copy they are welcome, and their passphrase is asked for.
    let fresh = Home::new();
    let restored = fresh.bare(&restore).ok();
    assert!(restored.err.contains("recovery import"), "{restored}");
    assert_eq!(fresh.lf("keys export Prod --i-understand").ok().out, format!("{VALUE}\n"));
}

/// Where the predecessor leaves a secret if it finds no keychain.
fn left(home: &Home, name: &str) -> PathBuf {
    let dir = home.path().join(".lenserfight/gateway/keys");
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

const MASTER: &str = "bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy";
const TOKEN: &str = "bGVuc2VyZmlnaHQtZ2F0ZXdheS1iZWFyZXI__d2ViLXBhaXI";

#[test]
fn a_predecessors_plaintext_moves_into_the_keychain_and_its_browser_stays_paired() {
    let (home, id) = Home::with_key();
    let bus = Bus::with_keyring(&home);
    let token = "t".repeat(43);
    fs::write(left(&home, MASTER), PASSPHRASE).unwrap();
    fs::write(left(&home, TOKEN), &token).unwrap();
    fs::write(left(&home, "other__file"), "not ours").unwrap();
    let report = bus.on(home.bare("keys doctor")).fails(3, "checks_failed");
    assert!(
        report.out.matches("FAIL  plaintext_passphrase").count() == 2
            && report.out.contains("lf keys adopt"),
        "{report}"
    );
    let refused = bus.on(home.bare("keys init")).fails(2, "refused");
    assert!(refused.err.contains("lf keys adopt"), "{refused}");

    let adopted = bus.on(home.bare("keys adopt")).ok();
    assert!(adopted.out.contains("token"), "{adopted}");
    assert_eq!(export(&home, &bus, &id), VALUE);
    assert!(!left(&home, MASTER).exists() && !left(&home, TOKEN).exists());
    assert!(left(&home, "other__file").exists(), "the rest is left alone");
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let bearer = bearer(&token);
    assert_eq!(gateway.ask("GET /keys", &[("Authorization", &bearer)], "").status, 200);
    bus.on(home.bare("keys doctor")).ok();
    bus.on(home.bare("keys adopt")).ok();
}

#[test]
fn adopt_removes_nothing_that_is_not_safe_in_the_keychain() {
    let (home, _) = Home::with_key();
    let file = left(&home, MASTER);
    fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    let refused = home.bare("keys adopt").fails(1, "keychain_unavailable");
    assert!(refused.err.contains(MASTER) && refused.err.contains("_PASSPHRASE_FILE"), "{refused}");
    let bus = Bus::with_keyring(&home);
    fs::write(&file, "a passphrase that opens nothing").unwrap();
    bus.on(home.bare("keys adopt")).fails(2, "refused");
    assert!(file.exists() && bus.lookup("lenserfight-keys", "master").is_empty());
    // Killed at each step, it can be run again.
    fs::write(&file, PASSPHRASE).unwrap();
    for fault in [
        "openat:signal=SIGKILL:when=60",
        "fsync:signal=SIGKILL:when=1",
        "unlinkat:signal=SIGKILL:when=1",
    ] {
        let _ = bus.on(home.bare("keys adopt")).inject(fault).on_core(&cores()[0]).go();
        assert!(
            fs::read_to_string(&file).is_ok_and(|text| text == PASSPHRASE)
                || bus.lookup("lenserfight-keys", "master") == PASSPHRASE,
            "{fault}"
        );
    }
    bus.on(home.bare("keys adopt")).ok();
    assert!(!file.exists());
    assert_eq!(bus.lookup("lenserfight-keys", "master"), PASSPHRASE);
    // A file that says something else than the keychain, which opens everything, stays.
    fs::write(&file, "another passphrase than the right").unwrap();
    bus.on(home.bare("keys adopt")).fails(2, "refused");
    assert!(file.exists());
}

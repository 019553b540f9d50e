//! The ways back: a sheet of paper, a backup, and what the predecessor left in the clear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::PathBuf;
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
    let copied = Command::new("cp")
        .arg("-r")
        .args([first.keys(), home.keys()])
        .status();
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
    assert!(
        !screen.contains(&lines[0].trim()[3..8]),
        "nothing typed is shown: {screen}"
    );
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
        bus.on(home.bare("keys recovery import"))
            .input(input)
            .fails(2, "invalid_sheet");
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
    let refused = bus
        .on(home.bare("keys recovery import"))
        .input(others)
        .fails(2, "refused");
    assert!(refused.err.contains("opens none of the 1 key"), "{refused}");
    assert_eq!(bus.lookup("lenserfight-keys", "master"), "");
    // Nothing to try it on, and a passphrase that rules anyway.
    let empty = Home::new();
    bus.on(empty.bare("keys recovery import"))
        .input(good.as_str())
        .fails(2, "refused");
    home.lf("keys recovery import")
        .input(good.as_str())
        .fails(2, "usage");
    home.bare("keys recovery import")
        .input(good)
        .fails(1, "keychain_unavailable");
}

#[test]
fn a_sheet_replaces_a_passphrase_that_opens_nothing_here_and_joins_one_that_does() {
    let (first, id) = Home::with_key();
    let sheet = sheet(&first);
    let (home, bus) = second_machine(&first);
    // As somebody has it who ran init before copying the keys.
    let stale = ["service", "lenserfight-keys", "account", "master"];
    bus.store(&stale, "a passphrase of no use here");
    bus.on(home.bare("keys recovery import"))
        .input(sheet.as_str())
        .ok();
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
    bus.on(second.bare("keys init --passphrase-stdin"))
        .input(printed.out)
        .ok();
    assert_eq!(export(&second, &bus, &id), VALUE);
}

#[test]
fn a_backup_brings_back_what_was_removed_and_is_plain_tar() {
    let (home, id) = Home::with_key();
    let other = home.add("mistral", "Other", "other");
    let file = home.path().join("backup.tar");
    let done = home.words(&["keys", "backup", file.to_str().unwrap()]).ok();
    assert!(done.out.contains("2 keys"), "{done}");
    assert_eq!(mode(&file), 0o600);
    let bytes = fs::read(&file).unwrap();
    assert!(
        !bytes
            .windows(5)
            .any(|window| window == &VALUE.as_bytes()[..5])
    );
    let listed = Command::new("tar").arg("tf").arg(&file).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(&format!("{id}.json\n")) && listed.contains(&other),
        "{listed}"
    );

    let (one, two) = (
        fs::read(home.file(&id)).unwrap(),
        fs::read(home.file(&other)).unwrap(),
    );
    home.lf(&format!("keys remove --yes -- {id}")).ok();
    let restored = home.lf(&format!("keys restore {}", file.display())).ok();
    assert!(
        restored.out.starts_with("1 of 2 keys are restored"),
        "{restored}"
    );
    assert_eq!(
        (
            fs::read(home.file(&id)).unwrap(),
            fs::read(home.file(&other)).unwrap()
        ),
        (one, two)
    );
    home.lf(&format!("keys restore {}", file.display())).ok();
    assert!(home.audit().contains(r#""kind":"add","keyId""#));
}

#[test]
fn a_backup_never_overwrites_unless_told() {
    let (home, id) = Home::with_key();
    let file = home.path().join("backup.tar");
    let on = |command: &str| home.lf(&format!("{command} {}", file.display()));
    fs::write(&file, "mine").unwrap();
    on("keys backup").fails(2, "refused");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    on("keys backup --force").ok();
    home.lf(&format!("keys backup {}/none/b.tar", home.path().display()))
        .fails(1, "io_error");

    home.lf(&format!("keys rotate --new-value -- {id}"))
        .input("newer")
        .ok();
    let gone = home.add("openai", "Late", "late");
    let refused = on("keys restore").fails(2, "refused");
    assert!(
        refused.err.contains(&id) && refused.err.contains("--missing"),
        "{refused}"
    );
    assert_eq!(home.value(&id), "newer");
    on("keys restore --missing").ok();
    assert_eq!(home.value(&id), "newer");
    on("keys restore --force").ok();
    assert_eq!(home.value(&id), VALUE);
    assert_eq!(home.value(&gone), "late");
    // A damaged key is not the same either, and comes back when told.
    fs::write(home.file(&id), "{}").unwrap();
    on("keys restore").fails(2, "refused");
    on("keys restore --force").ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn a_truncated_changed_or_foreign_backup_is_refused_whole() {
    let (home, id) = Home::with_key();
    let file = home.path().join("backup.tar");
    let restore = || home.lf(&format!("keys restore {}", file.display()));
    home.lf(&format!("keys backup {}", file.display())).ok();
    let good = fs::read(&file).unwrap();
    fs::remove_file(home.file(&id)).unwrap();
    let mut changed = good.clone();
    changed[600] ^= 1;
    let tar = |name: &str| {
        fs::write(home.path().join(name), "x").unwrap();
        let made = Command::new("tar")
            .args(["cf", "-", "-C"])
            .arg(home.path())
            .arg(name)
            .output();
        made.unwrap().stdout
    };
    for (bytes, reason) in [
        (good[..good.len() / 2].to_vec(), "cut short"),
        (good[..good.len() - 512].to_vec(), "cut short"),
        (changed, "was changed"),
        (tar("notes.txt"), "not made by lf"),
        (b"PK\x03\x04".to_vec(), "cut short"),
        (Vec::new(), "cut short"),
    ] {
        fs::write(&file, bytes).unwrap();
        let refused = restore().fails(1, "corrupt_backup");
        assert!(refused.err.contains(reason), "{reason}: {refused}");
        assert!(home.names().is_empty());
    }
    fs::remove_file(&file).unwrap();
    restore().fails(1, "io_error");
    fs::write(&file, good).unwrap();
    restore().ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn keys_that_do_not_open_are_not_put_among_others_that_do() {
    let (first, _) = Home::with_key();
    let file = first.path().join("backup.tar");
    first.lf(&format!("keys backup {}", file.display())).ok();
    let restore = format!("keys restore {}", file.display());
    let home = Home::new();
    let with = |arguments: &str| {
        home.bare(arguments).env(
            "LENSERFIGHT_KEYS_PASSPHRASE",
            "another passphrase of one's own",
        )
    };
    with("keys add --provider openai").input("v").ok();
    with(&restore).fails(2, "refused");
    assert_eq!(home.names().len(), 1);
    // On a machine with nothing but the backup they are welcome, and their passphrase is asked for.
    let fresh = Home::new();
    let restored = fresh.bare(&restore).ok();
    assert!(restored.err.contains("recovery import"), "{restored}");
    assert_eq!(
        fresh.lf("keys export Prod --i-understand").ok().out,
        format!("{VALUE}\n")
    );
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
    assert!(
        left(&home, "other__file").exists(),
        "the rest is left alone"
    );
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let bearer = bearer(&token);
    assert_eq!(
        gateway
            .ask("GET /keys", &[("Authorization", &bearer)], "")
            .status,
        200
    );
    bus.on(home.bare("keys doctor")).ok();
    bus.on(home.bare("keys adopt")).ok();
}

#[test]
fn adopt_removes_nothing_that_is_not_safe_in_the_keychain() {
    let (home, _) = Home::with_key();
    let file = left(&home, MASTER);
    fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    let refused = home.bare("keys adopt").fails(1, "keychain_unavailable");
    assert!(
        refused.err.contains(MASTER) && refused.err.contains("_PASSPHRASE_FILE"),
        "{refused}"
    );
    home.lf("keys adopt").fails(2, "usage");
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
        let _ = bus
            .on(home.bare("keys adopt"))
            .inject(fault)
            .on_core(&cores()[0])
            .go();
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

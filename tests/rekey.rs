//! A new master passphrase: for everything, with whatever happens in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::thread;

use support::bus::Bus;
use support::gateway::{Gateway, bearer, token};
use support::pty::Terminal;
use support::{Home, Run, VALUE, cores};

const NEW: &str = "a new passphrase of some length";

fn with(home: &Home, passphrase: &str, arguments: &str) -> Run {
    home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase)
}

fn exported(run: Run) -> String {
    run.ok().out.trim_end().to_owned()
}

/// A home with two keys under a passphrase in its keychain.
fn two_keys() -> (Home, Bus, [String; 2]) {
    let (home, bus) = Home::with_keychain();
    let ids = ["One", "Two"].map(|label| {
        let add = home.bare(&format!("keys add --provider openai --label {label}"));
        exported(bus.on(add).input(label))
    });
    (home, bus, ids)
}

fn export(home: &Home, bus: &Bus, id: &str) -> String {
    exported(bus.on(home.bare(&format!("keys export --i-understand -- {id}"))))
}

/// Fails at this call, once everything is staged: as a kill there would, but for the clean-up.
fn killed_at(home: &Home, bus: &Bus, fault: &str) {
    let killed = bus.on(home.bare("keys rekey")).inject(fault).on_core(&cores()[0]).go();
    assert_ne!(killed.status, Some(0), "{killed}");
}

#[test]
fn everything_opens_with_the_new_passphrase_and_nothing_with_the_old() {
    let (home, bus, ids) = two_keys();
    let old = bus.lookup("lenserfight-keys", "master");
    let before = ids.each_ref().map(|id| fs::read(home.file(id)).unwrap());
    let done = bus.on(home.bare("keys rekey")).ok();
    assert!(done.out.contains("every key (2) is re-encrypted"), "{done}");
    let new = bus.lookup("lenserfight-keys", "master");
    assert!(new != old && new.len() == 43);
    assert!(!done.out.contains(&new) && !done.err.contains(&new));
    for (id, label) in ids.iter().zip(["One", "Two"]) {
        assert_eq!(export(&home, &bus, id), label);
        with(&home, &old, &format!("keys export --i-understand -- {id}"))
            .fails(1, "decryption_failed");
    }
    assert!(ids.iter().zip(before).all(|(id, old)| fs::read(home.file(id)).unwrap() != old));
    assert_eq!(home.names().len(), 2, "nothing stays behind");
    assert_eq!(bus.lookup("lenserfight-keys", "master.next"), "");
    // The change itself, and each key.
    assert_eq!(home.audit().matches("keys rekey").count(), 3);
    bus.on(home.bare("keys doctor")).ok();
}

#[test]
fn a_passphrase_of_ones_own_comes_from_standard_input_and_is_long_enough() {
    let (home, bus, ids) = two_keys();
    for (input, code) in [("short\n", "passphrase_invalid"), ("", "passphrase_invalid")] {
        bus.on(home.bare("keys rekey --passphrase-stdin")).input(input).fails(2, code);
    }
    let old = bus.lookup("lenserfight-keys", "master");
    bus.on(home.bare("keys rekey --passphrase-stdin")).input(old.as_str()).fails(2, "refused");
    assert_eq!(home.names().len(), 2, "nothing was begun");
    bus.on(home.bare("keys rekey --passphrase-stdin")).input(format!("{NEW}\n")).ok();
    assert_eq!(bus.lookup("lenserfight-keys", "master"), NEW);
    assert_eq!(export(&home, &bus, &ids[0]), "One");
}

#[test]
fn an_old_store_with_a_short_passphrase_gets_a_longer_one() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    fs::create_dir_all(home.keys()).unwrap();
    fs::write(home.file("short-passphrase-0001"), SHORT).unwrap();
    bus.store(&["service", "lenserfight-keys", "account", "master"], "short");
    bus.on(home.bare("keys rotate Before")).fails(2, "passphrase_invalid");
    bus.on(home.bare("keys rekey")).ok();
    assert_eq!(export(&home, &bus, "Before"), "sk-from-before");
    bus.on(home.bare("keys rotate Before")).ok();
}

/// Made by Node's crypto, under the passphrase `short`.
const SHORT: &str = r#"{"v":1,"alg":"aes-256-gcm","kdf":"scrypt","salt":"XZetMtAYHq9JjounTN8ASQ==","iv":"HtMKIWw2TQBKXEV6","ciphertext":"qkHZfiSbsgKpJ2vWaK8=","tag":"FktvuzhUL4yQr0qCev3ZkQ==","meta":{"id":"short-passphrase-0001","provider":"openai","label":"Before","createdAt":"2026-01-02T03:04:05.678Z"}}"#;

#[test]
fn with_a_passphrase_from_the_environment_both_open_until_the_new_one_comes() {
    let (home, id) = Home::with_key();
    home.lf("keys rekey").fails(2, "usage");
    let waiting = home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    assert!(
        waiting.out.contains("LENSERFIGHT_KEYS_PASSPHRASE") && waiting.out.contains("--undo"),
        "it says what to set: {waiting}"
    );
    // Whoever has the old passphrase goes on reading, and is told why they cannot write.
    assert_eq!(home.value(&id), VALUE);
    for command in [
        "keys add --provider openai".to_owned(),
        format!("keys rotate -- {id}"),
        format!("keys rotate --new-value -- {id}"),
        "keys rekey --passphrase-stdin".to_owned(),
        "keys rekey --finish".to_owned(),
        "keys restore elsewhere".to_owned(),
        "keys init --force".to_owned(),
    ] {
        let refused = home.lf(&command).fed("v").fails(2, "rekey_pending");
        assert!(refused.err.contains("keys rekey --undo"), "{refused}");
    }
    home.lf("keys doctor").ok();
    with(&home, NEW, "keys doctor").ok();
    // A label needs no passphrase, and arrives under both.
    home.bare(&format!("keys update --label New -- {id}")).ok();
    let switched = with(&home, NEW, "keys export New --i-understand").ok();
    assert_eq!(switched.out.trim_end(), VALUE);
    assert!(switched.err.contains("has finished"), "{switched}");
    assert_eq!(home.names(), [format!("{id}.json")]);
    home.lf("keys export New --i-understand").fails(1, "decryption_failed");
    with(&home, NEW, "keys doctor").ok();
}

#[test]
fn a_waiting_change_can_be_dropped() {
    let (home, id) = Home::with_key();
    let before = fs::read(home.file(&id)).unwrap();
    home.lf("keys rekey --undo").ok();
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    home.lf("keys rekey --undo").ok();
    assert_eq!(fs::read(home.file(&id)).unwrap(), before);
    assert_eq!(home.names().len(), 1);
    home.lf(&format!("keys rotate -- {id}")).ok();
    with(&home, NEW, &format!("keys export --i-understand -- {id}")).fails(1, "decryption_failed");
}

#[test]
fn a_key_that_is_removed_while_a_change_waits_does_not_come_back() {
    let (home, id) = Home::with_key();
    let kept = home.add("openai", "Kept", "kept");
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    let waiting = home.keys().join(format!(".rekey/{id}.json"));
    assert!(waiting.exists());
    home.lf(&format!("keys remove --yes -- {id}")).ok();
    assert!(!waiting.exists(), "nothing of it is left on the disk");
    with(&home, NEW, "keys rekey --finish").ok();
    assert_eq!(home.names(), [format!("{kept}.json")]);
    assert_eq!(exported(with(&home, NEW, "keys export Kept --i-understand")), "kept");
}

#[test]
fn whoever_has_the_passphrase_of_the_moment_reads_every_key() {
    // All is declared ready; the change is named; one key is moved.
    for nth in support::rows([5, 2, 6]) {
        let fault = &format!("renameat:signal=SIGKILL:when={nth}");
        let (home, bus, ids) = two_keys();
        killed_at(&home, &bus, fault);
        let report = bus.on(home.bare("keys doctor")).fails(3, "checks_failed");
        assert!(
            report.out.contains("FAIL  rekey: ") && report.out.contains("rekey --finish"),
            "{fault} {report}"
        );
        assert!(report.out.contains("decryption: 2 of 2 open"), "{fault} {report}");
        // The gateway reads without waiting for anybody to finish.
        let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
        let bearer = bearer(&token(bus.on(home.bare("gateway pair"))));
        for (id, label) in ids.iter().zip(["One", "Two"]) {
            let line = format!("POST /keys/{id}/resolve");
            let answer = gateway.ask(&line, &[("Authorization", &bearer)], "");
            assert!(answer.body.contains(label), "{fault} {answer:?}");
        }
        bus.on(home.bare(&format!("keys rotate -- {}", ids[0]))).ok();
        for (id, label) in ids.iter().zip(["One", "Two"]) {
            assert_eq!(export(&home, &bus, id), label, "{fault}");
        }
        bus.on(home.bare("keys doctor --fix")).ok();
        assert_eq!(home.names().len(), 2, "{fault}");
    }
}

#[test]
fn the_next_command_says_whether_it_finished_or_undid_the_change() {
    for (fault, said) in [
        ("renameat:signal=SIGKILL:when=3", "has undone"),
        ("renameat:signal=SIGKILL:when=5", "has finished"),
    ] {
        let (home, bus, ids) = two_keys();
        killed_at(&home, &bus, fault);
        let next = bus.on(home.bare(&format!("keys rotate -- {}", ids[0]))).ok();
        assert!(next.err.contains(said), "{fault} {next}");
        assert_eq!(home.names().len(), 2);
        let again = bus.on(home.bare(&format!("keys rotate -- {}", ids[0]))).ok();
        assert!(again.err.is_empty(), "{again}");
    }
}

#[test]
fn a_keychain_that_fails_in_the_middle_costs_nothing() {
    let (home, bus, ids) = two_keys();
    // Killed before it moves the first key; and then the keychain is gone.
    killed_at(&home, &bus, "renameat:signal=SIGKILL:when=5");
    bus.freeze();
    bus.on(home.bare(&format!("keys export --i-understand -- {}", ids[0])))
        .fails(1, "keychain_unavailable");
    bus.thaw();
    assert_eq!(export(&home, &bus, &ids[0]), "One");
    assert_eq!(export(&home, &bus, &ids[1]), "Two");
}

#[test]
fn a_key_that_does_not_open_stops_the_change_before_it_begins() {
    let (home, id) = Home::with_key();
    let other = home.add("openai", "Other", "other");
    let text = fs::read_to_string(home.file(&other)).unwrap();
    fs::write(home.file(&other), "{}").unwrap();
    let refused = home.lf("keys rekey --passphrase-stdin").input(NEW).fails(1, "corrupt_envelope");
    assert!(refused.err.contains(&other), "{refused}");
    assert_eq!(home.names().len(), 2, "nothing stays behind");
    fs::write(home.file(&other), text).unwrap();
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn a_gateway_and_other_writers_go_on_during_a_change() {
    let (home, bus, ids) = two_keys();
    let bearer = bearer(&token(bus.on(home.bare("gateway pair"))));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    for round in 0..2 {
        thread::scope(|scope| {
            let change = scope.spawn(|| bus.on(home.bare("keys rekey")).ok());
            scope.spawn(|| {
                let body =
                    format!(r#"{{"provider":"openai","label":"g{round}","rawKey":"g{round}"}}"#);
                let added = gateway.ask("POST /keys", &headers, &body);
                assert_eq!(added.status, 201, "{added:?}");
            });
            scope.spawn(|| {
                bus.on(home.bare(&format!("keys add --provider openai --label c{round}")))
                    .input(format!("c{round}"))
                    .ok()
            });
            scope.spawn(|| {
                bus.on(home.bare(&format!("keys update --rotate -- {}", ids[0])))
                    .input(format!("value {round}"))
                    .ok()
            });
            scope.spawn(|| {
                let line = format!("POST /keys/{}/resolve", ids[1]);
                let answer = gateway.ask(&line, &headers, "");
                assert_eq!(answer.status, 200, "{answer:?}");
            });
            change.join().unwrap();
        });
        for label in ["g", "c"].map(|who| format!("{who}{round}")) {
            assert_eq!(export(&home, &bus, &label), label);
        }
        assert_eq!(export(&home, &bus, &ids[0]), format!("value {round}"));
    }
    bus.on(home.bare("keys doctor")).ok();
    assert_eq!(home.names().len(), 6);
}

#[test]
fn of_two_changes_at_once_one_wins_and_nothing_is_lost() {
    let (home, bus, ids) = two_keys();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> =
            (0..3).map(|_| scope.spawn(|| bus.on(home.bare("keys rekey")).go())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(outcomes.iter().any(|outcome| outcome.status == Some(0)));
    for outcome in outcomes.iter().filter(|outcome| outcome.status != Some(0)) {
        assert!(outcome.err.contains("lf: refused: "), "{outcome}");
    }
    for (id, label) in ids.iter().zip(["One", "Two"]) {
        assert_eq!(export(&home, &bus, id), label);
    }
}

#[test]
fn a_person_sees_how_far_it_is() {
    let (home, bus, _) = two_keys();
    let terminal = Terminal::start(&bus.on(home.bare("keys rekey")));
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("re-encrypting 1/2"), "{screen}");
}

#[test]
fn a_full_disk_in_the_middle_loses_nothing() {
    let (home, id) = Home::with_key();
    let other = home.add("openai", "Other", "other");
    for when in 1..=3 {
        let full = home
            .lf("keys rekey --passphrase-stdin")
            .input(NEW)
            .inject(&format!("write:error=ENOSPC:when={when}"))
            .on_core(&cores()[0])
            .go();
        // The third is the last word: then the change waits.
        assert_eq!(full.status, Some(1), "{full}");
        home.lf("keys rekey --undo").ok();
        assert_eq!((home.value(&id), home.value(&other)), (VALUE.into(), "other".into()));
        assert_eq!(home.names().len(), 2, "nothing stays behind: {full}");
    }
}

#[test]
fn a_store_that_was_elsewhere_still_opens() {
    let (home, bus, _) = two_keys();
    let elsewhere = home.path().join("elsewhere");
    let there =
        |arguments: &str| bus.on(home.bare(arguments)).env("LENSERFIGHT_KEYS_DIR", &elsewhere);
    there("keys add --provider openai --label Far").input("far").ok();
    bus.on(home.bare("keys rekey")).ok();
    assert_eq!(exported(there("keys export Far --i-understand")), "far");
    let report = there("keys doctor").fails(3, "checks_failed");
    assert!(
        report.out.contains("under an earlier master passphrase, replaced 20")
            && report.out.contains(": Far")
            && report.out.contains("lf keys rotate --all"),
        "{report}"
    );
    there("keys rotate Far").ok();
    there("keys doctor").ok();
    bus.on(home.bare("keys rekey")).ok();
    assert_eq!(exported(there("keys export Far --i-understand")), "far");
}

#[test]
fn keys_restored_during_a_change_open() {
    let (home, bus, ids) = two_keys();
    let restore = format!("keys restore {}", home.copy().display());
    fs::remove_file(home.file(&ids[0])).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| bus.on(home.bare(&restore)).go());
        scope.spawn(|| bus.on(home.bare("keys rekey")).go());
    });
    bus.on(home.bare(&restore)).ok();
    for (id, label) in ids.iter().zip(["One", "Two"]) {
        assert_eq!(export(&home, &bus, id), label);
    }
}

#[test]
fn a_damaged_envelope_that_waits_is_made_once_more_or_named_and_moves_nothing() {
    let (home, bus, ids) = two_keys();
    killed_at(&home, &bus, "renameat:signal=SIGKILL:when=5");
    fs::write(home.keys().join(".rekey").join(format!("{}.json", ids[0])), "{}").unwrap();
    bus.on(home.bare("keys rekey --finish")).ok();
    for (id, label) in ids.iter().zip(["One", "Two"]) {
        assert_eq!(export(&home, &bus, id), label);
    }
    bus.on(home.bare("keys doctor")).ok();

    // Where nobody here knows the old passphrase, it takes whoever does.
    let (home, id) = Home::with_key();
    let other = home.add("openai", "Other", "other");
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    let waiting = home.keys().join(".rekey").join(format!("{id}.json"));
    fs::write(&waiting, "{}").unwrap();
    let named = with(&home, NEW, "keys rekey --finish").fails(1, "corrupt_envelope");
    assert!(named.err.contains(&id) && named.err.contains("--undo"), "{named}");
    let report = with(&home, NEW, "keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains(".rekey"), "{report}");
    assert_eq!(exported(with(&home, NEW, "keys export Other --i-understand")), "other");
    home.lf("keys rekey --undo").ok();
    assert_eq!((home.value(&id), home.value(&other)), (VALUE.into(), "other".into()));
}

#[test]
fn what_keeps_a_change_from_being_settled_keeps_nobody_from_reading() {
    let (home, id) = Home::with_key();
    let rekey = home.keys().join(".rekey");
    fs::write(&rekey, "not a directory").unwrap();
    assert_eq!(home.value(&id), VALUE);
    let report = home.lf("keys doctor").fails(3, "checks_failed");
    assert!(report.out.contains("FAIL  rekey: ") && report.out.contains("rm -r '"), "{report}");
    fs::remove_file(&rekey).unwrap();
    // A change that its owner has stopped in: readers do not wait for it.
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    let lock = support::lock(&rekey);
    assert_eq!(home.value(&id), VALUE);
    assert_eq!(exported(with(&home, NEW, "keys export Prod --i-understand")), VALUE);
    drop(lock);
    fs::create_dir(rekey.join("foreign")).unwrap();
    with(&home, NEW, "keys rekey --finish").ok();
    assert_eq!(exported(with(&home, NEW, "keys export Prod --i-understand")), VALUE);
}

#[test]
fn a_copy_that_was_taken_while_a_change_waited_comes_up_elsewhere_with_its_sheet() {
    let (home, id) = Home::with_key();
    let sheet = home.lf("keys recovery export --i-understand").ok().out;
    home.lf("keys rekey --passphrase-stdin").input(NEW).ok();
    let bus = Bus::with_keyring(&home);
    bus.on(home.bare("keys recovery import")).input(sheet).ok();
    assert_eq!(export(&home, &bus, &id), VALUE);
    bus.on(home.bare("keys rekey --undo")).ok();
    bus.on(home.bare("keys doctor")).ok();
}

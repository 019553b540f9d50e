//! Several processes on one store: no update is lost, nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::bus::Bus;
use support::gateway::{Gateway, bearer, pair};
use support::pty::Terminal;
use support::{Home, VALUE};

#[test]
fn keys_added_at_once_are_all_there() {
    let home = Home::new();
    thread::scope(|scope| {
        for writer in 0..4 {
            let home = &home;
            scope.spawn(move || {
                (0..4).for_each(|n| {
                    drop(home.add(
                        "openai",
                        &format!("w{writer}-{n}"),
                        &format!("value {writer} {n}"),
                    ));
                });
            });
        }
    });
    assert_eq!(home.names().len(), 16, "and no temporary file");
    for writer in 0..4 {
        assert_eq!(home.value(&format!("w{writer}-3")), format!("value {writer} 3"));
    }
}

#[test]
fn a_file_that_is_imported_twice_at_once_is_stored_once() {
    let home = Home::new();
    let file = home.path().join(".env");
    let lines = (0..8).map(|n| format!("N{n}_API_KEY=value-{n}\n"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let arguments = format!("keys import --yes --dotenv {}", file.display());
    let stored: usize = thread::scope(|scope| {
        let import = || home.lf(&arguments).ok().out.lines().count();
        let both = [scope.spawn(import), scope.spawn(import)];
        both.map(|one| one.join().unwrap()).iter().sum()
    });
    assert_eq!((stored, home.names().len()), (8, 8));
}

#[test]
fn a_new_label_and_a_new_value_at_once_both_arrive() {
    let (home, id) = Home::with_key();
    for round in support::rows(0..6) {
        let (label, value) = (format!("label-{round}"), format!("value-{round}"));
        thread::scope(|scope| {
            scope.spawn(|| home.lf(&format!("keys update --label {label} -- {id}")).ok());
            scope.spawn(|| {
                home.lf(&format!("keys update --rotate -- {id}")).input(value.as_str()).ok()
            });
            scope.spawn(|| home.lf(&format!("keys rotate -- {id}")).ok());
        });
        assert_eq!(home.value(&label), value, "round {round}");
    }
}

#[test]
fn a_removed_key_does_not_come_back() {
    for _ in 0..4 {
        let (home, id) = Home::with_key();
        thread::scope(|scope| {
            scope.spawn(|| home.lf(&format!("keys rotate -- {id}")).go());
            scope.spawn(|| home.lf(&format!("keys remove --yes -- {id}")).ok());
        });
        assert!(home.names().is_empty());
    }
}

#[test]
fn a_writer_waits_for_the_lock_and_a_reader_does_not() {
    let (home, id) = Home::with_key();
    let lock = support::lock(&home.keys());
    let run = home.lf(&format!("keys update --label New -- {id}"));
    let mut writer = run.spawn();
    assert_eq!(home.value(&id), VALUE, "reading takes no lock");
    assert!(home.lf("keys list").ok().out.contains("Prod"));
    // It has nothing to do but to wait; for a third of a second it does.
    for _ in 0..33 {
        thread::sleep(std::time::Duration::from_millis(10));
        assert!(writer.try_wait().unwrap().is_none());
    }
    drop(lock);
    assert_eq!(run.finish(writer).status, Some(0));
    assert!(home.lf("keys list").ok().out.contains("New"));
}

#[test]
fn a_holder_that_is_killed_frees_the_lock() {
    let (home, id) = Home::with_key();
    // Stopped by a fault injected at its first fsync, which is under the lock.
    let killed =
        home.lf(&format!("keys rotate -- {id}")).inject("fsync:signal=SIGKILL:when=1").go();
    assert_ne!(killed.status, Some(0));
    assert_eq!(home.names().len(), 2, "its temporary file stays");
    home.lf(&format!("keys rotate -- {id}")).ok();
    assert_eq!(home.value(&id), VALUE);
    home.lf("keys doctor --fix").ok();
    assert_eq!(home.names().len(), 1);
}

#[test]
fn a_key_that_was_typed_while_the_passphrase_was_replaced_opens() {
    let (home, bus) = Home::with_keychain();
    let run = bus.on(home.bare("keys add --provider openai --label Slow"));
    let mut terminal = Terminal::start(&run);
    terminal.sees("not shown");
    bus.on(home.bare("keys init --force --yes")).ok();
    terminal.types("sk-slow\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert_eq!(bus.on(home.bare("keys export Slow --i-understand")).ok().out, "sk-slow\n");
}

#[test]
fn a_key_that_was_added_while_init_waited_for_a_yes_is_not_lost() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("keys add --provider openai --label One")).input("one").ok();
    let mut terminal = Terminal::start(&bus.on(home.bare("keys init --force")));
    terminal.sees("lf keys rekey changes the master passphrase");
    terminal.sees("Type yes to continue");
    bus.on(home.bare("keys add --provider openai --label Late")).input("late").ok();
    terminal.types("yes\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    // Both are under the passphrase before, which stays on record.
    for (label, value) in [("One", "one\n"), ("Late", "late\n")] {
        let export = format!("keys export {label} --i-understand");
        assert_eq!(bus.on(home.bare(&export)).ok().out, value);
    }
}

#[test]
fn of_several_inits_at_once_one_wins_and_the_others_say_so() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| bus.on(home.bare("keys init")).go())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let ended = |status| outcomes.iter().filter(|outcome| outcome.status == Some(status)).count();
    assert_eq!(
        (ended(0), ended(2)),
        (1, 3),
        "{}",
        outcomes.iter().map(ToString::to_string).collect::<String>()
    );
    assert!(
        outcomes
            .iter()
            .filter(|outcome| outcome.status == Some(2))
            .all(|outcome| outcome.err.contains("already_configured"))
    );
}

#[test]
fn a_full_audit_log_makes_no_reader_wait() {
    let (home, _) = Home::with_key();
    std::fs::write(home.keys().join("audit.log"), vec![b'x'; 5 * 1024 * 1024]).unwrap();
    let lock = support::lock(&home.keys());
    let start = std::time::Instant::now();
    let listed = home.bare("keys list").ok();
    assert!(
        start.elapsed() < std::time::Duration::from_secs(10) && !listed.err.contains("audit"),
        "{listed}"
    );
    drop(lock);
    home.bare("keys list").ok();
    assert!(home.keys().join("audit.log.1").exists());
}

#[test]
fn doctor_does_not_mistake_a_writer_at_work_for_a_dead_one() {
    let (home, id) = Home::with_key();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                home.bare(&format!("keys update --label Prod -- {id}")).ok();
            }
        });
        let outcomes: Vec<_> = (0..12).map(|_| home.lf("keys doctor").go()).collect();
        is_over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            assert_eq!(outcome.status, Some(0), "{outcome}");
        }
    });
}

#[test]
fn several_writers_and_a_gateway_on_one_store_lose_nothing() {
    const ROUNDS: usize = 5;
    let (home, shared) = Home::with_key();
    let gateway = Gateway::start(&home);
    // Each writer has keys of its own, and knows how they must end; all of them work on one more.
    let kept: Vec<(String, String)> = thread::scope(|scope| {
        let (home, gateway, shared) = (&home, &gateway, &shared);
        let mut writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for round in 0..ROUNDS {
                        let id = home.add("openai", &format!("c{writer}-{round}"), "first");
                        let value = format!("value {writer} {round}");
                        home.lf(&format!("keys update --rotate -- {id}"))
                            .input(value.as_str())
                            .ok();
                        home.lf(&format!("keys rotate -- {shared}")).ok();
                        if round % 2 == 0 {
                            kept.push((id, value));
                        } else {
                            home.lf(&format!("keys remove --yes -- {id}")).ok();
                        }
                    }
                    kept
                })
            })
            .collect();
        writers.push(scope.spawn(move || {
            let mut kept = Vec::new();
            for round in 0..ROUNDS {
                // One may change ten things at once.
                let bearer = bearer(&pair(home, &format!("--name g{round}")));
                let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
                let body =
                    format!(r#"{{"provider":"openai","label":"g{round}","rawKey":"first"}}"#);
                let added = gateway.ask("POST /keys", &headers, &body);
                let id = added.body.split('"').nth(5).unwrap().to_owned();
                let value = format!("value g {round}");
                let body = format!(r#"{{"rawKey":"{value}"}}"#);
                let line = format!("PUT /keys/{id}");
                assert_eq!(gateway.ask(&line, &headers, &body).status, 200);
                let line = format!("PUT /keys/{shared}");
                let body = format!(r#"{{"label":"round {round}"}}"#);
                assert_eq!(gateway.ask(&line, &headers, &body).status, 200);
                if round % 2 == 0 {
                    kept.push((id, value));
                } else {
                    let line = format!("DELETE /keys/{id}");
                    assert_eq!(gateway.ask(&line, &headers, "").status, 204);
                }
            }
            kept
        }));
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let keys = home.names().iter().filter(|name| *name != "replaced").count();
    assert_eq!(keys, kept.len() + 1, "no partial file, and none that was removed");
    for (id, value) in kept {
        assert_eq!(home.value(&id), value);
    }
    let last = format!("round {}", ROUNDS - 1);
    assert_eq!(home.value(&last), VALUE, "its last label, and its value");
    home.lf("keys doctor").ok();
}

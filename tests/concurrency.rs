//! Several processes on one store: no update is lost, nobody waits for ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod support;

use std::thread;

use local_keys::fs::Dir;
use support::{Home, VALUE, until};

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
        assert_eq!(
            home.value(&format!("w{writer}-3")),
            format!("value {writer} 3")
        );
    }
}

#[test]
fn a_new_label_and_a_new_value_at_once_both_arrive() {
    let (home, id) = Home::with_key();
    for round in 0..6 {
        let (label, value) = (format!("label-{round}"), format!("value-{round}"));
        thread::scope(|scope| {
            scope.spawn(|| {
                home.lf(&format!("keys update --label {label} -- {id}"))
                    .ok()
            });
            scope.spawn(|| {
                home.lf(&format!("keys update --rotate -- {id}"))
                    .input(value.as_str())
                    .ok()
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
    let dir = Dir::open(&home.keys()).unwrap().unwrap();
    let lock = dir.lock().unwrap();
    let run = home.lf(&format!("keys update --label New -- {id}"));
    let mut writer = run.spawn();
    assert_eq!(home.value(&id), VALUE, "reading takes no lock");
    assert!(home.lf("keys list").ok().out.contains("Prod"));
    until("a second handle on the directory", || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", writer.id()))
            .unwrap()
            .flatten();
        links
            .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == home.keys()))
            .count()
            == 2
    });
    assert!(writer.try_wait().unwrap().is_none());
    drop(lock);
    assert_eq!(run.finish(writer).status, Some(0));
    assert!(home.lf("keys list").ok().out.contains("New"));
}

#[test]
fn a_holder_that_is_killed_frees_the_lock() {
    let (home, id) = Home::with_key();
    // Stopped by a fault injected at its first fsync, which is under the lock.
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=fsync:signal=SIGKILL:when=1",
    ];
    let killed = home.lf(&format!("keys rotate -- {id}")).under(&strace).go();
    assert_ne!(killed.status, Some(0));
    assert_eq!(home.names().len(), 2, "its temporary file stays");
    home.lf(&format!("keys rotate -- {id}")).ok();
    assert_eq!(home.value(&id), VALUE);
    home.lf("keys doctor --fix").ok();
    assert_eq!(home.names().len(), 1);
}

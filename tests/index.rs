//! A remembered listing: what has not changed is not read again, and what has is always seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use local_keys::base::time::Timestamp;
use local_keys::vault::index::Index;
use local_keys::vault::key::{KeyId, Label};
use local_keys::vault::store::Store;

mod support;
use support::Home;

const KEY: &str = "mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-";

/// A store with one well-formed envelope that nobody has to open.
fn store(home: &Home) -> (Store, PathBuf) {
    let dir = home.path().join("keys");
    fs::create_dir(&dir).unwrap();
    let file = dir.join(format!("{KEY}.json"));
    fs::write(&file, envelope(KEY, "First")).unwrap();
    (Store::at(dir), file)
}

fn envelope(id: &str, label: &str) -> String {
    format!(
        r#"{{"v":1,"alg":"aes-256-gcm","kdf":"scrypt","salt":"AAAAAAAAAAAAAAAAAAAAAA==","iv":"AAAAAAAAAAAAAAAA","ciphertext":"AAAA","tag":"AAAAAAAAAAAAAAAAAAAAAA==","meta":{{"id":"{id}","provider":"openai","label":"{label}","createdAt":"2026-01-02T03:04:05.678Z"}}}}"#
    )
}

fn labels(index: &Index, store: &Store, now: Timestamp) -> Vec<String> {
    let seen = index.list(store, now).unwrap();
    let labels = seen.keys().map(|key| key.label.as_str().to_owned());
    labels.collect()
}

/// When everything that is there now has been left alone for long.
fn later() -> Timestamp {
    Timestamp::now().after(Duration::from_secs(60))
}

/// Lets the file system's clock move on, as it has for what was left alone for long.
fn tick(home: &Home) {
    let touched = || {
        let probe = home.path().join("probe");
        fs::write(&probe, "").unwrap();
        let stat = fs::metadata(&probe).unwrap();
        (stat.ctime(), stat.ctime_nsec())
    };
    let before = touched();
    support::until("the clock of the file system ticks", || touched() > before);
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let (home, then) = (Home::new(), Timestamp::now());
    let (store, _) = store(&home);
    let index = Index::default();
    let first = index.list(&store, later()).unwrap();
    assert_eq!(first.keys().count(), 1);
    assert!(Arc::ptr_eq(&first, &index.list(&store, later()).unwrap()));
    let fresh = index.list(&store, then).unwrap();
    assert!(
        !Arc::ptr_eq(&first, &fresh),
        "fresh files are not trusted yet"
    );
}

#[test]
fn every_kind_of_change_is_seen_at_once() {
    let home = Home::new();
    let (store, file) = store(&home);
    let index = Index::default();
    let id = KeyId::parse(KEY).unwrap();
    let seen = || {
        let seen = labels(&index, &store, later());
        tick(&home);
        seen
    };
    assert_eq!(seen(), ["First"]);

    store.relabel(&id, &Label::parse("Again").unwrap()).unwrap();
    assert_eq!(seen(), ["Again"], "published");

    let other = "-".repeat(20);
    let beside = file.with_file_name(format!("{other}.json"));
    fs::write(&beside, envelope(&other, "Other")).unwrap();
    assert_eq!(seen(), ["Other", "Again"], "added");

    fs::write(&beside, "no envelope").unwrap();
    assert_eq!(seen(), ["Again"], "damaged");

    fs::remove_file(&beside).unwrap();
    store.remove(&id).unwrap();
    assert!(seen().is_empty(), "removed");

    fs::write(&file, envelope(KEY, "First")).unwrap();
    assert_eq!(seen(), ["First"], "back again");

    let dir = store.path().to_owned();
    fs::rename(&dir, dir.with_file_name("aside")).unwrap();
    assert!(seen().is_empty(), "no directory");
    fs::create_dir(&dir).unwrap();
    assert!(seen().is_empty(), "another one");
}

/// A lease keeps everybody else from opening a file, and changes nothing of what it looks like.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_could_not_be_read_for_a_moment_is_read_the_next_time() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let home = Home::new();
    let (store, file) = store(&home);
    let index = Index::default();
    // 1024 is F_SETLEASE, 1 is F_WRLCK.
    let lease = r#"$| = 1; $SIG{IO} = "IGNORE"; open(F, "+<", $ARGV[0]) and fcntl(F, 1024, 1) and print "held\n"; <STDIN>"#;
    let mut holder = Command::new("perl")
        .args(["-e", lease])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    let out = holder.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut held).unwrap();
    assert_eq!(held, "held\n");
    assert!(labels(&index, &store, later()).is_empty());
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_eq!(labels(&index, &store, later()), ["First"]);
}

#[test]
fn a_listing_is_never_stale() {
    let home = Home::new();
    let (store, file) = store(&home);
    let index = Index::default();
    // In place, of the same size, and many times within one tick of the file system's clock.
    for round in 0..500 {
        let label = format!("L{round:03}");
        fs::write(&file, envelope(KEY, &label)).unwrap();
        assert_eq!(labels(&index, &store, Timestamp::now()), [label]);
    }
}

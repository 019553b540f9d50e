//! The record, and a change of the passphrase from every state in which it can be found. What processes do to each
//! other is in tests/rekey.rs and tests/pairs.rs.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::change::Change;
use super::record::{self, Record};
use super::rekey::{self, For, Settled};
use super::source::{self, Master};
use super::staging;
use crate::base::Timestamp;
use crate::error::{Error, Result};
use crate::keychain::tests::{Fault, Service};
use crate::vault::tests::{OTHER, PASSPHRASE, Place, given, sealed, secret};
use crate::vault::{KeyMeta, Store, Survey};

const NEXT: &str = "the next passphrase of all";
const SERVICE: &str = "lenserfight-keys";

/// The master passphrase as the keychain has it.
fn kept(service: &Service) -> Master {
    let environment = service.environment(&[]);
    source::find(&environment.passphrase, &service.keychain()).unwrap()
}

/// What a command that needs the passphrase makes of the change that it finds.
fn settle(place: &Place, service: &Service, wanted: For) -> Result<Settled> {
    let environment = service.environment(&[]);
    let keychain = service.keychain();
    let (_, settled) =
        rekey::master(&place.0, &environment.passphrase, &keychain, wanted, &|_, _| ())?;
    settled
}

fn earlier(service: &Service) -> Vec<String> {
    let record = Record::read(&service.keychain()).unwrap();
    record.earlier.iter().map(|it| it.passphrase.expose().to_owned()).collect()
}

fn opens(place: &Place, meta: &KeyMeta, passphrase: &'static str) -> bool {
    Store::at(place.0.clone()).resolve(&meta.id, &given(passphrase)).is_ok()
}

fn record_of(count: usize) -> String {
    let entries: Vec<_> =
        (0..count).map(|at| format!(r#"{{"passphrase":"earlier {at}","until":null}}"#)).collect();
    format!(r#"{{"v":1,"earlier":[{}]}}"#, entries.join(","))
}

/// A store whose change is ready: three keys under `PASSPHRASE`, staged under `NEXT`.
struct Ready {
    place: Place,
    service: Service,
    keys: [KeyMeta; 3],
}

impl Ready {
    fn new() -> Ready {
        let (place, service) = (Place::new(), Service::start());
        let keys = ["One", "Two", "Three"].map(|label| place.add(label, PASSPHRASE));
        service.has(SERVICE, "master", PASSPHRASE);
        service.has(SERVICE, "rekey.name", NEXT);
        place.make(".rekey");
        place.write(".rekey/id", "name");
        for key in &keys {
            place.write(&Ready::staged(key), sealed(key.clone(), NEXT).print());
        }
        let files = keys.each_ref().map(|key| key.id.file_name());
        place.write(".rekey/ready", files.join("\n"));
        Ready { place, service, keys }
    }

    fn staged(key: &KeyMeta) -> String {
        format!(".rekey/{}", key.id.file_name())
    }

    /// The name of a key's file, in the directory of keys.
    fn file(&self, at: usize) -> String {
        self.keys[at].id.file_name()
    }

    fn settle(&self) -> Settled {
        settle(&self.place, &self.service, For::Sealing).unwrap()
    }

    fn is_over(&self) -> bool {
        !rekey::has_begun(&self.place.0).unwrap()
    }

    fn present(&self) -> String {
        self.service.secret(SERVICE, "master").unwrap()
    }

    fn all_open(&self, passphrase: &'static str) -> bool {
        self.keys.iter().all(|key| opens(&self.place, key, passphrase))
    }
}

#[test]
fn what_is_replaced_goes_on_record_once_and_what_is_the_same_is_not_replaced() {
    let service = Service::start();
    let keychain = service.keychain();
    let replace =
        |new: &str| record::replace(&keychain, &secret(new), Timestamp::now(), |_| Ok(()));
    replace("a").unwrap();
    assert!(earlier(&service).is_empty(), "there was none");
    service.world().calls.clear();
    replace("a").unwrap();
    assert!(earlier(&service).is_empty());
    assert_eq!(
        (service.calls("SetSecret"), service.secret(SERVICE, "master").as_deref()),
        (0, Some("a"))
    );
    replace("b").unwrap();
    replace("c").unwrap();
    assert_eq!(earlier(&service), ["b", "a"]);
    replace("a").unwrap();
    assert_eq!(earlier(&service), ["c", "b", "a"]);
    let refused = record::replace(&keychain, &secret("d"), Timestamp::now(), |there| {
        assert!(there.is_some_and(|there| there.expose() == "a"));
        Err(record::changed("nothing"))
    });
    assert!(refused.is_err() && service.secret(SERVICE, "master").as_deref() == Some("a"));
    let remember = |it: &str| record::remember(&keychain, secret(it), Timestamp::now()).unwrap();
    remember("a");
    assert_eq!(earlier(&service).len(), 3, "it is the present one");
    remember("e");
    assert_eq!(earlier(&service), ["e", "c", "b", "a"]);
    // The one that the first version kept comes last, and once.
    service.has(SERVICE, "master.previous", "first");
    assert_eq!(earlier(&service), ["e", "c", "b", "a", "first"]);
    remember("first");
    assert_eq!(earlier(&service), ["e", "c", "b", "a", "first"]);
    service.world().entries.retain(|entry| entry.secret != b"first");
    service.has(SERVICE, "master.previous", "c");
    assert_eq!(earlier(&service), ["e", "c", "b", "a"]);
}

#[test]
fn the_record_has_room_for_sixty_four() {
    for (count, has_room) in [(0, true), (63, true), (64, false), (65, false)] {
        let service = Service::start();
        service.has(SERVICE, "master", PASSPHRASE);
        service.has(SERVICE, "master.earlier", &record_of(count));
        let keychain = service.keychain();
        assert_eq!(record::has_room(&keychain).is_ok(), has_room, "{count}");
        let replaced = record::replace(&keychain, &secret("b"), Timestamp::now(), |_| Ok(()));
        assert_eq!(replaced.is_ok(), has_room);
        let (master, length) = (service.secret(SERVICE, "master"), earlier(&service).len());
        assert_eq!(
            (master.as_deref(), length),
            (Some(if has_room { "b" } else { PASSPHRASE }), count + usize::from(has_room))
        );
        // Nothing is re-encrypted for nothing.
        if !has_room {
            let place = Place::new();
            place.add("One", PASSPHRASE);
            let refused = rekey::run(&place.0, &kept(&service), &secret(NEXT), &|_, _| ());
            assert!(refused.unwrap_err().to_string().contains("which is the limit"));
            assert!(!rekey::has_begun(&place.0).unwrap());
        }
    }
}

#[test]
fn only_the_record_that_was_looked_at_is_forgotten() {
    let look = |present: Option<&str>, earlier: &[&str]| Record {
        present: present.map(secret),
        earlier: earlier
            .iter()
            .map(|it| record::Earlier { passphrase: secret(it), until: None })
            .collect(),
    };
    for (seen, is_forgotten) in [
        (look(Some("a"), &["earlier 0", "earlier 1"]), true),
        (look(Some("b"), &["earlier 0", "earlier 1"]), false),
        (look(Some("a"), &["earlier 1", "earlier 0"]), false),
        (look(Some("a"), &["earlier 0"]), false),
        (look(Some("a"), &["earlier 0", "earlier 1", "earlier 2"]), false),
        // As many in all.
        (look(None, &["a", "earlier 0", "earlier 1"]), false),
        (look(None, &["earlier 0", "earlier 1"]), false),
        (look(None, &["a", "earlier 0"]), false),
    ] {
        let service = Service::start();
        service.has(SERVICE, "master", "a");
        service.has(SERVICE, "master.earlier", &record_of(2));
        let forgotten = record::forget(&service.keychain(), Some(&seen));
        assert_eq!(forgotten.is_ok(), is_forgotten);
        assert_eq!(earlier(&service).len(), if is_forgotten { 0 } else { 2 });
    }
    // One that is damaged goes without a look at it, and the first version's stays.
    let service = Service::start();
    service.has(SERVICE, "master.earlier", "damaged");
    service.has(SERVICE, "master.previous", "first");
    record::forget(&service.keychain(), None).unwrap();
    assert_eq!(earlier(&service), ["first"]);
    let seen = Record::read(&service.keychain()).unwrap();
    record::forget(&service.keychain(), Some(&seen)).unwrap();
    assert!(earlier(&service).is_empty());
}

#[test]
fn a_change_moves_every_key_and_leaves_nothing_behind() {
    let (place, service) = (Place::new(), Service::start());
    service.has(SERVICE, "master", PASSPHRASE);
    let keys = ["One", "Two"].map(|label| place.add(label, PASSPHRASE));
    let run = |new: &str| rekey::run(&place.0, &kept(&service), &secret(new), &|_, _| ());
    let refused = run(PASSPHRASE).unwrap_err().to_string();
    assert!(refused.contains("already the current master passphrase"), "{refused}");
    assert_eq!(run("short").unwrap_err().code(), "passphrase_invalid");
    // What a killed change left is not this one's.
    place.make(".rekey");
    place.write(".rekey/id", "killed");
    service.has(SERVICE, "rekey.killed", OTHER);
    let mut ids = run(NEXT).unwrap();
    ids.sort_by_key(ToString::to_string);
    let mut all = keys.each_ref().map(|key| key.id.clone());
    all.sort_by_key(ToString::to_string);
    assert_eq!(ids, all);
    assert!(keys.iter().all(|key| opens(&place, key, NEXT) && !opens(&place, key, PASSPHRASE)));
    assert_eq!(
        (service.secret(SERVICE, "master").as_deref(), earlier(&service)),
        (Some(NEXT), vec![PASSPHRASE.to_owned()])
    );
    assert!(!rekey::has_begun(&place.0).unwrap());
    assert!(service.world().entries.iter().all(|it| !it.attributes[1].1.starts_with("rekey.")));
}

#[test]
fn a_change_of_an_environments_passphrase_waits_for_the_next_one() {
    let (place, old, new) = (Place::new(), given(PASSPHRASE), given(NEXT));
    assert!(rekey::run(&place.0, &old, &secret(NEXT), &|_, _| ()).unwrap().is_empty());
    assert!(!rekey::has_begun(&place.0).unwrap(), "there is nothing to wait for");
    let key = place.add("One", PASSPHRASE);
    let staged = rekey::run(&place.0, &old, &secret(NEXT), &|_, _| ()).unwrap();
    assert_eq!(staged, std::slice::from_ref(&key.id));
    assert!(rekey::has_begun(&place.0).unwrap());
    assert!(opens(&place, &key, PASSPHRASE) && opens(&place, &key, NEXT));
    let again = rekey::run(&place.0, &old, &secret(OTHER), &|_, _| ());
    assert_eq!(again.unwrap_err().code(), "rekey_pending");
    assert!(rekey::can_finish(&place.0, &new) && !rekey::can_finish(&place.0, &old));
    // Another key must not be added, nor this one changed, under the old one.
    let store = Store::at(place.0.clone());
    assert_eq!(store.rotate(&key.id, &old).unwrap_err().code(), "rekey_pending");
    assert!(rekey::undo(&place.0, &new).is_err(), "the new one is in use");
    assert!(rekey::undo(&place.0, &old).unwrap());
    assert!(!rekey::undo(&place.0, &old).unwrap(), "there is none any more");
    assert!(opens(&place, &key, PASSPHRASE) && !opens(&place, &key, NEXT));
}

#[test]
fn a_change_that_is_ready_is_finished_by_whoever_seals() {
    let ready = Ready::new();
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT) && ready.is_over());
    assert_eq!(
        (ready.present(), earlier(&ready.service)),
        (NEXT.to_owned(), vec![PASSPHRASE.to_owned()])
    );
    assert_eq!(ready.service.secret(SERVICE, "rekey.name"), None);
    assert_eq!(ready.settle(), Settled::Nothing);
}

#[test]
fn a_change_that_is_not_ready_is_undone() {
    let ready = Ready::new();
    ready.place.remove(".rekey/ready");
    assert_eq!(ready.settle(), Settled::Undone);
    assert!(ready.all_open(PASSPHRASE) && ready.is_over());
    assert_eq!((ready.present(), earlier(&ready.service).len()), (PASSPHRASE.to_owned(), 0));
    assert_eq!(ready.service.secret(SERVICE, "rekey.name"), None);
    // In its first step it has changed nothing.
    ready.place.make(".rekey");
    assert_eq!((ready.settle(), ready.is_over()), (Settled::Nothing, true));
}

#[test]
fn a_change_whose_next_passphrase_is_lost_waits_or_is_undone() {
    let ready = Ready::new();
    ready.service.world().entries.retain(|entry| entry.secret != NEXT.as_bytes());
    assert_eq!(ready.settle(), Settled::Waiting);
    let master = kept(&ready.service);
    assert!(!rekey::can_finish(&ready.place.0, &master) && !ready.is_over());
    assert!(rekey::undo(&ready.place.0, &master).unwrap());
    assert!(ready.all_open(PASSPHRASE) && ready.is_over());
}

#[test]
fn a_keychain_that_has_lost_its_passphrase_gets_the_one_that_waits() {
    let ready = Ready::new();
    ready.service.world().entries.retain(|entry| entry.secret != PASSPHRASE.as_bytes());
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT) && ready.present() == NEXT);
    // Without one that waits there is none.
    let ready = Ready::new();
    ready.service.world().entries.clear();
    let refused = settle(&ready.place, &ready.service, For::Reading);
    assert_eq!(refused.unwrap_err().code(), "passphrase_missing");
    let ready = Ready::new();
    ready.place.remove(".rekey/ready");
    ready.service.world().entries.retain(|entry| entry.secret != PASSPHRASE.as_bytes());
    assert!(settle(&ready.place, &ready.service, For::Reading).is_err(), "it may be thrown away");
}

#[test]
fn another_stores_change_that_came_between_keeps_the_last_word() {
    // The next one is on record: it was `master`, and another store has replaced it since.
    let between = |ready: &Ready| {
        let mut world = ready.service.world();
        let entry = world.entries.iter_mut().find(|entry| entry.secret == PASSPHRASE.as_bytes());
        entry.unwrap().secret = OTHER.into();
        drop(world);
        let list = [NEXT, PASSPHRASE]
            .map(|it| format!(r#"{{"passphrase":"{it}","until":null}}"#))
            .join(",");
        ready.service.has(SERVICE, "master.earlier", &format!(r#"{{"v":1,"earlier":[{list}]}}"#));
    };
    // One envelope has been moved already: the change had taken effect, and is not due again.
    let ready = Ready::new();
    between(&ready);
    let moved = Ready::staged(&ready.keys[0]);
    fs::rename(ready.place.at(moved), ready.place.at(ready.keys[0].id.file_name())).unwrap();
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT) && ready.present() == OTHER);
    // None has been moved: this change was begun after that.
    let ready = Ready::new();
    between(&ready);
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT) && ready.present() == NEXT);
    // A key that was removed since is no sign that any was moved.
    let ready = Ready::new();
    ready.place.remove(Ready::staged(&ready.keys[0]));
    ready.place.remove(ready.keys[0].id.file_name());
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(opens(&ready.place, &ready.keys[1], NEXT) && ready.present() == NEXT);
}

#[test]
fn a_staged_envelope_that_is_damaged_takes_nobodys_place() {
    // Its key still opens, so it is made once more.
    let ready = Ready::new();
    let staged = Ready::staged(&ready.keys[0]);
    ready.place.write(&staged, "{}");
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT));
    // Its key opens with nothing.
    let ready = Ready::new();
    ready.place.write(&Ready::staged(&ready.keys[0]), "{}");
    let file = ready.file(0);
    let text = sealed(ready.keys[0].clone(), "a passphrase that is lost").print();
    ready.place.write(&file, &text);
    let Settled::Finished(aside) = ready.settle() else { panic!() };
    assert_eq!(aside, [ready.place.at("unreadable").join(&file)]);
    assert_eq!(fs::read_to_string(ready.place.at(&file)).unwrap(), text);
    assert!(opens(&ready.place, &ready.keys[1], NEXT) && ready.is_over());
    // Its key was removed.
    let ready = Ready::new();
    ready.place.write(&Ready::staged(&ready.keys[0]), "{}");
    ready.place.remove(ready.file(0));
    let Settled::Finished(aside) = ready.settle() else { panic!() };
    assert_eq!(aside, [ready.place.at("unreadable").join(ready.file(0))]);
    assert!(!ready.place.at(ready.file(0)).exists() && ready.is_over());
}

#[test]
fn what_is_damaged_or_missing_in_an_environments_change_moves_nothing() {
    let ready = || {
        let (place, old) = (Place::new(), given(PASSPHRASE));
        let keys = ["One", "Two"].map(|label| place.add(label, PASSPHRASE));
        rekey::run(&place.0, &old, &secret(NEXT), &|_, _| ()).unwrap();
        (place, keys)
    };
    let settle = |place: &Place| {
        let environment = Service::start().environment(&[("LENSERFIGHT_KEYS_PASSPHRASE", NEXT)]);
        let keychain =
            crate::keychain::Keychain::new(&environment, crate::keychain::Patience::SHORT);
        let sources = &environment.passphrase;
        rekey::master(&place.0, sources, &keychain, For::Sealing, &|_, _| ()).unwrap().1.unwrap()
    };
    let (place, _) = ready();
    assert_eq!(settle(&place), Settled::Finished(Vec::new()));
    assert!(!rekey::has_begun(&place.0).unwrap());
    let (place, keys) = ready();
    let staged = Ready::staged(&keys[0]);
    place.write(&staged, "{}");
    assert_eq!(settle(&place), Settled::Damaged(vec![place.at(&staged)]));
    place.remove(&staged);
    assert_eq!(settle(&place), Settled::Damaged(vec![place.at(&staged)]), "it is lost");
    assert!(keys.iter().all(|key| opens(&place, key, PASSPHRASE)));
    // One whose key has gone, or is under the next passphrase already, is not missed.
    place.add_with("One", NEXT, |meta| *meta = keys[0].clone());
    assert_eq!(settle(&place), Settled::Finished(Vec::new()));
    assert!(keys.iter().all(|key| opens(&place, key, NEXT)));
    let (place, keys) = ready();
    place.remove(Ready::staged(&keys[0]));
    place.remove(keys[0].id.file_name());
    assert_eq!(settle(&place), Settled::Finished(Vec::new()));
}

#[test]
fn a_passphrase_of_the_first_version_is_taken_only_if_it_fits() {
    for (waiting, expected) in [(NEXT, Settled::Finished(Vec::new())), (OTHER, Settled::Waiting)] {
        let ready = Ready::new();
        ready.place.remove(".rekey/id");
        ready.place.write(".rekey/ready", "");
        ready.service.world().entries.retain(|entry| entry.secret != NEXT.as_bytes());
        ready.service.has(SERVICE, "master.next", waiting);
        let is_over = expected != Settled::Waiting;
        assert_eq!((ready.settle(), ready.is_over()), (expected, is_over));
        assert!(ready.all_open(if is_over { NEXT } else { PASSPHRASE }));
        // Another store's stays.
        assert_eq!(ready.service.secret(SERVICE, "master.next").is_none(), is_over);
        if !is_over {
            assert!(rekey::undo(&ready.place.0, &kept(&ready.service)).unwrap());
            assert_eq!(ready.service.secret(SERVICE, "master.next").as_deref(), Some(OTHER));
        }
    }
    // Of a change that is undone, it goes if it opens what is staged, or is the present one already.
    for (waiting, goes) in [(NEXT, true), (PASSPHRASE, true), (OTHER, false)] {
        let ready = Ready::new();
        ready.place.remove(".rekey/id");
        ready.place.remove(".rekey/ready");
        ready.service.has(SERVICE, "master.next", waiting);
        assert_eq!(ready.settle(), Settled::Undone);
        assert_eq!(ready.service.secret(SERVICE, "master.next").is_none(), goes, "{waiting}");
    }
}

#[test]
fn a_keychain_that_keeps_the_waiting_entry_is_asked_again_later() {
    let ready = Ready::new();
    ready.service.world().fault = Box::new(|call| match call {
        "Delete" => Fault::Error("org.freedesktop.DBus.Error.Failed"),
        _ => Fault::None,
    });
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert!(ready.all_open(NEXT) && !ready.is_over(), "its name stays");
    assert_eq!(ready.place.names(".rekey"), ["id"]);
    ready.service.world().fault = Box::new(|_| Fault::None);
    assert_eq!((ready.settle(), ready.is_over()), (Settled::Nothing, true));
    assert_eq!(ready.service.secret(SERVICE, "rekey.name"), None);
}

#[test]
fn what_is_not_of_a_change_stays_where_it_is() {
    let ready = Ready::new();
    ready.place.write(".rekey/note", "mine");
    ready.place.make(".rekey/ready-made.json");
    ready.place.write(".rekey/.lf-0123456789abcdef.tmp", "");
    assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
    assert_eq!(ready.place.names(".rekey"), ["note", "ready-made.json"]);
    assert!(ready.all_open(NEXT));
}

#[test]
fn who_is_about_to_end_is_waited_for_and_who_is_at_work_is_not() {
    let place = Place::new();
    for (is_at_work, is_claimed) in [(true, false), (false, true)] {
        place.make(".rekey");
        if is_at_work {
            place.write(".rekey/id", "name");
        }
        let held = staging::of(&place.dir()).unwrap().unwrap().try_lock().unwrap().unwrap();
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(1));
                has_ended.store(true, Ordering::SeqCst);
                if is_at_work {
                    place.remove(".rekey/id");
                }
                fs::remove_dir(place.at(".rekey")).unwrap();
                drop(held);
            });
            let claimed = Change::claim(place.dir());
            assert_eq!(
                (claimed.is_ok(), has_ended.load(Ordering::SeqCst)),
                (is_claimed, is_claimed)
            );
        });
    }
}

#[test]
fn reading_waits_for_nobody() {
    let ready = Ready::new();
    let held = staging::of(&ready.place.dir()).unwrap().unwrap().try_lock().unwrap().unwrap();
    assert_eq!(settle(&ready.place, &ready.service, For::Reading).unwrap(), Settled::Nothing);
    ready.place.remove(".rekey/ready");
    assert_eq!(ready.settle(), Settled::Nothing, "it may yet be undone");
    ready.place.write(".rekey/ready", "");
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            has_ended.store(true, Ordering::SeqCst);
            drop(held);
        });
        assert_eq!(ready.settle(), Settled::Finished(Vec::new()));
        assert!(has_ended.load(Ordering::SeqCst));
    });
}

#[test]
fn nothing_that_opens_only_with_the_new_passphrase_is_undone() {
    // It has taken effect.
    let ready = Ready::new();
    let undo = |ready: &Ready| rekey::undo(&ready.place.0, &kept(&ready.service));
    {
        let mut world = ready.service.world();
        let entry = world.entries.iter_mut().find(|entry| entry.secret == PASSPHRASE.as_bytes());
        entry.unwrap().secret = NEXT.into();
    }
    let refused = undo(&ready).unwrap_err().to_string();
    assert!(refused.contains("already in use"), "{refused}");
    // One of the envelopes has been moved.
    let ready = Ready::new();
    let file = ready.file(0);
    fs::rename(ready.place.at(Ready::staged(&ready.keys[0])), ready.place.at(&file)).unwrap();
    let refused = undo(&ready).unwrap_err().to_string();
    assert!(refused.contains(&file) && refused.contains("opens only with the new"), "{refused}");
    // The next passphrase is lost, and the key is damaged: what is staged is kept.
    let ready = Ready::new();
    ready.service.world().entries.retain(|entry| entry.secret != NEXT.as_bytes());
    let file = ready.file(0);
    ready.place.write(&file, "{}");
    let staged = fs::read(ready.place.at(Ready::staged(&ready.keys[0]))).unwrap();
    assert!(undo(&ready).unwrap() && ready.is_over());
    assert_eq!(fs::read(ready.place.at("unreadable").join(&file)).unwrap(), staged);
    // With a passphrase that opens nothing here, nothing is undone.
    let ready = Ready::new();
    let refused = rekey::undo(&ready.place.0, &given(OTHER)).unwrap_err();
    assert_eq!((refused.code(), ready.is_over()), ("wrong_passphrase", false));
    // One that was moved in an environment's change is under the new passphrase already.
    let (place, old) = (Place::new(), given(PASSPHRASE));
    let keys = ["One", "Two"].map(|label| place.add(label, PASSPHRASE));
    rekey::run(&place.0, &old, &secret(NEXT), &|_, _| ()).unwrap();
    fs::rename(place.at(Ready::staged(&keys[0])), place.at(keys[0].id.file_name())).unwrap();
    let refused = rekey::undo(&place.0, &old).unwrap_err().to_string();
    assert!(refused.contains("already under the new master passphrase"), "{refused}");
    // A key that was restored since is none of the change's.
    place.remove(keys[0].id.file_name());
    let restored = place.add("Restored", OTHER);
    assert!(rekey::undo(&place.0, &old).unwrap());
    assert!(place.at(restored.id.file_name()).exists() && !rekey::has_begun(&place.0).unwrap());
}

#[test]
fn one_key_that_opens_shows_that_a_passphrase_is_the_stores_own() {
    let (place, master) = (Place::new(), given(PASSPHRASE));
    let shown = || {
        master.check(Some(&place.dir())).map_err(|error| error.code())?;
        Ok(master.evidence().as_ref().map(|file| file.envelope.meta.id.clone()))
    };
    assert_eq!(shown(), Ok(None), "there is nothing to try");
    // The newest first, and the others after it.
    let age = |days: u64| Timestamp::now().before(Duration::from_secs(days * 24 * 3600));
    let add = |label: &str, passphrase: &str, days: u64| {
        place.add_with(label, passphrase, |meta| meta.created_at = age(days)).id
    };
    add("Newest", OTHER, 1);
    place.write("damaged.json", "{}");
    assert_eq!(shown(), Err("wrong_passphrase"));
    for days in 2..5 {
        add("Older", OTHER, days);
    }
    let oldest = add("Oldest", PASSPHRASE, 9);
    assert_eq!(shown(), Ok(Some(oldest.clone())));
    let newer = add("Newer", PASSPHRASE, 0);
    assert_eq!(shown(), Ok(Some(oldest.clone())), "that it opens need not be shown again");
    // As long as it is the same.
    let file = oldest.file_name();
    let text = fs::read_to_string(place.at(&file)).unwrap();
    place.write(&file, text.replace("Oldest", "Changed"));
    assert_eq!(shown(), Ok(Some(newer)));
    master.check(None).unwrap();
    assert!(master.evidence().is_none());
    // What cannot be read might be the one.
    fs::create_dir(place.at(format!("{}.json", "a".repeat(32)))).unwrap();
    assert!(shown().is_err());
}

#[test]
fn what_is_on_record_opens_too_where_the_keychain_rules() {
    let service = Service::start();
    service.has(SERVICE, "master", PASSPHRASE);
    service.has(SERVICE, "master.earlier", &record_of(2));
    // What is tried until this one opens, and whether one did.
    let tries = |master: &Master, good: &str, failed: fn() -> Error| {
        let tried = RefCell::new(Vec::new());
        let opened = master.open(|it| {
            tried.borrow_mut().push(it.expose().to_owned());
            if it.expose() == good { Ok(()) } else { Err(failed()) }
        });
        (tried.into_inner().join(", "), opened.is_ok())
    };
    let wrong = || Error::DecryptionFailed("id".to_owned());
    let all = format!("{PASSPHRASE}, earlier 0, earlier 1");
    let master = kept(&service);
    assert_eq!(tries(&master, PASSPHRASE, wrong), (PASSPHRASE.to_owned(), true));
    assert_eq!(tries(&master, "earlier 1", wrong), (all.clone(), true));
    assert_eq!(tries(&master, "none of them", wrong), (all, false));
    let full = || Error::StoreFull(String::new());
    assert_eq!(tries(&master, "earlier 1", full), (PASSPHRASE.to_owned(), false));
    // One that was given is the only one, even if a keychain is there.
    let forced =
        [("LENSERFIGHT_KEYS_PASSPHRASE", OTHER), ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1")];
    let environment = service.environment(&forced);
    let given = source::find(&environment.passphrase, &service.keychain()).unwrap();
    assert_eq!(tries(&given, "earlier 1", wrong), (OTHER.to_owned(), false));
    assert!(given.replaced().unwrap().is_none());
    // What the keychain has by now.
    assert!(master.replaced().unwrap().is_none());
    service.world().entries[0].secret = NEXT.into();
    assert_eq!(master.replaced().unwrap().unwrap().expose(), NEXT);
    service.world().entries.clear();
    assert_eq!(master.replaced().unwrap_err().code(), "passphrase_missing");
}

#[test]
fn the_name_of_a_change_is_one_or_it_is_none() {
    let place = Place::new();
    for (text, is_one) in [
        ("a-Z_09", true),
        ("", false),
        ("a b", false),
        ("a/b", false),
        (&*"x".repeat(64), true),
        (&*"x".repeat(65), false),
    ] {
        place.write("id", text);
        assert_eq!(staging::id(&place.dir()).unwrap().is_some(), is_one, "{text:?}");
    }
    // A list of a hundred thousand names is read whole.
    let (line, staging) = ("x".repeat(1024 * 1024 - 1) + "\n", place.dir().lock().unwrap());
    place.write("ready", line.repeat(8));
    let declared = staging::declared(&staging).unwrap();
    assert_eq!((declared.len(), declared.concat().len()), (8, 8 * (line.len() - 1)));
    assert!(staging::is_ready(&staging));
    staging::retract(&staging).unwrap();
    staging::retract(&staging).unwrap();
    assert!(!staging::is_ready(&staging) && !place.at("ready").exists());
}

#[test]
fn an_envelope_that_takes_its_place_while_one_looks_is_opened() {
    let place = Place::new();
    let key = place.add("One", PASSPHRASE);
    let aside = place.at("aside");
    fs::write(&aside, sealed(key.clone(), NEXT).print()).unwrap();
    let dir = place.dir();
    assert!(staging::open(&dir, &key.id, &secret(NEXT)).is_err());
    thread::scope(|scope| {
        scope.spawn(|| {
            // In the middle of the first derivation; if it is before that, nothing is different.
            thread::sleep(Duration::from_millis(15));
            fs::rename(&aside, place.at(key.id.file_name())).unwrap();
        });
        assert!(staging::open(&dir, &key.id, &secret(NEXT)).unwrap().is_some());
    });
}

#[test]
fn a_survey_counts_what_opens_how() {
    let place = Place::new();
    let record = Record { present: Some(secret(OTHER)), ..Record::default() };
    for (label, passphrase) in
        [("One", PASSPHRASE), ("Two", PASSPHRASE), ("Known", OTHER), ("Lost", NEXT)]
    {
        place.add(label, passphrase);
    }
    place.write("damaged.json", "{}");
    for (passphrase, opened, recorded, shut) in
        [(Some(PASSPHRASE), 2, 1, 1), (Some(OTHER), 1, 0, 3), (None, 0, 1, 3)]
    {
        let passphrase = passphrase.map(secret);
        let survey = Survey::of(&place.dir(), passphrase.as_ref(), &record, &|_, _| ()).unwrap();
        assert_eq!(
            (survey.opened(), survey.recorded(), survey.shut().len(), survey.unreadable.len()),
            (opened, recorded, shut, 1)
        );
    }
}

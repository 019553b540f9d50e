//! What becomes of a call where the service is locked, late, broken or asks a person.
#![cfg(target_os = "linux")]

use std::thread;

use super::*;
use crate::base::secret::Secret;
use crate::keychain::tests::{Fault, Person, Service};

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// What is found, or the end of the error.
fn found(keychain: &Keychain, account: &str) -> std::result::Result<Option<String>, String> {
    let found = keychain.find("s", account).map_err(|error| error.to_string())?;
    Ok(found.map(|secret| secret.expose().to_owned()))
}

#[test]
fn an_entry_is_stored_found_replaced_and_deleted() {
    let service = Service::start();
    let keychain = service.keychain();
    assert!(!keychain.is_absent());
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert!(!keychain.delete("s", "a").unwrap());
    keychain.store("s", "a", &secret("one")).unwrap();
    assert_eq!(found(&keychain, "a"), Ok(Some("one".to_owned())));
    assert_eq!(service.world().entries[0].attributes.len(), 3);
    service.world().calls.clear();
    keychain.store("s", "a", &secret("two")).unwrap();
    assert_eq!(service.calls("CreateItem"), 0, "it was there");
    assert_eq!(service.secret("s", "a").as_deref(), Some("two"));
    // One without the schema, and one in another collection, go: other tools would find the old secret.
    let pair = [("service", "s"), ("account", "a")];
    service.world().collections.push(false);
    service.world().add(1, &pair, "old");
    service.world().add(0, &pair, "older");
    assert_eq!(
        found(&keychain, "a"),
        Ok(Some("two".to_owned())),
        "of several the one with the schema"
    );
    keychain.store("s", "a", &secret("three")).unwrap();
    assert_eq!(service.world().entries.len(), 1);
    // The same if there is none with it.
    service.world().entries.clear();
    service.world().add(0, &pair, "old");
    keychain.store("s", "a", &secret("four")).unwrap();
    assert_eq!(service.world().entries.len(), 1);
    assert_eq!(service.secret("s", "a").as_deref(), Some("four"));
    service.has("s", "other", "x");
    service.world().add(0, &pair, "old");
    assert!(keychain.delete("s", "a").unwrap());
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert_eq!(service.world().entries.len(), 1);
}

#[test]
fn of_several_entries_the_one_with_the_schema_counts_and_of_one_nothing_more_is_asked() {
    let service = Service::start();
    let keychain = service.keychain();
    let pair = [("service", "s"), ("account", "a")];
    service.world().add(0, &pair, "first");
    assert_eq!(found(&keychain, "a"), Ok(Some("first".to_owned())));
    assert_eq!(service.calls("SearchItems"), 1);
    service.has("s", "a", "ours");
    assert_eq!(found(&keychain, "a"), Ok(Some("ours".to_owned())));
    assert_eq!(service.calls("SearchItems"), 2);
}

#[test]
fn a_locked_keychain_is_asked_for_once_and_says_what_came_of_it() {
    const LOCKED: &str = "it is locked";
    let looks = |person: Option<Person>, is_shut: bool, is_kept: bool| {
        let service = Service::start();
        if is_kept {
            service.has("s", "a", "kept");
        }
        service.world().collections = vec![true, is_shut];
        service.world().person = person;
        let patience = Patience { person: Duration::from_millis(300), ..Patience::SHORT };
        let keychain = Keychain::new(&service.environment(&[]), patience);
        let found = found(&keychain, "a");
        let (unlocks, dismisses) = {
            let world = service.world();
            let count = |member| world.calls.iter().filter(|call| *call == member).count();
            (count("Unlock"), count("Dismiss"))
        };
        (found.map_err(|error| error.rsplit(": ").next().unwrap().to_owned()), unlocks, dismisses)
    };
    let kept = || Ok(Some("kept".to_owned()));
    let locked = |more: &str| Err(format!("{LOCKED}{more}"));
    for is_shut in [false, true] {
        assert_eq!(looks(None, is_shut, true), (kept(), 1, 0));
        assert_eq!(looks(Some(Person::Confirms), is_shut, true), (kept(), 1, 0));
        assert_eq!(looks(Some(Person::Confirms), is_shut, false), (Ok(None), 1, 0));
        for is_kept in [false, true] {
            assert_eq!(looks(Some(Person::Cancels), is_shut, is_kept), (locked(""), 1, 0));
            assert_eq!(looks(Some(Person::Unreachable), is_shut, is_kept), (locked(""), 1, 0));
        }
    }
}

#[test]
fn a_dialog_that_nobody_answers_is_dismissed_but_never_gnome_keyrings() {
    for (is_gnome, dismissed) in [(false, 1), (true, 0)] {
        let service = Service::start();
        service.world().collections = vec![true];
        service.world().person = Some(Person::IsAway);
        service.world().is_gnome = is_gnome;
        let service_time = Duration::from_secs(1);
        for person in [Duration::from_millis(500), Duration::from_secs(2)] {
            let patience = Patience { person, service: service_time, ..Patience::SHORT };
            let keychain = Keychain::new(&service.environment(&[]), patience);
            let begun = std::time::Instant::now();
            let refused = found(&keychain, "a").unwrap_err();
            assert!(refused.ends_with("nobody answered its dialog"), "{refused}");
            assert!(begun.elapsed() >= service_time.max(person), "the longer of the two");
            assert_eq!(service.calls("Dismiss"), dismissed);
        }
    }
}

#[test]
fn under_a_lock_no_dialog_is_opened() {
    let service = Service::start();
    service.has("s", "a", "kept");
    service.world().collections = vec![true];
    let keychain = service.keychain();
    for quiet in [keychain.without_dialogs(), keychain.lock().unwrap()] {
        assert!(found(&quiet, "a").unwrap_err().ends_with("it is locked"));
        // KeePassXC would open one to answer a search.
        let world = service.world();
        assert!(!world.calls.iter().any(|call| call == "Unlock" || call == "SearchItems"));
    }
}

#[test]
fn one_process_has_the_lock_and_gives_it_and_its_connection_back() {
    let service = Service::start();
    service.has("s", "a", "kept");
    let (one, other) = (service.keychain(), service.keychain());
    assert!(found(&one, "a").is_ok());
    let held = one.lock().unwrap();
    assert!(found(&held, "a").is_ok());
    assert_eq!(service.calls("Hello"), 1, "it has the connection that was there");
    assert_eq!(other.lock().err().unwrap().code(), "refused");
    drop(held);
    let held = other.lock().unwrap();
    assert!(found(&one, "a").is_ok(), "reading needs no lock");
    service.world().calls.clear();
    // A bus that was restarted has forgotten the lock.
    service.world().fault = Box::new(|_| Fault::Close);
    assert!(held.store("s", "a", &secret("new")).is_err());
    service.world().fault = Box::new(|_| Fault::None);
    assert!(held.store("s", "a", &secret("new")).unwrap_err().to_string().contains("broke"));
    assert_eq!((service.calls("Hello"), service.secret("s", "a").as_deref()), (0, Some("kept")));
}

#[test]
fn a_read_is_tried_once_more_after_a_connection_that_broke_and_a_write_never() {
    let service = Service::start();
    service.has("s", "a", "kept");
    let breaks = |times: usize, member: &'static str| {
        let mut left = times;
        service.world().calls.clear();
        service.world().fault = Box::new(move |call| {
            if call != member || left == 0 {
                return Fault::None;
            }
            left -= 1;
            Fault::Close
        });
    };
    let keychain = service.keychain();
    breaks(1, "SearchItems");
    assert_eq!(found(&keychain, "a"), Ok(Some("kept".to_owned())));
    assert_eq!(service.calls("OpenSession"), 2);
    breaks(2, "SearchItems");
    assert!(found(&keychain, "a").is_err());
    breaks(1, "SetSecret");
    assert!(keychain.store("s", "a", &secret("new")).is_err());
    assert_eq!(service.calls("SetSecret"), 1);
    breaks(1, "Delete");
    assert!(keychain.delete("s", "a").is_err());
    assert_eq!(service.secret("s", "a").as_deref(), Some("kept"));
    // An error is no reason to try again, and none to open another connection.
    service.world().fault = Box::new(|call| match call {
        "GetSecret" => Fault::Error("org.freedesktop.Secret.Error.IsLocked"),
        _ => Fault::None,
    });
    service.world().calls.clear();
    let keychain = service.keychain();
    for _ in 0..2 {
        assert!(found(&keychain, "a").unwrap_err().ends_with("it is locked"));
    }
    assert_eq!(service.calls("Hello"), 1);
}

#[test]
fn a_time_that_is_up_is_not_tried_again() {
    let service = Service::start();
    service.world().fault = Box::new(|call| match call {
        "SearchItems" => {
            thread::sleep(Duration::from_secs(2));
            Fault::Close
        }
        _ => Fault::None,
    });
    let patience = Patience { service: Duration::from_secs(1), ..Patience::SHORT };
    let keychain = Keychain::new(&service.environment(&[]), patience);
    assert!(found(&keychain, "a").unwrap_err().ends_with("no answer in time"));
    assert_eq!(service.calls("SearchItems"), 1);
    // What comes too late would be taken for the answer to the next call.
    service.world().fault = Box::new(|_| Fault::None);
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert_eq!(service.calls("Hello"), 1);
}

#[test]
fn a_connection_whose_session_does_not_close_is_not_used_again() {
    let service = Service::start();
    service.world().fault = Box::new(|call| match call {
        "Close" => Fault::Error("a.Failed"),
        _ => Fault::None,
    });
    let keychain = service.keychain();
    for _ in 0..2 {
        assert_eq!(found(&keychain, "a"), Ok(None));
        assert_eq!(service.calls("Hello"), 1);
    }
}

#[test]
fn only_a_person_who_has_more_time_than_the_service_stops_its_clock() {
    let milliseconds = Duration::from_millis;
    // How long they have, and how long the service takes to unlock and to search.
    for (service_has, person_has, unlocks, searches, is_found) in
        [(3000, 4000, 0, 0, true), (2000, 4000, 0, 3000, false), (2000, 2000, 1500, 1500, false)]
    {
        let service = Service::start();
        service.has("s", "a", "kept");
        service.world().collections = vec![true];
        service.world().person = Some(Person::Confirms);
        service.world().fault = Box::new(move |call| {
            thread::sleep(milliseconds(match call {
                "Unlock" => unlocks,
                "SearchItems" => searches,
                _ => 0,
            }));
            Fault::None
        });
        let (person, patience) = (milliseconds(person_has), milliseconds(service_has));
        let patience = Patience { person, service: patience, ..Patience::SHORT };
        let found = found(&Keychain::new(&service.environment(&[]), patience), "a");
        assert_eq!(found.is_ok(), is_found, "{found:?}");
        assert!(is_found || found.unwrap_err().ends_with("no answer in time"));
    }
}

#[test]
fn an_entry_tells_its_service_and_its_account() {
    let keychain = Service::start().keychain();
    let names = ask(&keychain, "s", "a", |entry| Ok(entry.get_specifiers()));
    assert_eq!(names.unwrap(), Some(("s".to_owned(), "a".to_owned())));
}

#[test]
fn a_person_may_be_asked_before_an_entry_is_made_or_goes() {
    for (person, is_done) in [(Person::Confirms, true), (Person::Cancels, false)] {
        let service = Service::start();
        service.world().person = Some(person);
        let keychain = service.keychain();
        service.world().asks_at = Some("CreateItem");
        keychain.store("s", "a", &secret("new")).unwrap();
        assert_eq!(service.secret("s", "a").is_some(), is_done);
        service.world().asks_at = Some("Delete");
        service.has("s", "b", "old");
        let deleted = keychain.delete("s", "b");
        assert_eq!((deleted.is_ok(), service.secret("s", "b").is_none()), (is_done, is_done));
    }
}

#[test]
fn a_service_without_a_default_collection_says_so() {
    let service = Service::start();
    service.world().has_default = false;
    let keychain = service.keychain();
    assert!(found(&keychain, "a").unwrap_err().contains("no default collection"));
    assert!(keychain.store("s", "a", &secret("new")).is_err());
    assert_eq!(format!("{keychain:?}"), "Keychain(..)");
    service.has("s", "a", "kept");
    assert_eq!(found(&keychain, "a"), Ok(Some("kept".to_owned())), "what is there is found");
}

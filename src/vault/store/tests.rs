//! By which words a person names a key, and what is looked at again under the lock.

use std::cell::Cell;
use std::fs as system;

use super::*;
use crate::vault::tests::{PASSPHRASE, Place, given, meta, secret};
use crate::vault::{Label, Provider};

const ONE: &str = "aaaabcdefghijklmnopq";
const TWO: &str = "aaaabcdXfghijklmnopq";
const GONE: &str = "bbbbcdefghijklmnopqr";

fn listing(keys: &[(&str, &str, &str)], unreadable: &[&str]) -> Listing {
    let key = |(id, provider, label): &(&str, &str, &str)| {
        let named = (Provider::parse(provider).unwrap(), Label::parse(label).unwrap());
        let now = Timestamp::parse("2026-11-28T00:00:00.000Z").unwrap();
        KeyMeta { id: KeyId::parse(id).unwrap(), ..KeyMeta::mint(named, now).unwrap() }
    };
    let damaged = |id: &&str| Unreadable {
        name: format!("{id}.json"),
        error: Error::usage("it is damaged"),
        copy_of: None,
    };
    Listing {
        keys: keys.iter().map(key).collect(),
        unreadable: unreadable.iter().map(damaged).collect(),
    }
}

#[test]
fn a_key_is_meant_by_its_label_its_provider_or_four_characters_of_its_id() {
    let keys = [(ONE, "openai", "Prod"), (TWO, "huggingface", "Test")];
    let listing = listing(&keys, &[GONE]);
    for (selector, expected) in [
        (ONE, vec![ONE]),
        ("aaaabcde", vec![ONE]),
        ("aaaabcdX", vec![TWO]),
        ("aaaa", vec![ONE, TWO]),
        ("aaa", vec![]),
        ("Prod", vec![ONE]),
        ("prod", vec![]),
        ("openai", vec![ONE]),
        ("huggingface", vec![TWO]),
        // An alias counts if nothing has that name.
        ("hf", vec![TWO]),
        ("bbbb", vec![GONE]),
        ("bbb", vec![]),
        ("", vec![]),
    ] {
        let found = listing.select(selector).into_iter().map(|(_, id)| id.as_str().to_owned());
        assert_eq!(found.collect::<Vec<_>>(), expected, "{selector:?}");
    }
    let shown = |selector| listing.select(selector).remove(0).0;
    assert!(shown("bbbb").ends_with("(unreadable)"), "{}", shown("bbbb"));
    assert!(shown("Prod").contains("Prod") && shown("Prod").contains(ONE));
}

#[test]
fn a_short_id_has_as_many_characters_as_select_one_key() {
    for (keys, unreadable, expected) in [
        (&[(ONE, "openai", "Prod")][..], &[][..], 4),
        (&[(ONE, "openai", "Prod"), (TWO, "openai", "Test")], &[], 8),
        (&[(ONE, "openai", "Prod")], &[TWO], 8),
        // It must not be another key's label or provider either.
        (&[(ONE, "openai", "Prod"), (GONE, "openai", "aaaa")], &[], 5),
        (&[(ONE, "openai", "Prod"), (GONE, "aaaa", "Test")], &[], 5),
        (&[(ONE, "openai", "Prod"), (GONE, "openai", "Test")], &[], 4),
    ] {
        assert_eq!(listing(keys, unreadable).prefix(), expected, "{keys:?} {unreadable:?}");
    }
}

#[test]
fn pages_can_add_a_thousand_keys_and_their_owner_any_number() {
    let (place, master) = (Place::new(), given(PASSPHRASE));
    let (pages, owner) = (Store::for_pages(place.0.clone()), Store::at(place.0.clone()));
    let add = |store: &Store| store.add(meta("Prod"), &secret("value"), &master);
    add(&pages).unwrap();
    for at in 1..999 {
        place.write(&format!("{at}.json"), "");
    }
    add(&pages).unwrap();
    for _ in 0..2 {
        assert_eq!(add(&pages).unwrap_err().code(), "store_full");
        add(&owner).unwrap();
    }
}

#[test]
fn a_conflict_copy_goes_if_it_is_what_was_read_and_its_key_is_there() {
    let place = Place::new();
    let store = Store::at(place.0.clone());
    let file = place.at(place.add("Prod", PASSPHRASE).id.file_name());
    let (mut files, _) = store.read_all().unwrap();
    let (key, copy) = (files.remove(0), place.at("copy.json"));
    let drop = |copy: &KeyFile| store.drop_copy("copy.json", copy).unwrap();
    assert!(!drop(&key), "it is not there");
    system::write(&copy, "another").unwrap();
    assert!(!drop(&key) && copy.exists(), "it is another one by now");
    system::copy(&file, &copy).unwrap();
    let aside = place.at("aside");
    system::rename(&file, &aside).unwrap();
    assert!(!drop(&key) && copy.exists(), "it is the only one");
    system::rename(&aside, &file).unwrap();
    assert!(drop(&key) && !copy.exists() && file.exists());
    assert!(!Store::at(place.at("none")).drop_copy("copy.json", &key).unwrap());
}

#[test]
fn a_change_is_made_again_if_the_file_is_another_one_under_the_lock_and_only_then() {
    let place = Place::new();
    let (store, meta) = (Store::at(place.0.clone()), place.add("Prod", PASSPHRASE));
    let calls = Cell::new(0);
    let label = |text: &str| Label::parse(text).unwrap();
    let amend = |to: &'static str, meanwhile: Option<&'static str>| {
        calls.set(0);
        let amended = store.amend(&meta.id, |meta| {
            calls.set(calls.get() + 1);
            if let Some(other) = meanwhile.filter(|_| calls.get() == 1) {
                let change = |meta: &mut KeyMeta| meta.provider = Provider::parse(other).unwrap();
                store.amend(&meta.id, change).unwrap();
            }
            meta.label = label(to);
        });
        amended.unwrap()
    };
    assert_eq!((amend("One", None).label, calls.get()), (label("One"), 1));
    let both = amend("Two", Some("mistral"));
    assert_eq!((both.label, both.provider.as_str(), calls.get()), (label("Two"), "mistral", 2));
    assert_eq!(store.meta(&meta.id).unwrap().provider.as_str(), "mistral");
    assert_eq!(store.resolve(&meta.id, &given(PASSPHRASE)).unwrap().expose(), "value");
}

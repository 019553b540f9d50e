//! By which words a person names a key.

use super::*;
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

//! Which names are keys, and what is kept below them.

use std::os::unix::fs::symlink;
use std::{fs as system, sync::OnceLock};

use super::*;
use crate::vault::KeyMeta;
use crate::vault::tests::{PASSPHRASE, Place, meta, sealed};

const ONE: &str = "aaaabcdefghijklmnopqrstu";
const TWO: &str = "AAAABCDEFGHIJKLMNOPQRSTU";
const GONE: &str = "bbbbcdefghijklmnopqrstuv";

fn id(text: &str) -> KeyId {
    KeyId::parse(text).unwrap()
}

/// The file of a key with this id.
fn file(id: &str) -> Vec<u8> {
    static META: OnceLock<KeyMeta> = OnceLock::new();
    let mut meta = META.get_or_init(|| meta("Prod")).clone();
    meta.id = KeyId::parse(id).unwrap();
    sealed(meta, PASSPHRASE).print().into_bytes()
}

#[test]
fn keys_copies_and_damaged_files_are_told_apart_by_name_and_content() {
    let place = Place::new();
    assert!(!has_keys(&place.0) && !has_keys(&place.at("none")));
    for (name, bytes) in [
        (format!("{ONE}.json"), file(ONE)),
        (format!("{ONE} (1).json"), file(ONE)),
        (format!("{ONE}.json.orig"), file(ONE)),
        ("saved.orig".to_owned(), file(TWO)),
        (format!("{GONE}.json"), b"{}".to_vec()),
        ("notes.json".to_owned(), b"{}".to_vec()),
        ("notes.orig".to_owned(), b"{}".to_vec()),
        ("notes.txt".to_owned(), file(TWO)),
        (".hidden.json".to_owned(), file(TWO)),
        (format!("{ONE}.json.next"), file(ONE)),
        ("audit.log".to_owned(), Vec::new()),
    ] {
        place.write(&name, &bytes);
    }
    place.make("unreadable");
    let dir = place.dir();
    assert!(has_keys(&place.0));
    let mut listed = names(&dir).unwrap();
    listed.sort();
    let [one, copy, gone] =
        [ONE.to_owned(), format!("{ONE} (1)"), GONE.to_owned()].map(|name| format!("{name}.json"));
    assert_eq!(listed, [copy.clone(), one.clone(), gone.clone(), "notes.json".to_owned()]);

    let (files, unreadable) = read_files(&dir).unwrap();
    let mut found: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    found.sort();
    let orig = format!("{ONE}.json.orig");
    assert_eq!(found, [copy.clone(), one, orig.clone(), "saved.orig".to_owned()]);
    assert!(
        files
            .iter()
            .all(|(name, it)| it.bytes == file(if name.starts_with("saved") { TWO } else { ONE }))
    );
    let mut bad: Vec<_> = unreadable
        .iter()
        .map(|it| (it.name.as_str(), it.error.to_string(), it.id().is_some()))
        .collect();
    bad.sort();
    assert!(bad.len() == 2 && bad[0].0 == gone && bad[0].2, "{bad:?}");
    assert!(bad[0].1.contains("its version is not 1"), "{bad:?}");
    assert!(bad[1].0 == "notes.json" && !bad[1].2 && bad[1].1.contains(NO_ID), "{bad:?}");

    let (keys, unreadable) = read_all(&dir).unwrap();
    let of = |file: &KeyFile| file.envelope.meta.id.to_string();
    assert_eq!(keys.iter().map(of).collect::<Vec<_>>(), [ONE]);
    let mut copies: Vec<_> =
        unreadable.iter().filter_map(|it| Some((it.name.as_str(), it.copy_of.as_ref()?))).collect();
    copies.sort_by_key(|(name, _)| *name);
    let (one, two) = (id(ONE), id(TWO));
    assert_eq!(copies, [(&*copy, &one), (&*orig, &one), ("saved.orig", &two)]);
    assert!(unreadable.iter().all(|it| it.copy_of.is_none() || it.id().is_none()));

    let mut all: Vec<_> = ids(&dir).unwrap().into_iter().map(|id| id.to_string()).collect();
    all.sort();
    assert_eq!(all, [ONE, GONE]);
}

#[test]
fn a_copy_that_is_named_like_a_key_is_one_as_long_as_there_is_no_other() {
    let place = Place::new();
    place.write(&format!("{GONE}.json"), file(ONE));
    let all = |place: &Place| ids(&place.dir()).unwrap();
    assert_eq!(all(&place), [id(GONE)]);
    place.write(&format!("{ONE}.json"), file(ONE));
    assert_eq!(all(&place), [id(ONE)]);
}

#[test]
fn names_that_a_program_gives_to_copies_are_looked_at() {
    for (name, is_one) in [
        ("a.json", true),
        ("a (1).json", true),
        ("a.json.orig", true),
        ("a.orig", true),
        ("a.json~", true),
        (".a.json", false),
        (".a.orig", false),
        ("a.txt", false),
        ("audit.log", false),
    ] {
        assert_eq!(may_be_copy(name), is_one, "{name}");
    }
}

#[test]
fn a_temporary_file_of_the_predecessors_goes_unless_it_may_be_the_only_copy() {
    let place = Place::new();
    place.write(&format!("{ONE}.json"), file(ONE));
    for (name, content, expected) in [
        (format!("{ONE}.json.next"), file(ONE), true),
        (format!("{ONE}.json.1.tmp"), file(ONE), true),
        (format!("{ONE}.tmp"), Vec::new(), true),
        (format!("{ONE}.json.orig"), file(ONE), false),
        (format!("{ONE}.json"), file(ONE), false),
        (format!("{ONE}.next"), file(ONE), false),
        (format!("{GONE}.json.next"), file(GONE), false),
        (format!("{GONE}.json.next"), b"{\"v\":1,".to_vec(), true),
        (format!("{GONE}.tmp"), Vec::new(), true),
        ("note.tmp".to_owned(), Vec::new(), false),
        ("tmp".to_owned(), Vec::new(), false),
    ] {
        place.write(&name, &content);
        assert_eq!(is_left_over(&place.dir(), &name), expected, "{name}");
    }
}

#[test]
fn a_key_is_read_whole_or_as_damaged_or_is_not_there() {
    let place = Place::new();
    let dir = place.dir();
    let look = |id: &KeyId| {
        let read = read(&dir, id).map(|file| file.map(|it| it.bytes)).map_err(|it| it.code());
        (read, is_there(&dir, id).unwrap(), read_sound(&dir, id).unwrap().is_some())
    };
    assert_eq!(look(&id(ONE)), (Ok(None), false, false));
    place.write(&format!("{ONE}.json"), file(ONE));
    assert_eq!(look(&id(ONE)), (Ok(Some(file(ONE))), true, true));
    place.write(&format!("{ONE}.json"), b"{}");
    assert_eq!(look(&id(ONE)), (Err("corrupt_envelope"), true, false));
    // Another key's.
    place.write(&format!("{ONE}.json"), file(GONE));
    assert_eq!(look(&id(ONE)), (Err("corrupt_envelope"), true, false));
    assert_eq!(look(&id(GONE)), (Ok(None), false, false));
}

#[test]
fn only_a_directory_that_is_for_keys_alone_is_closed_to_others() {
    let place = Place::new();
    let chmod = |mode: u32| place.chmod("", mode);
    let mode = || place.mode("");
    assert_eq!(tighten(&place.at("none")), None);
    place.write("notes.txt", b"");
    for folder in [".git", UNREADABLE, REPLACED] {
        place.make(folder);
    }
    symlink("/", place.at("root")).unwrap();
    alone(&place.dir()).unwrap();
    assert_eq!(tighten(&place.0), None, "nobody else can reach it");
    for open in [0o750, 0o701, 0o777] {
        chmod(open);
        let told = tighten(&place.0).unwrap();
        let sentence = format!("had mode {open:04o}; now only its owner can reach it");
        assert!(told.ends_with(&sentence), "{told}");
        assert_eq!(mode(), 0o700);
    }
    place.make("photos");
    chmod(0o755);
    let refused = alone(&place.dir()).unwrap_err();
    assert!(refused.to_string().contains("also has \"photos\" in it"), "{refused}");
    let told = tighten(&place.0).unwrap();
    assert!(told.contains("has mode 0755, and others can reach it: ") && mode() == 0o755, "{told}");
    if rustix::process::geteuid().is_root() {
        system::remove_dir(place.at("photos")).unwrap();
        std::os::unix::fs::chown(&place.0, Some(65534), None).unwrap();
        let told = tighten(&place.0).unwrap();
        assert!(told.contains("belongs to user 65534") && mode() == 0o755, "{told}");
    }
}

#[test]
fn what_is_given_up_is_kept_aside_once_and_under_a_name_of_its_own() {
    let place = Place::new();
    let keep = |bytes: &[u8]| {
        let dir = place.dir().lock().unwrap();
        let path = keep_aside(&dir, &id(ONE), bytes).unwrap();
        assert_eq!(system::read(&path).unwrap(), bytes);
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    for _ in 0..2 {
        assert_eq!(keep(b"a"), format!("{ONE}.json"));
        assert_eq!(keep(b"b"), format!("{ONE}.1.json"));
        assert_eq!(keep(b"c"), format!("{ONE}.2.json"));
    }
    assert_eq!(place.names(UNREADABLE).len(), 3);
}

#[test]
fn values_that_a_page_replaced_are_kept_for_thirty_days_and_no_longer() {
    let place = Place::new();
    let keep = || {
        let dir = place.dir().lock().unwrap();
        keep_value(&dir, &id(ONE), &file(ONE)).map(|path| system::read(path).unwrap())
    };
    let (day, minute) = (Duration::from_secs(24 * 3600), Duration::from_secs(60));
    let named = |at: Timestamp| format!("{REPLACED}/{GONE}.{}.json", at.millis());
    let (over, not_yet) = (
        Timestamp::now().before(day * 30).before(minute),
        Timestamp::now().before(day * 30).after(minute),
    );
    let left = format!("{REPLACED}/.lf-0123456789abcdef.tmp");
    let mine = format!("{REPLACED}/note");
    place.make(REPLACED);
    for name in [&named(over), &named(not_yet), &left, &mine] {
        place.write(name, file(GONE));
    }
    for kept in 3..=5 {
        assert_eq!(keep().unwrap(), file(ONE));
        assert_eq!(place.names(REPLACED).len(), kept);
    }
    for (name, stays) in
        [(&named(over), false), (&named(not_yet), true), (&left, false), (&mine, true)]
    {
        assert_eq!(place.at(name).exists(), stays, "{name}");
    }
    // Of one key the newest first.
    let list = kept(&place.dir(), REPLACED).unwrap();
    let numbers: Vec<_> = list.iter().map(|(name, _)| number(name)).collect();
    assert!(numbers.len() == 4 && numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
    assert!(kept(&place.dir(), UNREADABLE).unwrap().is_empty());
    // Where it is full, nothing is dropped and nothing is kept.
    for at in 0..256 - 5 {
        place.write(&format!("{REPLACED}/more{at}"), b"");
    }
    assert_eq!(keep().unwrap_err().code(), "store_full");
    place.remove(format!("{REPLACED}/more0"));
    keep().unwrap();
    assert_eq!(place.names(REPLACED).len(), 256);
    // What is removed by its owner leaves nothing behind.
    let forget = |id: &KeyId| forget_values(&place.dir().lock().unwrap(), id).unwrap();
    forget(&id(TWO));
    assert_eq!(place.names(REPLACED).len(), 256);
    forget(&id(ONE));
    assert_eq!(place.names(REPLACED).len(), 256 - 4);
    assert!(place.at(named(not_yet)).exists());
    let bare = Place::new();
    forget_values(&bare.dir().lock().unwrap(), &id(ONE)).unwrap();
}

#[test]
fn a_kept_envelope_has_its_number_behind_its_id() {
    for (name, expected) in [
        ("id.17.json", Some(17)),
        ("id.0.json", Some(0)),
        ("id.json", None),
        ("id", None),
        ("17.id.json", None),
    ] {
        assert_eq!(number(name), expected, "{name}");
    }
}

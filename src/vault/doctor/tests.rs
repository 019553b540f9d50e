//! What each check says of a directory that a test has made.
#![cfg(target_os = "linux")]

use std::fs as system;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::base::Timestamp;
use crate::keychain::{Keychain, Patience, tests::Service};
use crate::system::environment::Bus;
use crate::vault::master::{record::Record, rekey, source};
use crate::vault::tests::{OTHER, PASSPHRASE, Place, given, secret};
use crate::vault::{Master, Survey, files::Unreadable};

/// A root with a directory of keys in it.
struct House {
    root: Place,
    keys: Place,
}

impl House {
    fn new() -> House {
        let root = Place::new();
        root.make("keys");
        let keys = Place(root.at("keys"));
        House { root, keys }
    }

    /// The lines of the check that says what it finds in files.
    fn files(&self, id: &str) -> Vec<String> {
        let mut checks = Vec::new();
        files::examine(&self.keys.dir(), Some(&self.root.0), &mut checks).unwrap();
        lines(&checks, id)
    }

    fn rekey(&self, master: Option<&Master>) -> Vec<String> {
        let mut checks = Vec::new();
        keys::examine_rekey(&self.keys.dir(), master, &mut checks).unwrap();
        lines(&checks, "rekey")
    }

    fn envelopes(&self, master: Option<&Master>, record: &Record) -> Vec<Check> {
        let mut checks = Vec::new();
        keys::examine_envelopes(&self.keys.dir(), master, record, &|_, _| (), &mut checks).unwrap();
        checks
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// The lines of a check, as a person sees them.
fn lines(checks: &[Check], id: &str) -> Vec<String> {
    let of_id = checks.iter().filter(|check| check.id == id);
    let line = |it: &Check| {
        format!("{:?}: {} | {}", it.status, it.message, it.hint.as_deref().unwrap_or_default())
    };
    of_id.map(line).collect()
}

/// There is one line for each of these, in this order, and it has them.
fn has(lines: &[String], parts: &[&[&str]]) {
    let fits = |(line, parts): (&String, &&[&str])| parts.iter().all(|part| line.contains(part));
    let is_so = lines.len() == parts.len() && lines.iter().zip(parts).all(fits);
    assert!(is_so, "{parts:?} in {lines:#?}");
}

/// Variables, and a keychain that has these entries; without them there is no bus.
fn world(
    variables: &[(&'static str, &str)],
    entries: Option<&[(&str, &str)]>,
) -> (Service, Environment, Keychain) {
    let service = Service::start();
    let mut environment = service.environment(variables);
    match entries {
        Some(entries) => {
            entries
                .iter()
                .for_each(|(account, text)| service.has("lenserfight-keys", account, text));
        }
        None => environment.bus = Bus::default(),
    }
    let keychain = Keychain::new(&environment, Patience::SHORT);
    (service, environment, keychain)
}

#[test]
fn the_passphrase_and_the_keychain_have_a_line_each() {
    const GIVEN: (&str, &str) = ("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
    const FORCED: (&str, &str) = ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1");
    const SHORT: (&str, &str) = ("LENSERFIGHT_KEYS_PASSPHRASE", "short");
    const KEPT: Option<&[(&str, &str)]> = Some(&[("master", OTHER)]);
    const NONE: Option<&[(&str, &str)]> = Some(&[]);
    const FROM_VARIABLE: &[&str] = &["Pass: from LENSERFIGHT_KEYS_PASSPHRASE"];
    let house = House::new();
    let look = |variables: &[_], entries, keychain: &[&str], passphrase: &[&[&str]]| {
        let ((_service, environment, kept), mut checks) = (world(variables, entries), Vec::new());
        let sources = &environment.passphrase;
        let found = keys::examine_passphrase(&house.keys.0, sources, &kept, &mut checks);
        has(&lines(&checks, "keychain"), &[keychain]);
        has(&lines(&checks, "passphrase"), passphrase);
        assert_eq!(found.is_some(), passphrase[0][0].starts_with("Pass"));
    };
    look(&[GIVEN, FORCED], KEPT, &["Note: not asked"], &[FROM_VARIABLE]);
    look(&[GIVEN], NONE, &["Pass: it answers, and has no master"], &[FROM_VARIABLE]);
    look(&[], KEPT, &["Pass: it answers, and has a master"], &[&["Pass: from the"]]);
    look(&[FORCED], KEPT, &["Pass: it answers, and has a master"], &[&["Pass: from the"]]);
    look(&[GIVEN], None, &["Note: ", "no session bus"], &[FROM_VARIABLE]);
    look(&[], None, &["Fail: ", "no session bus"], &[&["Fail: ", "no session bus"]]);
    let too_short: &[&str] = &["Fail: the master passphrase has 5 char", "| lf keys rekey"];
    look(&[SHORT], NONE, &["Pass: "], &[FROM_VARIABLE, too_short]);
    let no_keys = [["Fail: "].as_slice()];
    look(&[], NONE, &["Pass: it answers"], &no_keys);
    let said = |house: &House| {
        let ((_service, environment, kept), mut checks) = (world(&[], NONE), Vec::new());
        keys::examine_passphrase(&house.keys.0, &environment.passphrase, &kept, &mut checks);
        lines(&checks, "passphrase").remove(0)
    };
    assert!(!said(&house).contains("there are keys"), "{}", said(&house));
    house.root.write("keys/damaged.json", "");
    assert!(said(&house).contains("there are keys"), "{}", said(&house));
}

#[test]
fn what_the_predecessor_left_in_the_clear_has_a_line_each() {
    const MASTER: &str = "gateway/keys/bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy";
    const TOKEN: &str = "gateway/keys/bGVuc2VyZmlnaHQtZ2F0ZXdheS1iZWFyZXI__d2ViLXBhaXI";
    const DEVICE: &str = "gateway/keys/bGVuc2VyZmlnaHQtZ2F0ZXdheQ__ZGV2aWNlOmFjdGl2ZQ";
    let house = House::new();
    let look = || {
        let mut checks = Vec::new();
        keys::examine_predecessor(std::slice::from_ref(&house.root.0), &mut checks).unwrap();
        lines(&checks, "plaintext_passphrase")
    };
    assert!(look().is_empty());
    house.root.make("gateway/keys");
    house.root.write(MASTER, PASSPHRASE);
    has(&look(), &[&["Fail: ", "the master passphrase in the clear", "| lf keys adopt"]]);
    house.root.write(TOKEN, "\0\0");
    system::write(house.root.at(DEVICE), b"\xff").unwrap();
    let all = look();
    has(&all, &[&["not UTF-8", "look at it; then rm -r "], &["clear"], &["already overwritten"]]);
    assert!(!all.concat().contains(PASSPHRASE));
}

#[test]
fn a_change_of_the_passphrase_that_was_cut_short_is_told_with_the_way_out() {
    let house = House::new();
    has(&house.rekey(None), &[&["Pass: no change"]]);
    house.root.write("keys/.rekey", "");
    has(&house.rekey(None), &[&["Fail: ", "look at it; then rm -r "]]);
    house.root.remove("keys/.rekey");
    house.root.make("keys/.rekey");
    let cut_short: &[&str] = &["Fail: ", "was interrupted; every key opens as before", "--finish"];
    has(&house.rekey(None), &[cut_short]);
    // What belongs to a change is no finding, and what does not is.
    let meta = house.keys.add("Prod", PASSPHRASE);
    let file = format!("{}.json", meta.id);
    let staged = format!("keys/.rekey/{file}");
    system::copy(house.root.at(format!("keys/{file}")), house.root.at(&staged)).unwrap();
    house.root.write("keys/.rekey/id", "name");
    has(&house.rekey(None), &[cut_short]);
    house.root.write("keys/.rekey/note", "mine");
    has(&house.rekey(None), &[&["note is not part of a change", "--undo"], cut_short]);
    house.root.remove("keys/.rekey/note");
    house.root.write(&staged, "{}");
    has(&house.rekey(None), &[&[&file, "is not part of a change"], cut_short]);
    system::copy(house.root.at(format!("keys/{file}")), house.root.at(&staged)).unwrap();
    // Everything is staged: it depends on where the next passphrase is.
    house.root.write("keys/.rekey/ready", &file);
    let ready: &[&str] = &["Fail: ", "interrupted after everything was re-encrypted", "--finish"];
    has(&house.rekey(None), &[ready]);
    let kept = |entries| {
        let (service, environment, keychain) = world(&[], Some(entries));
        let master = source::find(&environment.passphrase, &keychain).unwrap();
        (service, master)
    };
    let (_one, there) = kept(&[("master", OTHER), ("rekey.name", PASSPHRASE)]);
    has(&house.rekey(Some(&there)), &[ready]);
    let lost: &[&str] = &["Fail: ", "its new passphrase is lost", "--undo"];
    let (_other, gone) = kept(&[("master", OTHER)]);
    has(&house.rekey(Some(&gone)), &[lost]);
    let in_use = house.keys.dir().child(".rekey").unwrap().unwrap().try_lock().unwrap();
    has(&house.rekey(Some(&there)), &[&["Note: ", "is being changed right now"]]);
    drop(in_use);
    // It waits for the next passphrase of the environment, but not one that the keychain names.
    has(&house.rekey(Some(&given(PASSPHRASE))), &[lost]);
    house.root.remove("keys/.rekey/id");
    let waits: &[&str] = &["Note: ", "until a command finds the new one in LENSERFIGHT_KEYS_PASS"];
    has(&house.rekey(Some(&given(PASSPHRASE))), &[waits]);
    assert!(rekey::has_begun(&house.keys.0).unwrap(), "a look changes nothing");
}

#[test]
fn every_key_is_tried_and_those_that_do_not_open_are_told_apart() {
    let house = House::new();
    let record = Record::default();
    let (given, wrong) = (given(PASSPHRASE), given("a third passphrase"));
    let look = |master, record| lines(&house.envelopes(master, record), "decryption");
    assert!(look(None, &record).is_empty(), "there is nothing to try");
    has(&look(Some(&given), &record), &[&["Pass: 0 of 0 open"]]);
    house.keys.add("One", PASSPHRASE);
    has(&look(None, &record), &[&["Fail: without a passphrase lf could not check 1 envelope"]]);
    has(&look(Some(&given), &record), &[&["Pass: 1 of 1 open"]]);
    let two = house.keys.add("Two", OTHER);
    let id = two.id.to_string();
    let shut: &[&str] = &["Fail: ", &id, "(openai \"Two\")", "lf keys restore DIR"];
    has(&look(Some(&given), &record), &[shut]);
    assert!(!look(Some(&given), &record).concat().contains("the right passphrase"));
    // The keychain remembers the passphrase.
    let remembers = Record { present: Some(secret(OTHER)), ..Record::default() };
    let recorded: &[&str] = &["Fail: 1 key is under an earlier", "record: Two", "rotate --all"];
    has(&look(Some(&given), &remembers), &[recorded]);
    // None opens.
    let none: &[&str] = &["Fail: the master passphrase from LENSERFIGHT_KEYS_PASSPHRASE", "import"];
    has(&look(Some(&wrong), &record), &[none]);
    house.root.remove(format!("keys/{}.json", two.id));
    let only: &[&str] = &["(openai \"One\")", "if you have the right passphrase", "--rotate"];
    has(&look(Some(&wrong), &record), &[only]);
}

#[test]
fn what_is_kept_aside_is_noted() {
    let house = House::new();
    let given = given(PASSPHRASE);
    let meta = house.keys.add("One", PASSPHRASE);
    let look = |id| lines(&house.envelopes(Some(&given), &Record::default()), id);
    assert!(look("unreadable").is_empty() && look("replaced").is_empty());
    let file = house.root.at(format!("keys/{}.json", meta.id));
    house.root.make("keys/unreadable");
    house.root.make("keys/replaced");
    assert!(look("unreadable").is_empty() && look("replaced").is_empty());
    system::copy(&file, house.root.at(format!("keys/unreadable/{}.json", meta.id))).unwrap();
    system::copy(&file, house.root.at(format!("keys/replaced/{}.1.json", meta.id))).unwrap();
    has(&look("unreadable"), &[&["Note: 1 envelope in ", "keys/unreadable; lf keys recovery"]]);
    has(&look("replaced"), &[&["Note: lf keeps a value of ", "lf keys restore --replaced"]]);
}

#[test]
fn a_file_that_is_no_key_has_the_hint_that_fits() {
    let house = House::new();
    let meta = house.keys.add("One", PASSPHRASE);
    let look = || lines(&house.envelopes(None, &Record::default()), "envelopes");
    has(&look(), &[&["Pass: 1 of 1 well formed"]]);
    let file = house.root.at(format!("keys/{}.json", meta.id));
    let copy = house.root.at(format!("keys/{} (1).json", meta.id));
    system::copy(&file, &copy).unwrap();
    has(&look(), &[&["Fail: ", "it is a copy of the key", "| lf keys restore -- "]]);
    system::remove_file(&copy).unwrap();
    house.root.write("keys/notes.json", "{}");
    has(&look(), &[&["Fail: ", "notes.json", "look at it; then rm "]]);
    house.root.remove("keys/notes.json");
    house.root.write(&format!("keys/{}.json", meta.id), "{}");
    let removes = format!("| lf keys remove -- {}; then", meta.id);
    has(&look(), &[&["Fail: ", &removes]]);
    // Files that only another user's rights keep from being read.
    let (path, name) = (house.keys.at("x"), format!("{}.json", meta.id));
    let foreign = Error::Foreign { sentence: "it is theirs".to_owned(), hint: "chown".to_owned() };
    let barred = Error::Permission("read", path);
    let unreadable =
        [foreign, barred].map(|error| Unreadable { name: name.clone(), error, copy_of: None });
    let survey = Survey { unreadable: unreadable.into(), ..Survey::default() };
    let mut checks = Vec::new();
    keys::examine_unreadable(&house.keys.dir(), &survey, &mut checks);
    has(&lines(&checks, "envelopes"), &[&["theirs", "| chown"], &["Fail: ", "| chmod 600 "]]);
}

#[test]
fn a_value_is_expired_or_soon_will_be_or_is_old() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const MINUTE: Duration = Duration::from_secs(60);
    let house = House::new();
    let look = || lines(&house.envelopes(None, &Record::default()), "age");
    has(&look(), &[&["Pass: no value has expired"]]);
    let expires = |label: &str, at: Timestamp| {
        house.keys.add_with(label, PASSPHRASE, |meta| meta.expires_at = Some(at));
    };
    let stored = |label: &str, at: Timestamp| {
        house.keys.add_with(label, PASSPHRASE, |meta| meta.created_at = at);
    };
    expires("Later", now().after(DAY * 14).after(MINUTE));
    stored("Young", now().before(DAY * 365).after(MINUTE));
    has(&look(), &[&["Pass: no value has expired"]]);
    expires("Soon", now().after(DAY * 14).before(MINUTE));
    expires("Over", now().before(MINUTE));
    stored("Old", now().before(DAY * 365).before(MINUTE));
    let odd = house.keys.add("Odd", PASSPHRASE);
    let place = house.root.at(format!("keys/{}.json", odd.id));
    let text = system::read_to_string(&place).unwrap();
    system::write(&place, text.replacen("\"createdAt\"", "\"expiresAt\":1,\"createdAt\"", 1))
        .unwrap();
    has(
        &look(),
        &[
            &["Note: 1 value is expired: Over"],
            &["Note: 1 value is about to expire, within 14 days: Soon"],
            &["Note: 1 value is older than a year: Old"],
            &["Note: 1 key is marked with", ": Odd"],
        ],
    );
}

#[test]
fn modes_are_their_owners_alone_and_enough_for_the_owner() {
    let house = House::new();
    house.root.write("keys/audit.log", "");
    house.root.write("keys/theirs", "");
    house.root.chmod("keys/theirs", 0o644);
    has(&house.files("modes"), &[&["Pass: "]]);
    for (name, mode, wanted) in [
        ("keys/audit.log", 0o640, "0600"),
        ("keys/audit.log", 0o601, "0600"),
        ("keys/audit.log", 0o400, "0600"),
        ("keys/audit.log", 0o200, "0600"),
        ("keys", 0o750, "0700"),
        ("", 0o500, "0700"),
    ] {
        house.root.chmod(name, mode);
        let (sentence, chmod) =
            (format!("has mode {mode:04o} instead of {wanted}"), format!("or: chmod {wanted} "));
        has(&house.files("modes"), &[&["Fail: ", &sentence, &chmod]]);
        house.root.chmod(name, if wanted == "0600" { 0o600 } else { 0o700 });
    }
    // A directory that is named like one of our files is not one.
    house.root.make("keys/folder.json");
    house.root.chmod("keys/folder.json", 0o755);
    has(&house.files("modes"), &[&["Pass: "]]);
    house.root.chmod("keys/audit.log", 0o644);
    has(&house.files("modes"), &[&["Fail: ", "audit.log has mode 0644", "or: chmod 0600 "]]);
    house.root.chmod("keys/audit.log", 0o600);
    house.root.chmod("keys", 0o755);
    has(&house.files("modes"), &[&["Fail: ", "| set LENSERFIGHT_KEYS_DIR"]]);
}

#[test]
fn what_is_not_ours_is_noted_and_what_a_killed_process_left_is_a_finding() {
    const LEFT: &str = ".lf-0123456789abcdef.tmp";
    let house = House::new();
    let meta = house.keys.add("One", PASSPHRASE);
    for name in ["audit.log", "audit.log.1", "audit.log.2", "a.json", "b.json.orig", "c.orig"] {
        house.root.write(&format!("keys/{name}"), "");
    }
    for name in [".rekey", "unreadable", "replaced"] {
        house.root.make(&format!("keys/{name}"));
    }
    assert!(house.files("other_files").is_empty(), "{:?}", house.files("other_files"));
    has(&house.files("temporary_files"), &[&["Pass: there are none"]]);
    house.root.write("keys/notes.txt", "");
    has(&house.files("other_files"), &[&["Note: ", "notes.txt is not a file of lf"]]);
    let left: &[&str] = &["Fail: a process that was killed left ", LEFT, "doctor --fix"];
    house.root.write(&format!("keys/{LEFT}"), "");
    has(&house.files("temporary_files"), &[left]);
    assert_eq!(house.files("other_files").len(), 1);
    house.root.make("gateway");
    house.root.write(&format!("gateway/{LEFT}"), "");
    has(&house.files("temporary_files"), &[left, &["Fail: ", "gateway/.lf-"]]);
    // One of the predecessor's.
    house.root.write(&format!("keys/{}.json.next", meta.id), "");
    has(&house.files("temporary_files"), &[left, &[".json.next"], &["gateway/"]]);
    assert_eq!(house.files("other_files").len(), 1);
    let mut done = Vec::new();
    files::fix(&house.keys.dir(), Some(&house.root.0), &mut done).unwrap();
    assert_eq!(done.into_iter().filter(Result::is_ok).count(), 3);
    has(&house.files("temporary_files"), &[&["Pass: there are none"]]);
    assert!(house.root.at("keys/notes.txt").exists());
}

#[test]
fn a_log_that_cannot_be_written_is_a_finding() {
    let house = House::new();
    has(&house.files("audit_log"), &[&["Pass: lf can write to it"]]);
    assert!(!house.root.at("keys/audit.log").exists(), "a look makes none");
    let outside = house.root.at("outside");
    for name in ["audit.log", "audit.log.1", "audit.log.2"] {
        house.root.write(&format!("keys/{name}"), "");
        has(&house.files("audit_log"), &[&["Pass: lf can write to it"]]);
        house.keys.remove(name);
        symlink(&outside, house.keys.at(name)).unwrap();
        let found = house.files("audit_log");
        has(&found, &[&["Fail: ", name, "is not a regular file", "look at it; then rm "]]);
        house.keys.remove(name);
    }
}

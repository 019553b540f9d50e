//! How old a value is and when it expires: `rotatedAt` and `expiresAt` in an envelope's `meta`, which no
//! rewrite drops; and what of it the list, the doctor and the programs that use a key are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::time::{Duration, SystemTime};

use miniserde::json::{self, Object, Value};
use support::bus::Bus;
use support::gateway::{Gateway, bearer, pair};
use support::pty::Terminal;
use support::{Home, SHEET, VALUE, is_timestamp};

const NEXT: &str = "a passphrase of tomorrow";
const LONG_AGO: &str = "2020-02-03T04:05:06.007Z";
/// The day that `--expires 2999-03-01` means.
const EXPIRES: &str = "2999-03-01T00:00:00.000Z";

/// What `list --json` has of each key, oldest first.
fn listed(home: &Home, filter: &str) -> Vec<Object> {
    json::from_str(&home.bare(&format!("keys list --json {filter}")).ok().out).unwrap()
}

fn labels(home: &Home, filter: &str) -> Vec<String> {
    listed(home, filter).iter().map(|key| member(key, "label").unwrap()).collect()
}

fn member(key: &Object, name: &str) -> Option<String> {
    key.get(name).map(|value| match value {
        Value::String(text) => text.clone(),
        other => panic!("{name}: {other:?}"),
    })
}

/// `rotatedAt` and `expiresAt` of the key with this label.
fn times(home: &Home, label: &str) -> [Option<String>; 2] {
    let keys = listed(home, "");
    let of_label = |key: &&Object| member(key, "label").as_deref() == Some(label);
    let key = keys.iter().find(of_label).unwrap_or_else(|| panic!("no {label} in {keys:?}"));
    ["rotatedAt", "expiresAt"].map(|name| member(key, name))
}

/// Writes members into the file's `meta`, in place of those of these names.
fn mark(home: &Home, id: &str, members: &[(&str, &str)]) {
    let text = fs::read_to_string(home.file(id)).unwrap();
    let mut envelope: Object = json::from_str(&text).unwrap();
    let Some(Value::Object(meta)) = envelope.get_mut("meta") else { panic!("{text}") };
    for (name, value) in members {
        meta.insert((*name).to_owned(), json::from_str(value).unwrap());
    }
    fs::write(home.file(id), json::to_string(&envelope)).unwrap();
}

/// A key that was replaced long ago and expires in 2999, as older versions of a file would say it.
fn marked() -> (Home, String) {
    let (home, id) = Home::with_key();
    let (rotated, expires) = (format!("\"{LONG_AGO}\""), format!("\"{EXPIRES}\""));
    mark(&home, &id, &[("rotatedAt", &rotated), ("expiresAt", &expires)]);
    (home, id)
}

fn both() -> [Option<String>; 2] {
    [LONG_AGO, EXPIRES].map(|time| Some(time.to_owned()))
}

#[test]
fn a_new_value_is_dated_and_nothing_else_is() {
    let (home, _) = Home::with_key();
    assert_eq!(times(&home, "Prod"), [None, None]);
    for same in ["keys rotate Prod", "keys rotate --all", "keys update Prod --label Prod"] {
        home.lf(same).ok();
        assert_eq!(times(&home, "Prod"), [None, None], "{same}");
    }
    let mut before = String::new();
    for new in ["keys rotate Prod --new-value", "keys update Prod --rotate"] {
        home.lf(new).input("sk-new").ok();
        let [rotated, expires] = times(&home, "Prod");
        let rotated = rotated.unwrap();
        assert!(is_timestamp(&rotated) && rotated > before && expires.is_none(), "{rotated}");
        before = rotated;
    }
    let key = &listed(&home, "--last-used")[0];
    let names: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(names, ["createdAt", "id", "label", "lastUsedAt", "provider", "rotatedAt"]);
}

#[test]
fn no_rewrite_drops_either_time() {
    let (home, id) = marked();
    let kept = |what: &str, label: &str| assert_eq!(times(&home, label), both(), "{what}");
    home.lf("keys update Prod --label Web").ok();
    kept("a new label", "Web");
    home.lf("keys rotate Web").ok();
    kept("a fresh salt and IV", "Web");
    home.lf("keys rotate --all").ok();
    kept("the same for all", "Web");

    let copy = home.copy();
    home.lf("keys remove Web --yes").ok();
    home.lf(&format!("keys restore {}", copy.display())).ok();
    kept("a copy that is brought back", "Web");
    home.lf("keys update Web --rotate --label New").input("sk-other").ok();
    home.lf(&format!("keys restore {}", copy.display())).ok();
    kept("a copy with another value", &format!("Web (copy of {:.8})", id));

    home.lf("keys rekey --passphrase-stdin").input(NEXT).ok();
    kept("a new master passphrase", &format!("Web (copy of {:.8})", id));
    assert_eq!(times(&home, "New")[1].as_deref(), Some(EXPIRES));
    let next = |line: &str| home.lf(line).env("LENSERFIGHT_KEYS_PASSPHRASE", NEXT);
    next("keys rotate --all").ok();
    kept("a rotation after it", &format!("Web (copy of {:.8})", id));
}

#[test]
fn a_change_of_the_passphrase_that_waits_keeps_them_in_both_places() {
    let (home, _) = marked();
    home.lf("keys rekey --passphrase-stdin").input(NEXT).ok();
    // Not finished: the old passphrase is configured still, and a label is changed meanwhile.
    home.lf("keys update Prod --label Web --expires 2998-01-02").ok();
    assert_eq!(times(&home, "Web")[0].as_deref(), Some(LONG_AGO));
    let next = |line: &str| home.bare(line).env("LENSERFIGHT_KEYS_PASSPHRASE", NEXT);
    next("keys rekey --finish").ok();
    let expires = "2998-01-02T00:00:00.000Z";
    assert_eq!(times(&home, "Web"), [LONG_AGO, expires].map(|time| Some(time.to_owned())));
    assert_eq!(next("keys get Web").ok().out, VALUE);
}

#[test]
fn given_up_and_brought_back_they_are_what_they_were() {
    let (home, _) = marked();
    let bus = Bus::with_keyring(&home);
    bus.store(&["service", "lenserfight-keys", "account", "master"], NEXT);
    bus.on(home.bare("keys init --force --yes")).ok();
    assert_eq!(home.bare("keys list").ok().out, "", "given up");
    bus.on(home.bare("keys recovery import")).input(SHEET).ok();
    assert_eq!(times(&home, "Prod"), both(), "a sheet");
    bus.on(home.bare("keys rotate --all")).ok();
    assert_eq!(times(&home, "Prod"), both(), "under the sheet's passphrase");
    bus.on(home.bare("keys rekey")).ok();
    assert_eq!(times(&home, "Prod"), both(), "a random passphrase");
}

#[test]
fn a_paired_page_dates_what_it_replaces_and_drops_nothing() {
    let (home, id) = marked();
    let token = bearer(&pair(&home, ""));
    let gateway = Gateway::start(&home);
    let ask = |line: String, body: &str| {
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        let answer = gateway.ask(&line, &headers, body);
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        answer.body
    };
    let both = format!(r#""rotatedAt":"{LONG_AGO}","expiresAt":"{EXPIRES}""#);
    let has_both = |body: String| assert!(body.contains(&both), "{body}");
    has_both(ask("GET /keys".to_owned(), ""));
    has_both(ask("GET /keys?include=last_used".to_owned(), ""));
    has_both(ask(format!("PUT /keys/{id}"), r#"{"label":"Web"}"#));
    has_both(ask(format!("POST /keys/{id}/rotate"), ""));
    assert_eq!(times(&home, "Web"), self::both());
    let replaced = ask(format!("PUT /keys/{id}"), r#"{"rawKey":"sk-of-a-page"}"#);
    assert!(replaced.contains(&format!(r#""expiresAt":"{EXPIRES}""#)), "{replaced}");
    let [rotated, _] = times(&home, "Web");
    let rotated = rotated.unwrap();
    assert!(rotated.as_str() > LONG_AGO && replaced.contains(&rotated), "{replaced}");
    // What the page has replaced comes back with the times of its own.
    home.lf("keys restore --replaced").ok();
    let former = labels(&home, "").into_iter().find(|label| label.contains("former")).unwrap();
    assert_eq!(times(&home, &former), self::both());
    // A key that was not marked has the four members that clients know, and no other.
    let added = home.add("groq", "Plain", "v");
    let keys = ask("GET /keys".to_owned(), "");
    let at = keys.find(&added).unwrap();
    let plain = keys[at..].split('}').next().unwrap();
    assert_eq!(plain.matches("\":\"").count(), 3, "{plain}");
}

#[test]
fn times_that_are_none_are_noted_and_keep_nobody_from_the_key() {
    for odd in ["5", "\"soon\"", "\"2999-03-01\"", "{\"a\":[null]}", "[]", "true"] {
        let (home, id) = Home::with_key();
        mark(&home, &id, &[("rotatedAt", odd), ("expiresAt", odd)]);
        assert_eq!(times(&home, "Prod"), [None, None], "{odd}");
        assert_eq!(home.value("Prod"), VALUE);
        let doctor = home.lf("keys doctor").ok().out;
        assert!(doctor.contains("note  age: 1 key is marked with a rotatedAt"), "{doctor}");
        home.lf("keys update Prod --label Web --expires 2999-03-01").ok();
        assert_eq!(times(&home, "Web"), [None, Some(EXPIRES.to_owned())], "{odd}");
        let doctor = home.lf("keys doctor").ok().out;
        assert!(doctor.contains("pass  age: "), "{doctor}");
    }
}

#[test]
fn an_expiry_is_a_span_a_date_or_never() {
    let home = Home::new();
    for (typed, days) in [("90d", 90), ("12w", 84), ("6M", 182), ("1y", 365), ("36h", 1)] {
        let add = format!("keys add --provider openai --label {typed} --expires {typed}");
        let added = home.lf(&add).input(VALUE).ok();
        let end = times(&home, typed)[1].clone().unwrap();
        assert!(added.err.contains(&format!("expires on {}", &end[..10])), "{added}");
        let keys = listed(&home, &format!("--label {typed}"));
        let created = member(&keys[0], "createdAt").unwrap();
        let time = |text: &str| humantime::parse_rfc3339(text).unwrap();
        let span = time(&end).duration_since(time(&created)).unwrap().as_secs();
        // It counts from the command line on, and the key was there a bit later.
        assert_eq!((span + 3600) / (24 * 3600), days, "{typed}: {created} {end}");
    }
    // Neither needs the passphrase, and the value stays.
    let changed = home.bare("keys update 90d --expires 2999-03-01").ok();
    assert!(changed.out.contains("has a new expiry; its value stays; it expires on 2999-03-01"));
    assert_eq!(times(&home, "90d"), [None, Some(EXPIRES.to_owned())]);
    let changed = home.bare("keys update 90d --expires never").ok();
    assert!(
        changed.out.contains("has no expiry; its value") && !changed.out.contains("expires on")
    );
    assert_eq!(times(&home, "90d"), [None, None]);
    let file = fs::read_to_string(home.file(&member(&listed(&home, "")[0], "id").unwrap()));
    assert!(!file.unwrap().contains("expiresAt"));
    assert_eq!(home.value("90d"), VALUE);
    for typed in ["6m", "0d", "soon", "2020-01-01", "20y", "2037-13-01", "-1d", ""] {
        let update = format!("--expires={typed}");
        let refused = home.words(&["keys", "update", "1y", &update]).fails(2, "usage");
        assert!(refused.err.contains("2027-03-01"), "{refused}");
    }
}

#[test]
fn a_new_value_is_not_expired_and_keeps_an_expiry_to_come() {
    let (home, id) = marked();
    let replaced = home.lf("keys rotate Prod --new-value").input("sk-new").ok();
    assert!(replaced.out.contains("it expires on 2999-03-01"), "{replaced}");
    assert_eq!(times(&home, "Prod")[1].as_deref(), Some(EXPIRES));
    mark(&home, &id, &[("expiresAt", &format!("\"{LONG_AGO}\""))]);
    let replaced = home.lf("keys update Prod --rotate").input("sk-newer").ok();
    assert!(!replaced.out.contains("it expires"), "{replaced}");
    assert_eq!(times(&home, "Prod")[1], None);
    home.lf("keys update Prod --rotate --expires 2999-03-01").input("sk-newest").ok();
    assert_eq!(times(&home, "Prod")[1].as_deref(), Some(EXPIRES));
}

#[test]
fn an_expired_key_is_given_out_with_a_warning() {
    let (home, id) = Home::with_key();
    let run = ["keys run --key Prod -- true", "keys get Prod", "keys export Prod --i-understand"];
    for (end, warns) in [(EXPIRES, false), (LONG_AGO, true)] {
        mark(&home, &id, &[("expiresAt", &format!("\"{end}\""))]);
        for line in run {
            let told = home.lf(line).ok();
            let warning = "(openai \"Prod\") expired on 2020-02-03; lf keys update --rotate";
            assert_eq!(told.err.contains(warning), warns, "{line}: {told}");
        }
        assert_eq!(home.lf("keys get Prod").ok().out, VALUE);
    }
    let rotated = home.lf("keys rotate Prod").ok();
    assert!(rotated.out.contains("; it expired on 2020-02-03"), "{rotated}");
}

#[test]
fn the_doctor_notes_values_that_are_expired_or_old_and_fails_for_none() {
    let home = Home::new();
    let soon = "keys add --provider openai --label Soon --expires 13d";
    home.lf(soon).input(VALUE).ok();
    home.lf("keys add --provider openai --label Later --expires 15d").input(VALUE).ok();
    let doctor = home.lf("keys doctor").ok().out;
    assert!(doctor.contains("note  age: 1 value is about to expire, within 14 days: Soon\n"));
    assert!(!doctor.contains("expired") && !doctor.contains("pass  age"), "{doctor}");
    for label in ["Old", "Older"] {
        let id = home.add("openai", label, VALUE);
        mark(&home, &id, &[("createdAt", &format!("\"{LONG_AGO}\""))]);
    }
    let id = home.add("openai", "Gone", VALUE);
    mark(&home, &id, &[("expiresAt", &format!("\"{LONG_AGO}\""))]);
    let doctor = home.lf("keys doctor").ok().out;
    assert!(doctor.contains("note  age: 1 value is expired: Gone\n"), "{doctor}");
    assert!(doctor.contains("note  age: 2 values are older than a year: Old"), "{doctor}");
    // A new value is young, however old the key is.
    for label in ["Old", "Older", "Gone", "Soon"] {
        home.lf(&format!("keys update {label} --rotate --expires never")).input("v").ok();
    }
    let doctor = home.lf("keys doctor").ok().out;
    assert!(
        doctor.contains("pass  age: no value has expired or is older than a year\n"),
        "{doctor}"
    );
}

#[test]
fn the_list_has_the_keys_of_a_provider_a_label_or_an_age() {
    let home = Home::new();
    let old_time = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    let old_time = format!("\"{}\"", humantime::format_rfc3339_millis(old_time));
    for (provider, label) in
        [("openai", "Prod"), ("huggingface", "Prod"), ("google", "New"), ("my-own", "Test")]
    {
        home.add(provider, label, VALUE);
    }
    // A name that has become an alias since.
    let id = home.add("groq", "Gem", VALUE);
    mark(&home, &id, &[("provider", "\"gemini\""), ("createdAt", &old_time)]);
    let now = format!("\"{}\"", member(&listed(&home, "")[1], "createdAt").unwrap());
    let old = home.add("openai", "Old", VALUE);
    mark(&home, &old, &[("createdAt", &now), ("rotatedAt", &old_time)]);
    for (filter, wanted) in [
        ("openai", &["Prod", "Old"][..]),
        ("OpenAI", &["Prod", "Old"]),
        ("--provider hf", &["Prod"]),
        ("my-own", &["Test"]),
        ("gemini", &["Gem", "New"]),
        ("google", &["Gem", "New"]),
        ("--label Prod", &["Prod", "Prod"]),
        ("-p openai -l Prod", &["Prod"]),
        ("--label prod", &[]),
        ("anthropic", &[]),
        ("--stale", &["Gem", "Old"]),
        ("--stale 2y", &[]),
        ("--stale=1y google", &["Gem"]),
        ("--stale 1y openai", &["Old"]),
        ("--stale openai", &["Old"]),
        ("openai --stale --last-used", &["Old"]),
    ] {
        let found = home.bare(&format!("keys list --json {filter}")).ok();
        let keys: Vec<Object> = json::from_str(&found.out).unwrap();
        let mut labels: Vec<String> =
            keys.iter().map(|key| member(key, "label").unwrap()).collect();
        labels.sort();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(labels, wanted, "{filter}");
        assert_eq!(found.err, "", "{filter}");
        assert_eq!(keys.iter().any(|key| key.contains_key("lastUsedAt")), filter.ends_with("used"));
        let rows = home.bare(&format!("keys list {filter}")).ok();
        assert_eq!(rows.out.lines().count().saturating_sub(1), labels.len(), "{rows}");
        assert_eq!(
            rows.err.contains("lf keys list shows all of them"),
            labels.is_empty(),
            "{rows}"
        );
    }
    // A value with an expiry that has passed is stale, however young it is.
    mark(&home, &old, &[("rotatedAt", "null"), ("expiresAt", &old_time)]);
    assert_eq!(labels(&home, "openai --stale 2y"), ["Old"]);
    let unknown = home.bare("keys list opnai").ok();
    assert!(unknown.err.contains("knows no provider opnai") && unknown.out.is_empty(), "{unknown}");
    assert!(unknown.err.contains("did you mean openai?"), "{unknown}");
    let unknown = home.bare("keys list something-else --json").ok();
    assert!(unknown.err.contains("\"invalid_provider\"") && unknown.out == "[]\n", "{unknown}");
    home.bare("keys list 90d").fails(2, "invalid_provider");
}

#[test]
fn the_table_has_the_age_and_where_there_is_one_the_expiry() {
    let (home, id) = Home::with_key();
    let titles = |out: &str| out.lines().next().unwrap().split_whitespace().collect::<String>();
    let piped = "IDPROVIDERCREATEDAGEEXPIRESLASTUSEDLABEL";
    let table = home.bare("keys list").ok().out;
    assert_eq!(titles(&table), piped);
    assert!(table.contains("Z  0d   -        -          Prod\n"), "{table}");
    let narrow = || {
        let run = home.bare("keys list").under(&["sh", "-c", "stty cols 80; exec \"$@\"", "sh"]);
        let (status, screen) = Terminal::start(&run.env("TZ", "XYZ+11")).ends();
        assert_eq!(status, Some(0), "{screen}");
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
        screen
    };
    assert_eq!(titles(&narrow()), "IDPROVIDERCREATEDAGELASTUSEDLABEL");
    mark(&home, &id, &[("createdAt", &format!("\"{LONG_AGO}\""))]);
    home.lf("keys update Prod --expires 2999-03-01").ok();
    let screen = narrow();
    assert_eq!(titles(&screen), piped);
    // The day that was typed, in every time zone.
    assert!(screen.contains("  2999-03-01  -"), "{screen}");
    let age = screen.split_whitespace().find(|word| word.ends_with('d') && word.len() > 4);
    let days: u64 = age.unwrap().trim_end_matches('d').parse().unwrap();
    assert!(days > 2000, "{screen}");
    home.lf("keys update Prod --rotate").input(VALUE).ok();
    assert!(narrow().contains("  0d   2999-03-01  -"), "{}", narrow());
    mark(&home, &id, &[("expiresAt", &format!("\"{LONG_AGO}\""))]);
    assert!(narrow().contains("  0d   expired  -"), "{}", narrow());
}

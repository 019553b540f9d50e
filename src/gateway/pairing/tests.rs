//! When a token is good, by a clock that is set at will.
#![cfg(target_os = "linux")]

use std::fs as files;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::base::lock::lock;
use crate::keychain::Patience;
use crate::keychain::helper::{Answer, Helper};
use crate::keychain::tests::{Fault, Service};

#[test]
fn a_clock_that_jumps_ends_a_pairing_and_gives_it_back() {
    let root = std::env::temp_dir().join(format!("lf-test-pairing-{}", std::process::id()));
    let environment = Environment::of(|_| None);
    let keychain = Keychain::new(&environment, Patience::SHORT);
    let pairings = Pairings::at(root.clone(), &environment, keychain);
    let now = now();
    let wanted =
        Pairing { expires_at: Some(now.after(TERM)), ..Pairing::new(Label::parse("web").unwrap()) };
    let token = pair(&pairings, wanted, Others::Keep);
    let recogniser = Recogniser::new(pairings);
    let is_good = |at| recogniser.recognise(&token, at).unwrap().is_some();
    let (second, year) = (Duration::from_secs(1), TERM * 4);
    for (at, good) in [
        (now, true),
        (now.before(year), true),
        (now.after(TERM).before(second), true),
        (now.after(TERM), false),
        (now.after(year * 9), false),
        // What was over is good again when the clock is set right.
        (now.after(second), true),
        (now.after(Duration::MAX), false),
        (now.before(Duration::MAX), true),
    ] {
        assert_eq!(is_good(at), good, "{at}");
    }
    files::remove_dir_all(root).unwrap();
}

/// The default root of a home of its own, where no keychain is asked.
struct Place {
    home: PathBuf,
    pairings: Pairings,
}

impl Place {
    fn new(name: &str) -> Place {
        let home = std::env::temp_dir().join(format!("lf-test-{name}-{}", std::process::id()));
        let of_home = home.clone();
        let environment = Environment::of(move |name| match name {
            "HOME" => Some(of_home.clone().into()),
            "LENSERFIGHT_KEYS_PASSPHRASE" => Some("correct horse battery staple".into()),
            "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" => Some("1".into()),
            _ => None,
        });
        let root = environment.default_root().unwrap();
        files::create_dir_all(root.join("gateway")).unwrap();
        let keychain = Keychain::new(&environment, Patience::SHORT);
        Place { pairings: Pairings::at(root, &environment, keychain), home }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.pairings.dir.join(name)
    }

    /// Pairs, and gives the token.
    fn pair(&self, name: &str, others: Others) -> String {
        pair(&self.pairings, named(name), others)
    }

    fn names(&self) -> Vec<String> {
        let list = self.pairings.list().unwrap().into_iter();
        list.map(|(pairing, _)| pairing.name.as_str().to_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = files::remove_dir_all(&self.home);
    }
}

/// Pairs, and gives the token.
fn pair(pairings: &Pairings, wanted: Pairing, others: Others) -> String {
    let mut token = String::new();
    let printed = |it: &Secret, _: Option<&Pairing>| {
        it.expose().clone_into(&mut token);
        Ok(())
    };
    pairings.pair(wanted, others, now(), printed).unwrap().unwrap();
    token
}

fn named(name: &str) -> Pairing {
    Pairing::new(Label::parse(name).unwrap())
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-28T00:00:00.000Z").unwrap()
}

fn list_of<const N: usize>(names: [&str; N]) -> Option<Vec<String>> {
    Some(names.map(str::to_owned).to_vec())
}

#[test]
fn a_pairing_may_do_what_it_was_given_and_by_default_all() {
    for (keys, allow, may) in [
        (None, None, ACTS.to_vec()),
        (list_of(["a"]), None, ACTS.into_iter().filter(|act| *act != "add").collect()),
        (list_of(["a"]), list_of(["add"]), vec!["add"]),
        (None, list_of(["list", "remove"]), vec!["list", "remove"]),
        (None, list_of([]), vec![]),
    ] {
        let pairing = Pairing { keys, allow, ..named("web") };
        let found: Vec<&str> = ACTS.into_iter().filter(|act| pairing.allows(act)).collect();
        assert_eq!(found, may);
        let (has_a, has_b) = (pairing.has("a"), pairing.has("b"));
        assert_eq!((has_a, has_b), (true, pairing.keys.is_none()));
        let view = pairing.view(Some(now()));
        let allow = json::to_string(&may);
        let last_used = format!(r#""lastUsedAt":"{}""#, now());
        assert!(
            view.contains(&format!(r#""allow":{allow}"#)) && view.contains(&last_used),
            "{view}"
        );
        assert!(view.contains(r#""name":"web""#) && !view.contains("sha256"), "{view}");
    }
}

#[test]
fn a_token_can_be_good_if_it_has_not_expired_and_something_is_known_of_it() {
    let later = now().after(Duration::from_millis(1));
    let (digest, account) = (Some("x".to_owned()), Some("web".to_owned()));
    for (sha256, account, expires_at, is_outdated, is_good) in [
        (digest.clone(), account.clone(), None, false, true),
        (digest.clone(), None, Some(later), false, true),
        (None, account.clone(), Some(now()), false, false),
        (None, account, Some(later), false, true),
        (None, None, None, true, false),
        (None, None, Some(now()), true, false),
    ] {
        let pairing = Pairing { sha256, account, expires_at, ..named("web") };
        assert_eq!((pairing.is_outdated(), pairing.is_good(now())), (is_outdated, is_good));
    }
}

#[test]
fn an_entry_of_the_keychain_is_a_token_of_this_root_or_it_is_not() {
    let place = Place::new("pairing-accounts");
    let [usual, other] = place.pairings.accounts()(&named("web").name);
    assert_eq!(usual, "web", "in the default root");
    for (service, account, is_token) in [
        (SERVICE, &*usual, true),
        (SERVICE, &*other, true),
        (SERVICE, "web@root-with-the-sha256:x", false),
        (SERVICE, "web@root-with-the-sha256:x~", false),
        (SERVICE, "", false),
        (MARK, &*usual, false),
    ] {
        assert_eq!(place.pairings.is_token(service, account), is_token, "{service} {account}");
    }
}

#[test]
fn a_list_that_is_none_is_refused_and_an_old_one_is_read() {
    let place = Place::new("pairing-list");
    let digest = Base64UrlUnpadded::encode_string(&[7; 32]);
    let text = |version: u64, members: &str| {
        format!(r#"{{"v":{version},"pairings":[{{"name":"web"{members}}}]}}"#)
    };
    let with = |members: &str| members.replace('@', &digest);
    let read = |text: &str| {
        files::write(place.file(LIST), text).unwrap();
        place.pairings.list()
    };
    // A pairing's account, and whether it has a digest.
    for (version, members, account, has_digest) in [
        (2, with(r#","sha256":"@""#), None, true),
        (2, with(r#","sha256":"@","account":"web""#), Some("web"), true),
        (2, with(r#","account":"web""#), Some("web"), false),
        (2, with(r#","sha256":"@","account":"other""#), None, false),
        (2, String::new(), None, false),
        (1, String::new(), Some("web"), false),
        (1, with(r#","sha256":"@""#), None, true),
        (1, r#","sealed":"x""#.to_owned(), None, false),
        (2, r#","sealed":"x""#.to_owned(), None, false),
    ] {
        let list = read(&text(version, &members)).unwrap();
        let (pairing, _) = &list[0];
        let found = (pairing.account.as_deref(), pairing.sha256.is_some());
        assert_eq!(found, (account, has_digest), "{version} {members}");
        assert_eq!(pairing.sealed, None);
    }
    for (bad, what) in [
        (text(0, ""), "not a list"),
        (text(2, r#","sha256":"short""#), "not a list"),
        ("{}".to_owned(), "not a list"),
        (String::new(), "not a list"),
        (text(3, ""), "a later version"),
        (r#"{"v":3}"#.to_owned(), "a later version"),
    ] {
        let refused = read(&bad).unwrap_err().to_string();
        assert!(refused.contains(what), "{bad}: {refused}");
    }
    let mut longest = text(2, "");
    longest.extend(std::iter::repeat_n(' ', MAX_LIST - longest.len()));
    assert!(read(&longest).is_ok());
    longest.push(' ');
    assert!(read(&longest).is_err());
    assert!(place.pairings.revoke(Some(&named("web").name), now()).is_err());
    // To revoke all, the names need not be readable.
    assert!(place.pairings.revoke(None, now()).unwrap().0.is_empty());
    assert!(place.names().is_empty());
}

#[test]
fn a_name_has_one_token_and_what_is_revoked_is_gone() {
    let place = Place::new("pairing-names");
    let tokens = ["a", "b", "a"].map(|name| place.pair(name, Others::Keep));
    assert_eq!(place.names(), ["b", "a"]);
    let is_good = |token: &str| {
        let pairings = Pairings::at(
            place.pairings.root.clone(),
            &Environment::of(|_| None),
            place.pairings.keychain.clone(),
        );
        let recogniser = Recogniser::new(
            pairings.through(place.pairings.sources.clone(), place.pairings.keychain.clone()),
        );
        recogniser.recognise(token, now()).unwrap().is_some()
    };
    assert_eq!(tokens.each_ref().map(|token| is_good(token)), [false, true, true]);
    assert!(!is_good("wrong"));
    let only = place.pair("c", Others::Revoke);
    assert_eq!(
        (place.names(), is_good(&only), is_good(&tokens[1])),
        (vec!["c".into()], true, false)
    );
    let revoke = |name: Option<&str>| {
        let name = name.map(|name| named(name).name);
        let (gone, done) = place.pairings.revoke(name.as_ref(), now()).unwrap();
        done.unwrap();
        gone.into_iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    place.pair("d", Others::Keep);
    assert!(revoke(Some("x")).is_empty());
    assert_eq!((revoke(Some("c")), place.names()), (vec!["c".into()], vec!["d".into()]));
    assert!(!is_good(&only));
    assert_eq!((revoke(None), place.names()), (vec!["d".into()], vec![]));
    assert!(revoke(None).is_empty());
}

#[test]
fn what_a_killed_process_and_former_versions_left_is_swept_and_nothing_else() {
    let place = Place::new("pairing-sweep");
    let kept = ["bearer-x.txt", "x.json", "identity.json"];
    for name in kept.into_iter().chain(["bearer-x.json"]) {
        files::write(place.file(name), "x").unwrap();
    }
    place.pair("web", Others::Keep);
    assert!(kept.into_iter().all(|name| place.file(name).exists()));
    assert!(!place.file("bearer-x.json").exists());
}

#[test]
fn uses_are_those_of_tokens_that_are_in_the_list() {
    let place = Place::new("pairing-used");
    let token = place.pair("web", Others::Keep);
    let last_used = || place.pairings.list().unwrap()[0].1;
    assert_eq!(last_used(), None);
    let digest = encoded(&Secret::new(token));
    let dir = Dir::create(&place.pairings.dir).unwrap().lock().unwrap();
    let list = place.pairings.read(&dir).unwrap().unwrap();
    let uses = BTreeMap::from([(digest, now()), ("another".to_owned(), now())]);
    keep_used(&dir, &list, uses);
    drop(dir);
    assert_eq!(last_used(), Some(now()));
    let text = || files::read_to_string(place.file(LAST_USED)).unwrap();
    assert!(!text().contains("another"));
    place.pair("web", Others::Keep);
    assert_eq!((last_used(), &*text()), (None, "{}"), "a new token");
}

#[test]
fn a_list_that_would_be_too_long_is_not_written() {
    let place = Place::new("pairing-full");
    let dir = Dir::create(&place.pairings.dir).unwrap().lock().unwrap();
    let length =
        |list: &[Pairing]| json::to_string(&List { v: VERSION, pairings: list.to_vec() }).len();
    let mut list = vec![Pairing { sealed: Some(String::new()), ..named("web") }];
    let room = MAX_LIST - length(&list);
    list[0].sealed = Some("x".repeat(room));
    assert_eq!(length(&list), MAX_LIST);
    assert!(write(&dir, &list).is_ok());
    list[0].sealed = Some("x".repeat(room + 1));
    assert_eq!(write(&dir, &list).unwrap_err().code(), "usage");
    assert_eq!(files::metadata(place.file(LIST)).unwrap().len(), MAX_LIST as u64);
}

/// A keychain that answers what a test says, and can only be read.
#[derive(Default)]
struct Fake {
    /// The token of every account.
    token: Option<String>,
    fails: bool,
    is_absent: bool,
    /// How often it was asked for a token.
    asked: usize,
    /// How often it was told to write down what the list does not know.
    settled: usize,
}

/// A gateway's pairings in a home of its own, the fake keychain that it asks, and its recogniser.
struct Desk {
    place: Place,
    fake: Arc<Mutex<Fake>>,
    pairings: Pairings,
    recogniser: Arc<Recogniser>,
}

impl Desk {
    fn new(name: &str, fake: Fake, has_passphrase: bool) -> Desk {
        let place = Place::new(name);
        let fake = Arc::new(Mutex::new(fake));
        let shared = Arc::clone(&fake);
        let answer = move |question: &[&str]| {
            let mut fake = lock(&shared);
            let failed = || Error::KeychainUnavailable("it fails".to_owned());
            match question {
                ["absent"] => Ok(fake.is_absent.then(|| Secret::new("yes".to_owned()))),
                [_, SERVICE, _] => {
                    fake.asked += 1;
                    let token = fake.token.clone().map(Secret::new);
                    if fake.fails { Err(failed()) } else { Ok(token) }
                }
                _ if fake.fails => Err(failed()),
                [SETTLE] => {
                    fake.settled += 1;
                    Ok(None)
                }
                _ => Ok(None),
            }
        };
        let answer: Arc<Answer> = Arc::new(answer);
        let keychain = Keychain::through(&Helper::of(&answer));
        let home = place.home.clone();
        let environment = Environment::of(move |name| match name {
            "HOME" => Some(home.clone().into()),
            "LENSERFIGHT_KEYS_PASSPHRASE" if has_passphrase => Some("a passphrase".into()),
            _ => None,
        });
        let pairings = || Pairings::at(place.pairings.root.clone(), &environment, keychain.clone());
        let (recogniser, pairings) = (Recogniser::new(pairings()), pairings());
        Desk { place, fake, pairings, recogniser }
    }

    /// A list with one pairing, whose token is `token`.
    fn lists(&self, token: &str, account: Option<&str>) {
        let account = account.map(|it| format!(r#","account":"{it}""#)).unwrap_or_default();
        let digest = encoded(&Secret::new(token.to_owned()));
        let text =
            format!(r#"{{"v":2,"pairings":[{{"name":"web","sha256":"{digest}"{account}}}]}}"#);
        files::write(self.place.file(LIST), text).unwrap();
    }

    /// Is it good? An error has its code.
    fn is_good(&self, token: &str) -> std::result::Result<bool, &'static str> {
        let found = self.recogniser.recognise(token, now());
        found.map(|found| found.is_some()).map_err(|info| info.code)
    }
}

#[test]
fn a_token_without_an_account_counts_only_where_no_keychain_is_in_use() {
    const FAILED: std::result::Result<bool, &str> = Err("keychain_unavailable");
    for (fails, is_absent, has_passphrase, expected) in [
        (false, false, false, Ok(false)),
        (false, false, true, Ok(false)),
        (true, false, false, FAILED),
        (true, false, true, Ok(true)),
        (true, true, false, Ok(true)),
    ] {
        let fake = Fake { fails, is_absent, ..Fake::default() };
        let desk = Desk::new("pairing-no-account", fake, has_passphrase);
        desk.lists("t", None);
        assert_eq!(desk.is_good("t"), expected, "{fails} {is_absent} {has_passphrase}");
    }
    // Once it has answered, a failure is no reason to do without it.
    let desk = Desk::new("pairing-no-account", Fake::default(), true);
    desk.lists("t", None);
    assert_eq!(desk.is_good("t"), Ok(false));
    lock(&desk.fake).fails = true;
    desk.lists("u", None);
    assert_eq!(desk.is_good("u"), FAILED);
}

#[test]
fn a_token_with_an_account_counts_if_the_keychain_has_the_same() {
    for (kept, fails, has_passphrase, expected) in [
        (Some("t"), false, false, Ok(true)),
        (Some("t"), false, true, Ok(true)),
        (Some("u"), false, false, Ok(false)),
        (None, false, true, Ok(false)),
        (Some("t"), true, true, Err("keychain_unavailable")),
    ] {
        let fake = Fake { token: kept.map(str::to_owned), fails, ..Fake::default() };
        let desk = Desk::new("pairing-account", fake, has_passphrase);
        desk.lists("t", Some("web"));
        assert_eq!(desk.is_good("t"), expected, "{kept:?} {fails} {has_passphrase}");
        assert_eq!(desk.is_good("wrong"), Ok(false), "nothing is known of it");
    }
}

#[test]
fn a_keychain_is_asked_once_a_second_at_most_about_what_is_not_good() {
    for fails in [false, true] {
        let desk = Desk::new("pairing-asked", Fake { fails, ..Fake::default() }, false);
        desk.lists("t", Some("web"));
        let asked = || lock(&desk.fake).asked;
        assert_eq!((desk.is_good("t").is_err(), asked()), (fails, 1));
        assert_eq!((desk.is_good("t").is_err(), asked()), (fails, 1), "at once, again");
        if fails {
            // It may take seconds to fail, so it is not asked about another token either.
            desk.lists("u", Some("web"));
            assert_eq!((desk.is_good("u").is_err(), asked()), (true, 1));
        }
        thread::sleep(Duration::from_millis(1100));
        *lock(&desk.fake) = Fake { token: Some("t".to_owned()), asked: asked(), ..Fake::default() };
        desk.lists("t", Some("web"));
        assert_eq!((desk.is_good("t"), asked()), (Ok(true), 2));
    }
}

#[test]
fn a_keychain_that_fails_says_nothing_of_a_token_before_there_is_a_list() {
    for (fails, has_passphrase, expected) in [
        (true, false, Err("keychain_unavailable")),
        (true, true, Ok(false)),
        (false, false, Ok(false)),
    ] {
        let desk = Desk::new("pairing-settle", Fake { fails, ..Fake::default() }, has_passphrase);
        assert_eq!(desk.is_good("t"), expected, "{fails} {has_passphrase}");
        assert_eq!(lock(&desk.fake).settled, usize::from(!fails), "that is its helper's to do");
    }
}

#[test]
fn a_forced_passphrase_asks_no_keychain() {
    let place = Place::new("pairing-forced");
    let token = place.pair("web", Others::Keep);
    for (forces, has_passphrase, is_good) in
        [(true, true, true), (true, false, false), (false, true, false), (false, false, false)]
    {
        // This one answers, and has no token.
        let desk = Desk::new("pairing-forced-desk", Fake::default(), false);
        let environment = Environment::of(move |name| match name {
            "LENSERFIGHT_KEYS_PASSPHRASE" if has_passphrase => Some("a passphrase".into()),
            "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" if forces => Some("1".into()),
            _ => None,
        });
        let keychain = desk.pairings.keychain.clone();
        // The variables of the gateway say nothing; those of its helper count.
        let without = Environment::of(|_| None);
        let pairings = Pairings::at(place.pairings.root.clone(), &without, keychain.clone());
        let pairings = pairings.through(environment.passphrase, keychain);
        let found = Recogniser::new(pairings).recognise(&token, now()).unwrap();
        assert_eq!(found.is_some(), is_good, "{forces} {has_passphrase}");
        assert_eq!(lock(&desk.fake).asked, usize::from(!is_good));
    }
}

/// The pairings of a place, with this keychain.
fn with(service: &Service, place: &Place, has_passphrase: bool) -> Pairings {
    let passphrase = ("LENSERFIGHT_KEYS_PASSPHRASE", "a passphrase");
    let mut variables = vec![("HOME", place.home.to_str().unwrap())];
    variables.extend(has_passphrase.then_some(passphrase));
    let environment = service.environment(&variables);
    let root = environment.default_root().unwrap();
    Pairings::at(root, &environment, service.keychain())
}

/// A keychain that fails, for the first time with another error than after that.
fn failing() -> Service {
    let (service, mut names) = (Service::start(), ["a.First"].into_iter());
    service.world().fault = Box::new(move |call| match call {
        "SearchItems" => Fault::Error(names.next().unwrap_or("a.Later")),
        _ => Fault::None,
    });
    service
}

#[test]
fn nothing_is_paired_while_it_is_not_known_what_the_keychain_has() {
    let (place, service) = (Place::new("pairing-unknown"), failing());
    let pairings = with(&service, &place, false);
    let done = pairings.pair(named("web"), Others::Keep, now(), |_, _| unreachable!());
    let refused = done.unwrap_err().to_string();
    assert!(refused.contains("a.First"), "{refused}");
}

#[test]
fn the_predecessors_token_is_taken_over_where_nothing_is_in_its_place() {
    let token = Base64UrlUnpadded::encode_string(&[7; 32]);
    let token = || Secret::new(token.clone());
    let place = Place::new("pairing-inherit");
    let inherit = |token: Secret| place.pairings.inherit(&token, now()).unwrap();
    assert!(!inherit(Secret::new("short".to_owned())), "it could be guessed from its digest");
    assert!(place.names().is_empty());
    assert!(inherit(token()) && place.names() == [DEFAULT_NAME], "no keychain is asked");
    assert!(!inherit(token()), "there is a list");
    let kept = Some("another".to_owned());
    for (fake, has_passphrase, expected) in [
        (Fake { fails: true, ..Fake::default() }, true, Ok(true)),
        (Fake { fails: true, ..Fake::default() }, false, Err("it fails")),
        // It answers, so that the token belongs there; but this one can only be read.
        (Fake::default(), true, Err("no session bus")),
        (Fake { token: kept, ..Fake::default() }, true, Ok(false)),
    ] {
        let desk = Desk::new("pairing-inherit-desk", fake, has_passphrase);
        let done = desk.pairings.inherit(&token(), now());
        match (done, expected) {
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{error}"),
            (done, expected) => assert_eq!(done.ok(), expected.ok()),
        }
        assert_eq!(desk.place.names().len(), usize::from(expected == Ok(true)));
    }
}

#[test]
fn what_may_be_in_a_keychain_that_fails_is_revoked_by_a_list_and_that_is_said() {
    for (has_passphrase, is_listed, name, has_list, is_told) in [
        // The predecessor's token may be there. It has one name.
        (false, false, Some(DEFAULT_NAME), true, true),
        (false, false, None, true, true),
        (false, false, Some("other"), false, false),
        // A passphrase says that no keychain is in use.
        (true, false, Some(DEFAULT_NAME), true, false),
        (true, true, Some("web"), true, false),
        // Of that pairing it is asked nothing.
        (false, true, Some("web"), true, false),
    ] {
        let (place, service) = (Place::new("pairing-revoke"), failing());
        if is_listed {
            place.pair("web", Others::Keep);
        }
        let name = name.map(|name| named(name).name);
        let (gone, forgotten) =
            with(&service, &place, has_passphrase).revoke(name.as_ref(), now()).unwrap();
        assert_eq!(gone.len(), usize::from(is_listed));
        assert_eq!(
            (place.file(LIST).exists(), forgotten.is_err()),
            (has_list, is_told),
            "{has_passphrase} {is_listed} {name:?}"
        );
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_token_is_at_rest_under_its_usual_account() {
    let (place, service) = (Place::new("pairing-at-rest"), Service::start());
    let pairings = with(&service, &place, false);
    for _ in 0..3 {
        let token = pair(&pairings, named("web"), Others::Keep);
        let (listed, _) = pairings.list().unwrap().remove(0);
        assert_eq!(listed.account.as_deref(), Some("web"));
        assert_eq!(service.secret(SERVICE, "web"), Some(token));
        assert_eq!(service.world().entries.len(), 2, "with the mark");
    }
}

#[test]
fn a_token_that_a_keychain_does_not_return_is_not_taken_over() {
    let (place, service) = (Place::new("pairing-broken"), Service::start());
    let pairings = with(&service, &place, false);
    service.world().is_broken = true;
    let token = Secret::new(Base64UrlUnpadded::encode_string(&[7; 32]));
    let refused = pairings.inherit(&token, now()).unwrap_err().to_string();
    assert!(refused.contains("does not return it"), "{refused}");
}

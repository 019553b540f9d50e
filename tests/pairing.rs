//! Bearer tokens: minted, kept, listed, replaced, revoked and expired, under a running gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

use support::bus::Bus;
use support::gateway::{Client, Gateway, bearer, pair, token};
use support::{Home, Outcome, PASSPHRASE, Run, mode};

const SERVICE: &str = "lenserfight-gateway-bearer";

fn list_of(home: &Home) -> PathBuf {
    home.path().join(".lenserfight/gateway/pairings.json")
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.ask("GET /keys", &[("Authorization", &bearer(token))], "").status
}

/// A gateway on a keychain that has the token of one pairing.
fn paired() -> (Home, Bus, Gateway, String) {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("gateway pair")).ok();
    let token = bus.lookup(SERVICE, "web-pair");
    let gateway = serve(&home, &bus);
    assert_eq!(status(&gateway, &token), 200);
    (home, bus, gateway, token)
}

/// The same, with the token of the predecessor's pairing.
fn inherited() -> (Home, Bus, Gateway, &'static str) {
    let (home, bus) = Home::with_keychain();
    let token = "predecessor-token-of-43-characters-xxxxxxxx";
    let schema = ["xdg:schema", "org.freedesktop.Secret.Generic"];
    let entry = ["service", SERVICE, "account", "web-pair"];
    bus.store(&[&entry[..], &schema].concat(), token);
    let gateway = serve(&home, &bus);
    assert_eq!(status(&gateway, token), 200);
    (home, bus, gateway, token)
}

fn serve(home: &Home, bus: &Bus) -> Gateway {
    Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")))
}

#[test]
fn pair_prints_a_token_and_the_three_steps() {
    let home = Home::new();
    let paired = home.lf("gateway pair --web").ok();
    let token = paired.out.lines().next().unwrap();
    assert_eq!(token.len(), 43);
    for step in ["lf gateway serve --keys-only", "Local Keys", "Pair gateway"] {
        assert!(paired.out.contains(step), "{paired}");
    }
    let json = home.lf("gateway pair --name tablet --expires 12h --json").ok();
    let object: miniserde::json::Object = miniserde::json::from_str(&json.out).unwrap();
    for member in ["createdAt", "expiresAt", "name", "token", "keys", "allow"] {
        assert!(object.contains_key(member), "{member}: {json}");
    }
    let listed = home.lf("gateway pairings").ok();
    assert!(
        listed.out.contains("web-pair")
            && listed.out.contains("tablet")
            && !listed.out.contains(token),
        "{listed}"
    );
    let before = "2026-11-20T14:03Z  2026-11-20T14:03Z  LAST USED  SCOPE  ".len();
    assert_eq!(listed.out.find("NAME"), Some(before), "{listed}");
    home.lf("gateway pair --expires yesterday").fails(2, "usage");
    home.lf("gateway pair --expires 1s").fails(2, "usage");
    home.words(&["gateway", "pair", "--name", "a\nb"]).fails(2, "invalid_label");
}

#[test]
fn a_running_gateway_honours_every_change_at_the_next_request() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    assert_eq!(status(&gateway, &"x".repeat(43)), 401);
    let first = pair(&home, "");
    assert_eq!(status(&gateway, &first), 200, "a pairing that is newer than the gateway");
    let tablet = pair(&home, "--name tablet");
    let second = pair(&home, "");
    assert_eq!(
        (status(&gateway, &first), status(&gateway, &second), status(&gateway, &tablet)),
        (401, 200, 200),
        "replaced, and the other stays"
    );
    home.lf("gateway unpair tablet").ok();
    assert_eq!((status(&gateway, &second), status(&gateway, &tablet)), (200, 401));
    let third = pair(&home, "--name phone --rotate");
    assert_eq!(
        (status(&gateway, &second), status(&gateway, &third)),
        (401, 200),
        "rotated: all others are gone"
    );
    home.lf("gateway unpair --all").ok();
    assert_eq!(status(&gateway, &third), 401);
    home.lf("gateway unpair phone").fails(1, "pairing_not_found");
    home.lf("gateway unpair --all").ok();
    for token in [first, second, third, tablet] {
        assert_eq!(status(&gateway, &token), 401, "never again");
    }
}

#[test]
fn a_token_ends_when_it_expires() {
    let home = Home::new();
    let token = pair(&home, "--expires 1h");
    let gateway = Gateway::start(&home);
    assert_eq!(status(&gateway, &token), 200);
    // An hour is too long to wait for: the book says that it has passed.
    let book = home.path().join(".lenserfight/gateway/pairings.json");
    let text = fs::read_to_string(&book).unwrap();
    let at = text.find("\"expiresAt\":\"").unwrap() + 13;
    fs::write(&book, format!("{}2026-01-01{}", &text[..at], &text[at + 10..])).unwrap();
    assert_eq!(status(&gateway, &token), 401);
}

#[test]
fn without_a_keychain_the_list_holds_a_digest_and_no_file_holds_the_token() {
    let home = Home::new();
    let token = pair(&home, "--name one");
    let state = home.path().join(".lenserfight/gateway");
    assert_eq!(mode(&state), 0o700);
    let files = || -> Vec<_> {
        let entries = fs::read_dir(&state).unwrap().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    assert_eq!(files(), [state.join("pairings.json")]);
    let text = fs::read_to_string(&files()[0]).unwrap();
    assert!(
        !text.contains(&token) && !text.contains(PASSPHRASE) && text.contains(&digest(&token)),
        "{text}"
    );
    assert_eq!(mode(&files()[0]), 0o600);
    let new = pair(&home, "--name one");
    let gateway = Gateway::start(&home);
    assert_eq!((status(&gateway, &new), status(&gateway, &token)), (200, 401));
    home.lf("gateway unpair one").ok();
    assert_eq!(status(&gateway, &new), 401);
}

#[test]
fn a_pairing_needs_no_master_passphrase() {
    let home = Home::new();
    let token = token(home.bare("gateway pair"));
    let serve = || home.bare("gateway serve --keys-only --port 0");
    let other = serve().env("LENSERFIGHT_KEYS_PASSPHRASE", "another long passphrase");
    for gateway in [serve(), other] {
        let gateway = Gateway::run(gateway);
        assert_eq!(status(&gateway, &"x".repeat(43)), 401);
        assert_eq!(status(&gateway, &token), 200);
    }
    // A keychain that does not answer is one, and not stood in for.
    let bus = Bus::with_keyring(&home);
    bus.freeze();
    bus.on(home.bare("gateway pair --name new")).fails(1, "keychain_unavailable");
    bus.thaw();
    assert!(!home.lf("gateway pairings").ok().out.contains("new"));
}

/// Somebody who can write the list puts a token of his own into it.
fn forge(home: &Home) -> String {
    let list = home.path().join(".lenserfight/gateway/pairings.json");
    let (text, token) = (fs::read_to_string(&list).unwrap(), "f".repeat(43));
    let entry = format!(r#"[{{"name":"forged","sha256":"{}"}},"#, digest(&token));
    fs::write(&list, text.replace("[", &entry)).unwrap();
    token
}

fn digest(token: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(token))
}

#[test]
fn a_digest_in_the_list_counts_for_nothing_once_a_keychain_answers() {
    let (home, mut bus, gateway, token) = paired();
    let forged = forge(&home);
    assert_eq!(status(&gateway, &forged), 401);
    let given = || {
        let serve = home.bare("gateway serve --keys-only --port 0");
        serve.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
    };
    let other = Gateway::run(bus.on(given()));
    assert_eq!((status(&other, &forged), status(&other, &token)), (401, 200));
    // Nor when the keychain has gone, for a gateway that has heard of it.
    bus.stop_keyring();
    for gateway in [&gateway, &other] {
        support::until("it asks the keychain again", || status(gateway, &forged) == 503);
        assert_eq!(status(gateway, &token), 200);
    }
    // Where no keychain is in use, it is the way in.
    assert_eq!(status(&Gateway::run(given()), &forged), 200);
    bus.start_keyring(true);
    let forced = given().env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1");
    assert_eq!(status(&Gateway::run(bus.on(forced)), &forged), 200);
}

#[test]
fn a_pairing_that_a_former_version_sealed_has_to_be_made_again() {
    let home = Home::new();
    let kept = pair(&home, "--name kept");
    let state = home.path().join(".lenserfight/gateway");
    let list = state.join("pairings.json");
    let text = fs::read_to_string(&list).unwrap();
    let old = r#"[{"name":"old","createdAt":null,"expiresAt":null,"sealed":"mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-"},"#;
    fs::write(&list, text.replace("[", old)).unwrap();
    let sealed = state.join("bearer-mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-.json");
    fs::write(&sealed, "{}").unwrap();
    let listed = home.lf("gateway pairings").ok();
    assert!(
        listed.out.contains("old") && listed.err.contains("\"old\" is from a former version"),
        "{listed}"
    );
    let gateway = Gateway::start(&home);
    assert_eq!(status(&gateway, &kept), 200);
    assert_eq!(status(&gateway, &"x".repeat(43)), 401);
    pair(&home, "--name third");
    let again = home.lf("gateway pairings").ok();
    assert!(again.err.contains("\"old\"") && !sealed.exists(), "{again}");
    let new = pair(&home, "--name old");
    assert_eq!((status(&gateway, &new), status(&gateway, &kept)), (200, 200));
    assert_eq!(home.lf("gateway pairings").ok().err, "");
}

#[test]
fn with_a_keychain_tokens_are_kept_there() {
    let (home, bus) = Home::with_keychain();
    let out = bus.on(home.bare("gateway pair --json --name tablet")).ok().out;
    let token = bus.lookup(SERVICE, "tablet");
    assert!(token.len() == 43 && out.contains(&token), "{out}");
    let gateway = serve(&home, &bus);
    assert_eq!(status(&gateway, &token), 200);
    bus.on(home.bare("gateway unpair tablet")).ok();
    assert_eq!(bus.lookup(SERVICE, "tablet"), "");
    assert_eq!(status(&gateway, &token), 401);
    // A passphrase that is there makes no difference, unless it is to be used without the keychain.
    for (force, is_kept) in [("0", true), ("1", false)] {
        let pair = home
            .lf("gateway pair --name other")
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", force);
        let token = support::gateway::token(bus.on(pair));
        assert_eq!(bus.lookup(SERVICE, "other") == token, is_kept, "{force}");
    }
    let forced =
        home.bare("gateway pair --name third").env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1");
    let token = support::gateway::token(bus.on(forced));
    assert_eq!(bus.lookup(SERVICE, "third"), token, "there is none to use");
}

#[test]
fn the_predecessors_token_is_known_until_it_is_replaced() {
    let (home, bus, gateway, old) = inherited();
    assert!(bus.on(home.bare("gateway pairings")).ok().out.contains("web-pair"));
    bus.on(home.bare("gateway pair --name tablet")).ok();
    assert_eq!(status(&gateway, old), 200, "another pairing leaves it alone");
    bus.on(home.bare("gateway pair")).ok();
    assert_eq!(status(&gateway, old), 401);
    bus.on(home.bare("gateway unpair --all")).ok();
    assert_eq!(bus.lookup(SERVICE, "web-pair"), "");
}

#[test]
fn a_keychain_that_locks_up_later_revokes_nobody_and_lets_nobody_new_in() {
    let (home, mut bus, gateway, token) = paired();
    bus.on(home.bare("gateway pair --name tablet")).ok();
    let tablet = bus.lookup(SERVICE, "tablet");
    bus.stop_keyring();
    assert_eq!(status(&gateway, &token), 200);
    assert_eq!(status(&gateway, &tablet), 503, "it may be right, and cannot be known");
    bus.start_keyring(true);
    support::until("another try", || status(&gateway, &tablet) == 200);
}

#[test]
fn a_keychain_that_hangs_delays_nobody_who_is_known() {
    let (home, bus, gateway, token) = paired();
    // Another pairing, whose token is not known yet.
    bus.on(home.bare("gateway pair --name new")).ok();
    let new = bus.lookup(SERVICE, "new");
    bus.freeze();
    std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..4).map(|_| scope.spawn(|| status(&gateway, &new))).collect();
        std::thread::sleep(std::time::Duration::from_millis(300));
        for _ in 0..20 {
            let start = std::time::Instant::now();
            assert_eq!(status(&gateway, &token), 200);
            assert_eq!(status(&gateway, &"x".repeat(43)), 401, "it is not in the list");
            let time = start.elapsed();
            assert!(time < std::time::Duration::from_secs(2), "{time:?}");
        }
        assert!(gateway.is_well());
        for stranger in strangers {
            assert_eq!(stranger.join().unwrap(), 503);
        }
    });
    bus.thaw();
}

#[test]
fn the_time_of_last_use_is_kept() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    assert!(home.lf("gateway pairings --json").ok().out.contains("\"lastUsedAt\":null"));
    assert_eq!(status(&gateway, &token), 200);
    assert_eq!(gateway.ends().status, Some(0));
    let listed = home.lf("gateway pairings --json").ok();
    assert!(listed.out.contains("\"lastUsedAt\":\"2"), "{listed}");
}

#[test]
fn a_book_that_cannot_be_read_lets_nobody_in_and_is_not_overwritten() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    assert_eq!(status(&gateway, &token), 200);
    let book = home.path().join(".lenserfight/gateway/pairings.json");
    let good = fs::read_to_string(&book).unwrap();
    // Half of it, entries that make no sense, and versions that never were.
    let half_written = [1, 10, good.len() / 2, good.len() - 1].map(|end| good[..end].to_owned());
    let damaged = [
        r#"{"v":1,"pairings":[{"name":"a\u0000b"}]}"#,
        r#"{"v":2,"pairings":[{"name":"a","sha256":"short"}]}"#,
        r#"{"v":2,"pairings":[{"name":"a","allow":"list"}]}"#,
        r#"{"v":0,"pairings":[]}"#,
        r#"{"v":-1,"pairings":[]}"#,
        r#"{"v":2}"#,
        "garbage",
        "",
    ];
    for garbage in half_written.iter().map(String::as_str).chain(damaged) {
        fs::write(&book, garbage).unwrap();
        assert_eq!(status(&gateway, &token), 500);
        for command in ["pair", "unpair web-pair"] {
            let refused = home.lf(&format!("gateway {command}")).fails(1, "corrupt_pairings");
            assert!(refused.err.contains("lf gateway unpair --all"), "{refused}");
        }
        assert_eq!(fs::read_to_string(&book).unwrap(), garbage);
    }
    // Somebody who wants everybody out need not know who they were.
    for force in ["0", "1"] {
        fs::write(&book, "garbage").unwrap();
        home.lf("gateway unpair --all").env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", force).ok();
        assert_eq!(status(&gateway, &token), 401);
    }
    let token = pair(&home, "");
    assert_eq!(status(&gateway, &token), 200);
}

#[test]
fn a_change_of_the_pairings_in_the_middle_of_a_request_refuses_nobody() {
    let home = Home::new();
    let tokens: Vec<String> = (0..8).map(|n| pair(&home, &format!("--name p{n}"))).collect();
    let gateway = Gateway::start(&home);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| status(&gateway, &tokens[0]));
        std::thread::sleep(std::time::Duration::from_millis(150));
        home.lf("gateway unpair p7").ok();
        assert_eq!(status(&gateway, &tokens[1]), 200);
        assert_eq!(first.join().unwrap(), 200);
        assert_eq!(status(&gateway, &tokens[7]), 401);
    });
}

#[test]
fn revoking_works_while_the_keychain_hangs_and_says_so() {
    // The predecessor's, without a book; then one of ours, with one.
    let (home, bus, gateway, legacy) = inherited();
    bus.freeze();
    bus.on(home.bare("gateway unpair --all")).fails(1, "keychain_unavailable");
    assert_eq!(status(&gateway, legacy), 401);
    bus.thaw();
    assert_eq!(status(&gateway, legacy), 401, "nor when the keychain is back");
    bus.on(home.bare("gateway pair --name tablet")).ok();
    let tablet = bus.lookup(SERVICE, "tablet");
    assert_eq!(status(&gateway, &tablet), 200);
    bus.freeze();
    let revoked = bus.on(home.bare("gateway unpair tablet")).fails(1, "keychain_unavailable");
    assert!(revoked.out.contains("revoked \"tablet\""), "{revoked}");
    assert_eq!(status(&gateway, &tablet), 401);
    bus.thaw();
}

#[test]
fn a_pairing_that_fails_leaves_the_old_token_alone() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("gateway pair")).ok();
    let old = bus.lookup(SERVICE, "web-pair");
    let book = home.path().join(".lenserfight/gateway/pairings.json");
    let good = fs::read(&book).unwrap();
    fs::write(&book, "garbage").unwrap();
    bus.on(home.bare("gateway pair")).fails(1, "corrupt_pairings");
    assert_eq!(bus.lookup(SERVICE, "web-pair"), old);
    fs::write(&book, good).unwrap();
    // The last step, the book itself, fails: the keychain gets its old token back.
    bus.on(home.bare("gateway pair")).inject("renameat:error=EIO").fails(1, "io_error");
    assert_eq!(bus.lookup(SERVICE, "web-pair"), old);
}

#[test]
fn what_a_killed_process_left_behind_is_swept_up() {
    let home = Home::new();
    pair(&home, "--name kept");
    let state = home.path().join(".lenserfight/gateway");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&state)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = names();
    for fault in ["renameat:signal=SIGKILL", "fsync:signal=SIGKILL:when=1"] {
        home.lf("gateway pair --name new").inject(fault).go();
    }
    assert!(names().len() > before.len(), "{:?}", names());
    let report = home.lf("keys add --provider openai").input("v").ok();
    let _ = report;
    home.lf("keys doctor").fails(3, "checks_failed");
    home.lf("keys doctor --fix").ok();
    let token = pair(&home, "--name other");
    assert_eq!(names().len(), before.len(), "nothing but the list: {:?}", names());
    assert_eq!(status(&Gateway::start(&home), &token), 200);
}

/// `lf` in a root of its own, below the home.
fn rooted(home: &Home, root: &str, arguments: &str) -> Run {
    home.bare(arguments).env("LENSERFIGHT_RUNTIME_DIR", home.path().join(root))
}

const SERVE: &str = "gateway serve --keys-only --port 0";

#[test]
fn a_token_is_good_for_its_own_root_alone() {
    let (home, bus, gateway, first) = paired();
    let other = Gateway::run(bus.on(rooted(&home, "b", SERVE)));
    assert_eq!(status(&other, &first), 401);
    let second = token(bus.on(rooted(&home, "b", "gateway pair")));
    assert_eq!((status(&other, &second), status(&gateway, &second)), (200, 401));
    // Also where the keychain is asked anew.
    assert_eq!(status(&serve(&home, &bus), &first), 200);
    assert_eq!(bus.lookup(SERVICE, "web-pair"), first);
    bus.on(rooted(&home, "b", "gateway unpair --all")).ok();
    assert_eq!((status(&other, &second), status(&serve(&home, &bus), &first)), (401, 200));
    bus.on(home.bare("gateway unpair --all")).ok();
    assert_eq!((status(&gateway, &first), bus.lookup(SERVICE, "web-pair")), (401, String::new()));
    // By another way to the same place it is the same root.
    let again = token(bus.on(rooted(&home, ".lenserfight/../.lenserfight", "gateway pair")));
    assert_eq!((status(&gateway, &again), bus.lookup(SERVICE, "web-pair")), (200, again));
}

#[test]
fn a_root_that_was_copied_or_moved_is_paired_again() {
    let (home, bus) = Home::with_keychain();
    let paired = token(bus.on(rooted(&home, "a", "gateway pair")));
    let status_in = |root: &str| status(&Gateway::run(bus.on(rooted(&home, root, SERVE))), &paired);
    assert_eq!(status_in("a"), 200);
    let copy = |from: &str, to: &str| {
        let mut cp = Command::new("cp");
        let done = cp.arg("-r").args([from, to].map(|name| home.path().join(name))).status();
        assert!(done.unwrap().success());
    };
    for (from, to) in [("a", "copy"), ("a", ".lenserfight")] {
        let _ = fs::remove_dir_all(home.path().join(to));
        copy(from, to);
        assert_eq!(status_in(to), 401, "{to}");
        let listed = bus.on(rooted(&home, to, "gateway pairings")).ok();
        assert!(listed.err.contains("lf gateway pair --name NAME"), "{listed}");
        bus.on(rooted(&home, to, "gateway unpair --all")).ok();
        assert_eq!(status_in("a"), 200, "what the copy revokes is its own");
    }
    fs::rename(home.path().join("a"), home.path().join("moved")).unwrap();
    assert_eq!(status_in("moved"), 401);
    let new = token(bus.on(rooted(&home, "moved", "gateway pair")));
    let gateway = Gateway::run(bus.on(rooted(&home, "moved", SERVE)));
    assert_eq!(status(&gateway, &new), 200);
}

#[test]
fn without_its_list_no_token_is_good() {
    let (home, bus, gateway, token) = paired();
    fs::remove_file(list_of(&home)).unwrap();
    for _ in 0..2 {
        assert_eq!(status(&gateway, &token), 401);
        assert_eq!(status(&serve(&home, &bus), &token), 401);
        let listed = bus.on(home.bare("gateway pairings")).ok();
        assert!(listed.out.is_empty() && listed.err.contains("lf gateway pair makes"), "{listed}");
        fs::remove_dir_all(list_of(&home).parent().unwrap()).unwrap();
    }
    let asked = home.bare(&format!("gateway status --port {}", gateway.address.port()));
    let told = bus.on(asked).ok();
    assert!(told.out.contains("pairings  0") && told.err.contains("lf gateway pair"), "{told}");
    let served = serve(&home, &bus).ends();
    assert!(served.err.contains("lf gateway pair makes a token"), "{served}");
    bus.on(home.bare("gateway pair")).ok();
    assert_eq!(status(&gateway, &bus.lookup(SERVICE, "web-pair")), 200);
}

#[test]
fn the_predecessors_token_is_taken_over_once() {
    let (home, bus, gateway, old) = inherited();
    let json = bus.on(home.bare("gateway pairings --json")).ok().out;
    assert!(json.contains(r#""takenOverAt":"2"#) && json.contains(r#""expiresAt":"2"#), "{json}");
    assert!(bus.on(home.bare("gateway pairings")).ok().out.contains("predecessor"));
    assert_eq!(bus.lookup(SERVICE, "web-pair"), old, "its own client still finds it");
    // Another client may change the entry: the list does not know that token.
    let entry = ["service", SERVICE, "account", "web-pair"];
    bus.store(&entry, "another-token");
    assert_eq!(status(&serve(&home, &bus), "another-token"), 401);
    bus.store(&entry, old);
    assert_eq!(status(&serve(&home, &bus), old), 200);
    fs::remove_file(list_of(&home)).unwrap();
    bus.on(home.bare("gateway pairings")).ok();
    for gateway in [&gateway, &serve(&home, &bus)] {
        assert_eq!(status(gateway, old), 401, "not twice");
    }
    // Who asks first does it, and another root never does.
    let (home, bus) = Home::with_keychain();
    bus.store(&entry, old);
    assert_eq!(status(&Gateway::run(bus.on(rooted(&home, "b", SERVE))), old), 401);
    assert!(bus.on(home.bare("gateway pairings")).ok().out.contains("predecessor"));
    assert_eq!(status(&serve(&home, &bus), old), 200);
}

#[test]
fn a_list_of_the_first_version_is_good_and_later_ones_are_left_alone() {
    let (home, bus) = Home::with_keychain();
    let times = r#""createdAt":"2026-01-02T03:04:05.678Z","expiresAt":null"#;
    let list = |root: &str, sha256: &str| {
        let state = home.path().join(root).join("gateway");
        fs::create_dir_all(&state).unwrap();
        let entry = format!(r#"{{"name":"tablet",{times},"sha256":{sha256},"sealed":null}}"#);
        let kept = format!(r#"{{"name":"desk",{times},"sha256":"{}"}}"#, digest("desk"));
        let text = format!(r#"{{"v":1,"pairings":[{entry},{kept}]}}"#);
        fs::write(state.join("pairings.json"), text).unwrap();
    };
    list(".lenserfight", "null");
    list("b", "null");
    let entry = ["service", SERVICE, "account", "tablet"];
    bus.store(&entry, "first-version");
    let gateway = serve(&home, &bus);
    assert_eq!(status(&gateway, "first-version"), 200);
    let other = Gateway::run(bus.on(rooted(&home, "b", SERVE)));
    assert_eq!(status(&other, "first-version"), 401, "nobody knows which root paired it");
    let listed = bus.on(rooted(&home, "b", "gateway pairings")).ok();
    assert!(listed.err.contains("lf gateway pair --name NAME"), "{listed}");
    // From here on the list knows the token, and the keychain alone cannot change it.
    bus.store(&entry, "another");
    assert_eq!(status(&serve(&home, &bus), "another"), 401);
    let text = fs::read_to_string(list_of(&home)).unwrap();
    assert!(text.contains(&digest("first-version")) && text.contains(&digest("desk")), "{text}");
    // The same without a keychain.
    let alone = Home::new();
    let digest = format!("\"{}\"", digest("without-keychain"));
    let home = &alone;
    let state = home.path().join(".lenserfight/gateway");
    fs::create_dir_all(&state).unwrap();
    let entry = format!(r#"{{"name":"tablet",{times},"sha256":{digest}}}"#);
    fs::write(state.join("pairings.json"), format!(r#"{{"v":1,"pairings":[{entry}]}}"#)).unwrap();
    let gateway = Gateway::start(home);
    assert_eq!(status(&gateway, "without-keychain"), 200);
    let later = r#"{"v":3,"pairings":{"new":"shape"}}"#;
    fs::write(list_of(home), later).unwrap();
    assert_eq!(status(&gateway, "without-keychain"), 500);
    for command in ["pair", "pair --rotate", "unpair tablet", "unpair --all"] {
        let refused = home.lf(&format!("gateway {command}")).fails(2, "refused");
        assert!(refused.err.contains("later version") && refused.err.contains("rm "), "{refused}");
        assert_eq!(fs::read_to_string(list_of(home)).unwrap(), later);
    }
}

/// Pairs `web` again and revokes `other`: is it the old state, or the new one with its token printed?
/// Asked of a gateway that knows no token yet.
fn either_or((home, bus): (&Home, &Bus), old: &mut String, other: &str, paired: &Outcome) {
    // What the keyring still has to do is done before it answers this.
    bus.lookup(SERVICE, "web");
    let gateway = &serve(home, bus);
    let new = paired.out.lines().next().unwrap_or_default().to_owned();
    let found = (status(gateway, old), status(gateway, other), status(gateway, &new));
    match found {
        (200, 200, 401) => assert_ne!(paired.status, Some(0), "{paired}"),
        (401, 401, 200) => {
            assert_ne!(paired.status, Some(1), "{paired}");
            *old = new;
        }
        _ => panic!("{found:?} {paired}"),
    }
}

const AGAIN: &str = "gateway pair --name web --rotate";

#[test]
fn a_pairing_is_the_old_one_or_the_new_one_and_its_token_is_printed() {
    // The keyring stops at each connection that the command makes, and at each of its messages.
    let run = |call: &str, points: std::ops::RangeInclusive<usize>| {
        let (home, bus) = Home::with_keychain();
        let pair = |name| token(bus.on(home.bare(&format!("gateway pair --name {name}"))));
        let (mut old, log) = (pair("web"), home.path().join("strace.log"));
        for point in points.clone() {
            let other = pair("other");
            // Nothing listens on that port.
            let again = bus.on(home.bare(AGAIN)).env("LF_GATEWAY_PORT", "1");
            let fault = format!("{call}:signal=SIGSTOP:when={point}");
            let Ok(stopped) = again.stop("0", &log, &fault) else {
                assert!(point > *points.start(), "{call} {point} is behind the end");
                break;
            };
            bus.freeze();
            let outcome = stopped.goes_on();
            bus.thaw();
            either_or((&home, &bus), &mut old, &other, &outcome);
        }
    };
    std::thread::scope(|scope| {
        for (call, points) in support::rows([
            ("sendto", 5..=10),
            ("connect", 1..=8),
            ("sendto", 11..=16),
            ("sendto", 17..=22),
        ]) {
            scope.spawn(move || run(call, points));
        }
    });
}

#[test]
fn a_pairing_that_is_killed_is_the_old_one_or_the_new_one_and_its_token_is_printed() {
    let (home, bus) = Home::with_keychain();
    let mut old = token(bus.on(home.bare("gateway pair --name web")));
    for call in ["connect", "renameat", "fsync", "write"] {
        for point in 1.. {
            let other = token(bus.on(home.bare("gateway pair --name other")));
            let fault = format!("{call}:signal=SIGKILL:when={point}");
            let outcome = bus.on(home.bare(AGAIN)).inject(&fault).go();
            let is_over = outcome.status == Some(0);
            either_or((&home, &bus), &mut old, &other, &outcome);
            if is_over {
                break;
            }
        }
    }
    // A disk that does not sync: one that fails behind the list's new name may have it there.
    for point in 1..=6 {
        let other = token(bus.on(home.bare("gateway pair --name other")));
        let fault = format!("fsync:error=EIO:when={point}");
        let outcome = bus.on(home.bare(AGAIN)).inject(&fault).go();
        either_or((&home, &bus), &mut old, &other, &outcome);
    }
    // A disk that is full, and an output that takes nothing.
    let other = token(bus.on(home.bare("gateway pair --name other")));
    for fault in ["renameat:error=EIO:when=1", "fsync:error=ENOSPC:when=1", "write:error=ENOSPC"] {
        let outcome = bus.on(home.bare(AGAIN)).inject(fault).go();
        assert_eq!(outcome.status, Some(1), "{fault}: {outcome}");
        either_or((&home, &bus), &mut old, &other, &outcome);
    }
    assert_eq!(bus.lookup(SERVICE, "web"), old, "at rest it is where others look for it");
}

#[test]
fn a_new_pairing_of_an_old_name_shows_no_use_of_the_old_one() {
    let home = Home::new();
    let (old, kept) = (pair(&home, "--name web"), pair(&home, "--name kept"));
    let gateway = Gateway::start(&home);
    for token in [&old, &kept] {
        assert_eq!(status(&gateway, token), 200);
    }
    assert_eq!(gateway.ends().status, Some(0));
    let used = || fs::read_to_string(list_of(&home).with_file_name("last-used.json")).unwrap();
    assert_eq!(used().matches(":\"2").count(), 2, "{}", used());
    home.lf("gateway unpair web").ok();
    assert_eq!(used().matches(":\"2").count(), 1, "{}", used());
    let new = pair(&home, "--name web");
    let shown = |used: usize| {
        let json = home.lf("gateway pairings --json").ok().out;
        assert_eq!(json.matches("\"lastUsedAt\":null").count(), 2 - used, "{json}");
    };
    shown(1);
    // Nor does a gateway that had not written it down yet.
    let gateway = Gateway::start(&home);
    assert_eq!((status(&gateway, &new), status(&gateway, &kept)), (200, 200));
    pair(&home, "--name web");
    assert_eq!(gateway.ends().status, Some(0));
    shown(1);
}

#[test]
fn a_list_of_another_user_lets_nobody_in() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    let list = list_of(&home);
    assert_eq!(status(&gateway, &token), 200);
    if !rustix::process::geteuid().is_root() {
        // Only root can make a file another user's.
        return;
    }
    std::os::unix::fs::chown(&list, Some(65534), None).unwrap();
    assert_eq!(status(&gateway, &token), 500);
    let refused = home.lf("gateway pair").fails(1, "corrupt_pairings");
    assert!(refused.err.contains("another user"), "{refused}");
    home.lf("gateway unpair --all").ok();
    assert_eq!(status(&gateway, &token), 401);
    // Whoever owns the directory is no other user.
    let token = pair(&home, "");
    for path in [list.as_path(), list.parent().unwrap()] {
        std::os::unix::fs::chown(path, Some(65534), None).unwrap();
    }
    assert_eq!(status(&gateway, &token), 200);
}

#[test]
fn a_token_that_comes_while_it_is_revoked_is_good_before_and_dead_after() {
    let home = Home::new();
    for round in 0..5 {
        let token = pair(&home, "");
        let gateway = Gateway::start(&home);
        let revoked = AtomicBool::new(false);
        let start = Barrier::new(5);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Client::new(&gateway);
                        let mut ask = |found: &mut Vec<(bool, u16)>| {
                            let late = revoked.load(Ordering::SeqCst);
                            let headers = [("Authorization", &*bearer(&token))];
                            found.push((late, client.ask("GET /pairing", &headers, "").status));
                            late
                        };
                        let mut found = Vec::new();
                        // For the first time, all at once.
                        start.wait();
                        ask(&mut found);
                        start.wait();
                        while !ask(&mut found) {}
                        found
                    })
                })
                .collect();
            start.wait();
            start.wait();
            home.lf("gateway unpair --all").ok();
            revoked.store(true, Ordering::SeqCst);
            for client in clients {
                let found = client.join().unwrap();
                // Never an error, and never good again.
                assert_eq!(found.first().unwrap().1, 200, "{round}");
                assert_eq!(found.last().unwrap(), &(true, 401), "{round}");
                let over = found.iter().position(|(_, status)| *status == 401).unwrap();
                let (good, dead) = found.split_at(over);
                assert!(good.iter().all(|(_, status)| *status == 200), "{found:?}");
                assert!(dead.iter().all(|(_, status)| *status == 401), "{found:?}");
            }
        });
    }
}

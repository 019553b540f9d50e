//! What a paired page can do at most, with its token and all the time in the world: the attacks of
//! somebody who has taken it over, each on a real socket. The owner sees what was done, and has it
//! back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use miniserde::json::{self, Value};
use support::gateway::{Answer, Client, Gateway, bearer, pair, token};
use support::{Home, PASSPHRASE, VALUE, mode, until};

/// A gateway, and two pages that are paired with it.
struct Page {
    home: Home,
    gateway: Gateway,
    token: String,
    other: String,
}

impl Page {
    fn of(home: Home) -> Page {
        let token = pair(&home, "--name page");
        let other = pair(&home, "--name other");
        let gateway = Gateway::start(&home);
        Page { home, gateway, token, other }
    }

    fn ask(&self, line: &str, body: &str) -> Answer {
        ask(&mut Client::new(&self.gateway), &self.token, line, body)
    }

    fn replaced(&self) -> Vec<PathBuf> {
        support::list(&self.home.keys().join("replaced"))
    }

    /// Lines of the audit log with all of these in them.
    fn lines(&self, parts: &[&str]) -> usize {
        let log = self.home.audit();
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}

fn ask(client: &mut Client, token: &str, line: &str, body: &str) -> Answer {
    let token = bearer(token);
    client.ask(line, &[("Authorization", &token), ("Content-Type", "application/json")], body)
}

/// A home with this many keys, which are copies of one: `k0000…`, `k0001…`.
fn with_keys(count: usize) -> (Home, Vec<String>) {
    let (home, first) = Home::with_key();
    let envelope = fs::read_to_string(home.file(&first)).unwrap();
    let ids: Vec<String> = (0..count).map(|nth| format!("k{nth:031}")).collect();
    for id in &ids {
        fs::write(home.file(id), envelope.replace(&first, id)).unwrap();
        support::chmod(&home.file(id), 0o600);
    }
    fs::remove_file(home.file(&first)).unwrap();
    (home, ids)
}

fn listed(home: &Home, arguments: &str) -> Vec<json::Object> {
    json::from_str(&home.lf(&format!("keys list --json {arguments}")).ok().out).unwrap()
}

fn text(object: &json::Object, name: &str) -> String {
    match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_page_that_removes_every_key_gets_no_further_than_its_bucket_and_its_owner_has_them_back() {
    let (home, ids) = with_keys(121);
    let page = Page::of(home);
    let start = Instant::now();
    let mut client = Client::new(&page.gateway);
    let mut removed = Vec::new();
    for id in &ids {
        let answer = ask(&mut client, &page.token, &format!("DELETE /keys/{id}"), "");
        match answer.told() {
            (204, "") => removed.push(id.clone()),
            told => {
                assert_eq!(told, (429, "rate_limited"));
                assert!(["1", "2"].contains(&answer.header("retry-after").unwrap()), "{answer:?}");
            }
        }
    }
    let seconds = start.elapsed().as_secs();
    let most = 10 + 1 + seconds / 2;
    assert!(removed.len() >= 10 && removed.len() as u64 <= most, "{} of {most}", removed.len());
    assert_eq!(listed(&page.home, "").len(), 121 - removed.len());
    assert_eq!(page.lines(&[r#""kind":"remove""#, r#""ok":true"#]), removed.len());
    let refused = page.lines(&[r#""kind":"rate_limited""#, r#""pairing":"page""#]);
    assert!(refused >= 1 && refused as u64 <= 1 + seconds / 60, "{refused} in {seconds} s");
    let restored = page.home.lf("keys restore --replaced").ok();
    assert_eq!(restored.out, format!("restored {0} of {0} keys\n", removed.len()));
    assert_eq!(listed(&page.home, "").len(), 121);
    assert_eq!(page.home.value(&removed[0]), VALUE);
    assert!(!page.home.keys().join("replaced").exists(), "and nothing is left to restore");
}

#[test]
fn every_kind_of_change_spends_from_one_bucket_and_the_other_page_has_its_own() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    let add = r#"{"provider":"openai","label":"New","rawKey":"v"}"#;
    let (put, rotate) = (format!("PUT /keys/{id}"), format!("POST /keys/{id}/rotate"));
    let start = Instant::now();
    for (line, body, status) in [
        ("POST /keys", add, 201),
        (&put, r#"{"label":"Other"}"#, 200),
        (&put, r#"{"rawKey":"w"}"#, 200),
        (&rotate, "", 200),
        ("POST /keys", "", 400),
        ("DELETE /keys/aaaaaaaaaaaaaaaaaaaaaaaa", "", 404),
    ] {
        assert_eq!(page.ask(line, body).status, status, "{line}");
    }
    // Nothing comes of these, and they count.
    let (mut done, mut last) = (6, page.ask(&put, "{}"));
    while last.status == 400 && done < 1000 {
        (done, last) = (done + 1, page.ask(&put, "{}"));
    }
    assert_eq!(last.told(), (429, "rate_limited"));
    assert!(done >= 10 && done <= 10 + 1 + start.elapsed().as_secs() / 2, "{done}");
    assert!(["1", "2"].contains(&last.header("retry-after").unwrap()));
    // Before its body: one that is too large is not read for this.
    let large = "x".repeat(70_000);
    let refused = page.ask("POST /keys", &large);
    assert!(matches!(refused.status, 413 | 429), "{refused:?}");
    assert_eq!(page.ask("GET /keys", "").status, 200, "only changes are limited");
    let mut other = Client::new(&page.gateway);
    assert_eq!(ask(&mut other, &page.other, "POST /keys", add).status, 201);
}

#[test]
fn a_value_that_a_page_replaces_is_there_beside_the_new_one() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    let replaced = page.ask(&format!("PUT /keys/{id}"), r#"{"rawKey":"somebody else's"}"#);
    assert_eq!(replaced.status, 200);
    assert_eq!(page.ask(&format!("POST /keys/{id}/rotate"), "").status, 200);
    assert_eq!(page.ask(&format!("PUT /keys/{id}"), r#"{"label":"Own"}"#).status, 200);
    // What keeps the value is no reason to keep another.
    let [kept] = page.replaced().try_into().unwrap();
    assert!(kept.file_name().unwrap().to_str().unwrap().starts_with(&format!("{id}.")));
    assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));
    let doctor = page.home.lf("keys doctor").ok().out;
    assert!(
        doctor.contains(&format!("note  replaced: lf keeps a value of {id} (openai \"Prod\")")),
        "{doctor}"
    );
    let restored = page.home.lf("keys restore --replaced").ok();
    assert_eq!(page.home.value(&id), "somebody else's", "nothing is overwritten");
    let second = listed(&page.home, "").into_iter().map(|key| text(&key, "id"));
    let second = second.into_iter().find(|key| *key != id).unwrap();
    assert!(restored.err.contains(&second), "{restored}");
    assert_eq!(page.home.value(&second), VALUE);
    assert_eq!(page.home.value("Own"), "somebody else's", "its label selects it as before");
    assert!(page.lines(&[r#""kind":"add""#, r#""command":"keys restore""#]) == 1);
    page.home.lf("keys doctor").ok();
    assert_eq!(page.home.lf("keys restore --replaced").ok().out, "restored 0 of 0 keys\n");
}

#[test]
fn no_number_of_changes_pushes_the_owners_value_out() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    let line = format!("PUT /keys/{id}");
    for nth in 0..3 {
        let body = format!(r#"{{"rawKey":"wash {nth}"}}"#);
        assert_eq!(page.ask(&line, &body).status, 200);
    }
    assert_eq!(page.replaced().len(), 3);
    // As many as there may be: then the page changes nothing any more.
    let first = fs::read(&page.replaced()[0]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for nth in 0..256 - 3 {
        let name = format!("{id}.{}.json", now + nth);
        fs::write(page.home.keys().join("replaced").join(name), &first).unwrap();
    }
    let before = fs::read(page.home.file(&id)).unwrap();
    for (line, body) in [(&line, r#"{"rawKey":"last"}"#), (&format!("DELETE /keys/{id}"), "")] {
        assert_eq!(page.ask(line, body).told(), (507, "store_full"));
    }
    assert_eq!(fs::read(page.home.file(&id)).unwrap(), before);
    assert_eq!(page.replaced().len(), 256);
    // What replaces no value goes on.
    assert_eq!(page.ask(&line, r#"{"label":"Own"}"#).status, 200);
    // Removed behind its owner's back, the key comes back with the oldest value.
    fs::remove_file(page.home.file(&id)).unwrap();
    page.home.lf("keys restore --replaced").ok();
    assert_eq!(page.home.value(&id), VALUE);
}

#[test]
fn what_is_kept_goes_after_thirty_days_and_with_its_owners_key() {
    let (home, ids) = with_keys(3);
    let page = Page::of(home);
    for id in &ids[..2] {
        assert_eq!(page.ask(&format!("PUT /keys/{id}"), r#"{"rawKey":"x"}"#).status, 200);
    }
    // The owner's own removal is final.
    page.home.lf(&format!("keys remove --yes -- {}", ids[1])).ok();
    let [kept] = page.replaced().try_into().unwrap();
    let (left, foreign) =
        (kept.with_file_name(".lf-0123456789abcdef.tmp"), kept.with_file_name("README"));
    [&left, &foreign].into_iter().for_each(|path| fs::write(path, "x").unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let aged = |days: u128| {
        let old = kept.with_file_name(format!("{}.{}.json", ids[0], now - days * 86_400_000));
        fs::copy(&kept, &old).unwrap();
        old
    };
    let (young, old) = (aged(29), aged(31));
    assert_eq!(page.ask(&format!("DELETE /keys/{}", ids[2]), "").status, 204);
    assert!(young.exists() && kept.exists() && !old.exists());
    assert!(foreign.exists() && !left.exists(), "what is not lf's is left alone");
    assert_eq!(page.replaced().len(), 4);
    page.home.lf("keys restore --replaced").ok();
    assert!(!page.home.file(&ids[1]).exists());
    assert_eq!(page.home.value(&ids[2]), VALUE);
}

#[test]
fn a_page_that_is_killed_between_the_two_steps_has_lost_nothing() {
    // What is kept is published; then the key is replaced or removed.
    for (method, fault) in [
        ("PUT", "renameat2:signal=SIGKILL:when=1"),
        ("PUT", "renameat:signal=SIGKILL:when=1"),
        ("DELETE", "renameat2:signal=SIGKILL:when=1"),
        ("DELETE", "unlinkat:signal=SIGKILL:when=1"),
    ] {
        let (home, id) = Home::with_key();
        let token = pair(&home, "");
        let before = fs::read(home.file(&id)).unwrap();
        // Where this is, the gateway cannot write down where it listens, and renames nothing before.
        fs::create_dir(home.path().join(".lenserfight/gateway/listening")).unwrap();
        let serve = home.lf("gateway serve --keys-only --port 0");
        let gateway = Gateway::run(serve.inject(fault));
        let body = if method == "PUT" { r#"{"rawKey":"new"}"# } else { "" };
        let answer = gateway.raw(
            format!(
                "{method} /keys/{id} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        assert_eq!(answer, "", "{method} {fault}");
        drop(gateway);
        assert_eq!(fs::read(home.file(&id)).unwrap(), before, "{method} {fault}");
        assert_eq!(home.lf("keys restore --replaced").ok().out.lines().count(), 1);
        assert_eq!((listed(&home, "").len(), home.value(&id).as_str()), (1, VALUE), "{fault}");
    }
}

#[test]
fn after_a_rekey_what_a_page_replaced_still_opens() {
    let (home, bus) = Home::with_keychain();
    let added = bus.on(home.bare("keys add --provider openai --label Prod")).input(VALUE).ok();
    let id = added.out.trim_end().to_owned();
    let page = token(bus.on(home.bare("gateway pair")));
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let mut client = Client::new(&gateway);
    assert_eq!(ask(&mut client, &page, &format!("DELETE /keys/{id}"), "").status, 204);
    bus.on(home.bare("keys add --provider groq")).input("another").ok();
    bus.on(home.bare("keys rekey")).ok();
    // It needs the passphrase that is on record, and that is said before it is forgotten.
    let asked = bus.on(home.bare("keys recovery forget")).fails(2, "refused");
    assert!(asked.err.contains("1 value in ") && asked.err.contains("/replaced"), "{asked}");
    bus.on(home.bare("keys restore --replaced")).ok();
    let value = bus.on(home.bare(&format!("keys export --i-understand -- {id}"))).ok();
    assert_eq!(value.out, format!("{VALUE}\n"));
}

#[test]
fn what_does_not_open_is_named_and_stays_where_it_is() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    assert_eq!(page.ask(&format!("DELETE /keys/{id}"), "").status, 204);
    let restore = page.home.lf("keys restore --replaced");
    let restore = restore.env("LENSERFIGHT_KEYS_PASSPHRASE", "not the one that it is under");
    let refused = restore.fails(1, "incomplete");
    assert!(refused.err.contains(&id), "{refused}");
    assert_eq!(page.replaced().len(), 1);
    page.home.lf("keys restore --replaced").ok();
    assert_eq!(page.home.value(&id), VALUE);
}

#[test]
fn a_page_adds_no_more_than_a_thousand_keys() {
    let (home, ids) = with_keys(999);
    let page = Page::of(home);
    let add = r#"{"provider":"openai","label":"New","rawKey":"v"}"#;
    assert_eq!(page.ask("POST /keys", add).status, 201);
    assert_eq!(page.ask("POST /keys", add).told(), (507, "store_full"));
    assert_eq!(page.home.names().len(), 1000);
    assert_eq!(page.lines(&[r#""kind":"add""#, r#""reason":"store_full""#]), 1);
    page.home.add("openai", "Mine", VALUE);
    assert_eq!(page.ask(&format!("DELETE /keys/{}", ids[0]), "").status, 204);
    assert_eq!(page.ask(&format!("DELETE /keys/{}", ids[1]), "").status, 204);
    assert_eq!(page.ask("POST /keys", add).status, 201);
    page.home.lf("help store_full").ok();
}

/// Sends requests on this many connections at once, and then hears the answers, in the order of
/// their arrival.
fn at_once(page: &Page, count: usize, line: &str) -> Vec<thread::JoinHandle<(u16, Instant)>> {
    let head = format!(
        "{line} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        page.token
    );
    let streams: Vec<TcpStream> = (0..count).map(|_| page.gateway.connect()).collect();
    let send = |mut stream: TcpStream| {
        // It may have been closed for another already.
        let _ = stream.write_all(head.as_bytes());
        thread::spawn(move || {
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            let status = answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
            (status, Instant::now())
        })
    };
    streams.into_iter().map(send).collect()
}

#[test]
fn a_page_that_derives_on_every_connection_keeps_nobody_waiting() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    assert_eq!(page.ask("GET /keys", "").status, 200);
    let asked = at_once(&page, 64, &format!("POST /keys/{id}/rotate"));
    // There is no place as long as each of the 64 has a request that is being answered.
    until("the first answers", || asked.iter().filter(|it| it.is_finished()).count() >= 10);
    // Each of the other's requests comes to a place, and to its turn.
    for _ in 0..5 {
        let mut other = Client::new(&page.gateway);
        let resolved = ask(&mut other, &page.other, &format!("POST /keys/{id}/resolve"), "");
        assert_eq!(resolved.body, format!("{{\"key\":\"{VALUE}\"}}"));
    }
    let statuses: Vec<u16> = asked.into_iter().map(|one| one.join().unwrap().0).collect();
    let of = |status| statuses.iter().filter(|it| **it == status).count();
    // A connection may be closed for another before its request was read.
    assert!(of(200) >= 1 && of(429) >= 10 && of(200) + of(429) + of(0) == 64, "{statuses:?}");
    assert!(page.lines(&[r#""kind":"rate_limited""#, r#""route":"POST /keys/:id/rotate""#]) >= 1);
}

#[test]
fn turns_go_round_the_pairings() {
    let (home, id) = Home::with_key();
    let (token, other) = (pair(&home, "--name page"), pair(&home, "--name other"));
    let serve = home.lf("gateway serve --keys-only --port 0").on_core(&support::cores()[0]);
    let page = Page { home, gateway: Gateway::run(serve), token, other };
    assert_eq!(page.ask("GET /keys", "").status, 200);
    let asked = at_once(&page, 10, &format!("POST /keys/{id}/rotate"));
    let start = Instant::now();
    let mut other = Client::new(&page.gateway);
    ask(&mut other, &page.other, &format!("POST /keys/{id}/resolve"), "");
    let alone = start.elapsed();
    let (done, refused): (Vec<_>, Vec<_>) =
        asked.into_iter().map(|one| one.join().unwrap()).partition(|(status, _)| *status == 200);
    assert_eq!((done.len(), refused.len()), (8, 2), "eight of one pairing at a time");
    assert!(refused.iter().all(|(status, _)| *status == 429), "{refused:?}");
    // Sixteen derivations, one after the other: whoever comes then waits for one or two, and not
    // for eight.
    let whole = done.iter().map(|(_, end)| *end).max().unwrap() - start;
    assert!(alone * 3 < whole, "{alone:?} of {whole:?}");
}

#[test]
fn who_waits_for_the_keychain_is_not_closed_for_another() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("gateway pair")).ok();
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    bus.freeze();
    let mut waits = gateway.connect();
    let head = "GET /keys HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer unknown\r\n\r\n";
    waits.write_all(head.as_bytes()).unwrap();
    until("it is read", || gateway.has_read_all());
    let mut others: Vec<TcpStream> = (0..63).map(|_| gateway.connect()).collect();
    others.iter_mut().for_each(|stream| stream.write_all(b"GET /").unwrap());
    until("they are read", || gateway.has_read_all());
    // The oldest of all that send makes room, as soon as it has done so for a second.
    until("room", || {
        let healthz = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";
        gateway.raw(healthz).starts_with("HTTP/1.0 200")
    });
    let mut answer = String::new();
    let _ = waits.read_to_string(&mut answer);
    bus.thaw();
    assert!(answer.starts_with("HTTP/1.0 401") || answer.starts_with("HTTP/1.0 503"), "{answer:?}");
}

#[test]
fn every_429_and_503_says_when_to_try_again() {
    let (home, _) = Home::with_key();
    let page = token(home.lf("gateway pair"));
    let force = |name| home.bare("gateway serve --keys-only --port 0").env(name, "1");
    let gateway = Gateway::run(
        force("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV")
            .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE),
    );
    let mut client = Client::new(&gateway);
    // It spends from the bucket, and costs no derivation.
    let resolve = "POST /keys/aaaaaaaaaaaaaaaaaaaaaaaa/resolve";
    let limited = (0..200).map(|_| ask(&mut client, &page, resolve, ""));
    let limited = limited.into_iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(limited.headers.iter().filter(|(name, _)| name == "Retry-After").count(), 1);
    // A passphrase that is too short for sealing, and one that opens nothing.
    let wrong = home.lf("gateway serve --keys-only --port 0");
    let wrong = wrong.env("LENSERFIGHT_KEYS_PASSPHRASE", "this one opens nothing here");
    let gateway = Gateway::run(wrong);
    let add = r#"{"provider":"openai","label":"New","rawKey":"v"}"#;
    let refused = ask(&mut Client::new(&gateway), &page, "POST /keys", add);
    assert_eq!(refused.told(), (503, "wrong_passphrase"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(ask(&mut Client::new(&gateway), "bad", "GET /keys", "").header("retry-after"), None);
}

#[test]
fn a_page_that_lists_in_a_loop_writes_a_line_a_minute() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    assert_eq!(page.ask(&format!("POST /keys/{id}/resolve"), "").status, 200);
    let mut client = Client::new(&page.gateway);
    for _ in 0..200 {
        assert_eq!(ask(&mut client, &page.token, "GET /keys", "").status, 200);
    }
    ask(&mut client, &page.other, "GET /keys", "");
    // Resolves are written one by one, in the middle of it.
    assert_eq!(page.ask(&format!("POST /keys/{id}/resolve"), "").status, 200);
    assert_eq!(page.lines(&[r#""kind":"list""#]), 2, "one for each pairing");
    assert_eq!(page.lines(&[r#""kind":"resolve""#]), 2);
    let Page { home, gateway, .. } = page;
    assert_eq!(gateway.ends().status, Some(0));
    let told =
        r#""kind":"list","ok":true,"context":{"route":"GET /keys","pairing":"page","count":"199"}"#;
    assert_eq!(home.audit().lines().filter(|line| line.contains(told)).count(), 1, "the rest");
}

#[test]
fn a_loop_that_lists_pushes_nothing_out() {
    let (home, id) = Home::with_key();
    // A long context stands for many lines, which would only take longer.
    let event = |day: usize, kind: &str, rest: &str| {
        let ts = format!("2026-01-{day:02}T00:00:00.000Z");
        format!("{{\"ts\":\"{ts}\",\"kind\":\"{kind}\"{rest},\"ok\":true}}\n")
    };
    let of =
        |id: &str, length| format!(r#","keyId":"{id}","context":{{"x":"{}"}}"#, "x".repeat(length));
    let context = format!(r#","context":{{"command":"{}"}}"#, "x".repeat(60_000));
    let lists = event(9, "list", &context).repeat(90);
    let gone = "a".repeat(32);
    let [log, older, oldest] =
        ["audit.log", "audit.log.1", "audit.log.2"].map(|name| home.keys().join(name));
    let (first, second) = (event(2, "resolve", &of(&id, 1)), event(3, "run", &of(&gone, 1)));
    fs::write(&log, format!("{first}{second}garbage\n{lists}")).unwrap();
    // Each list finds a full log and turns it over.
    for round in 0..5 {
        home.lf("keys list").ok();
        assert!(fs::metadata(&log).unwrap().len() < 200, "{round}");
        fs::write(&log, home.audit() + &lists).unwrap();
    }
    let audit = home.lf("keys audit --json").ok();
    let events: Vec<json::Object> = json::from_str(&audit.out).unwrap();
    let kinds: Vec<String> = events.iter().map(|event| text(event, "kind")).collect();
    assert_eq!(&kinds[..3], ["resolve", "run", "list"], "the oldest first");
    let shown = home.lf(&format!("keys audit --key {gone}")).ok();
    assert_eq!(shown.out.lines().count(), 2, "{shown}");
    let last_used = || text(&listed(&home, "--last-used")[0], "lastUsedAt");
    assert_eq!(last_used(), "2026-01-02T00:00:00.000Z");
    assert_eq!(mode(&oldest), 0o600);
    home.lf("keys doctor").ok();
    // There are 4 MiB of events, and beside them only the last use of each key that is there.
    let flood = event(4, "resolve", &of(&gone, 5000)).repeat(1100);
    fs::write(&older, flood).unwrap();
    fs::write(&log, lists).unwrap();
    home.lf("keys list").ok();
    let kept = fs::read_to_string(&oldest).unwrap();
    assert!((4 << 20) - 10_000 < kept.len() && kept.len() < (4 << 20) + 200, "{}", kept.len());
    assert!(kept.starts_with(&first) && !kept.contains(&second));
    assert_eq!(last_used(), "2026-01-02T00:00:00.000Z");
}

#[test]
fn a_value_that_cannot_be_audited_is_not_resolved() {
    let (home, id) = Home::with_key();
    let page = Page::of(home);
    let resolve = format!("POST /keys/{id}/resolve");
    assert_eq!(page.ask(&resolve, "").status, 200);
    let log = page.home.keys().join("audit.log");
    let written = fs::read(&log).unwrap();
    // It takes no line any more, as on a full disk.
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let refused = page.ask(&resolve, "");
    assert_eq!(refused.told(), (500, "symlink_refused"));
    assert!(!refused.body.contains(VALUE));
    assert_eq!(page.ask("GET /keys", "").status, 200, "what gives no value goes on");
    fs::remove_file(&log).unwrap();
    fs::write(&log, written).unwrap();
    assert_eq!(page.ask(&resolve, "").body, format!("{{\"key\":\"{VALUE}\"}}"));
    let outcome = page.gateway.ends();
    assert!(
        outcome.err.contains("the gateway could not write an event to the audit log"),
        "{outcome}"
    );
}

#[test]
fn on_a_full_disk_nothing_is_resolved_removed_or_replaced() {
    let (home, id) = Home::with_key();
    let token = pair(&home, "");
    let before = fs::read(home.file(&id)).unwrap();
    let save = home.path().join("save");
    fs::rename(home.keys(), &save).unwrap();
    fs::create_dir(home.keys()).unwrap();
    // A file system of 32 KiB of the gateway's own, filled to the last byte.
    let script = format!(
        "mount -t tmpfs -o size=32k,mode=700 none {keys} && cp {save}/*.json {keys}/ && : > {keys}/audit.log && \
         {{ cat /dev/zero > {keys}/filler; true; }} 2>/dev/null; \"$0\" \"$@\"; cp {keys}/*.json {save}/",
        keys = home.keys().display(),
        save = save.display()
    );
    let serve = home.lf("gateway serve --keys-only --port 0");
    let gateway = Gateway::run(serve.under(&["unshare", "-rm", "sh", "-c", &script]));
    let mut client = Client::new(&gateway);
    for (line, body) in [
        (format!("POST /keys/{id}/resolve"), ""),
        (format!("PUT /keys/{id}"), r#"{"rawKey":"x"}"#),
        (format!("DELETE /keys/{id}"), ""),
    ] {
        let refused = ask(&mut client, &token, &line, body);
        assert_eq!(refused.told(), (500, "io_error"), "{line}");
        assert!(!refused.body.contains(VALUE));
    }
    assert_eq!(ask(&mut client, &token, "GET /keys", "").status, 200);
    drop(client);
    drop(gateway);
    assert_eq!(fs::read(save.join(format!("{id}.json"))).unwrap(), before);
}

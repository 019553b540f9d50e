//! A day of a gateway in ten rounds (`make soak`): a million requests on every route, a hundred thousand
//! connections of every bad kind, pairings and keys that come and go, a rekey in each round, and a
//! keyring that is restarted twice. At the end the gateway is as large as it was after the first
//! round, and every key opens. `SOAK=2` is two rounds of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::bus::Bus;
use support::gateway::{Gateway, bearer, token};
use support::{Home, VALUE};

/// In each round.
const REQUESTS: usize = 100_000;
const BAD_OF_EACH: usize = 1_000;
const PAIRINGS: usize = 50;
const KEYS: usize = 20;

/// Rounds before which the keyring is restarted.
const RESTARTS: [usize; 2] = [3, 7];
const CLIENTS: usize = 4;
/// Keys that stay.
const KEPT: usize = 5;
/// The audit log and its older generation may have 5 MiB each, and the last line.
const AUDIT_LOG: u64 = 5 * 1024 * 1024 + 4096;

#[test]
fn a_day_leaves_the_gateway_as_it_was_and_every_key_there() {
    let rounds: usize =
        std::env::var("SOAK").map_or(10, |rounds| rounds.parse().expect("SOAK: how many rounds"));
    let (home, mut bus) = Home::with_keychain();
    let values: Vec<String> = (0..KEPT).map(|n| format!("{VALUE}-{n}")).collect();
    let ids: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(n, value)| {
            let add = format!("keys add --provider openai --label kept-{n}");
            bus.on(home.bare(&add)).input(value.as_str()).ok().out.trim_end().to_owned()
        })
        .collect();
    let token = token(bus.on(home.bare("gateway pair --name soak")));
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let mut answers = Answers::new();
    let mut weights = Vec::new();
    let mut bad = 0;
    for round in 1..=rounds {
        let start = Instant::now();
        let (given, sent) = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| {
                    scope.spawn({
                        let (gateway, token, ids) = (&gateway, &token, &ids);
                        move || mix(gateway, token, ids, n)
                    })
                })
                .collect();
            let bad =
                scope.spawn(|| BAD.iter().map(|kind| misbehave(&gateway, kind)).sum::<usize>());
            // Under load, and before the commands that need it.
            if RESTARTS.contains(&round) {
                bus.restart();
            }
            let bus = &bus;
            scope.spawn(|| pairings_come_and_go(&home, bus, &gateway));
            scope.spawn(|| keys_come_and_go(&home, bus, &gateway));
            scope.spawn(|| drop(bus.on(home.bare("keys rekey")).ok()));
            let given = clients.into_iter().map(|client| client.join().unwrap());
            (given.collect::<Vec<_>>(), bad.join().unwrap())
        });
        bad += sent;
        for (answer, count) in given.into_iter().flatten() {
            *answers.entry(answer).or_default() += count;
        }
        // Everything open has ended; what is left is the gateway's own.
        if let Some((_, descriptors, _)) = weights.first() {
            gateway.settles(*descriptors);
        }
        weights.push(settled(&gateway));
        let (threads, descriptors, resident) = weights[round - 1];
        println!(
            "round {round}: {threads} threads, {descriptors} descriptors, {resident} KiB resident, {:.0} s",
            start.elapsed().as_secs_f64()
        );
    }

    let requests: usize = answers.values().sum();
    println!(
        "{requests} requests, {bad} bad connections, {} pairings, {} keys",
        rounds * PAIRINGS,
        rounds * KEYS
    );
    for ((route, status), count) in &answers {
        println!("{count:>8} {status} {route}");
    }
    for ((route, status), count) in &answers {
        let is_expected = match *status {
            // Changes and resolves come far too fast; and while a rekey goes on they may have to wait.
            429 | 503 => ["POST", "PUT", "DELETE"].iter().any(|change| route.starts_with(change)),
            status => status == expected(route),
        };
        assert!(is_expected, "{count} times {status} for {route}");
    }
    assert_eq!(requests, rounds * REQUESTS);
    let (first, last) = (weights[0], weights[rounds - 1]);
    assert!(last.0 <= first.0 && last.1 <= first.1, "{first:?} {last:?}");
    // An eighth: pages that the allocator has not given back yet.
    assert!(last.2 <= first.2 + first.2 / 8, "{first:?} {last:?}");
    assert!(gateway.is_well());
    assert_eq!(gateway.ends().status, Some(0));
    bus.on(home.bare("keys doctor")).ok();
    for (id, value) in ids.iter().zip(&values) {
        let export = bus.on(home.bare(&format!("keys export --i-understand -- {id}"))).ok();
        assert_eq!(export.out.trim_end(), value);
    }
    assert_eq!(home.names().iter().filter(|name| name.ends_with(".json")).count(), KEPT);
    for name in ["audit.log", "audit.log.1"] {
        let length = fs::metadata(home.keys().join(name)).map_or(0, |log| log.len());
        println!("{name}: {length} bytes");
        assert!(length <= AUDIT_LOG, "{name} has {length} bytes");
    }
}

/// How often each route was answered by each status.
type Answers = BTreeMap<(String, u16), usize>;

/// Every route, and what is refused at each step of the checks.
const ROUTES: &[(&str, &str, u16)] = &[
    ("GET /healthz", "", 200),
    ("HEAD /healthz", "", 200),
    ("GET /identity", "", 404),
    ("GET /keys", "AO", 200),
    ("GET /keys?include=last_used", "A", 200),
    ("GET /pairing", "A", 200),
    ("OPTIONS /keys", "O", 204),
    ("GET /", "", 200),
    ("GET /client.js", "", 200),
    ("GET /page.js", "", 200),
    ("GET /style.css", "", 200),
    ("GET /nothing", "", 404),
    ("GET /keys/ID", "A", 405),
    ("DELETE /keys/short", "A", 404),
    ("GET /healthz?x", "", 200),
    ("GET /pairing without a token", "", 401),
    ("PATCH /keys", "A", 405),
    ("GET /keys without a token", "", 401),
    ("GET /keys with a wrong one", "W", 401),
    ("GET /keys of another site", "AX", 403),
    ("GET /keys for another host", "AH", 421),
    ("POST /keys without a body", "A", 415),
    ("PUT /keys/ID without a body", "A", 415),
    ("POST /keys/ID/resolve", "A", 200),
    ("POST /keys/ID/rotate", "A", 200),
];

fn expected(route: &str) -> u16 {
    ROUTES.iter().find(|(line, _, _)| *line == route).unwrap().2
}

/// A client that asks for everything, by turns, on connections that it keeps.
fn mix(gateway: &Gateway, token: &str, ids: &[String], client: usize) -> Answers {
    let mut answers = Answers::new();
    let mut stream = BufReader::new(gateway.connect());
    for n in 0..REQUESTS / CLIENTS {
        let (line, traits, _) = ROUTES[(n + client) % ROUTES.len()];
        let words: Vec<&str> = line.split(' ').collect();
        let path = words[1].replace("ID", &ids[n % ids.len()]);
        let mut head = format!("{} {path} HTTP/1.1\r\n", words[0]);
        head.push_str(if traits.contains('H') {
            "Host: example.org\r\n"
        } else {
            "Host: localhost\r\n"
        });
        for (letter, header) in [
            ('A', format!("Authorization: {}", bearer(token))),
            ('W', format!("Authorization: {}", bearer(&"A".repeat(43)))),
            ('O', "Origin: https://lenserfight.com".to_owned()),
            ('X', "Origin: https://example.org".to_owned()),
        ] {
            if traits.contains(letter) {
                head.push_str(&format!("{header}\r\n"));
            }
        }
        // Some refusals close the connection, and the oldest silent one makes room for a new one.
        let status = (0..3).find_map(|_| {
            let status = ask(&mut stream, &format!("{head}\r\n"));
            if status.is_none() {
                stream = BufReader::new(gateway.connect());
            }
            status
        });
        let status = status.unwrap_or_else(|| panic!("no answer to {line}, three times"));
        *answers.entry((line.to_owned(), status)).or_default() += 1;
    }
    answers
}

/// The status of the answer; `None` when the connection has ended.
fn ask(stream: &mut BufReader<TcpStream>, head: &str) -> Option<u16> {
    stream.get_mut().write_all(head.as_bytes()).ok()?;
    let (mut line, mut length, mut closes) = (String::new(), 0, false);
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("connection", value)) => closes = value == "close",
            Some(_) => {}
            None => break,
        }
    }
    if !head.starts_with("HEAD") {
        stream.read_exact(&mut vec![0; length]).ok()?;
    }
    if closes {
        // The next request finds it closed, and comes on a new one.
        let _ = stream.get_mut().shutdown(Shutdown::Both);
    }
    Some(status)
}

/// What is sent before the connection is dropped or given up.
const BAD: &[&[u8]] = &[
    b"",
    b"GET /hea",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{",
    b"POST /keys HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00\xff\xfe\x80garbage\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
];

/// Sends it on many connections: half of them are dropped unread, and half are read to their end.
fn misbehave(gateway: &Gateway, bytes: &[u8]) -> usize {
    for n in 0..BAD_OF_EACH {
        let mut stream = gateway.connect();
        let _ = stream.write_all(bytes);
        if n % 2 == 0 {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    BAD_OF_EACH
}

fn pairings_come_and_go(home: &Home, bus: &Bus, gateway: &Gateway) {
    for n in 0..PAIRINGS {
        let token = token(bus.on(home.bare(&format!("gateway pair --name guest-{n}"))));
        let ask = || gateway.ask("GET /pairing", &[("Authorization", &bearer(&token))], "").status;
        // A keychain that has just failed is asked again after a second.
        support::until("a keychain that answers", || ask() != 503);
        assert_eq!(ask(), 200);
        bus.on(home.bare(&format!("gateway unpair guest-{n}"))).ok();
        assert_eq!(ask(), 401, "a revoked token");
    }
}

/// Half by the command line, half by a page with a pairing of its own.
fn keys_come_and_go(home: &Home, bus: &Bus, gateway: &Gateway) {
    let token = token(bus.on(home.bare("gateway pair --name page")));
    let headers =
        [("Authorization", bearer(&token)), ("Content-Type", "application/json".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    for n in 0..KEYS / 2 {
        let add = format!("keys add --provider mistral --label brief-{n}");
        let id = bus.on(home.bare(&add)).input(VALUE).ok().out;
        bus.on(home.bare(&format!("keys remove --yes -- {}", id.trim_end()))).ok();
        let body = format!(r#"{{"provider":"groq","label":"page-{n}","rawKey":"{VALUE}"}}"#);
        let added = again(|| gateway.ask("POST /keys", &headers, &body), 201);
        let id = added.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        again(|| gateway.ask(&format!("DELETE /keys/{id}"), &headers, ""), 204);
    }
}

/// Asks until the gateway does it: a rekey holds the store, or the changes come too fast.
fn again(ask: impl Fn() -> support::gateway::Answer, status: u16) -> String {
    for _ in 0..120 {
        let answer = ask();
        if answer.status == status {
            return answer.body;
        }
        assert!(matches!(answer.status, 429 | 503), "{answer:?}");
        thread::sleep(Duration::from_millis(500));
    }
    panic!("no {status} in a minute");
}

/// Its weight once that has come to rest.
fn settled(gateway: &Gateway) -> (usize, usize, usize) {
    support::until("threads that end", || gateway.weight().0 <= 2);
    gateway.weight()
}

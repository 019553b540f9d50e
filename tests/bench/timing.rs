//! Does a refusal tell anything about the tokens that are good? Requests with wrong tokens over
//! loopback, and Welch's t of the times of two kinds of them, as dudect computes it (Reparaz,
//! Balasch, Verbauwhede: "Dude, is my code constant time?", DATE 2017). A |t| over 10 means that the
//! two kinds can be told apart, and fails. `cargo bench --bench timing`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use support::Home;
use support::gateway::{Gateway, pair};

/// Requests for each comparison.
const SAMPLES: usize = 100_000;
/// Of these between two changes of the list of pairings.
const BLOCK: usize = 500;
/// From here on dudect calls two kinds of input different for certain.
const MOST: f64 = 10.0;
const PAIRINGS: usize = 500;

fn main() {
    let home = Home::new();
    let list = home.path().join(".lenserfight/gateway/pairings.json");
    let token = pair(&home, "--name one");
    let few = fs::read(&list).unwrap();
    let gateway = Gateway::start(&home);
    let mut stream = gateway.connect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);

    let row = |name: &str, t: f64| println!("{:<58} |t| {:.2}", name, t.abs());
    let nothing_right = |random: &mut Random| Some(random.token());
    for right in [1, 21, 42] {
        let with_prefix = |random: &mut Random| {
            let rest = random.token().split_off(right);
            // One in 64 is the token itself if a single character is left.
            let wrong = if token.ends_with(&rest) { "-".repeat(rest.len()) } else { rest };
            Some(format!("{}{wrong}", &token[..right]))
        };
        let t = compare(&mut stream, &mut random, [&nothing_right, &with_prefix]);
        row(&format!("401, {right} of 43 characters right, against none"), t);
        assert!(t.abs() < MOST, "the time tells a right prefix of {right} characters");
    }

    // A new list takes the place of the old one, so that one process answers with both.
    for n in 1..PAIRINGS {
        pair(&home, &format!("--name pairing-{n}"));
    }
    let many = fs::read(&list).unwrap();
    let mut times = [Vec::new(), Vec::new()];
    for block in 0..SAMPLES / BLOCK {
        let kind = (block + block / 2) % 2;
        let next = list.with_extension("next");
        fs::write(&next, [&few, &many][kind]).unwrap();
        support::chmod(&next, 0o600);
        fs::rename(&next, &list).unwrap();
        for n in 0..BLOCK + 20 {
            let time = ask(&mut stream, &request(Some(random.token())));
            // The first ones read the list, and find cold caches.
            if n >= 20 {
                times[kind].push(time);
            }
        }
    }
    let t = welch(&times);
    row(&format!("401, {PAIRINGS} pairings, against one"), t);
    assert!(t.abs() < MOST, "the time tells how many pairings there are");

    // What the test can see: without a token there is no digest to compute.
    let t = compare(&mut stream, &mut random, [&nothing_right, &|_| None]);
    row("a wrong token, against none at all (can be told apart)", t);
    assert!(t.abs() > MOST, "this test sees nothing");
}

type Kind<'a> = &'a dyn Fn(&mut Random) -> Option<String>;

/// Welch's t of requests of two kinds, which come in random order.
fn compare(stream: &mut TcpStream, random: &mut Random, kinds: [Kind<'_>; 2]) -> f64 {
    let mut times = [Vec::new(), Vec::new()];
    // Made before the first is sent, or the time that it takes to make one would show.
    let requests: Vec<(usize, String)> = (0..SAMPLES)
        .map(|_| {
            let kind = usize::from(random.next() % 2 == 1);
            (kind, request(kinds[kind](random)))
        })
        .collect();
    for (kind, request) in &requests {
        times[*kind].push(ask(stream, request));
    }
    welch(&times)
}

fn request(token: Option<String>) -> String {
    // Heads of one length, so that reading them takes one time.
    let header = token.map_or_else(
        || format!("X-Filler-Here: Bearer {:43}", "-"),
        |token| format!("Authorization: Bearer {token}"),
    );
    format!("GET /keys HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n")
}

/// Sends a request that is refused: how long that took, in microseconds.
fn ask(stream: &mut TcpStream, request: &str) -> f64 {
    let mut answer = [0; 1024];
    let start = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut length = 0;
    while !answer[..length].ends_with(b"}") {
        let more = stream.read(&mut answer[length..]).unwrap();
        assert_ne!(more, 0, "the gateway hung up");
        length += more;
    }
    let time = start.elapsed().as_secs_f64() * 1e6;
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer[..length]));
    time
}

/// Welch's t, without the slowest tenth of all: what other programs did to this one.
fn welch(times: &[Vec<f64>; 2]) -> f64 {
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let most = all[all.len() * 9 / 10];
    let [(n, mean, variance), (m, other, spread)] = [&times[0], &times[1]].map(|times| {
        let kept: Vec<f64> = times.iter().copied().filter(|time| *time <= most).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (count, mean, variance)
    });
    (mean - other) / (variance / n + spread / m).sqrt()
}

/// xorshift64: the same tokens in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// 43 characters of base64url.
    fn token(&mut self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..43).map(|_| char::from(LETTERS[usize::try_from(self.next() >> 58).unwrap()])).collect()
    }
}

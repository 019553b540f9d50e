//! Whichever allocation fails, once or from then on: lf says so and ends or goes on, nothing is lost and nothing
//! hangs. `make torture` runs this; it drives lf with the allocator of tests/want/lf.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout)]

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use local_keys::{KeyId, Keychain, Patience, Store, find_passphrase};
use rustix::process::{Pid, Signal, kill_process};
use support::gateway::{Gateway, bearer, pair};
use support::{Home, Outcome, PASSPHRASE, Run, VALUE, copy, cores};

const WANTING: &str = env!("CARGO_BIN_EXE_lf-want");
/// What its allocator says when it refuses.
const MARK: &str = "an allocation was refused";
/// Of the allocations of a command each of so many at its beginning is tried, and at its end; between them each
/// seventh.
const FIRST: usize = 200;
const LAST: usize = 400;
const EACH: usize = 7;

#[test]
fn no_allocation_that_fails_loses_anything() {
    for (arguments, input) in [
        ("keys list --json", ""),
        ("keys export --i-understand -- ONE", ""),
        ("keys add --provider openai --label New", "sk-new"),
        ("keys rotate -- ONE", ""),
    ] {
        for mode in ["", "+"] {
            sweep(arguments, input, mode);
        }
    }
}

/// Runs the command once for each of its allocations, on every core: of many, the first and the last, with which it
/// seals, publishes and logs, and some of those between, most of which compile regular expressions.
fn sweep(arguments: &str, input: &str, mode: &str) {
    let (prepared, id) = Home::with_key();
    let arguments = arguments.replace("ONE", &id);
    let envelope = fs::read(prepared.file(&id)).unwrap();
    let copied = || {
        let home = Home::new();
        copy(&prepared.path().join(".lenserfight"), &home.path().join(".lenserfight"));
        home
    };
    let is_enough = |count: &usize| {
        let home = copied();
        let run = wanting(&home, &arguments, &count.to_string());
        !run.input(input).go().err.contains(MARK)
    };
    let most = (0..).map(|power| 1 << power).find(is_enough).unwrap();
    let total = (0..most).collect::<Vec<_>>().partition_point(|count| !is_enough(&(count + 1)));
    let is_due = |nth: &usize| *nth <= FIRST || nth + LAST > total || nth.is_multiple_of(EACH);
    let due = Mutex::new((1..=total).filter(is_due));
    let (ends, start) = ([const { AtomicUsize::new(0) }; 3], Instant::now());
    let work = || {
        loop {
            let Some(nth) = due.lock().unwrap().next() else { break };
            let home = copied();
            let outcome = wanting(&home, &arguments, &format!("{nth}{mode}")).input(input).go();
            ends[check(&outcome)].fetch_add(1, Ordering::Relaxed);
            is_whole(&home, &id, &envelope, &outcome, input);
        }
    };
    thread::scope(|scope| cores().iter().for_each(|_| drop(scope.spawn(work))));
    let [fine, errors, aborts] = ends.map(AtomicUsize::into_inner);
    let tried = fine + errors + aborts;
    println!(
        "{arguments:.12}{mode:2} {tried} of {total} allocations: {errors} errors, {aborts} ends of the process, \
         {fine} times it did its work, {} s",
        start.elapsed().as_secs()
    );
    // Threads may share their work in another way than when it was counted.
    assert!(errors + aborts > tried * 9 / 10);
}

/// The copy of lf that may want memory, with the usual passphrase.
fn wanting(home: &Home, arguments: &str, want: &str) -> Run {
    let words: Vec<&str> = std::iter::once(WANTING).chain(arguments.split_whitespace()).collect();
    let run = home.program(&words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
    run.env("LF_WANT", want)
}

/// It ends well (0), with an error of its own (1), or because Rust's runtime ends a process that gets no memory, and
/// says so (2).
fn check(outcome: &Outcome) -> usize {
    assert!(!outcome.err.contains("panicked"), "{outcome}");
    match outcome.status {
        Some(0) => 0,
        Some(1..=3) => {
            assert!(outcome.err.contains("lf: "), "{outcome}");
            1
        }
        None => {
            assert!(outcome.err.contains("memory allocation of "), "{outcome}");
            2
        }
        Some(_) => panic!("{outcome}"),
    }
}

/// The key that was there opens, a new one is there whole or not at all, and the next command works.
fn is_whole(home: &Home, id: &str, envelope: &[u8], outcome: &Outcome, input: &str) {
    let open = |id: &str| {
        let environment = support::with_passphrase(PASSPHRASE);
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let master = find_passphrase(&environment, &keychain).unwrap();
        let store = Store::at(home.keys());
        store.resolve(&KeyId::parse(id).unwrap(), &master).unwrap().expose().to_owned()
    };
    if fs::read(home.file(id)).unwrap() != envelope {
        assert_eq!(open(id), VALUE, "{outcome}");
    }
    let names = home.names();
    let mut added =
        names.iter().filter_map(|name| name.strip_suffix(".json")).filter(|it| *it != id);
    match added.next() {
        Some(new) => assert_eq!(open(new), input, "{outcome}"),
        None => assert!(outcome.status != Some(0) || input.is_empty(), "{outcome}"),
    }
    assert!(added.next().is_none(), "{names:?}");
    home.lf("keys list").ok();
}

#[test]
fn a_gateway_that_gets_no_memory_answers_or_ends_and_loses_nothing() {
    let (home, id) = Home::with_key();
    let envelope = fs::read(home.file(&id)).unwrap();
    let token = bearer(&pair(&home, "--name page"));
    let request = format!(
        "POST /keys/{id}/resolve HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    // The process with the network, and its helper.
    for helper in [false, true] {
        let (mut nth, mut answered, mut ended, start) = (0, 0, 0, Instant::now());
        loop {
            nth += 1;
            let run = wanting(&home, "gateway serve --keys-only --port 0", &nth.to_string());
            let gateway = Gateway::run(run.env("LF_WANT_FROM_SIGNAL", "1"));
            let pid = if helper { helper_of(gateway.pid()) } else { gateway.pid() };
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            kill_process(pid, Signal::USR1).unwrap();
            let answer = gateway.raw(request.as_bytes());
            let status = answer.split(' ').nth(1).map(str::to_owned);
            gateway.signal(Signal::TERM);
            let outcome = gateway.wait();
            assert!(!outcome.err.contains("panicked"), "{outcome}");
            assert_eq!(fs::read(home.file(&id)).unwrap(), envelope, "{outcome}");
            if !outcome.err.contains(MARK) {
                assert_eq!(
                    (status.as_deref(), outcome.status),
                    (Some("200"), Some(0)),
                    "{outcome}"
                );
                break;
            }
            match outcome.status {
                Some(_) => answered += 1,
                None => {
                    assert!(outcome.err.contains("memory allocation of "), "{outcome}");
                    ended += 1;
                }
            }
        }
        println!(
            "a request, {}: {} allocations: {answered} times it went on, {ended} times it ended, {} s",
            if helper { "the helper" } else { "the network's process" },
            nth - 1,
            start.elapsed().as_secs()
        );
        assert!(nth > 2);
    }
    home.lf("keys list").ok();
    assert_eq!(home.value(&id), VALUE);
}

fn helper_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().expect("a helper").parse().unwrap()
}

//! A gateway under attack: floods, stuck clients, malformed and endless requests. All of it from
//! loopback, all of it bounded; after each the gateway is well and has given back what it took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, socket};
use support::gateway::{Client, Gateway, bearer, identify, pair};
use support::{Home, VALUE, until};

/// Runs an attack, and looks at the gateway afterwards.
fn survives(gateway: &Gateway, what: &str, attack: impl FnOnce(&Gateway)) {
    attack(gateway);
    let start = Instant::now();
    assert!(gateway.is_well(), "{what}");
    assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
    let (threads, _, resident) = gateway.weight();
    assert!(threads <= 1 + 96, "{what}: {threads} threads");
    assert!(resident < 40 * 1024, "{what}: {resident} KiB");
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Begins a request, and comes back when the gateway has begun too: it waits for the body, two bytes.
fn begin(stream: &mut TcpStream, line: &str, headers: &str) {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Sends a request to its end, and reads all that comes.
fn finish(stream: &mut TcpStream) -> String {
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Is there room for one more, who is answered?
fn has_room(gateway: &Gateway) -> bool {
    let healthz = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";
    status_of(&gateway.raw(healthz)) == 200
}

/// The attacks share one gateway and its 64 places, so they come one after the other.
#[test]
fn the_gateway_survives_the_whole_list() {
    // One process has to survive all of it.
    let home = Home::new();
    let gateway = &Gateway::start(&home);
    assert!(gateway.is_well());
    let (_, descriptors, _) = gateway.weight();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{rest}");
    let post = |headers: &str| format!("POST /keys HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");

    // Malformed in every way, each answered at once and closed.
    for (bytes, expected) in [
        (post("Content-Length: 30000000000\r\n"), 401),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        (post("Content-Length: -1\r\n"), 400),
        (post("Content-Length: +5\r\n"), 400),
        (post("Content-Length: 5, 5\r\n"), 400),
        (post("Content-Length: 99999999999999999999999999\r\n"), 401),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 501),
        (post("Transfer-Encoding: chunked\r\n"), 501),
        (post("Transfer-Encoding: gzip, chunked\r\n"), 501),
        (post("Transfer-Encoding: identity\r\n"), 501),
        (post("transfer-encoding : chunked\r\n"), 400),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("GET  HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("GET /\u{1}x HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("GET /ä HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n".into(), 400),
        (get("X: a\r\n b\r\n\r\n"), 400),
        (get("X: \0\r\n\r\n"), 400),
        (get("X: é\r\n\r\n"), 400),
        ("GET /healthz\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n".into(), 505),
        ("GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n".into(), 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".into(), 400),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), 0),
        (get(&"X: y\r\n".repeat(10_000)), 431),
        (get(&format!("X: {}\r\n\r\n", "y".repeat(20_000))), 431),
    ] {
        survives(gateway, &bytes[..bytes.len().min(60)], |gateway| {
            let mut stream = gateway.connect();
            let _ = stream.write_all(bytes.as_bytes());
            if expected == 0 {
                return; // not a whole request; it is given up when we hang up
            }
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert_eq!(status_of(&answer), expected, "{bytes:.80} {answer}");
        });
    }

    survives(gateway, "an endless request line of 64 MiB", |gateway| {
        let mut stream = gateway.connect();
        let chunk = vec![b'a'; 1 << 20];
        let _ = stream.write_all(b"GET /");
        let sent = (0..64).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 64, "it hangs up long before that");
    });

    survives(gateway, "HTTP/2.0 fifty times", |gateway| {
        for _ in 0..50 {
            gateway.raw(b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n");
        }
    });

    survives(gateway, "requests cut off by a reset, 400 times", |gateway| {
        for _ in 0..400 {
            let mut stream = gateway.connect();
            let _ = stream.write_all(get("\r\n").as_bytes());
            // Closing with the answer unread makes the kernel send a reset.
            drop(stream);
        }
    });

    survives(gateway, "a thousand pipelined requests and nobody who reads", |gateway| {
        let mut stream = gateway.connect();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        for _ in 0..1000 {
            if stream.write_all(get("\r\n").as_bytes()).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    });

    survives(gateway, "random bytes", |gateway| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..200 {
            let mut bytes = Vec::new();
            while bytes.len() < 512 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend(state.to_le_bytes());
            }
            let mut stream = gateway.connect();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
        }
    });

    survives(gateway, "200 silent connections", |gateway| {
        let idle: Vec<TcpStream> = (0..200).map(|_| gateway.connect()).collect();
        let start = Instant::now();
        for _ in 0..20 {
            assert!(gateway.is_well());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        let (threads, _, _) = gateway.weight();
        assert!(threads <= 1 + 96, "{threads}");
        drop(idle);
    });

    survives(gateway, "64 clients that are stuck in the middle of a head", |gateway| {
        let stuck: Vec<TcpStream> = (0..60)
            .map(|_| {
                let mut stream = gateway.connect();
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
                stream
            })
            .collect();
        // They hold 60 places for up to ten seconds; the others serve everybody else meanwhile.
        for _ in 0..20 {
            assert!(gateway.is_well());
        }
        drop(stuck);
    });

    gateway.settles(descriptors + 4);
    assert!(gateway.is_well(), "after all of it");
}

#[test]
fn slow_heads_and_bodies_are_given_up_and_delay_nobody() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    let trickle = |head: String| {
        let mut stream = gateway.connect();
        thread::spawn(move || {
            stream.write_all(head.as_bytes()).unwrap();
            let start = Instant::now();
            // A byte every 200 ms: each read succeeds, the whole never does.
            let mut reader = stream.try_clone().unwrap();
            let writer = thread::spawn(move || {
                while stream.write_all(b"a").is_ok() {
                    thread::sleep(Duration::from_millis(200));
                }
            });
            let mut answer = String::new();
            let _ = reader.read_to_string(&mut answer);
            let _ = reader.shutdown(Shutdown::Both);
            writer.join().unwrap();
            (answer, start.elapsed())
        })
    };
    let head = trickle("GET /healthz HTTP/1.1\r\nX: ".into());
    let body = trickle(format!(
        "POST /keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    ));
    for _ in 0..50 {
        assert!(gateway.is_well());
    }
    for slow in [head, body] {
        let (answer, time) = slow.join().unwrap();
        assert_eq!(status_of(&answer), 408, "{answer}");
        assert!(time > Duration::from_secs(8) && time < Duration::from_secs(25), "{time:?}");
    }
}

#[test]
fn a_client_that_takes_no_answer_is_given_up() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let mut stream = gateway.connect();
    stream.set_write_timeout(Some(Duration::from_secs(40))).unwrap();
    // More answers than any socket's buffers hold, and nobody reads one.
    let requests = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let error = loop {
        if let Err(error) = stream.write_all(requests.as_bytes()) {
            break error;
        }
    };
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "still held");
    assert!(gateway.is_well());
}

#[test]
fn a_silent_connection_is_still_good_after_half_a_minute() {
    // A browser opens it before it asks its user for permission.
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let mut client = Client::new(&gateway);
    thread::sleep(Duration::from_secs(30));
    assert_eq!(client.ask("GET /healthz", &[], "").status, 200);
}

/// While 64 places are under attack, the owner asks 60 times, on a connection each, and is answered.
fn locks_nobody_out(attack: impl Fn(&Gateway, &AtomicBool) + Sync) {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close");
    let (is_over, start) = (AtomicBool::new(false), Instant::now());
    let ask = |nth: u32| {
        // They are spread over three rounds of the attack.
        thread::sleep((50 * nth * MILLISECOND).saturating_sub(start.elapsed()));
        let path = if nth.is_multiple_of(2) { "/healthz" } else { "/keys" };
        loop {
            let asked = Instant::now();
            let mut stream = gateway.connect();
            let sent = write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n");
            // A machine too busy to send what it has connected for says nothing of the gateway.
            if asked.elapsed() > 20 * MILLISECOND {
                continue;
            }
            let mut answer = String::new();
            let done = sent.and_then(|()| stream.read_to_string(&mut answer));
            return (status_of(&answer), done, asked.elapsed());
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| attack(&gateway, &is_over));
        let told: Vec<_> = (0..60).map(ask).collect();
        is_over.store(true, Ordering::SeqCst);
        let refused: Vec<_> = told.iter().filter(|(status, ..)| *status != 200).collect();
        assert!(refused.is_empty(), "{} of 60: {refused:#?}", refused.len());
        let in_time = told.iter().filter(|(_, _, time)| *time < 2000 * MILLISECOND);
        assert!(in_time.count() >= 50, "{told:#?}");
    });
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn sockets_that_are_renewed_lock_nobody_out() {
    // The first byte of a request each, and another socket before it has been sending for a second.
    locks_nobody_out(|gateway, is_over| {
        let mut round = Instant::now();
        while !is_over.load(Ordering::SeqCst) {
            let mut sockets: Vec<TcpStream> = (0..64).map(|_| gateway.connect()).collect();
            for socket in &mut sockets {
                let _ = socket.write_all(b"G");
            }
            round += 950 * MILLISECOND;
            thread::sleep(round.saturating_duration_since(Instant::now()));
        }
    });
}

#[test]
fn clients_that_never_read_lock_nobody_out() {
    let requests = "GET /client.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    locks_nobody_out(|gateway, is_over| {
        let connect = || {
            let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            // The answers of a moment fill it.
            set_socket_recv_buffer_size(&stream, 4096).unwrap();
            rustix::net::connect(&stream, &gateway.address).unwrap();
            let stream = TcpStream::from(stream);
            stream.set_nonblocking(true).unwrap();
            stream
        };
        let mut sockets: Vec<TcpStream> = (0..64).map(|_| connect()).collect();
        while !is_over.load(Ordering::SeqCst) {
            for socket in &mut sockets {
                // More answers than its buffers hold; whoever is closed comes again.
                match socket.write(requests.as_bytes()) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => *socket = connect(),
                    _ => {}
                }
            }
            thread::sleep(MILLISECOND);
        }
    });
}

#[test]
fn the_oldest_silent_connection_makes_room_and_a_paired_one_that_is_busy_does_not() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    let mut busy = gateway.connect();
    let authorization = format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    begin(&mut busy, "GET /keys", &authorization);
    let mut oldest = gateway.connect();
    let mut others: Vec<Client> = (0..63).map(|_| Client::new(&gateway)).collect();
    assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "closed");
    assert_eq!(status_of(&finish(&mut busy)), 200);
    assert_eq!(others.last_mut().unwrap().ask("GET /healthz", &[], "").status, 200);
}

#[test]
fn descriptors_that_run_out_are_no_reason_to_end() {
    let home = Home::new();
    let serve = home.lf("gateway serve --keys-only --port 0").under(&["prlimit", "--nofile=40:40"]);
    let gateway = Gateway::run(serve);
    let many: Vec<TcpStream> = (0..100).map(|_| gateway.connect()).collect();
    thread::sleep(Duration::from_millis(200));
    drop(many);
    until("service after the flood", || has_room(&gateway));
}

#[test]
fn the_soft_limit_of_files_is_raised() {
    let home = Home::new();
    let gateway = Gateway::run(
        home.lf("gateway serve --keys-only --port 0").under(&["prlimit", "--nofile=32:"]),
    );
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[3] == words[4] && words[3] != "32", "{line}");
}

#[test]
fn twenty_resolves_at_once_hold_no_more_memory_than_the_cores_need() {
    let (home, id) = Home::with_key();
    let tokens: Vec<String> = (0..4).map(|n| pair(&home, &format!("--name browser-{n}"))).collect();
    let gateway = Gateway::start(&home);
    for token in &tokens {
        assert_eq!(gateway.ask("GET /keys", &[("Authorization", &bearer(token))], "").status, 200);
    }
    thread::scope(|scope| {
        for token in tokens.iter().flat_map(|token| [token; 5]) {
            let (gateway, id) = (&gateway, &id);
            scope.spawn(move || {
                let answer = gateway.ask(
                    &format!("POST /keys/{id}/resolve"),
                    &[("Authorization", &bearer(token))],
                    "",
                );
                assert_eq!(answer.body, format!("{{\"key\":\"{VALUE}\"}}"));
            });
        }
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let peak: usize = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let cores = thread::available_parallelism().unwrap().get();
    // The debug build is a few MiB larger than what the figures in the README are about.
    assert!(peak < (cores * 32 + 16) * 1024, "{peak} KiB on {cores} cores");
}

#[test]
fn a_signal_lets_what_is_in_flight_finish() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let (home, id) = Home::with_key();
        let token = pair(&home, "");
        let gateway = Gateway::start(&home);
        let mut silent = gateway.connect();
        let mut busy = gateway.connect();
        let authorization = format!("Authorization: Bearer {token}\r\n");
        begin(&mut busy, &format!("POST /keys/{id}/resolve"), &authorization);
        gateway.signal(signal);
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "the end has begun");
        let answer = finish(&mut busy);
        assert!(answer.starts_with("HTTP/1.0 200") && answer.contains(VALUE), "{answer}");
        let outcome = gateway.wait();
        assert_eq!(outcome.status, Some(0), "{outcome}");
    }
}

#[test]
fn a_request_that_came_before_the_signal_is_answered() {
    let home = Home::new();
    for _ in 0..20 {
        let gateway = Gateway::start(&home);
        let mut client = gateway.connect();
        let mut answer = [0; 512];
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request).unwrap();
        assert!(client.read(&mut answer).unwrap() > 0);
        let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
        clients.push(client);
        for client in &mut clients {
            client.write_all(request).unwrap();
        }
        gateway.signal(rustix::process::Signal::TERM);
        for client in &mut clients {
            assert!(client.read(&mut answer).unwrap() > 0, "no answer");
        }
        drop(clients);
        assert_eq!(gateway.wait().status, Some(0));
    }
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let port = gateway.address.port();
    let taken =
        home.lf(&format!("gateway serve --keys-only --port {port}")).fails(1, "cannot_listen");
    assert!(
        taken.err.contains(&format!("127.0.0.1:{port}")) && taken.err.contains("--port"),
        "{taken}"
    );
    let by_environment = home
        .lf("gateway serve")
        .env("LF_GATEWAY_KEYS_ONLY", "1")
        .env("LF_GATEWAY_PORT", port.to_string());
    by_environment.fails(1, "cannot_listen");
    for bad in ["--port 65536", "--port x", "--bind example.com", "--bind 1.2.3"] {
        home.lf(&format!("gateway serve --keys-only {bad}")).fails(2, "usage");
    }
}

#[test]
fn full_mode_has_preconditions_and_stays_on_loopback() {
    let home = Home::new();
    for bind in ["0.0.0.0", "::", "192.168.1.1"] {
        home.lf(&format!("gateway serve --port 0 --bind {bind}")).fails(5, "unsafe_bind");
    }
    let failed = home.lf("gateway serve --port 0").fails(3, "precondition_failed");
    for line in [
        "pass bind_safe",
        "pass no_service_role",
        "pass keychain_present",
        "pass keys_passphrase",
        "FAIL identity_present",
        "FAIL session_present",
        "pass lenser_active",
        "pass kill_switch",
    ] {
        assert!(failed.err.contains(&format!("[precondition] {line}: ")), "no {line} in {failed}");
    }
    for (name, line) in [
        ("SUPABASE_SERVICE_ROLE_KEY", "no_service_role"),
        ("LF_GATEWAY_OWNER_PAUSED", "lenser_active"),
        ("LF_GATEWAY_GLOBAL_KILL_SWITCH", "kill_switch"),
    ] {
        let failed =
            home.lf("gateway serve --port 0").env(name, "1").fails(3, "precondition_failed");
        assert!(failed.err.contains(&format!("FAIL {line}")), "{failed}");
    }
    let failed = home
        .lf("gateway serve --port 0 --tailscale")
        .env("LF_ACCESS_TOKEN", "x")
        .fails(3, "precondition_failed");
    assert!(
        failed.err.contains("pass session_present")
            && failed.err.contains("FAIL tailscale_consent"),
        "{failed}"
    );
    home.lf("gateway serve --keys-only --port 0")
        .env("SUPABASE_SERVICE_ROLE_KEY", "x")
        .fails(3, "precondition_failed");
}

#[test]
fn full_mode_serves_when_everything_is_there() {
    let (home, bus) = Home::with_keychain();
    identify(&home, &bus);
    let config = home.path().join(".lenserfight/config.json");
    let serve = || bus.on(home.bare("gateway serve --port 0"));
    for (text, is_enough) in [
        (r#"{"profiles":{"work":{"access_token":"x"}}}"#, false),
        (r#"{"active_profile":"home","profiles":{"work":{"access_token":"x"}}}"#, false),
        (r#"{"active_profile":"work","profiles":{"work":{"access_token":"x"}}}"#, true),
        (r#"{"token":""}"#, false),
        (r#"{"token":"x"}"#, true),
    ] {
        std::fs::write(&config, text).unwrap();
        if is_enough {
            let gateway = Gateway::run(serve());
            assert!(gateway.is_well());
            assert_eq!(gateway.ask("GET /", &[], "").status, 200, "and its page");
        } else {
            serve().fails(3, "precondition_failed");
        }
    }
}

/// Connects from this loopback address.
fn connect_from(source: &str, gateway: &Gateway) -> Option<TcpStream> {
    use rustix::net::{bind, connect};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let source: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
    bind(&socket, &source).unwrap();
    connect(&socket, &gateway.address).ok()?;
    Some(socket.into())
}

#[test]
fn on_a_wide_bind_no_peer_has_more_than_half_of_the_places() {
    let home = Home::new();
    let gateway = Gateway::run(home.lf("gateway serve --keys-only --port 0 --bind 0.0.0.0"));
    // Half of the places, taken by one peer with requests that have begun.
    let mut greedy: Vec<TcpStream> =
        (0..32).map(|_| connect_from("127.0.0.9", &gateway).unwrap()).collect();
    for stream in &mut greedy {
        begin(stream, "GET /healthz", "Connection: close\r\n");
    }
    // One more of its own takes the place of the one that began first.
    let mut more = connect_from("127.0.0.9", &gateway).unwrap();
    more.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    more.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 200);
    assert_eq!(greedy.remove(0).read(&mut [0]).unwrap_or(0), 0, "closed");
    // Others are served as if nothing were.
    for _ in 0..10 {
        assert!(gateway.is_well());
    }
    let mut other = connect_from("127.0.0.3", &gateway).unwrap();
    other.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 200);
    // And the greedy one still gets what else it asked for.
    for stream in &mut greedy {
        assert_eq!(status_of(&finish(stream)), 200);
    }
}

#[test]
fn many_connections_that_are_kept_are_all_answered() {
    // More than six at once was too much for a thread pool that we know of.
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::new(&gateway)).collect();
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.ask("GET /healthz", &[], "").status, 200);
        }
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| assert_eq!(client.ask("GET /healthz", &[], "").status, 200));
            }
        });
    }
}

#[test]
fn a_revoked_token_stops_working_in_the_middle_of_requests() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    let revoked = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::new(&gateway);
                loop {
                    let was_revoked = revoked.load(Ordering::SeqCst);
                    let answer = client.ask("GET /keys", &[("Authorization", &bearer(&token))], "");
                    assert!(answer.status == 401 || !was_revoked, "{answer:?}");
                    if was_revoked {
                        return;
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(100));
        home.lf("gateway unpair --all").ok();
        revoked.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_gateway_full_of_half_sent_heads_makes_room() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let start = Instant::now();
    let mut stuck: Vec<TcpStream> = (0..64).map(|_| gateway.connect()).collect();
    stuck.iter_mut().for_each(|stream| stream.write_all(b"GET /").unwrap());
    // Each of them has had its second, by the gateway's clock, long before it would go by itself.
    for _ in 0..20 {
        until("room", || has_room(&gateway));
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_lock_that_somebody_holds_delays_neither_service_nor_the_end() {
    let home = Home::new();
    let token = pair(&home, "");
    let gateway = Gateway::start(&home);
    assert_eq!(gateway.ask("GET /keys", &[("Authorization", &bearer(&token))], "").status, 200);
    let _lock = support::lock(&home.path().join(".lenserfight/gateway"));
    let start = Instant::now();
    assert_eq!(gateway.ends().status, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_time_that_the_gateway_takes_is_not_the_clients() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("gateway pair")).ok();
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    bus.freeze();
    // Two in a row wait for the keychain, three seconds each, before their bodies are looked at.
    let start = Instant::now();
    let answer = gateway.ask(
        "POST /keys",
        &[("Authorization", "Bearer wrong"), ("Content-Type", "application/json")],
        "{}",
    );
    assert!(matches!(answer.status, 401 | 503), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    bus.thaw();
}

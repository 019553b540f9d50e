//! `lf gateway status` and `doctor`: what listens there, and what stands in the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use miniserde::json::{self, Array, Object, Value};

use support::gateway::{Gateway, pair};
use support::{Home, Outcome, Stranger, free_ports};

/// Something that is no gateway of ours: takes one request and says this. Gives back what it was asked.
fn stranger(says: Vec<u8>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&says);
        let _ = stream.shutdown(Shutdown::Write);
        let mut asked = Vec::new();
        let _ = stream.read_to_end(&mut asked);
        String::from_utf8(asked).unwrap()
    });
    (port, thread)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// What a doctor's run says of a check.
fn line<'a>(report: &'a Outcome, check: &str) -> &'a str {
    let mut lines = report.out.lines();
    let found = lines.find(|line| line[6..].starts_with(&format!("{check}: ")));
    found.unwrap_or_else(|| panic!("no {check} in {report}"))
}

#[test]
fn status_tells_of_a_running_gateway() {
    let home = Home::new();
    pair(&home, "");
    pair(&home, "--name tablet");
    let gateway = Gateway::start(&home);
    let (address, port) = (gateway.address, gateway.address.port());
    let told = home.lf(&format!("gateway status --port {port}")).ok();
    let version = concat!("lf/", env!("CARGO_PKG_VERSION"));
    for line in [
        format!("running   http://{address}"),
        format!("version   {version}"),
        "pairings  2".to_owned(),
    ] {
        assert!(told.out.lines().any(|told| told == line), "{line}: {told}");
    }
    let asked = home.lf("gateway status --json").env("LF_GATEWAY_PORT", port.to_string());
    let told: Object = json::from_str(&asked.ok().out).unwrap();
    let names: Vec<&str> = told.keys().map(String::as_str).collect();
    assert_eq!(names, ["address", "daemon_version", "pairings", "time"]);
    assert!(matches!(&told["daemon_version"], Value::String(told) if told == version));
    let Value::String(time) = &told["time"] else { panic!("{told:?}") };
    assert!(support::is_timestamp(time));
    // One that listens everywhere is asked on this machine.
    let wide = Gateway::run(home.lf("gateway serve --keys-only --port 0 --bind 0.0.0.0"));
    let port = wide.address.port();
    home.lf(&format!("gateway status --bind 0.0.0.0 --port {port}")).ok();
    // And whoever wants the same port hears of it.
    let taken = home.lf(&format!("gateway serve --keys-only --port {port}"));
    let taken = taken.fails(1, "cannot_listen");
    assert!(taken.err.contains("lf gateway status"), "{taken}");
}

#[test]
fn where_nobody_listens_the_exit_code_is_4() {
    let home = Home::new();
    let port = free_ports().next().unwrap();
    let status = format!("gateway status --port {port}");
    let told = home.lf(&status).fails(4, "gateway_unreachable");
    assert!(
        told.err.contains("no gateway listens on 127.0.0.1")
            && told.err.contains("lf gateway serve"),
        "{told}"
    );
    let told = home.lf(&format!("{status} --json")).go();
    assert_eq!((told.status, told.out.as_str()), (Some(4), ""));
    assert!(told.err.starts_with(r#"{"error":{"code":"gateway_unreachable","#), "{told}");
    home.lf("gateway status --port 0").fails(2, "usage");
    // For the doctor that is nothing wrong.
    let checked = home.lf(&format!("gateway doctor --port {port}")).ok();
    assert!(line(&checked, "gateway").starts_with("note"), "{checked}");
}

#[test]
fn what_is_no_gateway_is_called_something_else() {
    let home = Home::new();
    pair(&home, "");
    let health = |version: &str| {
        format!(
            r#"{{"status":"ok","daemon_version":"{version}","time":"2026-01-02T03:04:05.678Z"}}"#
        )
    };
    let long = [http("200 OK", ""), vec![b'x'; 40_000]].concat();
    for says in [
        Vec::new(),
        b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        http("404 Not Found", r#"{"error":"not_found"}"#),
        http("200 OK", "<html>"),
        http("200 OK", &health("gateway/1.2.3")),
        http("200 OK", &health("lf/\u{1b}[2J")),
        http("301 Moved\r\nLocation: http://127.0.0.1:1/", ""),
        http("200 OK", &health("lf/1.0.0"))[..90].to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
        format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000)).into_bytes(),
        long,
    ] {
        for (command, status, code) in
            [("status", 4, "gateway_unreachable"), ("doctor", 3, "checks_failed")]
        {
            let (port, thread) = stranger(says.clone());
            let command = format!("gateway {command} --port {port}");
            let told = home.lf(&command).fails(status, code);
            let sentence = format!("something else listens on 127.0.0.1:{port}");
            assert!((told.err.clone() + &told.out).contains(&sentence), "{told}");
            assert!(!told.err.contains('\u{1b}') && !told.out.contains('\u{1b}'));
            let asked = thread.join().unwrap();
            assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
            assert!(!asked.to_ascii_lowercase().contains("authorization"), "{asked}");
        }
    }
}

#[test]
fn what_answers_too_late_or_bit_by_bit_is_not_waited_for() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let start = Instant::now();
    let is_given_up = || {
        let asked = home.lf(&format!("gateway status --port {port}"));
        let told = asked.fails(4, "gateway_unreachable");
        assert!(told.err.contains("does not answer within 2 seconds"), "{told}");
    };
    is_given_up();
    let trickle = thread::spawn(move || {
        let _silent = listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut answer = b"HTTP/1.1 200 OK\r\n".iter().chain(std::iter::repeat(&b'x'));
        while stream.write_all(&[*answer.next().unwrap()]).is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    is_given_up();
    assert!(start.elapsed() < Duration::from_secs(10));
    trickle.join().unwrap();
}

#[test]
fn the_doctor_names_what_is_there_and_what_is_not() {
    let home = Home::new();
    pair(&home, "");
    let gateway = Gateway::start(&home);
    let command = format!("gateway doctor --port {}", gateway.address.port());
    let well = home.lf(&command).ok();
    for (check, status) in [
        ("bind_safe", "pass"),
        ("no_service_role", "pass"),
        ("keychain_present", "pass"),
        ("keys_passphrase", "pass"),
        ("identity_present", "note"),
        ("session_present", "note"),
        ("lenser_active", "pass"),
        ("kill_switch", "pass"),
        ("tailscale_consent", "pass"),
        ("bind", "pass"),
        ("gateway", "pass"),
        ("pairings", "pass"),
    ] {
        assert!(line(&well, check).starts_with(status), "{check}: {well}");
    }
    // In the form of lf keys doctor.
    let json = |command: &str| {
        let report: Object = json::from_str(&home.lf(command).go().out).unwrap();
        let Some(Value::Array(checks)) = report.get("checks") else { panic!() };
        let checks: &Array = checks;
        let Some(Value::Object(check)) = checks.first() else { panic!() };
        let names = |object: &Object| object.keys().cloned().collect::<Vec<_>>();
        (names(&report), names(check))
    };
    assert_eq!(json(&format!("{command} --json")), json("keys doctor --json"));
    let keys_only = home.lf(&format!("{command} --keys-only")).ok();
    assert!(!keys_only.out.contains("identity_present"), "{keys_only}");
    for (name, value, check) in [
        ("SUPABASE_SERVICE_ROLE_KEY", "x", "no_service_role"),
        ("LF_GATEWAY_EXTRA_ORIGINS", "(", "extra_origins"),
    ] {
        let ill = home.lf(&command).env(name, value).fails(3, "checks_failed");
        assert!(line(&ill, check).starts_with("FAIL"), "{ill}");
    }
    let ill = home.bare(&command).fails(3, "checks_failed");
    assert!(line(&ill, "keys_passphrase").starts_with("FAIL"), "{ill}");
    // Whoever asks for full mode, or has an identity, needs all of it.
    let ill = home.lf(&format!("{command} --tailscale")).fails(3, "checks_failed");
    assert!(line(&ill, "tailscale_consent").starts_with("FAIL"), "{ill}");
    fs::write(home.path().join(".lenserfight/gateway/identity.json"), "{}").unwrap();
    let ill = home.lf(&command).fails(3, "checks_failed");
    for check in ["identity_present", "session_present"] {
        assert!(line(&ill, check).starts_with("FAIL"), "{ill}");
    }
    home.lf(&format!("{command} --keys-only")).ok();
}

#[test]
fn the_doctor_tells_of_tokens_that_end_soon_or_have_ended() {
    let home = Home::new();
    let doctor = || home.lf("gateway doctor --keys-only --port 1").go();
    assert!(line(&doctor(), "pairings").contains("nothing is paired"));
    pair(&home, "--name long --expires 90d");
    pair(&home, "--name ever");
    assert!(line(&doctor(), "pairings").starts_with("pass"));
    pair(&home, "--name soon --expires 6d");
    let told = doctor();
    assert!(line(&told, "pairings").starts_with("note  pairings: \"soon\" expires at "), "{told}");
    assert!(!told.out.contains("long") && !told.out.contains("ever"), "{told}");
    let book = home.path().join(".lenserfight/gateway/pairings.json");
    let text = fs::read_to_string(&book).unwrap();
    let (before, after) = text.rsplit_once("\"expiresAt\":\"20").unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    fs::write(&book, format!("{before}\"expiresAt\":\"2001{after}")).unwrap();
    let told = doctor();
    assert!(line(&told, "pairings").starts_with("note  pairings: \"soon\" expired at "), "{told}");
    fs::write(&book, "{").unwrap();
    let told = doctor();
    assert_eq!(told.status, Some(3));
    assert!(line(&told, "pairings").starts_with("FAIL"), "{told}");
}

#[test]
fn another_user_on_the_other_loopback_address_is_named_and_no_gateway_starts_beside_him() {
    let home = Home::new();
    let port = free_ports().next().unwrap();
    let variable = |command: &str| home.lf(command).env("LF_GATEWAY_PORT", port.to_string());
    // Without another user the gateway that is found is nobody to be warned of.
    for (ours, theirs) in [("127.0.0.1", "[::1]"), ("[::1]", "127.0.0.1")] {
        let theirs = format!("{theirs}:{port}");
        let stranger = Stranger::on(theirs.parse().unwrap());
        for bind in ["", "--bind localhost", &format!("--bind {ours}"), "--bind 0.0.0.0"] {
            let refused = variable(&format!("gateway serve --keys-only {bind}"));
            let refused = refused.fails(1, "cannot_listen");
            assert!(refused.err.contains(&Stranger::name()), "{bind} {refused}");
        }
        let told = variable("gateway doctor --keys-only").fails(3, "checks_failed");
        assert!(told.out.contains(&Stranger::name()), "{told}");
        if rustix::process::geteuid().is_root() {
            let sentence = format!("{}on {theirs}", Stranger::name());
            for (command, status) in [("pair", 0), ("status", 4)] {
                let told = variable(&format!("gateway {command}")).go();
                assert_eq!(told.status, Some(status), "{told}");
                assert!(told.err.contains(&sentence), "{told}");
            }
            let told = variable("gateway pair --json").ok();
            assert!(
                told.err.starts_with("{\"warning\":{\"code\":\"gateway_unreachable\""),
                "{told}"
            );
        }
        drop(stranger);
        assert_eq!(variable("gateway pair").ok().err, "");
    }
}

#[test]
fn a_gateway_that_holds_one_loopback_address_alone_is_told_apart() {
    let home = Home::new();
    home.lf("gateway pair").ok();
    let gateway = Gateway::start(&home);
    let port = gateway.address.port();
    let well = home.lf(&format!("gateway status --port {port}")).ok();
    assert_eq!(well.err, "");
    drop(gateway);
    // As from before both were held: what a service manager passes on is not added to.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = http(
        "200 OK",
        r#"{"status":"ok","daemon_version":"lf/0.0.1","time":"2026-01-02T03:04:05.678Z"}"#,
    );
    let answers = thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(&answer);
        }
    });
    let told = home.lf(&format!("gateway status --port {port}")).ok();
    assert!(told.err.contains(&format!("does not listen on [::1]:{port}")), "{told}");
    let told = home.lf(&format!("gateway doctor --keys-only --port {port}")).go();
    assert!(
        told.out.contains(&format!("FAIL  gateway: the gateway does not listen on [::1]:{port}")),
        "{told}"
    );
    answers.join().unwrap();
}

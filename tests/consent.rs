//! Consent to Tailscale, and full mode by it, in a network namespace with an interface that looks like
//! Tailscale's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use support::bus::Bus;
use support::gateway::{Gateway, bearer, identify, token};
use support::net::{Net, TAILNET};
use support::pty::Terminal;
use support::{Home, Run, mode};

const FINGERPRINT: &str = "tailscale:100.101.102.103/32";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: 100.101.102.103\r\n\r\n";

fn file(home: &Home) -> PathBuf {
    home.path().join(".lenserfight/gateway/tailscale-consent.json")
}

fn grant(net: &Net, home: &Home) {
    net.run(home.lf("gateway consent grant tailscale --yes")).ok();
}

/// A home and a bus with all that full mode needs beside consent.
fn full_mode() -> (Home, Bus) {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    identify(&home, &bus);
    (home, bus)
}

fn serve(net: &Net, (home, bus): &(Home, Bus), arguments: &str) -> Run {
    let run = home.lf(&format!("gateway serve --port 0 {arguments}"));
    net.run(bus.on(run.env("LF_ACCESS_TOKEN", "x")))
}

#[test]
fn a_consent_names_the_address_on_the_tailnet_and_can_be_taken_back() {
    let (net, home) = (Net::with_tailscale(), Home::new());
    net.ip("link add other0 type veth peer name peer1");
    net.ip("addr add 100.127.0.1/10 dev other0");
    net.ip("addr add 192.168.1.1/24 dev tailscale0");
    let lf = |arguments: &str| net.run(home.lf(arguments));
    let none = lf("gateway consent show").ok();
    assert!(none.out.is_empty() && none.err.contains("there is no consent"), "{none}");
    assert!(lf("gateway consent revoke").ok().err.contains("there is no consent"));
    assert!(!file(&home).exists());
    let refused = lf("gateway consent grant tailscale").fails(2, "refused");
    assert!(refused.err.contains(FINGERPRINT) && !file(&home).exists(), "{refused}");
    let words = ["gateway", "consent", "grant", "tailscale", "--yes", "--notes", "my \"tablet\""];
    let granted = net.run(home.words(&words)).ok();
    assert!(
        granted.out.contains(FINGERPRINT) && granted.out.contains(&format!("--bind {TAILNET}")),
        "{granted}"
    );
    assert_eq!((mode(&file(&home)), mode(file(&home).parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(file(&home)).unwrap();
    let rest = r#","granter_lenser_id":null,"fingerprints":["tailscale:100.101.102.103/32"],"notes":"my \"tablet\""}"#;
    assert!(text.starts_with("{\"granted_at\":\"2") && text.ends_with(rest), "{text}");
    let shown = lf("gateway consent show").ok().out;
    assert!(shown.contains(&format!("{FINGERPRINT}  (live)")), "{shown}");
    assert_eq!(
        lf("gateway consent show --json").ok().out,
        format!("{{\"consent\":{text},\"holds\":true,\"live\":[\"{FINGERPRINT}\"]}}\n")
    );
    // The other one is not Tailscale's; where Tailscale is away, it looks the same.
    net.ip("link set peer1 up");
    net.up("other0");
    let granted = lf("gateway consent grant tailscale --yes").ok();
    assert!(granted.out.contains(FINGERPRINT), "{granted}");
    net.ip("route del 100.100.100.100 dev tailscale0");
    let granted = lf("gateway consent grant tailscale --yes").ok();
    assert!(
        granted.err.contains("whether 100.127.0.1 belongs to Tailscale")
            && granted.out.contains("tailscale:100.127.0.1/32"),
        "{granted}"
    );
    assert!(lf("gateway consent revoke tailscale").ok().out.contains("revoked"));
    assert!(!file(&home).exists());
}

#[test]
fn without_a_live_address_of_its_range_there_is_nothing_to_consent_to() {
    let (net, home) = (Net::new(), Home::new());
    net.ip("link add tailscale0 type veth peer name peer0");
    net.ip("addr add 100.128.0.1/10 dev tailscale0");
    net.ip("link set peer0 up");
    net.up("tailscale0");
    let grant = || net.run(home.lf("gateway consent grant tailscale --yes"));
    grant().fails(5, "no_tailnet");
    net.ip("addr add 100.64.0.1/10 dev tailscale0");
    net.ip("link set tailscale0 down");
    grant().fails(5, "no_tailnet");
    assert!(!home.path().join(".lenserfight/gateway").exists(), "and nothing is made");
}

#[test]
fn a_person_is_asked_and_only_yes_is_yes() {
    for (answer, status) in [("yes\r", 0), ("no\r", 2)] {
        let (net, home) = (Net::with_tailscale(), Home::new());
        let run = net.run(home.bare("gateway consent grant tailscale"));
        let mut terminal = Terminal::start(&run);
        terminal.sees(FINGERPRINT).sees("Type yes").types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(status), "{screen}");
        assert_eq!(file(&home).exists(), status == 0);
    }
}

#[test]
fn a_file_that_is_no_consent_counts_as_none_and_is_not_overwritten() {
    let (net, home) = (Net::with_tailscale(), Home::new());
    let lf = |arguments: &str| net.run(home.lf(arguments));
    grant(&net, &home);
    let good = fs::read_to_string(file(&home)).unwrap();
    let large = format!("{}{}", good, " ".repeat(64 * 1024));
    for bad in ["", "{", "[]", "null", &good[..good.len() - 1], &large] {
        fs::write(file(&home), bad).unwrap();
        lf("gateway consent show").fails(1, "corrupt_consent");
        let refused = lf("gateway consent grant tailscale --yes").fails(1, "corrupt_consent");
        assert!(refused.err.contains("hint: lf gateway consent revoke"), "{refused}");
        assert_eq!(fs::read_to_string(file(&home)).unwrap(), bad);
        let checked = lf("gateway doctor").fails(3, "checks_failed");
        assert!(checked.out.contains("FAIL  tailscale_consent"), "{checked}");
    }
    let refused = lf(&format!("gateway serve --port 0 --tailscale --bind {TAILNET}"));
    refused.fails(5, "unsafe_bind");
    lf("gateway consent revoke").ok();
    grant(&net, &home);
    fs::remove_file(file(&home)).unwrap();
    std::os::unix::fs::symlink("elsewhere", file(&home)).unwrap();
    for command in ["show", "grant tailscale --yes", "revoke"] {
        lf(&format!("gateway consent {command}")).fails(1, "symlink_refused");
    }
}

#[test]
fn full_mode_listens_where_a_consent_says_and_nowhere_else() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    let there = format!("--tailscale --bind {TAILNET}");
    for arguments in [there.as_str(), "--tailscale"] {
        // A flag goes before a variable.
        let refused = serve(&net, &full, arguments).env("LF_GATEWAY_KEYS_ONLY", "1");
        let refused = refused.fails(5, "consent_missing");
        assert!(
            refused.err.contains("FAIL tailscale_consent")
                && refused.err.contains("hint: lf gateway consent grant tailscale"),
            "{refused}"
        );
    }
    grant(&net, &full.0);
    let text = fs::read_to_string(file(&full.0)).unwrap();
    assert!(text.contains(r#""granter_lenser_id":"lenser-1""#), "{text}");
    for arguments in [
        &format!("--bind {TAILNET}"),
        "--tailscale --bind 0.0.0.0",
        "--tailscale --bind ::",
        "--tailscale --bind ::ffff:100.101.102.103",
        "--tailscale --bind 100.101.102.104",
        "--tailscale --bind 192.168.1.1",
    ] {
        serve(&net, &full, arguments).fails(5, "unsafe_bind");
    }
    let unasked = net.run(full.0.lf(&format!("gateway doctor --bind {TAILNET}")));
    let told =
        "bind_safe: 100.101.102.103 is not a loopback address; another address needs --tailscale ";
    assert!(unasked.go().out.contains(told), "the consent is there");
    let paired = token(full.1.on(full.0.lf("gateway pair")));
    let gateway = Gateway::run(serve(&net, &full, &there));
    let (url, keys) =
        (format!("http://{}/healthz", gateway.address), format!("http://{}/keys", gateway.address));
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let machine = machine.trim().to_owned();
    for (host, status) in [
        (gateway.address.to_string(), "200"),
        (TAILNET.to_owned(), "200"),
        (machine, "200"),
        ("laptop.local".to_owned(), "200"),
        ("evil.example".to_owned(), "421"),
    ] {
        let (told, body) = net.get(&url, &format!("Host: {host}"));
        assert_eq!(told, status, "{host}: {body}");
    }
    let authorization = format!("Authorization: {}", bearer(&paired));
    assert_eq!(net.get(&keys, &authorization).0, "200");
    assert_eq!(net.get(&keys, "X: y").0, "401");
    // Nowhere else: not on loopback either.
    let port = gateway.address.port();
    assert_eq!(net.get(&format!("http://127.0.0.1:{port}/healthz"), "X: y").0, "000");
    let status = format!("gateway status --bind {TAILNET} --port {port}");
    net.run(full.0.lf(&status)).ok();
    assert_eq!(gateway.ends().status, Some(0));
    // Where addresses are named, it is those.
    let gateway = Gateway::run(serve(&net, &full, "--bind localhost --tailscale"));
    assert!(gateway.address.ip().is_loopback());
    assert_eq!(gateway.ends().status, Some(0));
}

#[test]
fn tailscale_is_loopback_and_the_address_of_the_consent_with_the_rules_of_each() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    let refused = serve(&net, &full, "--keys-only --tailscale").fails(5, "consent_missing");
    assert!(refused.err.contains("FAIL tailscale_consent"), "{refused}");
    grant(&net, &full.0);
    for (arguments, variable) in [("--tailscale", ""), ("--keys-only --tailscale", ""), ("", "1")] {
        let run = serve(&net, &full, arguments).env("LF_GATEWAY_TAILSCALE", variable);
        let gateway = Gateway::run(run.env("LF_GATEWAY_EXTRA_HOSTS", "extra.example"));
        let port = gateway.address.port();
        let loopback = ["127.0.0.1", "[::1]"].map(|ip| format!("http://{ip}:{port}/healthz"));
        let tailnet = format!("http://{TAILNET}:{port}/healthz");
        for (host, on_loopback, on_tailnet) in [
            ("localhost", "200", "200"),
            ("extra.example", "200", "200"),
            ("laptop.local", "421", "200"),
            ("192.168.1.1", "421", "200"),
            ("evil.example", "421", "421"),
        ] {
            let host = format!("Host: {host}");
            for url in &loopback {
                assert_eq!(net.get(url, &host).0, on_loopback, "{arguments} {url} {host}");
            }
            assert_eq!(net.get(&tailnet, &host).0, on_tailnet, "{arguments} {host}");
        }
        // Its page is for this machine.
        let page = |url: &str| net.get(&url.replace("/healthz", "/"), "X: y").0;
        assert_eq!((page(&loopback[1]), page(&tailnet)), ("200".to_owned(), "404".to_owned()));
        net.run(full.0.lf(&format!("gateway status --port {port}"))).ok();
        if arguments.contains("keys-only") {
            net.run(full.0.lf("gateway consent revoke")).ok();
            net.get(&tailnet, "X: y");
            let ended = gateway.wait();
            assert_eq!(ended.status, Some(5), "{ended}");
            grant(&net, &full.0);
        } else {
            assert_eq!(gateway.ends().status, Some(0));
        }
    }
}

#[test]
fn an_address_that_this_machine_no_longer_has_is_covered_by_nothing() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    grant(&net, &full.0);
    net.ip("addr del 100.101.102.103/32 dev tailscale0");
    net.ip("addr add 100.101.102.104/32 dev tailscale0");
    let there = "--tailscale --bind 100.101.102.104";
    serve(&net, &full, there).fails(5, "consent_missing");
    let shown = net.run(full.0.lf("gateway consent show")).ok();
    assert!(
        shown.out.contains("(not an address of this machine now)")
            && shown.err.contains("does not hold"),
        "{shown}"
    );
    let json = net.run(full.0.lf("gateway consent show --json")).ok().out;
    assert!(json.contains("\"holds\":false"), "{json}");
    net.ip("route add 100.100.100.100 dev tailscale0");
    grant(&net, &full.0);
    let gateway = Gateway::run(serve(&net, &full, there));
    assert_eq!(gateway.ends().status, Some(0));
}

#[test]
fn a_consent_that_names_an_interface_is_read_for_its_address() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    grant(&net, &full.0);
    let text = fs::read_to_string(file(&full.0)).unwrap();
    let old = text.replace("tailscale:", "tailscale0:");
    fs::write(file(&full.0), old).unwrap();
    let shown = net.run(full.0.lf("gateway consent show")).ok().out;
    assert!(shown.contains("tailscale0:100.101.102.103/32  (live)"), "{shown}");
    let gateway = Gateway::run(serve(&net, &full, &format!("--tailscale --bind {TAILNET}")));
    let url = format!("http://{}/healthz", gateway.address);
    assert_eq!(net.get(&url, "X: y").0, "200");
    assert_eq!(gateway.ends().status, Some(0));
}

#[test]
fn a_consent_that_is_withdrawn_ends_the_gateway() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    grant(&net, &full.0);
    let gateway = Gateway::run(serve(&net, &full, &format!("--tailscale --bind {TAILNET}")));
    let url = format!("http://{}/healthz", gateway.address);
    let mut kept = net.connect(gateway.address);
    kept.asks(HEALTH);
    assert!(kept.hears("lf/").starts_with("HTTP/1.1 200"));
    // A new consent to the same changes nothing.
    grant(&net, &full.0);
    assert_eq!(net.get(&url, "X: y").0, "200");
    net.run(full.0.lf("gateway consent revoke")).ok();
    kept.hears("}");
    kept.asks(HEALTH);
    let told = kept.hears("consent_missing");
    assert!(told.is_empty() || told.contains(" 403 "), "{told}");
    assert!(!told.contains(" 200 "), "{told}");
    // The next who comes is not served, and it ends.
    assert_ne!(net.get(&url, "X: y").0, "200");
    let ended = gateway.wait();
    assert_eq!(ended.status, Some(5), "{ended}");
    assert!(
        ended.err.contains("lf: consent_missing: the consent to Tailscale was revoked"),
        "{ended}"
    );
}

#[test]
fn a_gateway_waits_for_its_address_and_nobody_reaches_it_meanwhile() {
    let (net, full) = (Net::with_tailscale(), full_mode());
    grant(&net, &full.0);
    let gateway = Gateway::run(serve(&net, &full, &format!("--tailscale --bind {TAILNET}")));
    let url = format!("http://{}/healthz", gateway.address);
    assert_eq!(net.get(&url, "X: y").0, "200");
    net.ip("addr del 100.101.102.103/32 dev tailscale0");
    assert_eq!(net.get(&url, "X: y").0, "000");
    let at = format!("--bind {TAILNET} --port {}", gateway.address.port());
    let asked = net.run(full.0.lf(&format!("gateway status {at}")));
    asked.fails(4, "gateway_unreachable");
    net.ip("addr add 100.101.102.103/32 dev tailscale0");
    assert_eq!(net.get(&url, "X: y").0, "200");
    assert_eq!(gateway.ends().status, Some(0));
}

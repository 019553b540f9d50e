//! Who gets in: hosts, origins, preflights, fetch modes, tokens and buckets, and their order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::gateway::{Answer, Client, Gateway, bearer, pair};
use support::{Home, VALUE};

struct Door {
    home: Home,
    gateway: Gateway,
    token: String,
    id: String,
}

impl Door {
    fn new() -> Door {
        let (home, id) = Home::with_key();
        let token = pair(&home, "");
        let gateway = Gateway::start(&home);
        Door { home, gateway, token, id }
    }

    fn keys(&self, headers: &[(&str, &str)]) -> Answer {
        let authorization = bearer(&self.token);
        let headers: Vec<_> =
            headers.iter().copied().chain([("Authorization", authorization.as_str())]).collect();
        self.gateway.ask("GET /keys", &headers, "")
    }

    fn resolve(&self) -> Answer {
        self.gateway.ask(
            &format!("POST /keys/{}/resolve", self.id),
            &[("Authorization", &bearer(&self.token))],
            "",
        )
    }

    /// Resolves until a token's bucket is empty: how often it was not, and the answer then. A key that
    /// is not there takes as much out of it and no time, while a derivation may take long enough for
    /// the bucket to be refilled.
    fn drain(&self, token: &str) -> (u64, Answer) {
        let mut client = Client::new(&self.gateway);
        let line = format!("POST /keys/{}/resolve", "a".repeat(24));
        let mut given = 0;
        loop {
            let answer = client.ask(&line, &[("Authorization", &bearer(token))], "");
            if answer.status == 429 {
                return (given, answer);
            }
            assert_eq!(answer.told(), (404, "key_not_found"));
            given += 1;
        }
    }
}

#[test]
fn our_origins_get_cors_headers_and_no_others_do() {
    let door = Door::new();
    for origin in [
        "https://lenserfight.com",
        "https://app.lenserfight.com",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:5173",
        "http://100.88.58.68:3000",
        "http://192.168.1.2",
        "http://mac.local:80",
    ] {
        let answer = door.keys(&[("Origin", origin)]);
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (200, Some(origin))
        );
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
    for origin in [
        "null",
        "https://evil.com",
        "https://evil-lenserfight.com",
        "https://lenserfight.com.evil.com",
        "https://lenserfight.com:8443",
        "http://lenserfight.com",
        "https://a.b.lenserfight.com",
        "http://localhost.evil.com",
        "http://localhost.",
        "http://LOCALHOST",
        "http://2130706433",
        "http://0177.0.0.1",
        "https://user@lenserfight.com",
        "file://",
        "*",
    ] {
        for path in [
            "GET /healthz",
            "GET /keys",
            "GET /identity",
            "GET /nothing",
            "GET /",
            "GET /client.js",
            "OPTIONS /keys",
            "POST /keys",
        ] {
            let answer = door.gateway.ask(
                path,
                &[("Origin", origin), ("Authorization", &bearer(&door.token))],
                "",
            );
            assert_eq!(answer.told(), (403, "forbidden_origin"), "{origin} {path}");
            assert!(
                !answer
                    .headers
                    .iter()
                    .any(|(name, _)| name.to_ascii_lowercase().starts_with("access-control")),
                "{answer:?}"
            );
        }
    }
    assert_eq!(door.keys(&[]).header("access-control-allow-origin"), None, "no origin, no CORS");
}

#[test]
fn refusals_carry_cors_headers_for_our_origins() {
    let door = Door::new();
    let origin = ("Origin", "http://localhost:3000");
    for (line, headers, status) in [
        ("GET /keys", vec![origin], 401),
        ("GET /nothing", vec![origin], 404),
        ("PATCH /keys", vec![origin], 405),
        ("GET /keys", vec![origin, ("Sec-Fetch-Mode", "no-cors")], 403),
        ("GET /keys", vec![origin, ("Host", "evil.com")], 421),
        ("GET /keys", vec![origin, ("Host", "a b")], 400),
        ("GET /keys", vec![origin, ("Authorization", "a"), ("Authorization", "b")], 400),
    ] {
        let answer = door.gateway.ask(line, &headers, "");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, Some("http://localhost:3000")),
            "{line}"
        );
    }
    let large = door.gateway.ask("GET /healthz", &[origin], &"x".repeat(70_000));
    assert_eq!(
        (large.status, large.header("access-control-allow-origin")),
        (413, Some("http://localhost:3000"))
    );
}

#[test]
fn a_preflight_needs_no_token_and_names_what_is_allowed() {
    let door = Door::new();
    let origin = ("Origin", "https://lenserfight.com");
    for path in ["OPTIONS /keys", "OPTIONS /keys/x/resolve", "OPTIONS /healthz"] {
        let answer =
            door.gateway.ask(path, &[origin, ("Access-Control-Request-Method", "POST")], "");
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        for (name, value) in [
            ("Access-Control-Allow-Origin", "https://lenserfight.com"),
            ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
            ("Access-Control-Allow-Headers", "authorization, content-type"),
            ("Access-Control-Max-Age", "600"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let vary = answer.header("vary").unwrap();
        assert!(vary.starts_with("Origin, Access-Control-Request-Method"));
        assert_eq!(answer.header("access-control-allow-private-network"), None);
    }
    let private = door.gateway.ask(
        "OPTIONS /keys",
        &[origin, ("Access-Control-Request-Private-Network", "true")],
        "",
    );
    assert_eq!(private.header("access-control-allow-private-network"), Some("true"));
}

#[test]
fn a_name_that_could_be_rebound_is_not_ours() {
    let door = Door::new();
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:38080", "[::1]"] {
        assert_eq!(door.keys(&[("Host", host)]).status, 200, "{host}");
    }
    for host in [
        "evil.com",
        "localhost.evil.com",
        "127.0.0.1.nip.io",
        "192.168.1.1",
        "mac.local",
        "localhost.",
    ] {
        for path in ["GET /", "GET /healthz", "GET /keys", "OPTIONS /keys"] {
            let answer = door.gateway.ask(
                path,
                &[
                    ("Host", host),
                    ("X-Forwarded-Host", "localhost"),
                    ("Authorization", &bearer(&door.token)),
                ],
                "",
            );
            assert_eq!(answer.told(), (421, "misdirected_request"), "{host} {path}");
        }
    }
    for host in
        ["", "a b", "localhost:x", "[::1", "user@localhost", "localhost/", "localhost,localhost"]
    {
        assert_eq!(door.keys(&[("Host", host)]).status, 400, "{host:?}");
    }
    let none = door.gateway.raw(b"GET /healthz HTTP/1.1\r\n\r\n");
    assert!(none.starts_with("HTTP/1.0 400"), "and the connection closes: {none}");
}

#[test]
fn a_wide_bind_answers_to_literals_and_to_the_names_it_was_given() {
    let home = Home::new();
    let serve = home
        .lf("gateway serve --keys-only --port 0 --bind 0.0.0.0")
        .env("LF_GATEWAY_EXTRA_HOSTS", "box.example,other");
    let gateway = Gateway::run(serve);
    for (host, status) in [
        ("192.168.1.1", 200),
        ("box.example:80", 200),
        ("OTHER", 200),
        ("mac.local", 200),
        ("localhost", 200),
        ("evil.com", 421),
    ] {
        assert_eq!(gateway.ask("GET /healthz", &[("Host", host)], "").status, status, "{host}");
    }
    let outcome = gateway.ends();
    assert!(outcome.status == Some(0) && outcome.err.contains("does not encrypt"), "{outcome}");
}

#[test]
fn a_name_that_the_owner_chose_is_answered_on_loopback_too() {
    let home = Home::new();
    let token = pair(&home, "");
    let serve = |hosts: &str| {
        home.lf("gateway serve --keys-only --port 0").env("LF_GATEWAY_EXTRA_HOSTS", hosts)
    };
    let gateway = Gateway::run(serve("keys.example, 192.0.2.1"));
    for (host, forwarded, status) in [
        ("keys.example", "x", 200),
        ("KEYS.example:8443", "evil.com", 200),
        ("192.0.2.1", "x", 200),
        ("evil.com", "keys.example", 421),
        ("mac.local", "keys.example", 421),
    ] {
        let headers = [
            ("Host", host),
            ("X-Forwarded-Host", forwarded),
            ("X-Forwarded-For", "127.0.0.1"),
            ("Authorization", &bearer(&token)),
        ];
        assert_eq!(gateway.ask("GET /keys", &headers, "").status, status, "{host}");
        // The page behind the proxy has an origin, which is allowed by itself.
        let with_origin = [headers.as_slice(), &[("Origin", "https://keys.example")]].concat();
        let expected = if status == 200 { 403 } else { status };
        assert_eq!(gateway.ask("GET /keys", &with_origin, "").status, expected, "{host}");
    }
    for bad in ["*.x", "http://x", "x:8080", ".x", "fine,x/"] {
        let refused = serve(bad).fails(2, "usage");
        let named = bad.rsplit(',').next().unwrap();
        assert!(
            refused.err.contains(&format!("\"{named}\" of LF_GATEWAY_EXTRA_HOSTS")),
            "{refused}"
        );
        let install = home.lf("gateway install --print --keys-only");
        install.env("LF_GATEWAY_EXTRA_HOSTS", bad).fails(2, "usage");
    }
}

/// The same gateway, by another address of it.
fn health_at(gateway: &Gateway, ip: &str, host: &str) -> Option<u16> {
    let address: SocketAddr = format!("{ip}:{}", gateway.address.port()).parse().unwrap();
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn a_loopback_bind_holds_both_addresses_and_several_binds_have_each_its_rules() {
    let home = Home::new();
    let serve = |binds: &str| home.lf(&format!("gateway serve --keys-only --port 0 {binds}"));
    for binds in
        ["", "--bind 127.0.0.1", "--bind ::1", "--bind localhost", "--bind ::1 --bind 127.0.0.1"]
    {
        let gateway = Gateway::run(serve(binds));
        for ip in ["127.0.0.1", "[::1]"] {
            assert_eq!(health_at(&gateway, ip, "localhost"), Some(200), "{binds} {ip}");
            assert_eq!(health_at(&gateway, ip, "mac.local"), Some(421), "{binds} {ip}");
        }
        assert_eq!(health_at(&gateway, "127.0.0.2", "localhost"), None, "{binds}");
        let ended = gateway.ends();
        assert!(
            ended.status == Some(0) && ended.err.contains("also listens on http://"),
            "{ended}"
        );
    }
    // 127.0.0.1 is among all of IPv4, and ::1 is not.
    let gateway = Gateway::run(serve("--bind 0.0.0.0"));
    assert_eq!(health_at(&gateway, "[::1]", "mac.local"), Some(421));
    assert_eq!(health_at(&gateway, "127.0.0.1", "mac.local"), Some(200));
    drop(gateway);
    for run in [
        serve("--bind 127.0.0.1 --bind 127.0.0.2"),
        serve("").env("LF_GATEWAY_BIND", "127.0.0.1, 127.0.0.2"),
    ] {
        let gateway = Gateway::run(run);
        for ip in ["127.0.0.1", "127.0.0.2", "[::1]"] {
            assert_eq!(health_at(&gateway, ip, "localhost"), Some(200), "{ip}");
        }
        assert_eq!(gateway.ends().status, Some(0));
    }
    serve("--bind 127.0.0.1 --bind nowhere").fails(2, "usage");
    serve("").env("LF_GATEWAY_BIND", "127.0.0.1,nowhere").fails(2, "usage");
    home.lf("gateway serve --bind 127.0.0.1 --bind 10.9.8.7 --port 0").fails(5, "unsafe_bind");
}

#[test]
fn the_page_stays_on_loopback_and_its_client_goes_wherever_the_gateway_does() {
    let home = Home::new();
    let origin = ("Origin", "http://192.168.1.2:3000");
    // A page on another loopback address would be no origin of ours, and get no further.
    for (bind, status) in [("127.0.0.1", 200), ("::1", 200), ("127.0.0.2", 404), ("0.0.0.0", 404)] {
        let serve = format!("gateway serve --keys-only --port 0 --bind {bind}");
        let gateway = Gateway::run(home.lf(&serve));
        for path in ["GET /", "GET /page.js", "GET /style.css"] {
            assert_eq!(gateway.ask(path, &[], "").status, status, "{bind} {path}");
        }
        if status == 404 {
            assert_eq!(gateway.ask("POST /", &[], "").told(), (404, "not_found"));
        }
        let client = gateway.ask("GET /client.js", &[origin], "");
        assert_eq!(
            (client.status, client.header("access-control-allow-origin")),
            (200, Some("http://192.168.1.2:3000")),
            "{bind}"
        );
    }
}

#[test]
fn headers_that_must_be_single_must_be_single() {
    let door = Door::new();
    let token = bearer(&door.token);
    for (name, value) in
        [("Host", "localhost"), ("Origin", "http://localhost"), ("Authorization", &token)]
    {
        let others = [("Host", "localhost"), ("Authorization", token.as_str())];
        let headers: Vec<_> = others
            .into_iter()
            .filter(|(other, _)| *other != name)
            .chain([(name, value), (name, value)])
            .collect();
        assert_eq!(
            door.gateway.ask("GET /keys", &headers, "").told(),
            (400, "bad_request"),
            "{name}"
        );
    }
}

#[test]
fn pages_that_cannot_read_the_answer_get_nothing() {
    let door = Door::new();
    for mode in ["no-cors", "navigate"] {
        assert_eq!(door.keys(&[("Sec-Fetch-Mode", mode)]).status, 403, "{mode}");
        assert_eq!(door.gateway.ask("GET /healthz", &[("Sec-Fetch-Mode", mode)], "").status, 200);
    }
    for mode in ["cors", "same-origin"] {
        // From a page on localhost it is cross-site to 127.0.0.1, and still fine.
        assert_eq!(
            door.keys(&[("Sec-Fetch-Mode", mode), ("Sec-Fetch-Site", "cross-site")]).status,
            200,
            "{mode}"
        );
    }
}

#[test]
fn only_the_whole_token_is_the_token() {
    let door = Door::new();
    let ask = |value: &str| {
        let answer = door.gateway.ask("GET /keys", &[("Authorization", value)], "");
        assert_eq!(answer.header("www-authenticate"), (answer.status == 401).then_some("Bearer"));
        (answer.status, answer.error().to_owned())
    };
    let token = &door.token;
    assert_eq!(token.len(), 43);
    for right in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token}")]
    {
        assert_eq!(ask(&right).0, 200, "{right}");
    }
    let flipped = format!("{}{}", &token[..42], if token.ends_with('A') { 'B' } else { 'A' });
    for wrong in [
        format!("Bearer {}", &token[..42]),
        format!("Bearer {}", &token[1..]),
        format!("Bearer {token}x"),
        format!("Bearer {flipped}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Basic {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer{token}"),
        token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
        format!("Bearer \"{token}\""),
        "Bearer ".to_owned() + &"x".repeat(10_000),
    ] {
        assert_eq!(ask(&wrong), (401, "bad_token".to_owned()), "{wrong}");
    }
    assert_eq!(door.gateway.ask("GET /keys", &[], "").told(), (401, "missing_token"));
    assert_eq!(
        door.gateway.ask(&format!("GET /keys?token={token}"), &[], "").told(),
        (401, "missing_token")
    );
    assert_eq!(
        door.gateway.ask("GET /keys", &[("Cookie", &format!("token={token}"))], "").told(),
        (401, "missing_token")
    );
}

#[test]
fn the_checks_come_in_their_order() {
    let door = Door::new();
    let good = bearer(&door.token);
    let large = "x".repeat(70_000);
    let resolve = format!("POST /keys/{}/resolve", door.id);
    for (line, headers, body, told) in [
        // host before origin
        (
            "GET /keys",
            vec![("Host", "evil.com"), ("Origin", "https://evil.com")],
            "",
            (421, "misdirected_request"),
        ),
        // origin before preflight, route and token
        ("OPTIONS /keys", vec![("Origin", "https://evil.com")], "", (403, "forbidden_origin")),
        ("GET /nothing", vec![("Origin", "https://evil.com")], "", (403, "forbidden_origin")),
        (
            "GET /keys",
            vec![("Origin", "https://evil.com"), ("Authorization", &good)],
            "",
            (403, "forbidden_origin"),
        ),
        (
            "GET /keys",
            vec![("Origin", "http://localhost"), ("Authorization", "Bearer bad")],
            "",
            (401, "bad_token"),
        ),
        // fetch mode before route and token
        ("PATCH /keys", vec![("Sec-Fetch-Mode", "no-cors")], "", (403, "forbidden_fetch_mode")),
        // route before token
        ("PATCH /keys", vec![], "", (405, "method_not_allowed")),
        // token before body
        ("POST /keys", vec![], &large, (401, "missing_token")),
        (&resolve, vec![("Authorization", "Bearer bad")], &large, (401, "bad_token")),
        // body before content
        (
            "POST /keys",
            vec![("Authorization", &good), ("Content-Type", "text/plain")],
            &large,
            (413, "body_too_large"),
        ),
    ] {
        assert_eq!(door.gateway.ask(line, &headers, body).told(), told, "{line} {headers:?}");
    }
    // bucket before body
    door.drain(&door.token);
    let limited = door.gateway.ask(&resolve, &[("Authorization", &good)], &large);
    assert_eq!(limited.told(), (429, "rate_limited"));
}

#[test]
fn resolving_is_limited_to_five_at_once_and_one_a_second() {
    let door = Door::new();
    let start = Instant::now();
    let (given, limited) = door.drain(&door.token);
    assert_eq!(limited.told(), (429, "rate_limited"));
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert!(given >= 5 && given <= 5 + start.elapsed().as_secs() + 1, "{given}");
    assert_eq!(door.keys(&[]).status, 200, "only resolving is limited");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(door.resolve().status, 200);
    assert!(door.home.audit().contains(r#""kind":"rate_limited""#));
}

#[test]
fn strangers_cannot_drain_the_bucket() {
    let door = Door::new();
    for _ in 0..30 {
        let answer = door.gateway.ask(
            &format!("POST /keys/{}/resolve", door.id),
            &[("Authorization", "Bearer wrong")],
            "",
        );
        assert_eq!(answer.status, 401);
    }
    // Nor can one pairing another's.
    let other = pair(&door.home, "--name other");
    door.drain(&other);
    for _ in 0..5 {
        let answer = door.resolve();
        assert_eq!(answer.body, format!("{{\"key\":\"{VALUE}\"}}"));
    }
}

#[test]
fn a_flood_of_strangers_is_two_lines() {
    let door = Door::new();
    let before = door.home.audit().lines().count();
    let mut client = Client::new(&door.gateway);
    for _ in 0..500 {
        client.ask("GET /keys", &[("Authorization", "Bearer wrong")], "");
    }
    for _ in 0..500 {
        client.ask("GET /keys", &[("Origin", "https://evil.com")], "");
    }
    let lines =
        |home: &Home| home.audit().lines().skip(before).map(str::to_owned).collect::<Vec<_>>();
    let seen = lines(&door.home);
    assert_eq!(seen.len(), 2, "one a kind, at once: {seen:#?}");
    assert!(
        seen[0].contains(r#""kind":"auth_failure","ok":false,"reason":"bad_token""#)
            && seen[0].contains(r#""count":"1""#),
        "{seen:#?}"
    );
    assert!(seen[1].contains("https://evil.com"), "{seen:#?}");
    let Door { home, gateway, .. } = door;
    assert_eq!(gateway.ends().status, Some(0));
    let seen = lines(&home);
    assert!(
        seen.len() == 4
            && seen.iter().filter(|line| line.contains(r#""count":"499""#)).count() == 2,
        "the rest is told at the end: {seen:#?}"
    );
}

#[test]
fn an_origin_in_the_log_cannot_write_to_it() {
    let door = Door::new();
    let long = format!("https://evil.com/\",\"ok\":true,\"x\":\"{}", "y".repeat(5000));
    door.gateway.ask("GET /keys", &[("Origin", &long)], "");
    let log = door.home.audit();
    let last = log.lines().last().unwrap();
    let line: miniserde::json::Object = miniserde::json::from_str(last).unwrap();
    assert!(
        matches!(line.get("ok"), Some(miniserde::json::Value::Bool(false))) && last.len() < 400,
        "{last}"
    );
}

#[test]
fn extra_origins_are_regular_expressions_that_match_in_full() {
    let home = Home::new();
    let serve = || home.lf("gateway serve --keys-only --port 0");
    let gateway = Gateway::run(serve().env(
        "LF_GATEWAY_EXTRA_ORIGINS",
        r"^https://app\.mycompany\.local$,https://x[0-9]+\.example",
    ));
    for (origin, status) in [
        ("https://app.mycompany.local", 200),
        ("https://x12.example", 200),
        ("https://x.example", 403),
        ("https://x1.example.evil.com", 403),
        ("https://appxmycompany.locale", 403),
    ] {
        assert_eq!(
            gateway.ask("GET /healthz", &[("Origin", origin)], "").status,
            status,
            "{origin}"
        );
    }
    for pattern in ["https://(broken", "https://(bro)ken)|(?:x"] {
        let broken = serve()
            .env("LF_GATEWAY_EXTRA_ORIGINS", format!("https://fine,{pattern}"))
            .fails(2, "usage");
        assert!(broken.err.contains("expression 2") && broken.err.contains(pattern), "{broken}");
    }
}

#[test]
fn an_address_that_another_bind_covers_is_named_and_nothing_is_held() {
    let home = Home::new();
    for binds in ["--bind 0.0.0.0 --bind 127.0.0.1", "--bind ::1 --bind ::"] {
        let serve = home.lf(&format!("gateway serve --keys-only --port 0 {binds}"));
        let refused = serve.fails(2, "usage");
        assert!(refused.err.contains("every address"), "{refused}");
    }
}

#[cfg(unix)]
#[test]
fn a_state_directory_that_others_can_write_to_is_closed_at_the_start() {
    let home = Home::new();
    let token = pair(&home, "");
    let state = home.path().join(".lenserfight/gateway");
    support::chmod(&state, 0o777);
    let gateway = Gateway::start(&home);
    assert_eq!(support::mode(&state), 0o700);
    let answer = gateway.ask("GET /keys", &[("Authorization", &bearer(&token))], "");
    assert_eq!(answer.status, 200);
    let ended = gateway.ends();
    assert!(ended.err.contains("had mode 0777"), "{ended}");
}

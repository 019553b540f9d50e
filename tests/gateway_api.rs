//! The routes, as an existing web client uses them: bodies, statuses, codes, headers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use miniserde::json::{self, Value};
use support::gateway::{Answer, Client, Gateway, bearer, pair};
use support::{Home, VALUE};

struct Web {
    home: Home,
    gateway: Gateway,
    token: String,
}

impl Web {
    fn new() -> Web {
        let home = Home::new();
        let token = pair(&home, "");
        let gateway = Gateway::start(&home);
        Web { home, gateway, token }
    }

    fn ask(&self, line: &str, body: &str) -> Answer {
        let headers = [
            ("Authorization", bearer(&self.token)),
            ("Content-Type", "application/json".to_owned()),
        ];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.gateway.ask(line, &headers, body)
    }

    fn add(&self, label: &str) -> String {
        let added = self.ask(
            "POST /keys",
            &format!(r#"{{"provider":"openai","label":"{label}","rawKey":"{VALUE}"}}"#),
        );
        assert_eq!(added.status, 201, "{added:?}");
        member(&added.body, &["key", "id"])
    }
}

fn member(text: &str, path: &[&str]) -> String {
    let mut value: Value = json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    for name in path {
        value = match value {
            Value::Object(object) => {
                object.get(*name).cloned().unwrap_or_else(|| panic!("no {name} in {text}"))
            }
            other => panic!("{other:?}"),
        };
    }
    match value {
        Value::String(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_goes_through_its_whole_life() {
    let web = Web::new();
    assert_eq!(web.ask("GET /keys", "").body, r#"{"keys":[]}"#);
    let id = web.add("Prod");
    let listed = web.ask("GET /keys", "");
    assert!(
        listed.status == 200
            && listed.body.contains(&id)
            && listed.body.contains(r#""label":"Prod""#),
        "{listed:?}"
    );
    let resolved = web.ask(&format!("POST /keys/{id}/resolve"), "");
    assert_eq!((resolved.status, resolved.body), (200, format!("{{\"key\":\"{VALUE}\"}}")));
    let renamed = web.ask(&format!("PUT /keys/{id}"), r#"{"label":"New"}"#);
    assert_eq!((renamed.status, member(&renamed.body, &["key", "label"]).as_str()), (200, "New"));
    assert_eq!(web.home.value("New"), VALUE, "the command line sees the same store");
    assert_eq!(
        web.ask(&format!("PUT /keys/{id}"), r#"{"rawKey":"sk-\u00fc\n","label":"Both"}"#).status,
        200
    );
    assert_eq!(
        member(&web.ask(&format!("POST /keys/{id}/resolve"), "{}").body, &["key"]),
        "sk-ü\n"
    );
    let removed = web.ask(&format!("DELETE /keys/{id}"), "");
    assert_eq!(
        (removed.status, removed.body.as_str(), removed.header("content-length")),
        (204, "", None)
    );
    assert_eq!(web.ask(&format!("DELETE /keys/{id}"), "").told(), (404, "key_not_found"));
    assert_eq!(web.ask(&format!("POST /keys/{id}/resolve"), "").told(), (404, "key_not_found"));
}

#[test]
fn health_and_identity_need_no_token() {
    let web = Web::new();
    let health = web.gateway.ask("GET /healthz", &[], "");
    assert_eq!(health.status, 200);
    assert!(
        health.body.starts_with(r#"{"status":"ok","device_id":null,"daemon_version":"lf/"#),
        "{health:?}"
    );
    assert!(support::is_timestamp(&member(&health.body, &["time"])));
    assert_eq!(web.gateway.ask("GET /identity", &[], "").told(), (404, "identity_missing"));
    let state = web.home.path().join(".lenserfight/gateway");
    fs::write(
        state.join("identity.json"),
        r#"{"public_key":"abc","generated_at":"2026-01-02T03:04:05.678Z","private":"no"}"#,
    )
    .unwrap();
    let identity = web.gateway.ask("GET /identity", &[], "");
    assert_eq!(
        identity.body,
        format!(
            r#"{{"public_key":"abc","generated_at":"2026-01-02T03:04:05.678Z","daemon_version":"lf/{}"}}"#,
            env!("CARGO_PKG_VERSION")
        )
    );
    fs::write(state.join("identity.json"), "garbage").unwrap();
    assert_eq!(web.gateway.ask("GET /identity", &[], "").told(), (404, "identity_missing"));
}

#[test]
fn bad_bodies_have_their_codes() {
    let mut web = Web::new();
    let id = web.add("Prod");
    let put = format!("PUT /keys/{id}");
    let cases = [
        ("POST /keys", "", 400, "invalid_json"),
        ("POST /keys", "{", 400, "invalid_json"),
        ("POST /keys", "nonsense", 400, "invalid_json"),
        ("POST /keys", "{} {}", 400, "invalid_json"),
        ("POST /keys", "[]", 400, "invalid_body"),
        ("POST /keys", "null", 400, "invalid_body"),
        ("POST /keys", "{}", 400, "invalid_body"),
        ("POST /keys", r#"{"provider":"openai","label":"a"}"#, 400, "invalid_body"),
        ("POST /keys", r#"{"provider":"openai","rawKey":"a"}"#, 400, "invalid_body"),
        (
            "POST /keys",
            r#"{"provider":"openai","label":"a","rawKey":"v","id":"x"}"#,
            400,
            "invalid_body",
        ),
        ("POST /keys", r#"{"provider":"openai","label":"a","rawKey":5}"#, 400, "invalid_body"),
        ("POST /keys", r#"{"provider":"openai","label":["a"],"rawKey":"v"}"#, 400, "invalid_body"),
        ("POST /keys", r#"{"provider":"openai","label":null,"rawKey":"v"}"#, 400, "invalid_body"),
        (
            "POST /keys",
            r#"{"provider":"OpenAI","label":"a","rawKey":"v"}"#,
            400,
            "invalid_provider",
        ),
        ("POST /keys", r#"{"provider":"openai","label":"","rawKey":"v"}"#, 400, "invalid_label"),
        (
            "POST /keys",
            r#"{"provider":"openai","label":"a\nb","rawKey":"v"}"#,
            400,
            "invalid_label",
        ),
        ("POST /keys", r#"{"provider":"openai","label":"a","rawKey":""}"#, 400, "empty_key"),
        (&put, "{}", 400, "invalid_body"),
        (&put, r#"{"provider":"openai"}"#, 400, "invalid_body"),
        (&put, r#"{"label":5}"#, 400, "invalid_body"),
        (&put, r#"{"label":""}"#, 400, "invalid_label"),
        (&put, r#"{"rawKey":""}"#, 400, "empty_key"),
        ("PUT /keys/short", r#"{"label":"a"}"#, 404, "key_not_found"),
        ("PUT /keys/..%2f..%2f..%2fetc%2fpasswd", r#"{"label":"a"}"#, 404, "key_not_found"),
        ("DELETE /keys/short", "", 404, "key_not_found"),
        ("POST /keys/short/resolve", "", 404, "key_not_found"),
        ("PUT /keys/aaaaaaaaaaaaaaaaaaaaaaaa", r#"{"label":"a"}"#, 404, "key_not_found"),
    ];
    // A pairing may change ten things at once, and these count.
    for (nth, cases) in cases.chunks(9).enumerate() {
        for (line, body, status, code) in cases {
            let answer = web.ask(line, body);
            assert_eq!(answer.told(), (*status, *code), "{line} {body}");
        }
        web.token = pair(&web.home, &format!("--name web-{nth}"));
    }
    let deep = "[".repeat(60_000);
    assert_eq!(web.ask("POST /keys", &deep).told(), (400, "invalid_json"));
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(web.ask("POST /keys", &deep).told(), (400, "invalid_body"));
    assert_eq!(web.home.names().len(), 1, "nothing came of any of these");
    assert_eq!(web.home.value("Prod"), VALUE);
}

#[test]
fn only_json_is_json() {
    let web = Web::new();
    let body = r#"{"provider":"openai","label":"a","rawKey":"v"}"#;
    let ask = |content_type: &[(&str, &str)]| {
        let authorization = bearer(&web.token);
        let headers: Vec<(&str, &str)> = content_type
            .iter()
            .copied()
            .chain([("Authorization", authorization.as_str())])
            .collect();
        web.gateway.ask("POST /keys", &headers, body).status
    };
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "multipart/form-data; boundary=x",
        "",
    ] {
        assert_eq!(ask(&[("Content-Type", wrong)]), 415, "{wrong}");
    }
    assert_eq!(ask(&[]), 415);
    for right in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json ;x",
    ] {
        assert_eq!(ask(&[("Content-Type", right)]), 201, "{right}");
    }
}

#[test]
fn a_body_has_at_most_65_536_bytes_and_the_client_reads_why() {
    let web = Web::new();
    let body = |size: usize| {
        let empty = r#"{"provider":"openai","label":"a","rawKey":""}"#.len();
        format!(r#"{{"provider":"openai","label":"a","rawKey":"{}"}}"#, "v".repeat(size - empty))
    };
    assert_eq!(web.ask("POST /keys", &body(65_536)).status, 201);
    assert_eq!(web.ask("POST /keys", &body(65_537)).told(), (413, "body_too_large"));
    let large = web.ask("POST /keys", &body(3_000_000));
    assert_eq!((large.told(), large.version.as_str()), ((413, "body_too_large"), "HTTP/1.0"));
    assert_eq!(
        web.ask("POST /keys/aaaaaaaaaaaaaaaaaaaaaaaa/resolve", &"x".repeat(65_537)).status,
        413
    );
    assert_eq!(web.gateway.ask("GET /healthz", &[], &"x".repeat(65_537)).status, 413);
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    let web = Web::new();
    for line in [
        "GET /nothing",
        "GET /index.html",
        "GET /web/page.js",
        "GET /keys/",
        "GET /healthz/",
        "POST /keys/a/b",
        "GET //keys",
        "GET /KEYS",
        "POST /keys/a/resolve/x",
        "GET /keysx",
        "GET /%6beys",
    ] {
        // The path is looked at before the token, so these need none.
        assert_eq!(web.gateway.ask(line, &[], "").told(), (404, "not_found"), "{line}");
    }
    for (line, allow) in [
        ("POST /healthz", "GET, HEAD, OPTIONS"),
        ("DELETE /identity", "GET, HEAD, OPTIONS"),
        ("PUT /keys", "GET, HEAD, POST, OPTIONS"),
        ("PATCH /keys", "GET, HEAD, POST, OPTIONS"),
        ("GET /keys/aaaaaaaaaaaaaaaaaaaaaaaa", "PUT, DELETE, OPTIONS"),
        ("GET /keys/aaaaaaaaaaaaaaaaaaaaaaaa/resolve", "POST, OPTIONS"),
        ("PUT /keys/aaaaaaaaaaaaaaaaaaaaaaaa/rotate", "POST, OPTIONS"),
        ("POST /", "GET, HEAD, OPTIONS"),
        ("DELETE /client.js", "GET, HEAD, OPTIONS"),
        ("BREW /healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = web.gateway.ask(line, &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{line}");
    }
    assert_eq!(web.ask("GET /keys?x=/healthz", "").status, 200, "a query is no part of the path");
}

#[test]
fn every_answer_forbids_caching_sniffing_and_embedding() {
    let web = Web::new();
    let id = web.add("Prod");
    for (line, body) in [
        ("GET /healthz", ""),
        ("GET /nothing", ""),
        ("GET /", ""),
        ("GET /client.js", ""),
        ("GET /keys", ""),
        ("OPTIONS /keys", ""),
        ("POST /keys", "{"),
        (&format!("POST /keys/{id}/resolve"), ""),
    ] {
        let answer = web.ask(line, body);
        for (name, value) in [
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{line}");
        }
        assert!(
            answer.header("location").is_none()
                && !answer.headers.iter().any(|(_, value)| value.contains("tiny")),
            "{answer:?}"
        );
    }
}

#[test]
fn the_page_needs_no_token_and_may_do_little() {
    let web = Web::new();
    for (path, file, content_type) in [
        ("/", include_str!("../src/gateway/web/index.html"), "text/html; charset=utf-8"),
        ("/page.js", include_str!("../src/gateway/web/page.js"), "text/javascript; charset=utf-8"),
        ("/style.css", include_str!("../src/gateway/web/style.css"), "text/css; charset=utf-8"),
        (
            "/client.js",
            include_str!("../src/gateway/web/client.js"),
            "text/javascript; charset=utf-8",
        ),
    ] {
        let before = web.home.audit();
        let answer =
            web.gateway.ask(&format!("GET {path}?x=y"), &[("Sec-Fetch-Mode", "navigate")], "");
        assert_eq!(answer.status, 200, "{path}");
        // The list of providers is filled in (tests/providers.rs), and before it the version.
        let file = file.replace("{version}", env!("CARGO_PKG_VERSION"));
        let (before_list, after_list) = file.split_once("{providers}").unwrap_or((&file, ""));
        let is_whole = answer.body.starts_with(before_list) && answer.body.ends_with(after_list);
        assert!(is_whole, "{path}: {}", answer.body);
        for (name, value) in [
            ("Content-Type", content_type),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self' http://localhost:11434 http://127.0.0.1:11434",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|given| given == part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(web.home.audit(), before, "it is no event");
    }
}

#[test]
fn a_list_tells_of_last_use_only_where_it_is_asked_to() {
    let web = Web::new();
    let (used, unused) = (web.add("Used"), web.add("Unused"));
    let plain = web.ask("GET /keys", "").body;
    assert!(!plain.contains("lastUsedAt"), "{plain}");
    for query in [
        "",
        "x",
        "include",
        "include=",
        "include=last_usedx",
        "include=Last_Used",
        "xinclude=last_used",
        "include%3Dlast_used",
    ] {
        assert_eq!(web.ask(&format!("GET /keys?{query}"), "").body, plain, "{query}");
    }
    let asked = || web.ask("GET /keys?a=b&include=last_used", "").body;
    assert_eq!(asked().matches(r#""lastUsedAt":null"#).count(), 2);
    web.ask(&format!("POST /keys/{used}/resolve"), "");
    // What only looks like a use is none.
    let log = web.home.keys().join("audit.log");
    let line = |ts: &str, kind: &str, key: &str, ok: bool| {
        format!(r#"{{"ts":"{ts}","kind":"{kind}","keyId":"{key}","ok":{ok}}}"#)
    };
    let odd = [
        line("2027-01-01T00:00:00.000Z", "resolve", &unused, false),
        line("2027-01-01T00:00:00.000Z", "update", &unused, true),
        line("2027-01-01", "export", &unused, true),
        line("2027-01-01T00:00:00.000Z", "export", "../x", true),
        format!(r#"{{"keyId":"{unused}","kind":["export"],"ok":true}}"#),
        "nonsense \"keyId\"".to_owned(),
        "{\"keyId\":".to_owned(),
        String::new(),
    ];
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str(&odd.join("\n"));
    fs::write(&log, [text.as_bytes(), b"\n\xFF\xFE \"keyId\"\n"].concat()).unwrap();
    let told = asked();
    assert_eq!(told.matches(r#""lastUsedAt":null"#).count(), 1, "{told}");
    assert!(
        told.contains(&format!(
            r#""id":"{used}","provider":"openai","label":"Used","createdAt":""#
        )),
        "{told}"
    );
    // The newest of both generations counts, by the time in the line.
    let older = web.home.keys().join("audit.log.1");
    let lines = [
        line("2030-01-01T00:00:00.000Z", "export", &unused, true),
        line("2029-01-01T00:00:00.000Z", "run", &unused, true),
    ];
    fs::write(&older, lines.join("\n")).unwrap();
    assert!(asked().contains(r#""lastUsedAt":"2030-01-01T00:00:00.000Z""#));
    // A log that cannot be read keeps nobody from the list.
    fs::remove_file(&older).unwrap();
    fs::create_dir(&older).unwrap();
    assert_eq!(asked().matches(r#""lastUsedAt":null"#).count(), 1);
}

#[test]
fn a_key_is_rotated_and_its_value_stays() {
    let web = Web::new();
    let id = web.add("Prod");
    let salt = || member(&fs::read_to_string(web.home.file(&id)).unwrap(), &["salt"]);
    let rotate = format!("POST /keys/{id}/rotate");
    let meta = web.ask("GET /keys", "").body;
    // It gives no value away, and is not limited as if it did.
    for _ in 0..7 {
        let before = salt();
        let answer = web.ask(&rotate, "");
        assert_eq!((answer.status, member(&answer.body, &["key", "id"])), (200, id.clone()));
        assert_ne!(salt(), before);
    }
    assert_eq!((web.home.value("Prod"), web.ask("GET /keys", "").body), (VALUE.to_owned(), meta));
    let log = web.home.audit();
    let line = format!(
        r#""kind":"update","keyId":"{id}","ok":true,"context":{{"route":"POST /keys/:id/rotate","pairing":"web-pair"}}"#
    );
    assert_eq!(log.matches(&line).count(), 7, "{log}");
    let missing = web.ask("POST /keys/aaaaaaaaaaaaaaaaaaaaaaaa/rotate", "");
    assert_eq!(missing.told(), (404, "key_not_found"));
    assert_eq!(web.gateway.ask(&rotate, &[], "").told(), (401, "missing_token"));
}

#[test]
fn damage_and_missing_passphrases_have_their_statuses() {
    let web = Web::new();
    let id = web.add("Prod");
    let file = web.home.file(&id);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "garbage").unwrap();
    assert_eq!(web.ask(&format!("POST /keys/{id}/resolve"), "").told(), (422, "corrupt_envelope"));
    let at = good.find("\"tag\":\"").unwrap() + 7;
    let flipped = if &good[at..=at] == "A" { "B" } else { "A" };
    fs::write(&file, format!("{}{flipped}{}", &good[..at], &good[at + 1..])).unwrap();
    assert_eq!(web.ask(&format!("POST /keys/{id}/resolve"), "").told(), (422, "decryption_failed"));
    fs::remove_file(&file).unwrap();
    // A file of this test's own: where links are followed it would be gone.
    let target = web.home.path().join("elsewhere");
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    let linked = web.ask(&format!("DELETE /keys/{id}"), "");
    assert_eq!((linked.told(), linked.body.contains("else")), ((500, "symlink_refused"), false));
    assert!(target.exists());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(web.ask(&format!("PUT /keys/{id}"), r#"{"label":"x"}"#).told(), (500, "io_error"));
}

#[test]
fn without_a_passphrase_the_rest_still_works() {
    let (home, id) = Home::with_key();
    let token = pair(&home, "");
    let file = home.path().join("passphrase");
    fs::write(&file, support::PASSPHRASE).unwrap();
    support::chmod(&file, 0o600);
    let serve = home
        .bare("gateway serve --keys-only --port 0")
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file);
    let gateway = Gateway::run(serve);
    let ask = |line: &str| gateway.ask(line, &[("Authorization", &bearer(&token))], "");
    assert_eq!(ask("GET /keys").status, 200);
    assert_eq!(ask(&format!("POST /keys/{id}/resolve")).status, 200);
    // Fetched for each request: what is gone is gone at the next one.
    fs::remove_file(&file).unwrap();
    assert_eq!(ask("GET /keys").status, 200);
    assert_eq!(ask(&format!("POST /keys/{id}/resolve")).told(), (503, "passphrase_invalid"));
}

#[test]
fn a_connection_serves_many_requests_in_order() {
    let web = Web::new();
    let mut client = Client::new(&web.gateway);
    for _ in 0..50 {
        let answer = client.ask("GET /healthz", &[], "");
        assert_eq!((answer.status, answer.version.as_str()), (200, "HTTP/1.1"));
        // A refused request with a body that nobody wanted does not spoil what follows it.
        assert_eq!(
            client.ask("POST /keys", &[("Content-Type", "application/json")], "{\"a\":1}").status,
            401
        );
    }
    let closing = client.ask("GET /healthz", &[("Connection", "close")], "");
    assert_eq!((closing.status, closing.version.as_str()), (200, "HTTP/1.0"));
    let old = web.gateway.raw(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[test]
fn expect_continue_is_answered_before_the_body_is_sent() {
    use std::io::{Read, Write};
    let web = Web::new();
    let body = r#"{"provider":"openai","label":"a","rawKey":"v"}"#;
    let mut stream = web.gateway.connect();
    let head = format!(
        "POST /keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        web.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(" 201 "), "{rest}");
    // Whoever has no token is not asked for a body.
    let refused = web.gateway.raw(b"POST /keys HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.0 401"), "{refused}");
}

#[test]
fn requests_leave_their_lines_in_the_audit_log() {
    let web = Web::new();
    let id = web.add("Prod");
    web.ask("GET /keys", "");
    web.ask(&format!("POST /keys/{id}/resolve"), "");
    web.ask(&format!("POST /keys/{}/resolve", "a".repeat(24)), "");
    web.ask(&format!("DELETE /keys/{id}"), "");
    let log = web.home.audit();
    for part in [
        r#""kind":"add","keyId":"#,
        r#""kind":"list","ok":true,"context":{"route":"GET /keys","pairing":"web-pair"}"#,
        &format!(
            r#""kind":"resolve","keyId":"{id}","ok":true,"context":{{"route":"POST /keys/:id/resolve""#
        ),
        r#""ok":false,"reason":"key_not_found""#,
        r#""kind":"remove""#,
    ] {
        assert!(log.contains(part), "no {part} in {log}");
    }
    assert!(!log.contains(VALUE) && !log.contains(&web.token), "{log}");
}

#[test]
fn every_state_of_the_passphrase_has_its_code() {
    let home = Home::new();
    let bus = support::bus::Bus::with_keyring(&home);
    let id = home.add("openai", "Prod", VALUE);
    bus.on(home.bare("gateway pair")).ok();
    let token = bearer(&bus.lookup("lenserfight-gateway-bearer", "web-pair"));
    let resolve = |gateway: &Gateway| {
        let line = format!("POST /keys/{id}/resolve");
        let answer = gateway.ask(&line, &[("Authorization", &token)], "");
        (answer.status, answer.error().to_owned())
    };
    let serve = "gateway serve --keys-only --port 0";
    let told = |status, code: &str| (status, code.to_owned());
    let bare = Gateway::run(bus.on(home.bare(serve)));
    assert_eq!(resolve(&bare), told(503, "passphrase_missing"));
    let mut entry = vec!["service", "lenserfight-keys", "account", "master"];
    entry.extend(["xdg:schema", "org.freedesktop.Secret.Generic"]);
    bus.store(&entry, support::PASSPHRASE);
    assert_eq!(resolve(&bare).0, 200, "asked for anew at each request");
    let both = Gateway::run(bus.on(home.lf(serve)));
    assert_eq!(resolve(&both), told(503, "passphrase_conflict"));
    bus.lock();
    assert_eq!(resolve(&bare), told(503, "keychain_unavailable"));
}

#[test]
fn what_the_system_forbids_is_a_500_and_a_taken_id_a_409() {
    let web = Web::new();
    let add = r#"{"provider":"openai","label":"a","rawKey":"v"}"#;
    let taken = Gateway::run(
        web.home.lf("gateway serve --keys-only --port 0").inject("renameat2:error=EEXIST"),
    );
    let token = bearer(&web.token);
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
    assert_eq!(taken.ask("POST /keys", &headers, add).told(), (409, "duplicate_key"));
    let id = web.add("Prod");
    let forbidden = Gateway::run(
        web.home.lf("gateway serve --keys-only --port 0").inject("renameat:error=EACCES"),
    );
    let answer = forbidden.ask(&format!("PUT /keys/{id}"), &headers, r#"{"label":"b"}"#);
    assert_eq!(answer.told(), (500, "permission_error"));
    assert_eq!(web.home.value("Prod"), VALUE);
}

#[test]
fn head_is_get_without_a_body() {
    let web = Web::new();
    web.add("Prod");
    let authorization = bearer(&web.token);
    let headers = [("Authorization", authorization.as_str())];
    // One connection for all: an answer that had a body would be read as the next one's head.
    let mut client = Client::new(&web.gateway);
    for path in
        ["/healthz", "/keys", "/keys?include=last_used", "/", "/client.js", "/identity", "/no"]
    {
        let get = client.ask(&format!("GET {path}"), &headers, "");
        let head = client.ask(&format!("HEAD {path}"), &headers, "");
        assert_eq!(head.status, get.status, "{path}");
        let but_the_time = |answer: &Answer| {
            let headers = answer.headers.iter().filter(|(name, _)| name != "Date");
            headers.cloned().collect::<Vec<_>>()
        };
        assert_eq!(but_the_time(&head), but_the_time(&get), "{path}");
        assert!(head.header("Content-Length").is_some_and(|length| length != "0"), "{path}");
    }
    assert_eq!(client.ask("HEAD /keys", &[], "").status, 401);
    let line = "HEAD /keys/aaaaaaaaaaaaaaaaaaaaaaaa/resolve";
    assert_eq!(client.ask(line, &headers, "").status, 405);
}

#[test]
fn head_is_authorised_and_audited_as_get_and_no_byte_follows_its_headers() {
    let web = Web::new();
    web.add("Prod");
    let token = bearer(&web.token);
    let request =
        |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let paired = format!("Authorization: {token}\r\n");
    let three = [
        request("HEAD /keys", ""),
        request("HEAD /keys", &paired),
        request("HEAD /keys", "Origin: https://evil.example\r\n"),
        request("GET /healthz", "Connection: close\r\n"),
    ];
    let said = web.gateway.raw(three.concat().as_bytes());
    let mut parts = said.split("\r\n\r\n");
    for status in ["401", "200", "403", "200"] {
        let head = parts.next().unwrap();
        assert!(head.starts_with("HTTP/1.") && head[9..].starts_with(status), "{said}");
    }
    assert!(parts.next().unwrap().starts_with("{\"status\":\"ok\""), "{said}");
    assert_eq!(parts.next(), None, "{said}");
    let log = web.home.audit();
    let line = |what: &str| {
        let line = log.lines().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("no {what} in {log}"))
    };
    assert!(line("missing_token").contains("\"route\":\"GET /keys\""), "{log}");
    let listed = line("\"kind\":\"list\"");
    assert!(listed.contains("\"ok\":true") && listed.contains("GET /keys"), "{log}");
    assert!(line("forbidden_origin").contains("auth_failure"), "{log}");
}

#[test]
fn every_503_says_when_to_come_back() {
    let (home, bus) = Home::with_keychain();
    let token = support::gateway::token(bus.on(home.bare("gateway pair")));
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let (authorization, origin) = (bearer(&token), "http://localhost:3000");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("Origin", origin),
    ];
    let body = r#"{"provider":"openai","label":"a","rawKey":"v"}"#;
    assert_eq!(gateway.ask("POST /keys", &headers, body).status, 201);
    bus.lock();
    let locked = gateway.ask("POST /keys", &headers, body);
    assert_eq!(locked.told(), (503, "keychain_unavailable"));
    assert_eq!(locked.header("retry-after"), Some("5"));
    let exposed = locked.header("access-control-expose-headers");
    assert_eq!(exposed, Some("retry-after"), "a page can read it");
}

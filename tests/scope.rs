//! What a pairing may do: which acts, with which keys, until when; and what its page and its owner are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, slice};

use miniserde::json::{self, Object, Value};

use support::gateway::{Answer, Client, Gateway, bearer, pair};
use support::{Home, VALUE};

const PAGE: &str = "https://lenserfight.com";

struct Page<'a> {
    gateway: &'a Gateway,
    token: String,
}

impl Page<'_> {
    fn ask(&self, line: &str, body: &str) -> Answer {
        let authorization = bearer(&self.token);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Origin", PAGE),
        ];
        let answer = self.gateway.ask(line, &headers, body);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{line}: {answer:?}");
        answer
    }

    /// What comes of each act on a key: the code of the refusal, or nothing.
    fn acts_on(&self, id: &str) -> [String; 5] {
        let rotated = format!("POST /keys/{id}/rotate");
        let resolved = format!("POST /keys/{id}/resolve");
        let [put, gone] = ["PUT", "DELETE"].map(|method| format!("{method} /keys/{id}"));
        [
            ("GET /keys", ""),
            (&resolved, ""),
            (&put, r#"{"label":"x"}"#),
            (&rotated, ""),
            (&gone, ""),
        ]
        .map(|(line, body)| self.ask(line, body).error().to_owned())
    }

    fn listed(&self, query: &str) -> Vec<String> {
        let answer = self.ask(&format!("GET /keys{query}"), "");
        let Ok(Value::Object(object)) = json::from_str(&answer.body) else { panic!("{answer:?}") };
        let Value::Array(keys) = &object["keys"] else { panic!("{answer:?}") };
        let id = |key: &Value| match key {
            Value::Object(key) => text(&key["id"]),
            other => panic!("{other:?}"),
        };
        keys.iter().map(id).collect()
    }
}

fn text(value: &Value) -> String {
    let Value::String(text) = value else { panic!("{value:?}") };
    text.clone()
}

fn parsed(body: &str) -> Object {
    json::from_str(body).unwrap_or_else(|_| panic!("{body}"))
}

#[test]
fn every_act_and_every_key_outside_of_a_scope_is_refused() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let new = r#"{"provider":"openai","label":"new","rawKey":"value"}"#;
    let (no, none) = ("not_permitted", "key_not_found");
    // List, resolve, update, rotate and remove, of a key inside and of one outside; and add.
    let cases = [
        ("", ["", "", "", "", ""], ["", "", "", "", ""], ""),
        ("--read-only", ["", "", no, no, no], ["", "", no, no, no], no),
        ("--allow resolve,resolve", [no, "", no, no, no], [no, "", no, no, no], no),
        ("--allow add,list", ["", no, no, no, no], ["", no, no, no, no], ""),
        ("--allow remove", [no, no, no, no, ""], [no, no, no, no, ""], no),
        ("--allow update,rotate", [no, no, "", "", no], [no, no, "", "", no], no),
        ("--key KEY", ["", "", "", "", ""], ["", none, none, none, none], no),
        ("--key KEY --read-only", ["", "", no, no, no], ["", none, no, no, no], no),
    ];
    // A name each, because a pairing may change ten things at once.
    for (at, (flags, inside, outside, added)) in support::rows(cases).into_iter().enumerate() {
        let id = home.add("openai", "Inside", VALUE);
        let other = home.add("openai", "Outside", VALUE);
        let flags = flags.replace("KEY", &id);
        let page = Page { gateway: &gateway, token: pair(&home, &format!("--name p{at} {flags}")) };
        assert_eq!(page.acts_on(&id), inside, "{flags}");
        assert_eq!(page.acts_on(&other), outside, "{flags}");
        let answer = page.ask("POST /keys", new);
        assert_eq!(answer.error(), added, "{flags}");
        let status = [("", 201), (no, 403)].iter().find(|(code, _)| *code == added).unwrap().1;
        assert_eq!(answer.status, status, "{flags}");
        let names = home.names();
        let ids = names.iter().filter(|name| name.ends_with(".json"));
        ids.for_each(|name| fs::remove_file(home.keys().join(name)).unwrap());
    }
}

#[test]
fn a_key_outside_is_as_one_that_is_not_there() {
    let home = Home::new();
    let (one, two) = (home.add("openai", "One", VALUE), home.add("groq", "Two", VALUE));
    let gateway = Gateway::start(&home);
    // By its label and its id, which is one key.
    let token = pair(&home, &format!("--key One --key {one} --key One"));
    let page = Page { gateway: &gateway, token };
    for query in ["", "?include=last_used", "?include=everything"] {
        assert_eq!(page.listed(query), slice::from_ref(&one), "{query}");
    }
    let missing = "a".repeat(32);
    for key in [&two, &missing, &two[..20].to_owned(), &one.to_uppercase(), &format!("%{one}")] {
        let answer = page.ask(&format!("POST /keys/{key}/resolve"), "");
        assert_eq!(answer.told(), (404, "key_not_found"), "{key}");
    }
    // That took nothing out of the bucket, and is in the log once.
    for _ in 0..5 {
        assert_eq!(page.ask(&format!("POST /keys/{one}/resolve"), "").status, 200);
    }
    let log = home.audit();
    let told = log.lines().filter(|line| line.contains(r#""reason":"key_not_found""#));
    assert_eq!(told.count(), 1, "{log}");
    assert!(log.contains(r#""pairing":"web-pair","#) && !log.contains(&missing), "{log}");
}

#[test]
fn removing_and_adding_a_key_does_not_widen_a_scope() {
    let (home, id) = Home::with_key();
    let gateway = Gateway::start(&home);
    let page = Page { gateway: &gateway, token: pair(&home, "--key Prod") };
    assert_eq!(page.listed(""), slice::from_ref(&id));
    home.lf(&format!("keys remove --yes {id}")).ok();
    let again = home.add("openai", "Prod", VALUE);
    assert!(page.listed("").is_empty());
    for id in [id, again] {
        let answer = page.ask(&format!("POST /keys/{id}/resolve"), "");
        assert_eq!(answer.told(), (404, "key_not_found"));
    }
    assert!(home.lf("gateway pairings").ok().out.contains("keys: 1"));
}

#[test]
fn a_scope_is_checked_after_the_token_and_before_the_bucket_and_the_body() {
    let (home, id) = Home::with_key();
    let gateway = Gateway::start(&home);
    let page = Page { gateway: &gateway, token: pair(&home, "--allow list") };
    let resolve = format!("POST /keys/{id}/resolve");
    let unknown = Page { gateway: &gateway, token: "x".repeat(43) };
    assert_eq!(unknown.ask("DELETE /keys/x", "").told(), (401, "bad_token"));
    assert_eq!(page.ask("PATCH /keys", "").told(), (405, "method_not_allowed"));
    for _ in 0..8 {
        assert_eq!(page.ask(&resolve, "").told(), (403, "not_permitted"));
    }
    let large = "x".repeat(70_000);
    assert_eq!(page.ask("POST /keys", &large).told(), (403, "not_permitted"));
    assert_eq!(page.ask("POST /keys", "garbage").told(), (403, "not_permitted"));
    let headers = [("Origin", "https://evil.com"), ("Authorization", &*bearer(&page.token))];
    assert_eq!(gateway.ask("POST /keys", &headers, "").told(), (403, "forbidden_origin"));
    assert!(home.lf("help not_permitted").ok().out.contains("HTTP status 403"));
}

#[test]
fn a_page_learns_its_own_scope_and_its_owner_sees_all() {
    let (home, id) = Home::with_key();
    let gateway = Gateway::start(&home);
    let token = pair(&home, "--name tablet --key Prod --read-only --expires 12h");
    let page = Page { gateway: &gateway, token };
    let answer = page.ask("GET /pairing", "");
    assert_eq!(answer.status, 200);
    let told = parsed(&answer.body);
    assert_eq!(text(&told["name"]), "tablet");
    assert_eq!(json::to_string(&told["keys"]), format!("[\"{id}\"]"));
    assert_eq!(json::to_string(&told["allow"]), r#"["list","resolve"]"#);
    assert!(text(&told["expiresAt"]) > text(&told["createdAt"]));
    assert!(!answer.body.contains("sha256") && !answer.body.contains(&page.token), "{answer:?}");
    let plain = Page { gateway: &gateway, token: pair(&home, "--expires never") };
    let told = parsed(&plain.ask("GET /pairing", "").body);
    let all = r#"["list","resolve","add","update","rotate","remove"]"#;
    assert_eq!(json::to_string(&told["allow"]), all);
    assert!(matches!((&told["keys"], &told["expiresAt"]), (Value::Null, Value::Null)));
    assert_eq!(gateway.ask("GET /pairing", &[], "").told(), (401, "missing_token"));
    assert_eq!(plain.ask("POST /pairing", "").told(), (405, "method_not_allowed"));

    let json = home.lf("gateway pairings --json").ok().out;
    for part in [format!("\"keys\":[\"{id}\"]"), format!("\"allow\":{all}")] {
        assert!(json.contains(&part), "{part}: {json}");
    }
    let listed = home.lf("gateway pairings").ok().out;
    assert!(
        listed.contains("list,resolve, keys: 1  tablet") && listed.contains("never"),
        "{listed}"
    );
    let paired = home.lf("gateway pair --name lab --allow list").ok().out;
    assert!(paired.contains("\"lab\" (list)"), "{paired}");
}

#[test]
fn a_scope_that_names_nothing_pairs_nobody() {
    let (home, id) = Home::with_key();
    home.add("openai", "Twin", VALUE);
    let token = pair(&home, "");
    for (flags, status, code) in [
        ("--key Nobody", 1, "key_not_found"),
        ("--key=", 1, "key_not_found"),
        ("--key openai", 2, "ambiguous_key"),
        ("--key Prod --key Nobody", 1, "key_not_found"),
        ("--allow=", 2, "usage"),
        ("--allow lists", 2, "usage"),
        ("--read-only --allow list", 2, "usage"),
        ("--key Prod --allow add", 2, "usage"),
    ] {
        home.lf(&format!("gateway pair --rotate {flags}")).fails(status, code);
    }
    let gateway = Gateway::start(&home);
    let page = Page { gateway: &gateway, token };
    assert_eq!(page.ask(&format!("POST /keys/{id}/resolve"), "").status, 200, "it is as it was");
}

#[test]
fn a_pairing_ends_after_90_days_unless_its_owner_says_otherwise() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let token = pair(&home, "--name one");
    let page = Page { gateway: &gateway, token };
    let told = parsed(&page.ask("GET /pairing", "").body);
    let day = |name: &str| humantime::parse_rfc3339(&text(&told[name])).unwrap();
    let term = day("expiresAt").duration_since(day("createdAt")).unwrap();
    assert_eq!(term.as_secs(), 90 * 24 * 3600);
    let never = home.lf("gateway pair --name two --expires never").ok();
    assert!(never.err.contains("never expires") && never.out.contains("never ends"), "{never}");
    let again = home.lf("gateway pair --name one").ok();
    assert!(again.out.contains("An older token of that name is no longer valid"), "{again}");
    assert!(again.out.contains("ends at 2") && again.err.is_empty(), "{again}");
    // One that is over is marked, and does not count.
    let list = home.path().join(".lenserfight/gateway/pairings.json");
    let text = fs::read_to_string(&list).unwrap();
    let at = text.find("\"expiresAt\":\"").unwrap() + 13;
    fs::write(&list, format!("{}2026-01-01{}", &text[..at], &text[at + 10..])).unwrap();
    let listed = home.lf("gateway pairings").ok().out;
    assert!(
        listed.lines().any(|line| line.contains("expired") && line.ends_with("one")),
        "{listed}"
    );
    let port = gateway.address.port();
    let status = home.lf(&format!("gateway status --port {port}")).ok().out;
    assert!(status.contains("pairings  1\n"), "{status}");
}

#[test]
fn pair_names_the_port_on_which_a_gateway_answers() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let address = format!("http://{}", gateway.address);
    // Nothing listens there.
    let pair = || home.lf("gateway pair").env("LF_GATEWAY_PORT", "1").ok().out;
    assert!(pair().contains(&format!("A gateway, and its page, are on {address}")), "{}", pair());
    let elsewhere = Home::new();
    let there =
        elsewhere.lf("gateway pair").env("LF_GATEWAY_PORT", gateway.address.port().to_string());
    assert!(there.ok().out.contains(&address), "by the variable");
    assert_eq!(gateway.ends().status, Some(0));
    assert!(pair().contains("No gateway answers"), "{}", pair());
}

#[test]
fn a_thousand_pairings_with_a_scope_each_are_recognised() {
    let (home, id) = Home::with_key();
    let token = pair(&home, "--name last --key Prod");
    let list = home.path().join(".lenserfight/gateway/pairings.json");
    let text = fs::read_to_string(&list).unwrap();
    let (begin, entry) = text.split_once('[').unwrap();
    let entry = entry.strip_suffix("]}").unwrap();
    let digest = entry.split("\"sha256\":\"").nth(1).unwrap();
    let mut entries = Vec::new();
    for number in 0..1000 {
        let other = format!("{number:04}{}", &digest[4..43]);
        entries.push(entry.replace(&digest[..43], &other).replace("last", &format!("p{number}")));
    }
    fs::write(&list, format!("{begin}[{},{entry}]}}", entries.join(","))).unwrap();
    let gateway = Gateway::start(&home);
    let page = Page { gateway: &gateway, token };
    assert_eq!(page.listed(""), [id]);
    let listed = home.lf("gateway pairings").ok().out;
    assert_eq!(listed.lines().count(), 1002);
    let first = pair(&home, "--name p0");
    assert_eq!(Page { gateway: &gateway, token: first }.ask("GET /pairing", "").status, 200);
    home.lf("gateway unpair --all").ok();
    assert_eq!(page.ask("GET /pairing", "").status, 401);
}

#[test]
fn the_first_request_after_a_start_waits_for_no_derivation() {
    let home = Home::new();
    let tokens: Vec<String> = (0..30).map(|n| pair(&home, &format!("--name p{n}"))).collect();
    let gateway = Gateway::start(&home);
    let mut client = Client::new(&gateway);
    let start = std::time::Instant::now();
    let answer = client.ask("GET /keys", &[("Authorization", &bearer(&tokens[29]))], "");
    // One derivation takes 50 ms at least, and there were 30 of them.
    let time = start.elapsed();
    assert!(answer.status == 200 && time.as_millis() < 500, "{time:?}");
}

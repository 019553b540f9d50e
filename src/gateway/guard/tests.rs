//! What is admitted, what is refused and with which answer, and what the audit log is told of it.

use std::fs as files;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::*;
use crate::gateway::pairing::Others;
use crate::keychain::{Keychain, Patience};
use crate::system::environment::Environment;
use crate::vault::key::Label;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const WIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2));

/// A guard with two pairings, and their tokens: one that may do everything, and one that may list and
/// resolve the key `one`.
struct Scene {
    root: PathBuf,
    guard: Guard,
    wide: String,
    narrow: String,
    now: Timestamp,
    clock: Instant,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let root = std::env::temp_dir().join(format!("lf-test-{name}-{}", std::process::id()));
        let environment = Environment::of(|name| match name {
            "LENSERFIGHT_KEYS_PASSPHRASE" => Some("correct horse battery staple".into()),
            "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" => Some("1".into()),
            _ => None,
        });
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let pairings = Pairings::at(root.clone(), &environment, keychain);
        let now = Timestamp::parse("2026-11-28T00:00:00.000Z").unwrap();
        let pair = |wanted: Pairing| {
            let mut token = String::new();
            let printed = |it: &crate::Secret, _: Option<&Pairing>| {
                it.expose().clone_into(&mut token);
                Ok(())
            };
            pairings.pair(wanted, Others::Keep, now, printed).unwrap().unwrap();
            token
        };
        let named = |name| Pairing::new(Label::parse(name).unwrap());
        let wide = pair(named("wide"));
        let mut scoped = named("narrow");
        scoped.keys = Some(vec!["one".to_owned()]);
        scoped.allow = Some(["list", "resolve"].map(str::to_owned).to_vec());
        let narrow = pair(scoped);
        let hosts = Hosts::new("box", "").unwrap();
        let guard = Guard::new(hosts, Origins::with_extra("").unwrap(), pairings);
        Scene { root, guard, wide, narrow, now, clock: Instant::now() }
    }

    /// What becomes of a request with these header lines.
    fn admit(&self, line: &str, headers: &str, at: IpAddr) -> (Result<Route, Answer>, Caller) {
        let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let ends = if headers.is_empty() { "" } else { "\r\n" };
        let request = Request::of(&format!("{line} HTTP/1.1\r\n{host}{headers}{ends}\r\n"), at);
        let mut caller = Caller::default();
        (self.guard.admit(&request, self.now, self.clock, &mut caller), caller)
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.wide)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = files::remove_dir_all(&self.root);
    }
}

/// The answer's status, the code in its body, and what the audit log is told.
fn told(denial: &Answer) -> (u16, String, Option<(Kind, &'static str)>) {
    let (reply, event) = denial;
    let event = event.as_ref().map(|(kind, _, reason)| (*kind, reason.unwrap_or_default()));
    let code = reply.body.strip_prefix("{\"error\":\"").and_then(|body| body.strip_suffix("\"}"));
    (reply.status, code.unwrap_or_default().to_owned(), event)
}

fn printed(reply: &Reply) -> String {
    String::from_utf8(reply.print_for_tests()).unwrap()
}

#[test]
fn every_method_and_path_is_one_route_or_none() {
    let scene = Scene::new("guard-routes");
    let id = || "one".to_owned();
    for (line, name, route) in [
        ("GET /healthz", "GET /healthz", Route::Health),
        ("HEAD /healthz", "GET /healthz", Route::Health),
        ("GET /identity", "GET /identity", Route::Identity),
        ("GET /", "/", Route::Page(File::at("/").unwrap())),
        ("HEAD /page.js", "/page.js", Route::Page(File::at("/page.js").unwrap())),
        ("GET /pairing", "GET /pairing", Route::Pairing),
        ("GET /keys", "GET /keys", Route::List),
        ("POST /keys", "POST /keys", Route::Add),
        ("PUT /keys/one", "PUT /keys/:id", Route::Update(id())),
        ("DELETE /keys/one", "DELETE /keys/:id", Route::Remove(id())),
        ("POST /keys/one/rotate", "POST /keys/:id/rotate", Route::Rotate(id())),
        ("POST /keys/one/resolve", "POST /keys/:id/resolve", Route::Resolve(id())),
    ] {
        let (admitted, caller) = scene.admit(line, &scene.bearer(), LOCAL);
        assert_eq!(admitted.map_err(|denial| told(&denial)), Ok(route.clone()), "{line}");
        assert_eq!(caller.route, Some(name), "{line}");
        let is_open = matches!(route, Route::Health | Route::Identity | Route::Page(_));
        let paired = (!is_open).then(|| ("wide".to_owned(), name));
        assert_eq!((caller.paired(), caller.pairing.is_some()), (paired, !is_open), "{line}");
        let derives = !is_open && !matches!(route, Route::Pairing | Route::List);
        assert_eq!(caller.place.is_some(), derives, "{line}");
    }
    for (line, status, allow) in [
        ("POST /", 405, "GET, HEAD, OPTIONS"),
        ("POST /healthz", 405, "GET, HEAD, OPTIONS"),
        ("PUT /identity", 405, "GET, HEAD, OPTIONS"),
        ("DELETE /pairing", 405, "GET, HEAD, OPTIONS"),
        ("PUT /keys", 405, "GET, HEAD, POST, OPTIONS"),
        ("GET /keys/one", 405, "PUT, DELETE, OPTIONS"),
        ("GET /keys/one/resolve", 405, "POST, OPTIONS"),
        ("HEAD /keys/one/rotate", 405, "POST, OPTIONS"),
        ("GET /nothing", 404, ""),
        ("GET //", 404, ""),
        ("GET /keys/", 404, ""),
        ("PUT /keys//", 404, ""),
        ("POST /keys/one/", 404, ""),
        ("POST /keys//resolve", 404, ""),
        ("POST /keys/one/other", 404, ""),
        ("POST /keys/one/resolve/more", 404, ""),
    ] {
        let (refused, caller) = scene.admit(line, &scene.bearer(), LOCAL);
        let denial = refused.unwrap_err();
        let (found, _, event) = told(&denial);
        assert_eq!((found, event), (status, None), "{line}");
        assert_eq!(caller.context(), [("route", "-")], "{line}");
        let answer = printed(&denial.0);
        let line_of = format!("\r\nAllow: {allow}\r\n");
        assert_eq!(answer.contains(&line_of), status == 405, "{line}: {answer}");
        assert_eq!(answer.contains("\r\nAllow:"), status == 405, "{line}: {answer}");
    }
}

#[test]
fn the_page_is_on_loopback_alone_and_its_client_everywhere() {
    let scene = Scene::new("guard-page");
    for (path, at, is_there) in [
        ("/", LOCAL, true),
        ("/client.js", LOCAL, true),
        ("/", WIDE, false),
        ("/page.js", WIDE, false),
        ("/client.js", WIDE, true),
    ] {
        let (admitted, _) = scene.admit(&format!("GET {path}"), "", at);
        assert_eq!(admitted.is_ok(), is_there, "{path} {at}");
        if let Err(denial) = admitted {
            assert_eq!(told(&denial), (404, "not_found".to_owned(), None));
        }
    }
}

#[test]
fn each_check_has_its_answer_its_event_and_its_place_in_the_order() {
    let scene = Scene::new("guard-checks");
    let bearer = scene.bearer();
    let failure = |code| Some((Kind::AuthFailure, code));
    let with = |more: &str| format!("{more}\r\n{bearer}");
    let evil = "Origin: https://evil.example";
    for (line, headers, status, code, event) in [
        ("GET /keys", with("Host: evil.example"), 421, "misdirected_request", true),
        ("GET /healthz", "Host: evil.example".to_owned(), 421, "misdirected_request", true),
        ("GET /keys", with("Host: local host"), 400, "bad_request", false),
        ("GET /keys", with("Host: localhost\r\nHost: localhost"), 400, "bad_request", false),
        (
            "GET /keys",
            with(&format!("Host: evil.example\r\n{evil}")),
            421,
            "misdirected_request",
            true,
        ),
        ("GET /keys", with(evil), 403, "forbidden_origin", true),
        ("OPTIONS /keys", evil.to_owned(), 403, "forbidden_origin", true),
        ("GET /healthz", evil.to_owned(), 403, "forbidden_origin", true),
        ("GET /keys", with("Origin: null"), 403, "forbidden_origin", true),
        ("GET /keys", with("Sec-Fetch-Mode: no-cors"), 403, "forbidden_fetch_mode", true),
        ("GET /pairing", with("Sec-Fetch-Mode: navigate"), 403, "forbidden_fetch_mode", true),
        ("PUT /keys/one", with("Sec-Fetch-Mode: no-cors"), 403, "forbidden_fetch_mode", true),
        ("GET /keys/one", with("Sec-Fetch-Mode: navigate"), 403, "forbidden_fetch_mode", true),
        ("PATCH /keys", bearer.clone(), 405, "method_not_allowed", false),
        ("GET /keys", String::new(), 401, "missing_token", true),
        ("GET /pairing", String::new(), 401, "missing_token", true),
        ("POST /keys/one/resolve", String::new(), 401, "missing_token", true),
        ("GET /keys", "Authorization:".to_owned(), 401, "bad_token", true),
        ("GET /keys", "Authorization: Bearer".to_owned(), 401, "bad_token", true),
        ("GET /keys", "Authorization: Bearer wrong".to_owned(), 401, "bad_token", true),
        ("GET /keys", format!("Authorization: Basic {}", scene.wide), 401, "bad_token", true),
        ("GET /keys", format!("Authorization: {}", scene.wide), 401, "bad_token", true),
        ("GET /keys", with("Authorization: Bearer wrong"), 400, "bad_request", false),
    ] {
        let (refused, caller) = scene.admit(line, &headers, LOCAL);
        let denial = refused.unwrap_err();
        let event = if event { failure(code) } else { None };
        assert_eq!(told(&denial), (status, code.to_owned(), event), "{line} {headers}");
        assert!(caller.pairing.is_none() && caller.place.is_none(), "{line} {headers}");
        let asks = printed(&denial.0).contains("\r\nWWW-Authenticate: Bearer\r\n");
        assert_eq!(asks, status == 401, "{line} {headers}");
    }
    for (line, headers) in [
        ("GET /healthz", "Sec-Fetch-Mode: navigate".to_owned()),
        ("GET /keys", with("Sec-Fetch-Mode: cors")),
        ("GET /keys", format!("authorization: bEARER   {}  ", scene.wide)),
        ("GET /keys", with("Origin: https://app.lenserfight.com")),
    ] {
        let (admitted, _) = scene.admit(line, &headers, LOCAL);
        assert!(admitted.is_ok(), "{line} {headers}");
    }
}

#[test]
fn an_allowed_origin_may_read_every_refusal_and_no_other_may() {
    let scene = Scene::new("guard-origin");
    let ours = "https://app.lenserfight.com";
    for (headers, is_ours) in [
        (format!("Origin: {ours}"), true),
        (format!("Origin: {ours}\r\nHost: evil.example"), true),
        (format!("Origin: {ours}\r\nAuthorization: a\r\nAuthorization: b"), true),
        ("Origin: https://evil.example".to_owned(), false),
        (String::new(), false),
    ] {
        let (refused, caller) = scene.admit("GET /keys", &headers, LOCAL);
        assert!(refused.is_err());
        assert_eq!(caller.origin.as_deref(), is_ours.then_some(ours), "{headers}");
        let has = caller.context().contains(&("origin", ours));
        assert_eq!(has, is_ours, "{headers}");
        let answer = printed(&with_cors(Reply::empty(204), caller.origin.as_deref()));
        let allowed = answer.contains(&format!("\r\nAccess-Control-Allow-Origin: {ours}\r\n"));
        assert!(answer.contains("\r\nVary: Origin\r\n"), "{answer}");
        assert_eq!(allowed, is_ours, "{answer}");
        assert_eq!(answer.contains("Access-Control-Expose-Headers: retry-after"), is_ours);
    }
    let (admitted, caller) = scene.admit("GET /keys", &scene.bearer(), LOCAL);
    assert!(admitted.is_ok());
    assert_eq!(caller.context(), [("route", "GET /keys"), ("pairing", "wide")]);
}

#[test]
fn a_preflight_says_what_is_possible_and_a_private_network_only_if_asked() {
    let scene = Scene::new("guard-preflight");
    let ours = "Origin: https://app.lenserfight.com";
    let private = "Access-Control-Request-Private-Network";
    for (more, is_private) in [
        (String::new(), false),
        (format!("\r\n{private}: true"), true),
        (format!("\r\n{private}: false"), false),
        (format!("\r\n{private}: true\r\n{private}: true"), false),
    ] {
        let (refused, caller) = scene.admit("OPTIONS /keys", &format!("{ours}{more}"), LOCAL);
        let (reply, event) = refused.unwrap_err();
        assert_eq!((reply.status, event, caller.route), (204, None, None), "{more}");
        let answer = printed(&reply);
        for line in [
            "Access-Control-Allow-Methods: GET, POST, PUT, DELETE, OPTIONS",
            "Access-Control-Allow-Headers: authorization, content-type",
            "Access-Control-Max-Age: 600",
        ] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
        }
        let line = "\r\nAccess-Control-Allow-Private-Network: true\r\n";
        assert_eq!(answer.contains(line), is_private, "{more}: {answer}");
    }
}

#[test]
fn a_scope_lets_its_acts_and_its_keys_through_and_nothing_else() {
    let scene = Scene::new("guard-scope");
    let bearer = format!("Authorization: Bearer {}", scene.narrow);
    let not_there = Error::KeyNotFound(String::new()).info().code;
    for (line, refusal) in [
        ("GET /pairing", None),
        ("GET /keys", None),
        ("POST /keys/one/resolve", None),
        ("POST /keys/two/resolve", Some(not_there)),
        ("POST /keys", Some("not_permitted")),
        ("PUT /keys/one", Some("not_permitted")),
        ("DELETE /keys/one", Some("not_permitted")),
        ("POST /keys/one/rotate", Some("not_permitted")),
        ("DELETE /keys/two", Some("not_permitted")),
    ] {
        let (admitted, caller) = scene.admit(line, &bearer, LOCAL);
        let found = admitted.err().map(|denial| told(&denial).2.unwrap());
        assert_eq!(found, refusal.map(|code| (Kind::AuthFailure, code)), "{line}");
        assert!(caller.pairing.is_some(), "{line}");
        assert_eq!(
            caller.place.is_some(),
            refusal.is_none() && line.ends_with("resolve"),
            "{line}"
        );
    }
}

#[test]
fn values_and_changes_have_buckets_of_their_own_and_each_pairing_has_eight_places() {
    let mut scene = Scene::new("guard-buckets");
    let limited = |denial: Answer| {
        assert_eq!(told(&denial).2, Some((Kind::RateLimited, "rate_limited")));
        let answer = printed(&denial.0);
        let after = answer.split_once("\r\nRetry-After: ").unwrap().1.split_once('\r').unwrap().0;
        (denial.0.status, after.to_owned())
    };
    let bearer = scene.bearer();
    let narrow = format!("Authorization: Bearer {}", scene.narrow);
    let ask = |scene: &Scene, line: &str| scene.admit(line, &bearer, LOCAL);
    for _ in 0..5 {
        assert!(ask(&scene, "POST /keys/one/resolve").0.is_ok());
    }
    let refused = ask(&scene, "POST /keys/one/resolve").0.unwrap_err();
    assert_eq!(limited(refused), (429, "1".to_owned()));
    assert!(scene.admit("POST /keys/one/resolve", &narrow, LOCAL).0.is_ok(), "a bucket of its own");
    for line in ["POST /keys", "PUT /keys/a", "DELETE /keys/a", "POST /keys/a/rotate", "POST /keys"]
    {
        assert!(ask(&scene, line).0.is_ok() && ask(&scene, line).0.is_ok(), "{line}");
    }
    assert_eq!(limited(ask(&scene, "POST /keys").0.unwrap_err()), (429, "2".to_owned()));
    assert!(ask(&scene, "GET /keys").0.is_ok(), "a list spends nothing");
    scene.clock += Duration::from_secs(60);
    let mut held: Vec<_> = (0..8).map(|_| ask(&scene, "POST /keys")).collect();
    assert!(held.iter().all(|(admitted, _)| admitted.is_ok()));
    assert_eq!(
        limited(ask(&scene, "POST /keys/one/resolve").0.unwrap_err()),
        (429, "1".to_owned())
    );
    assert!(scene.admit("POST /keys/one/resolve", &narrow, LOCAL).0.is_ok(), "places of its own");
    held.pop();
    assert!(ask(&scene, "POST /keys/one/resolve").0.is_ok());
}

#[test]
fn a_use_is_written_down_when_the_guard_is_told_to() {
    let scene = Scene::new("guard-used");
    let file = scene.root.join("gateway/last-used.json");
    scene.guard.recogniser.save();
    assert!(!file.exists(), "nobody came");
    assert!(scene.admit("GET /keys", &scene.bearer(), LOCAL).0.is_ok());
    scene.guard.recogniser.save();
    assert!(files::read_to_string(file).unwrap().contains(&scene.now.to_string()));
}

//! `lf gateway openapi` describes the gateway that is there: schemathesis holds a real one to every word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use miniserde::json::{self, Object, Value};
use support::Home;
use support::gateway::Gateway;

fn object<'a>(parent: &'a Object, name: &str) -> &'a Object {
    match parent.get(name) {
        Some(Value::Object(object)) => object,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_route_has_an_operation_and_no_operation_is_without_a_route() {
    let home = Home::new();
    let described: Object = json::from_str(&home.bare("gateway openapi").ok().out).unwrap();
    let mut found = BTreeSet::new();
    for (path, methods) in object(&described, "paths") {
        let Value::Object(methods) = methods else { panic!("{path}") };
        for method in methods.keys() {
            found.insert(format!("{} {path}", method.to_uppercase()).replace("{id}", ":id"));
        }
    }
    let routes = [
        "DELETE /keys/:id",
        "GET /healthz",
        "GET /identity",
        "GET /keys",
        "GET /pairing",
        "POST /keys",
        "POST /keys/:id/resolve",
        "POST /keys/:id/rotate",
        "PUT /keys/:id",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), routes);
    let Some(Value::String(version)) = object(&described, "info").get("version") else { panic!() };
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_gateway_does_what_its_description_says() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/install.sh");
    let done = Command::new("sh").arg(install).arg(&place).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let (home, _) = Home::with_key();
    let description = home.path().join("openapi.json");
    std::fs::write(&description, home.bare("gateway openapi").ok().out).unwrap();
    let tokens: Vec<String> = (0..PAIRINGS).map(|number| token(&home, number)).collect();
    let gateway = Gateway::start(&home);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/hooks.py");
    // With one token most changes are refused with 429; with many, in turn, most are made.
    let phases = "examples,coverage";
    let chains = format!("{phases},fuzzing,stateful");
    for (tokens, phases) in [(&tokens[..1], phases), (&tokens[1..], &chains)] {
        let done = Command::new(place.join("bin/schemathesis"))
            .arg("run")
            .arg(&description)
            .args(["--url", &format!("http://{}", gateway.address)])
            .args(["--checks", "all", "--phases", phases])
            .args(["--max-examples", "20", "--seed", "1", "--no-color", "--continue-on-failure"])
            // A busy machine is no finding.
            .args(["--warnings", "off", "--suppress-health-check", "all"])
            .args(["--request-timeout", "120"])
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("SCHEMATHESIS_HOOKS", &hooks)
            .env("TOKENS", tokens.join(" "))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains("9 selected / 9 total") && said.contains("9 passed"), "{said}");
    }
    gateway.ends();
    // Each kind of change was made, and many times; and the limit was met.
    let log = home.audit();
    for (kind, ok, least) in [
        ("add", true, 10),
        ("update", true, 10),
        ("remove", true, 10),
        ("resolve", true, 10),
        ("rate_limited", false, 1),
    ] {
        let is_one = |line: &&str| {
            line.contains(&format!(r#""kind":"{kind}""#)) && line.contains(&format!(r#""ok":{ok}"#))
        };
        let count = log.lines().filter(is_one).count();
        assert!(count >= least, "{count} of {kind}\n{log}");
    }
}

/// So many that no pairing's bucket is empty when its turn comes.
const PAIRINGS: usize = 21;

fn token(home: &Home, number: usize) -> String {
    let told = home.lf(&format!("gateway pair --name pairing-{number} --json")).ok().out;
    let paired: Object = json::from_str(&told).unwrap();
    let Some(Value::String(token)) = paired.get("token") else { panic!("{told}") };
    token.clone()
}

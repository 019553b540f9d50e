//! With little memory lf works with less, or says that there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use support::gateway::{Gateway, bearer, pair};
use support::{Home, VALUE};

#[test]
fn too_little_memory_is_an_error_and_a_little_more_is_enough() {
    let (home, id) = Home::with_key();
    let other = home.add("openai", "Other", "other");
    let limited = |mebibytes: usize, arguments: &str| {
        let limit = format!("--as={}", mebibytes * 1024 * 1024);
        home.lf(arguments).under(&["prlimit", &limit])
    };
    let (mut refused, mut served) = (0, 0);
    for mebibytes in (16..=80).step_by(4) {
        let exported = limited(mebibytes, &format!("keys export --i-understand -- {id}")).go();
        match exported.status {
            Some(0) => {
                served += 1;
                assert_eq!(exported.out, format!("{VALUE}\n"));
                // Less than two at once would take; so they go one after the other.
                if mebibytes >= 60 {
                    limited(mebibytes, "keys rotate --all").ok();
                }
            }
            Some(1) => {
                refused += 1;
                assert!(exported.err.contains("lf: out_of_memory: "), "{exported}");
            }
            // So little that the program itself is not loaded.
            _ => assert!(!exported.err.contains("lf: ") && served == 0, "{exported}"),
        }
    }
    assert!(refused > 0 && served > 0, "{refused} refused, {served} served");
    // With so much, threads that had a heap of their own would leave nothing to derive in.
    for mebibytes in 146..=156 {
        limited(mebibytes, "keys rotate --all").ok();
    }
    assert_eq!((home.value(&id), home.value(&other)), (VALUE.into(), "other".into()));
}

#[test]
fn a_gateway_without_memory_for_one_request_serves_the_next() {
    let (home, id) = Home::with_key();
    let bearer = bearer(&pair(&home, ""));
    let gateway = Gateway::start(&home);
    let line = format!("POST /keys/{id}/resolve");
    let resolve = || gateway.ask(&line, &[("Authorization", &bearer)], "");
    assert_eq!(resolve().status, 200);
    let pid = gateway.pid().to_string();
    let limit = |bytes: &str| {
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--as={bytes}")])
            .status();
        assert!(done.unwrap().success());
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line_of = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
    let used: u64 = line_of("VmSize:").split_whitespace().nth(1).unwrap().parse().unwrap();
    limit(&format!("{}:unlimited", (used + 16 * 1024) * 1024));
    let refused = resolve();
    assert_eq!(
        (refused.status, refused.body.contains("out_of_memory")),
        (503, true),
        "{refused:?}"
    );
    limit("unlimited:unlimited");
    assert_eq!(resolve().status, 200);
}

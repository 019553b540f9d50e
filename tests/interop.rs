//! The real keytar, as the Node-based predecessor used it, on one keychain with us. Run by
//! `make interop`, which builds it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use support::bus::Bus;
use support::{Home, VALUE};

fn keytar(bus: &Bus, script: &str) -> String {
    let modules =
        std::env::var("KEYTAR").expect("KEYTAR names keytar's node_modules; run make interop");
    let script = format!("const k = require('{modules}/keytar'); (async () => {{ {script} }})()");
    let done = bus.run("node", &["-e", &script]);
    assert_eq!(done.status, Some(0), "{done}");
    done.out
}

#[test]
fn keytar_and_lf_share_one_passphrase() {
    let (home, bus) = Home::with_keychain();
    let get = "process.stdout.write(await k.getPassword('lenserfight-keys', 'master') ?? 'null')";
    assert_eq!(keytar(&bus, get), bus.lookup("lenserfight-keys", "master"));
    keytar(&bus, "await k.setPassword('lenserfight-keys', 'master', 'written by the real keytar')");
    bus.on(home.bare("keys add --provider openai --label Prod")).input(VALUE).ok();
    let opened = home
        .bare("keys export Prod --i-understand")
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "written by the real keytar")
        .ok();
    assert_eq!(opened.out, format!("{VALUE}\n"));
    let all = bus.run(
        "secret-tool",
        &["search", "--all", "service", "lenserfight-keys", "account", "master"],
    );
    assert_eq!(
        all.out.matches("secret = ").count(),
        1,
        "keytar replaces our entry, it makes no second: {all}"
    );
    bus.on(home.bare("keys init --force --yes")).ok();
    let new = keytar(&bus, get);
    assert_eq!((new.len(), new.as_str()), (43, bus.lookup("lenserfight-keys", "master").as_str()));
}

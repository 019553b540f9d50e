//! The static lf in a root directory with nothing else in it: no libc, no `/proc`, no `/dev`, no `/etc`.
//! `make static-check` runs this, with the program in `LF_BINARY`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

use support::bus::{Bus, address};
use support::gateway::{Gateway, bearer, token};
use support::{Home, Outcome, PASSPHRASE, Run, VALUE};

const NEXT: &str = "a passphrase of tomorrow";

/// A home that becomes the root directory, with the program at its usual path.
fn bare_root() -> Home {
    let home = Home::new();
    for program in support::lf() {
        let path = Path::new(&program).strip_prefix("/");
        let inside = home.path().join(path.expect("LF_BINARY has full paths"));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        // By another process: while this one writes a file, its children hold it open, and it cannot be run.
        let copied = Command::new("cp").arg(&program).arg(inside).status();
        assert!(copied.unwrap().success());
    }
    home
}

/// `lf` with the home for its root directory, under another program if there is one.
fn bare_under(home: &Home, tracer: &[&str], arguments: &str) -> Run {
    let run = home.bare(arguments).env("HOME", "/");
    let run = run.under(&["chroot", home.path().to_str().unwrap()]);
    let run = run.env("RUST_BACKTRACE", "1").under(tracer);
    if rustix::process::geteuid().is_root() {
        run
    } else {
        // A namespace allows it to whoever is not root, and leaves them who they are.
        run.under(&["unshare", "--map-current-user", "--keep-caps"])
    }
}

fn bare(home: &Home, arguments: &str) -> Run {
    bare_under(home, &[], arguments)
}

fn with(home: &Home, passphrase: &str, arguments: &str) -> Run {
    bare(home, arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase)
}

fn lf(home: &Home, arguments: &str) -> Outcome {
    with(home, PASSPHRASE, arguments).ok()
}

#[test]
fn every_command_on_keys_works_with_nothing_but_the_program() {
    let home = bare_root();
    lf(&home, "keys init");
    let add = "keys add --provider openai --label Prod";
    let added = with(&home, PASSPHRASE, add).input(VALUE).ok();
    let id = added.out.trim_end();
    assert!(lf(&home, "keys list").out.contains(id));
    lf(&home, "keys update Prod --label Web --expires 1y");
    assert!(lf(&home, "keys list openai --label Web").out.contains(id));
    assert!(!lf(&home, "keys list --stale").out.contains(id));
    lf(&home, "keys rotate --all");
    let export = "keys export Web --i-understand";
    assert_eq!(lf(&home, export).out, format!("{VALUE}\n"));
    let program: Vec<String> =
        support::lf().into_iter().map(|word| word.into_string().unwrap()).collect();
    let run = format!("keys run --key Web -- {} --version", program.join(" "));
    assert!(lf(&home, &run).out.starts_with("lf "));
    assert_eq!(lf(&home, "keys get Web").out, VALUE);
    assert!(lf(&home, "keys providers").out.contains("OPENAI_API_KEY"));
    fs::write(home.path().join(".lf"), "OPENAI_API_KEY=Web\n").unwrap();
    assert!(lf(&home, "keys allow").out.contains("OPENAI_API_KEY=Web"));
    let import = with(&home, PASSPHRASE, "keys import --env GROQ_API_KEY --yes");
    import.env("GROQ_API_KEY", VALUE).ok();
    assert!(lf(&home, "keys audit --tail 1").out.contains("keys import"));
    lf(&home, "keys remove GROQ_API_KEY --yes");
    home.copy();
    lf(&home, "keys remove Web --yes");
    lf(&home, "keys restore /copy");
    let sheet = lf(&home, "keys recovery export --i-understand").out;
    assert!(sheet.contains(PASSPHRASE));
    let rekey = with(&home, PASSPHRASE, "keys rekey --passphrase-stdin");
    rekey.input(NEXT).ok();
    let exported = with(&home, NEXT, export).ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    with(&home, PASSPHRASE, export).fails(1, "decryption_failed");
    let doctor = with(&home, NEXT, "keys doctor").ok().out;
    assert!(doctor.contains("pass  decryption: 1 of 1 open"), "{doctor}");
}

#[test]
fn the_gateway_serves_with_nothing_but_the_program() {
    let home = bare_root();
    let token = bearer(&token(with(&home, PASSPHRASE, "gateway pair")));
    lf(&home, "keys init");
    let serve = with(&home, PASSPHRASE, "gateway serve --keys-only --port 0");
    let gateway = Gateway::run(serve);
    let ask = |line: &str, body: &str| {
        let json = ("Content-Type", "application/json");
        gateway.ask(line, &[("Authorization", &token), json], body)
    };
    let key = format!("{{\"provider\":\"openai\",\"label\":\"Web\",\"rawKey\":\"{VALUE}\"}}");
    let added = ask("POST /keys", &key);
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.body.split("\"id\":\"").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    let resolved = ask(&format!("POST /keys/{id}/resolve"), "");
    assert_eq!(resolved.body, format!("{{\"key\":\"{VALUE}\"}}"));
    assert!(ask("GET /keys?include=last_used", "").body.contains(id));
    assert!(gateway.ask("GET /", &[], "").body.contains("<html"));
    assert!(lf(&home, "gateway pairings").out.contains("web-pair"));
    let port = gateway.address.port().to_string();
    let status = lf(&home, &format!("gateway status --port {port}")).out;
    assert!(status.contains(&port), "{status}");
    let doctor = lf(&home, &format!("gateway doctor --keys-only --port {port}"));
    assert!(doctor.out.contains("gateway"), "{doctor}");
    lf(&home, "gateway unpair --all");
    assert_eq!(ask("GET /keys", "").status, 401);
    assert_eq!(gateway.ends().status, Some(0));
}

#[test]
fn what_needs_the_system_says_so_with_nothing_but_the_program() {
    let home = bare_root();
    lf(&home, "gateway consent show");
    lf(&home, "gateway consent revoke");
    with(&home, PASSPHRASE, "gateway consent grant tailscale --yes").fails(5, "no_tailnet");
    // /proc says which program it is; an emulator answers in its place.
    let code = if support::lf().len() == 1 { "io_error" } else { "no_service_manager" };
    with(&home, PASSPHRASE, "gateway install").fails(1, code);
    lf(&home, "gateway uninstall");
    for topic in
        ["completions bash", "man", "version", "help errors", "cloud schema", "gateway openapi"]
    {
        assert!(!lf(&home, topic).out.is_empty());
    }
    let cloud = with(&home, PASSPHRASE, "keys import --cloud --all").env("SUPABASE_ANON_KEY", "a");
    let cloud = cloud.env("SUPABASE_ACCESS_TOKEN", "eyJ.eyJ.a");
    let cloud = cloud.env("SUPABASE_URL", "https://127.0.0.1:1").fails(1, "cloud_unreachable");
    assert!(cloud.err.contains("install it"), "{cloud}"); // curl
}

#[test]
fn the_keychain_is_reached_with_nothing_but_the_program_and_its_socket() {
    let home = bare_root();
    let bus = Bus::with_keyring(&home);
    let lf = |arguments: &str| {
        let socket = Path::new("/").join(bus.socket().strip_prefix(home.path()).unwrap());
        bare(&home, arguments).env("DBUS_SESSION_BUS_ADDRESS", address(&socket))
    };
    // What the predecessor left, to begin with.
    let plain = home.path().join(".lenserfight/gateway/keys");
    fs::create_dir_all(&plain).unwrap();
    let file = plain.join("bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy");
    fs::write(file, PASSPHRASE).unwrap();
    lf("keys adopt").ok();
    assert_eq!(bus.lookup("lenserfight-keys", "master"), PASSPHRASE);
    let added = lf("keys add --provider openai").input(VALUE).ok();
    let export = format!("keys export --i-understand -- {}", added.out.trim_end());
    let is_there = || assert_eq!(lf(&export).ok().out, format!("{VALUE}\n"));
    is_there();
    lf("keys rekey").ok();
    assert_ne!(bus.lookup("lenserfight-keys", "master"), PASSPHRASE);
    is_there();
    let sheet = lf("keys recovery export --i-understand").ok().out;
    lf("keys recovery import").input(sheet).ok();
    is_there();
    lf("keys recovery forget --yes").ok();
    is_there();
}

#[test]
fn a_panic_says_where_and_unwinds() {
    let home = bare_root();
    // The table of a HashMap wants randomness, and std panics where there is none. So may an emulator, which
    // asks first; then the next is ours.
    let ended = (1..=8).map(|first| {
        let fault = format!("--inject=getrandom:error=EIO:when={first}+");
        let tracer = ["strace", "-f", "-qq", "-o", "/dev/null", &fault];
        let serve = bare_under(&home, &tracer, "gateway serve --keys-only --port 0");
        serve.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).go()
    });
    let mut ended = ended.filter(|ended| ended.err.contains("panicked at"));
    let ended = ended.next().expect("a panic");
    assert!(ended.err.contains(".rs:"), "{ended}");
    // std's own catch_unwind, around main, is the last frame; without unwinding this is SIGABRT.
    assert_eq!(ended.status, Some(101), "{ended}");
}

#[test]
fn no_command_is_forgotten_here() {
    for group in ["", "keys", "keys recovery", "cloud", "gateway", "gateway consent"] {
        let help = Home::new().bare(&format!("{group} --help")).ok().out;
        let name = |line: &str| {
            let (name, _) = line.strip_prefix("  lf ")?.split_once("  ")?;
            Some(name.to_owned())
        };
        let commands: Vec<String> = help.lines().filter_map(name).collect();
        assert!(!commands.is_empty(), "{help}");
        for command in commands {
            let is_here = include_str!("bare.rs").contains(&format!("\"{command} "))
                || include_str!("bare.rs").contains(&format!("\"{command}\""));
            assert!(is_here, "{command}");
        }
    }
}

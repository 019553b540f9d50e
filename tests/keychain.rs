//! The keychain: a real gnome-keyring on a bus of the test's own, foreign clients that read and write
//! its entries, and every way in which it can be locked, absent, slow or mad.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use local_keys::{Keychain, Patience, Secret};
use support::bus::{Bus, address, environment};
use support::gateway::identify;
use support::pty::Terminal;
use support::{Home, Outcome, PASSPHRASE, Run, VALUE};

const SERVICE: &str = "lenserfight-keys";
const ENTRY: [&str; 4] = ["service", "lenserfight-keys", "account", "master"];
const KEYTAR: [&str; 6] = [
    "service",
    "lenserfight-keys",
    "account",
    "master",
    "xdg:schema",
    "org.freedesktop.Secret.Generic",
];

/// More than the three seconds of the rule by what a loaded machine may add.
const IN_TIME: Duration = Duration::from_secs(5);

fn in_time(run: Run, status: i32, code: &str) -> Outcome {
    let start = Instant::now();
    let outcome = run.fails(status, code);
    assert!(start.elapsed() < IN_TIME, "{:?}: {outcome}", start.elapsed());
    outcome
}

fn keychain(socket: &std::path::Path) -> Keychain {
    Keychain::new(&environment(socket), Patience::SHORT)
}

#[test]
fn the_whole_life_of_a_key_needs_nothing_but_the_keychain() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let lf = |arguments: &str| bus.on(home.bare(arguments));
    lf("keys init").ok();
    let passphrase = bus.lookup(SERVICE, "master");
    assert_eq!(passphrase.len(), 43, "32 bytes in base64url");
    lf("keys add --provider openai --label Prod").input(VALUE).ok();
    lf("keys rotate Prod").ok();
    assert_eq!(lf("keys export Prod --i-understand").ok().out, format!("{VALUE}\n"));
    lf("keys doctor").ok();
    lf("keys init").fails(2, "already_configured");
    assert_eq!(bus.lookup(SERVICE, "master"), passphrase);
    // The bus is found by XDG_RUNTIME_DIR as well.
    let runtime = bus.socket().parent().unwrap().to_owned();
    home.bare("keys export Prod --i-understand").env("XDG_RUNTIME_DIR", runtime).ok();
    lf("keys remove Prod --yes").ok();
}

#[test]
fn the_environment_and_the_keychain_follow_the_table() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    // no keychain entry, no environment
    let missing =
        bus.on(home.bare("keys add --provider openai")).input(VALUE).fails(1, "passphrase_missing");
    assert!(missing.err.contains("lf: hint: lf keys init"), "{missing}");
    // no entry, environment
    bus.on(home.lf("keys add --provider openai --label Env")).input("env").ok();
    // entry, no environment
    bus.on(home.bare("keys init --passphrase-stdin"))
        .input("another long passphrase")
        .fails(2, "refused");
    bus.store(&KEYTAR, "another long passphrase");
    bus.on(home.bare("keys add --provider openai --label Chain"))
        .input("chain")
        .fails(2, "wrong_passphrase");
    let elsewhere = home.path().join("elsewhere");
    bus.on(home.bare("keys add --provider openai --label Chain"))
        .env("LENSERFIGHT_KEYS_DIR", &elsewhere)
        .input("chain")
        .ok();
    // both
    let conflict =
        bus.on(home.lf("keys export Env --i-understand")).fails(2, "passphrase_conflict");
    assert!(conflict.err.contains("FORCE_ENV=1") && conflict.err.contains("unset"), "{conflict}");
    bus.on(home.lf("keys doctor")).fails(3, "checks_failed");
    // both, forced: the keychain is not even asked, so a dead one costs nothing
    let forced = |run: Run| run.env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1");
    assert_eq!(forced(bus.on(home.lf("keys export Env --i-understand"))).ok().out, "env\n");
    forced(bus.on(home.lf("keys export Chain --i-understand")))
        .env("LENSERFIGHT_KEYS_DIR", &elsewhere)
        .fails(1, "decryption_failed");
    let log = home.path().join("strace.log");
    forced(bus.on(home.lf("keys export Env --i-understand"))).trace(&log, "socket,connect").ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
    // a file counts as the environment
    let file = home.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    support::chmod(&file, 0o600);
    let run = || {
        bus.on(home.bare("keys export Env --i-understand"))
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file)
    };
    run().fails(2, "passphrase_conflict");
    forced(run()).ok();
}

#[test]
fn entries_are_shared_with_keytar_and_libsecret() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let ours = keychain(&bus.socket());
    // Theirs: with keytar's schema, and as plain secret-tool writes them.
    bus.store(&KEYTAR, "from keytar");
    assert_eq!(ours.find(SERVICE, "master").unwrap().unwrap().expose(), "from keytar");
    bus.store(&["service", SERVICE, "account", "plain"], "from secret-tool");
    assert_eq!(ours.find(SERVICE, "plain").unwrap().unwrap().expose(), "from secret-tool");
    assert!(ours.find(SERVICE, "nothing").unwrap().is_none());
    // Ours, in their eyes.
    ours.store(SERVICE, "ours", &Secret::new("from lf".to_owned())).unwrap();
    assert_eq!(bus.lookup(SERVICE, "ours"), "from lf");
    let keytar = bus.run(
        "secret-tool",
        &[
            "lookup",
            "service",
            SERVICE,
            "account",
            "ours",
            "xdg:schema",
            "org.freedesktop.Secret.Generic",
        ],
    );
    assert_eq!(keytar.out, "from lf");
    assert!(ours.delete(SERVICE, "ours").unwrap());
    assert!(!ours.delete(SERVICE, "ours").unwrap());
    assert_eq!(bus.lookup(SERVICE, "ours"), "");
}

#[test]
fn of_several_entries_keytars_counts_and_storing_leaves_one() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let ours = keychain(&bus.socket());
    bus.store(&KEYTAR, "with schema");
    // One of its own: gnome-keyring takes an entry that has none for keytar's as soon as it has read its
    // file again, which it does if the seconds of the file's time have moved on.
    let other = [&ENTRY[..], &["xdg:schema", "org.example.Other"]].concat();
    bus.store(&other, "another");
    assert_eq!(ours.find(SERVICE, "master").unwrap().unwrap().expose(), "with schema");
    ours.store(SERVICE, "master", &Secret::new("new".to_owned())).unwrap();
    let all = bus.run("secret-tool", &["search", "--all", "service", SERVICE, "account", "master"]);
    assert_eq!(all.out.matches("secret = ").count(), 1, "{all}");
    assert!(all.out.contains("secret = new"), "{all}");
}

#[test]
fn every_byte_of_a_secret_survives() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let ours = keychain(&bus.socket());
    for text in ["", "x", "pässwörd-şifre-密码-🗝️\n", &"long".repeat(16 * 1024)] {
        ours.store(SERVICE, "bytes", &Secret::new(text.to_owned())).unwrap();
        assert_eq!(ours.find(SERVICE, "bytes").unwrap().unwrap().expose(), text);
    }
}

#[test]
fn init_force_replaces_only_when_told_what_is_lost() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    let lf = |arguments: &str| bus.on(home.bare(arguments));
    lf("keys init").ok();
    let first = bus.lookup(SERVICE, "master");
    // Nothing to lose: no question.
    lf("keys init --force").ok();
    let second = bus.lookup(SERVICE, "master");
    assert_ne!(first, second);
    lf("keys add --provider openai --label Prod").input(VALUE).ok();
    let refused = lf("keys init --force").input("yes\n").fails(2, "refused");
    assert!(
        refused.err.contains("lf keys rekey changes the master passphrase")
            && refused.err.contains("1 key in")
            && !refused.err.contains("--yes"),
        "{refused}"
    );
    assert_eq!(bus.lookup(SERVICE, "master"), second, "nothing changed");
    lf("keys init --force --passphrase-stdin").input("another long passphrase").fails(2, "refused");
    // The same passphrase loses nothing.
    lf("keys init --force --passphrase-stdin").input(second.as_str()).ok();
    assert_eq!(lf("keys export Prod --i-understand").ok().out, format!("{VALUE}\n"));
    lf("keys init --force --yes").ok();
    assert_ne!(bus.lookup(SERVICE, "master"), second);
    // What it was is on record, and opens the key; so does what is added now.
    assert_eq!(lf("keys export Prod --i-understand").ok().out, format!("{VALUE}\n"));
    lf("keys add --provider openai --label Next").input("next").ok();
    lf("keys rotate --all").ok();
    lf("keys doctor").ok();
}

#[test]
fn init_force_reseats_the_environments_passphrase_if_it_opens_the_keys() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    bus.on(home.lf("keys add --provider openai --label Prod")).input(VALUE).ok();
    bus.on(home.lf("keys init --force"))
        .env("LENSERFIGHT_KEYS_PASSPHRASE", "another long passphrase")
        .fails(2, "refused");
    assert_eq!(bus.lookup(SERVICE, "master"), "");
    bus.on(home.lf("keys init --force --passphrase-stdin"))
        .input("another long passphrase")
        .fails(2, "usage");
    bus.on(home.lf("keys init --force")).ok();
    assert_eq!(bus.lookup(SERVICE, "master"), PASSPHRASE);
    assert_eq!(bus.on(home.bare("keys export Prod --i-understand")).ok().out, format!("{VALUE}\n"));
}

#[test]
fn init_with_an_environment_passphrase_leaves_the_keychain_alone() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    bus.on(home.lf("keys init")).ok();
    assert_eq!(bus.lookup(SERVICE, "master"), "");
    bus.store(&KEYTAR, "from the keychain");
    bus.on(home.lf("keys init")).fails(2, "already_configured");
}

#[test]
fn init_never_shuts_out_keys_that_are_there() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    // A directory that was copied from another machine.
    home.add("openai", "Prod", VALUE);
    let refused = bus.on(home.bare("keys init")).fails(2, "refused");
    assert!(refused.err.contains("--passphrase-stdin"), "{refused}");
    bus.on(home.bare("keys init --passphrase-stdin"))
        .input("another long passphrase")
        .fails(2, "refused");
    bus.on(home.bare("keys init --passphrase-stdin"))
        .input("too short")
        .fails(2, "passphrase_invalid");
    assert_eq!(bus.lookup(SERVICE, "master"), "");
    bus.on(home.bare("keys init --passphrase-stdin")).input(format!("{PASSPHRASE}\n")).ok();
    assert_eq!(bus.on(home.bare("keys export Prod --i-understand")).ok().out, format!("{VALUE}\n"));
}

#[test]
fn a_locked_keychain_answers_at_once_and_is_never_taken_for_an_empty_one() {
    let (home, mut bus) = Home::with_keychain();
    bus.on(home.bare("keys add --provider openai --label Prod")).input(VALUE).ok();
    let passphrase = bus.lookup(SERVICE, "master");
    bus.lock();
    for arguments in ["keys export Prod --i-understand", "keys init", "keys init --force --yes"] {
        let locked = in_time(bus.on(home.bare(arguments)), 1, "keychain_unavailable");
        assert!(locked.err.contains("locked"), "{locked}");
    }
    in_time(bus.on(home.lf("keys init --force")), 1, "keychain_unavailable");
    // The environment may stand in, as the table says; but not beside keys that it does not open.
    bus.on(home.lf("keys add --provider openai")).input(VALUE).fails(2, "wrong_passphrase");
    bus.on(home.lf("keys add --provider openai"))
        .env("LENSERFIGHT_KEYS_DIR", home.path().join("elsewhere"))
        .input(VALUE)
        .ok();
    bus.stop_keyring();
    bus.start_keyring(true);
    assert_eq!(bus.lookup(SERVICE, "master"), passphrase, "nothing was overwritten");
}

#[test]
fn a_dialog_that_cannot_be_shown_is_asked_for_once() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("keys add --provider openai --label Prod")).input(VALUE).ok();
    bus.lock();
    let (status, screen) =
        Terminal::start(&bus.on(home.bare("keys export Prod --i-understand")).at_terminal()).ends();
    assert_eq!(status, Some(1), "{screen}");
    assert_eq!(screen.matches("waits for up to 60 seconds").count(), 1, "{screen}");
}

#[test]
fn a_short_passphrase_in_the_keychain_is_a_finding() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    for short in ["short", ""] {
        bus.store(&KEYTAR, short);
        bus.on(home.bare("keys add --provider openai")).input(VALUE).fails(2, "passphrase_invalid");
        fs::create_dir_all(home.keys()).unwrap();
        let report = bus.on(home.bare("keys doctor")).fails(3, "checks_failed");
        assert!(report.out.contains("encrypting needs 16"), "{report}");
    }
}

#[test]
fn a_keychain_that_was_never_unlocked_has_no_collection_and_says_so() {
    let home = Home::new();
    let mut bus = Bus::start(&home);
    bus.start_keyring(false);
    for arguments in ["keys init", "keys add --provider openai", "keys init --force --yes"] {
        let none = in_time(bus.on(home.bare(arguments)).input(VALUE), 1, "keychain_unavailable");
        assert!(none.err.contains("no default collection"), "{none}");
    }
    assert!(!home.keys().exists());
    bus.on(home.lf("keys add --provider openai")).input(VALUE).ok();
}

#[test]
fn no_service_and_no_bus_say_so_at_once() {
    let home = Home::new();
    let bus = Bus::start(&home);
    let none = in_time(bus.on(home.bare("keys init")), 1, "keychain_unavailable");
    assert!(none.err.contains("no program on this bus provides org.freedesktop.secrets"), "{none}");
    for (address, part) in [
        ("unix:path=/nowhere/bus", "cannot connect"),
        ("unix:abstract=lf-no-such-bus", "cannot connect"),
        ("tcp:host=127.0.0.1,port=1", "no session bus"),
        ("garbage;;=,unix:", "no session bus"),
        ("unix:path=/nowhere%", "no session bus"),
    ] {
        let none = in_time(
            home.bare("keys init").env("DBUS_SESSION_BUS_ADDRESS", address),
            1,
            "keychain_unavailable",
        );
        assert!(none.err.contains(part) && none.err.contains(address), "{none}");
    }
    assert!(!home.keys().exists(), "nothing is made before the passphrase is safe");
    // The first address that answers is taken.
    let list = format!("unix:path=/nowhere/bus;{}", address(&bus.socket()));
    let none = home
        .bare("keys init")
        .env("DBUS_SESSION_BUS_ADDRESS", list)
        .fails(1, "keychain_unavailable");
    assert!(none.err.contains("no program"), "{none}");
}

#[test]
fn a_socket_that_never_answers_is_given_up_in_time() {
    let home = Home::new();
    let silent = home.path().join("silent");
    let listener = UnixListener::bind(&silent).unwrap();
    in_time(
        home.bare("keys init").env("DBUS_SESSION_BUS_ADDRESS", address(&silent)),
        1,
        "keychain_unavailable",
    );
    // Its queue filled to the brim: connecting alone would block. A short one, because whoever runs
    // this may not have as many descriptors as the usual one takes.
    rustix::net::listen(&listener, 4).unwrap();
    let full: Vec<Option<UnixStream>> =
        (0..100).map(|_| try_connect(&silent)).take_while(Option::is_some).collect();
    assert!(!full.is_empty() && full.len() < 100);
    in_time(
        home.bare("keys init").env("DBUS_SESSION_BUS_ADDRESS", address(&silent)),
        1,
        "keychain_unavailable",
    );
    // And where the table lets the environment stand in, it does.
    home.lf("keys add --provider openai")
        .env("DBUS_SESSION_BUS_ADDRESS", address(&silent))
        .input(VALUE)
        .ok();
}

/// Connects without blocking; `None` if the queue is full.
fn try_connect(path: &std::path::Path) -> Option<UnixStream> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok()?;
    Some(socket.into())
}

#[test]
fn a_peer_that_trickles_cannot_stretch_the_time() {
    let home = Home::new();
    let place = home.path().join("slow");
    serve(&place, |mut stream, _| {
        let mut heard = [0; 64];
        let _ = stream.read(&mut heard);
        // A byte every 100 ms, for ever: each read succeeds, the whole never does.
        while stream.write_all(b"D").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    in_time(
        home.bare("keys init").env("DBUS_SESSION_BUS_ADDRESS", address(&place)),
        1,
        "keychain_unavailable",
    );
}

#[test]
fn garbage_in_place_of_answers_is_an_error_and_nothing_worse() {
    let home = Home::new();
    let place = home.path().join("mad");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let answers: Vec<Vec<u8>> = (0..24)
        .map(|round| {
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            };
            let mut bytes: Vec<u8> = (0..64).map(|_| random()).collect();
            match round % 6 {
                0 => {}
                1 => bytes[..4].copy_from_slice(b"l\x02\x00\x01"),
                2 => bytes[..16].copy_from_slice(
                    b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff",
                ),
                3 => bytes[..16].copy_from_slice(
                    b"l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x28\x00\x00\x00",
                ),
                4 => bytes[..16].copy_from_slice(
                    b"B\x02\x00\x01\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x20",
                ),
                _ => bytes.truncate(usize::from(random() % 20)),
            }
            bytes
        })
        .collect();
    let answers = Arc::new(answers);
    let total = answers.len();
    serve(&place, move |mut stream, count| {
        let mut heard = [0; 4096];
        let _ = stream.read(&mut heard);
        let _ = stream.write_all(b"DATA\r\n");
        let _ = stream.read(&mut heard);
        let _ = stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n");
        let _ = stream.read(&mut heard);
        let _ = stream.write_all(&answers[count % answers.len()]);
    });
    for _ in 0..total {
        let outcome = in_time(
            home.bare("keys init").env("DBUS_SESSION_BUS_ADDRESS", address(&place)),
            1,
            "keychain_unavailable",
        );
        assert!(!outcome.err.contains("panicked"), "{outcome}");
    }
}

/// Serves connections on a thread each, with their number; ends with the test's process.
fn serve(place: &std::path::Path, answer: impl Fn(UnixStream, usize) + Send + Sync + 'static) {
    let listener = UnixListener::bind(place).unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for (count, stream) in listener.incoming().flatten().enumerate() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream, count));
        }
    });
}

/// Passes everything on to the real bus, but cuts off a connection whose client says `word`, as long
/// as `cuts` are left.
fn cutting_proxy(
    place: &std::path::Path,
    bus: &Bus,
    word: &'static [u8],
    cuts: usize,
) -> Arc<AtomicUsize> {
    let (real, said) = (bus.socket(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&said);
    serve(place, move |client, _| {
        pass_on(client, &real, |bytes| {
            !has(bytes, word) || counter.fetch_add(1, Ordering::SeqCst) >= cuts
        });
    });
    said
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Passes everything on to the real bus, until `may` refuses what the client says.
fn pass_on(client: UnixStream, real: &std::path::Path, mut may: impl FnMut(&[u8]) -> bool) {
    let server = UnixStream::connect(real).unwrap();
    let (mut from_server, mut to_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    let (mut from_client, mut to_server, mut buffer) = (client, server, vec![0; 1 << 20]);
    while let Ok(count @ 1..) = from_client.read(&mut buffer) {
        if !may(&buffer[..count]) || to_server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to_server.shutdown(std::net::Shutdown::Both);
    let _ = from_client.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_command_uses_one_connection() {
    let (home, bus) = Home::with_keychain();
    let (place, real) = (home.path().join("counts"), bus.socket());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    serve(&place, move |client, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        pass_on(client, &real, |_| true);
    });
    for arguments in [
        "keys add --provider openai --label Prod",
        "keys export Prod --i-understand",
        "keys rotate Prod",
        "keys update Prod --rotate",
        "keys rekey",
        "keys rekey",
        "keys rotate --all",
        "keys doctor",
        "keys init --force --yes",
        "keys recovery forget --yes",
    ] {
        connections.store(0, Ordering::SeqCst);
        let run = home.bare(arguments).env("DBUS_SESSION_BUS_ADDRESS", address(&place));
        run.fed(VALUE).ok();
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{arguments}");
    }
}

#[test]
fn a_read_is_tried_again_once_and_a_write_never() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    bus.store(&KEYTAR, PASSPHRASE);
    let once = home.path().join("once");
    let said = cutting_proxy(&once, &bus, b"SearchItems", 1);
    assert_eq!(keychain(&once).find(SERVICE, "master").unwrap().unwrap().expose(), PASSPHRASE);
    assert_eq!(said.load(Ordering::SeqCst), 2);
    let always = home.path().join("always");
    let said = cutting_proxy(&always, &bus, b"SearchItems", usize::MAX);
    assert_eq!(
        keychain(&always).find(SERVICE, "master").unwrap_err().code(),
        "keychain_unavailable"
    );
    assert_eq!(said.load(Ordering::SeqCst), 2);
    let write = home.path().join("write");
    let said = cutting_proxy(&write, &bus, b"SetSecret", 1);
    let refused =
        keychain(&write).store(SERVICE, "master", &Secret::new("new".to_owned())).unwrap_err();
    assert_eq!((refused.code(), said.load(Ordering::SeqCst)), ("keychain_unavailable", 1));
    assert_eq!(bus.lookup(SERVICE, "master"), PASSPHRASE);
}

/// The bus is gone when `master` is about to be written, but only for who holds the lock: whoever
/// connects anew finds one that knows nothing of it.
#[test]
fn a_bus_that_forgets_the_lock_fails_the_write() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    bus.on(home.bare("keys init")).ok();
    let before = bus.lookup(SERVICE, "master");
    let (place, real) = (home.path().join("forgets"), bus.socket());
    let cuts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&cuts);
    serve(&place, move |client, _| {
        let mut is_locked = false;
        pass_on(client, &real, |bytes| {
            is_locked |= has(bytes, b"RequestName");
            let may = !is_locked || !has(bytes, b"SetSecret");
            counter.fetch_add(usize::from(!may), Ordering::SeqCst);
            may
        });
    });
    let forced = home.bare("keys init --force").env("DBUS_SESSION_BUS_ADDRESS", address(&place));
    in_time(forced, 1, "keychain_unavailable");
    assert_eq!(cuts.load(Ordering::SeqCst), 1);
    assert_eq!(bus.lookup(SERVICE, "master"), before);
    // It is free again.
    bus.on(home.bare("keys init --force")).ok();
    assert_ne!(bus.lookup(SERVICE, "master"), before);
}

#[test]
fn a_daemon_or_bus_that_was_restarted_is_found_again() {
    let home = Home::new();
    let mut bus = Bus::with_keyring(&home);
    let ours = keychain(&bus.socket());
    ours.store(SERVICE, "master", &Secret::new(PASSPHRASE.to_owned())).unwrap();
    bus.stop_keyring();
    let gone = ours.find(SERVICE, "master").unwrap_err();
    assert_eq!(gone.code(), "keychain_unavailable");
    bus.start_keyring(true);
    assert_eq!(ours.find(SERVICE, "master").unwrap().unwrap().expose(), PASSPHRASE);
    bus.restart();
    assert_eq!(ours.find(SERVICE, "master").unwrap().unwrap().expose(), PASSPHRASE);
    // Nothing has been asked over the connection that is gone, so this is no second try.
    bus.restart();
    ours.store(SERVICE, "master", &Secret::new("new".to_owned())).unwrap();
    assert_eq!(bus.lookup(SERVICE, "master"), "new");
}

#[test]
fn many_readers_at_once_are_all_answered() {
    let home = Home::new();
    let bus = Bus::with_keyring(&home);
    bus.store(&KEYTAR, PASSPHRASE);
    let ours = keychain(&bus.socket());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                assert_eq!(ours.find(SERVICE, "master").unwrap().unwrap().expose(), PASSPHRASE);
            });
        }
    });
}

#[test]
fn a_keychain_that_hangs_is_waited_for_once_before_full_mode() {
    let (home, bus) = Home::with_keychain();
    bus.on(home.bare("gateway pair")).ok();
    identify(&home, &bus);
    bus.freeze();
    let run = bus.on(home.bare("gateway serve --port 0"));
    let refused = in_time(run, 3, "precondition_failed");
    for check in ["keychain_present", "keys_passphrase"] {
        let line = format!("[precondition] FAIL {check}: ");
        assert!(refused.err.contains(&line), "{refused}");
    }
    let run = bus.on(home.bare("gateway doctor --port 9"));
    in_time(run, 3, "checks_failed");
    bus.thaw();
}

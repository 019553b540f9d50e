//! What the predecessor left behind: plaintext files that `lf keys adopt` takes over, temporary files,
//! and the session in its configuration. What the keychain has to do with it is in tests/recovery.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};

use support::bus::Bus;
use support::gateway::{Gateway, bearer, identify};
use support::{Home, PASSPHRASE, Run, VALUE, chmod};

const MASTER: &str = "bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy";
const TOKEN: &str = "bGVuc2VyZmlnaHQtZ2F0ZXdheS1iZWFyZXI__d2ViLXBhaXI";
const DEVICE: &str = "bGVuc2VyZmlnaHQtZ2F0ZXdheQ__ZGV2aWNlOmFjdGl2ZQ";
const KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n";

/// Makes one of its files in a root.
fn leave(root: &Path, name: &str, secret: &str) -> PathBuf {
    let dir = root.join("gateway/keys");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), secret).unwrap();
    dir.join(name)
}

fn default_root(home: &Home) -> PathBuf {
    home.path().join(".lenserfight")
}

fn token() -> String {
    "t".repeat(42) + "A"
}

/// A machine without a keychain whose passphrase is in a file.
fn with_file(home: &Home, run: Run) -> Run {
    let file = home.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    chmod(&file, 0o600);
    run.env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", file)
}

#[test]
fn without_a_keychain_a_browser_stays_paired_and_no_plaintext_stays() {
    let (home, _) = Home::with_key();
    let root = default_root(&home);
    let files = [leave(&root, MASTER, PASSPHRASE), leave(&root, TOKEN, &token())];
    // Without a passphrase anywhere else nothing is removed, and the way is named.
    let refused = home.bare("keys adopt").fails(1, "keychain_unavailable");
    assert!(refused.err.contains("lf keys adopt again"), "{refused}");
    assert!(files.iter().all(|file| file.exists()));
    let adopted = with_file(&home, home.bare("keys adopt")).ok();
    assert!(adopted.out.contains("is still valid"), "{adopted}");
    assert!(!files.iter().any(|file| file.exists()));
    with_file(&home, home.bare("keys doctor")).ok();
    let gateway = Gateway::run(with_file(&home, home.bare("gateway serve --keys-only --port 0")));
    let answer = gateway.ask("GET /keys", &[("Authorization", &bearer(&token()))], "");
    assert_eq!(answer.status, 200);
    let list = fs::read_to_string(root.join("gateway/pairings.json")).unwrap();
    assert!(list.contains("takenOverAt") && !list.contains(&token()), "{list}");
}

#[test]
fn a_token_alone_needs_no_passphrase_and_is_dropped_if_it_is_dead_or_could_be_guessed() {
    for (text, is_paired, is_good) in
        [(token(), false, true), (token(), true, false), ("guess me".to_owned(), false, false)]
    {
        let (home, _) = Home::with_key();
        let file = leave(&default_root(&home), TOKEN, &text);
        if is_paired {
            home.lf("gateway pair").ok();
        }
        let adopted = home.bare("keys adopt").ok();
        assert_eq!(adopted.out.contains("is still valid"), is_good, "{adopted}");
        assert_eq!(adopted.out.contains("is dropped"), !is_good, "{adopted}");
        assert!(!file.exists());
    }
}

#[test]
fn a_token_that_was_taken_over_once_is_not_taken_over_again() {
    let (home, bus) = Home::with_keychain();
    let root = default_root(&home);
    let adopts = || {
        let file = leave(&root, TOKEN, &token());
        let adopted = bus.on(home.bare("keys adopt")).ok();
        assert!(!file.exists());
        adopted.out.contains("is still valid")
    };
    assert!(adopts());
    fs::remove_file(root.join("gateway/pairings.json")).unwrap();
    let entry = ["clear", "service", "lenserfight-gateway-bearer", "account", "web-pair"];
    assert_eq!(bus.run("secret-tool", &entry).status, Some(0));
    assert!(!adopts(), "the keychain remembers");
    assert!(bus.on(home.bare("gateway pairings --json")).ok().out.contains("[]"));
}

#[test]
fn the_passphrase_that_the_environment_reads_from_the_file_itself_is_not_erased() {
    let (home, _) = Home::with_key();
    let file = leave(&default_root(&home), MASTER, PASSPHRASE);
    chmod(&file, 0o600);
    let [hard, soft] = ["hard", "soft"].map(|name| home.path().join(name));
    fs::hard_link(&file, &hard).unwrap();
    std::os::unix::fs::symlink(&file, &soft).unwrap();
    for path in [&file, &hard, &soft] {
        let run = home.bare("keys adopt").env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", path);
        let refused = run.fails(2, "refused");
        assert!(refused.err.contains(MASTER) && refused.err.contains("rm "), "{refused}");
    }
    let command = format!("cat {}", file.display());
    home.bare("keys adopt").env("LENSERFIGHT_KEYS_PASSPHRASE_COMMAND", command).fails(2, "refused");
    let other = "another passphrase than this";
    home.bare("keys adopt").env("LENSERFIGHT_KEYS_PASSPHRASE", other).fails(2, "refused");
    assert_eq!(fs::read_to_string(&file).unwrap(), PASSPHRASE);
    fs::remove_file(hard).unwrap();
    home.lf("keys adopt").ok();
    assert!(!file.exists());
}

#[test]
fn the_devices_key_moves_into_the_keychain_as_it_is() {
    let (home, bus) = Home::with_keychain();
    let file = leave(&default_root(&home), DEVICE, KEY);
    let report = bus.on(home.bare("keys doctor")).fails(3, "checks_failed");
    assert!(report.out.contains("the private key of the device in the clear"), "{report}");
    bus.on(home.bare("keys adopt")).ok();
    assert!(!file.exists());
    assert_eq!(bus.lookup("lenserfight-gateway", "device:active"), KEY);
    // Another one than the keychain's is not removed without a word.
    leave(&default_root(&home), DEVICE, "another");
    bus.on(home.bare("keys adopt")).fails(2, "refused");
    assert!(file.exists());
    assert_eq!(bus.lookup("lenserfight-gateway", "device:active"), KEY);
}

#[test]
fn without_a_keychain_the_devices_key_is_dropped_only_if_somebody_says_so() {
    let (home, _) = Home::with_key();
    let root = default_root(&home);
    let files = [leave(&root, DEVICE, KEY), leave(&root, TOKEN, &token())];
    let adopt = |arguments: &str| with_file(&home, home.bare(arguments)).off_terminal();
    let refused = adopt("keys adopt").fails(2, "refused");
    assert!(refused.err.contains("lf keys adopt --yes"), "{refused}");
    assert!(files.iter().all(|file| file.exists()), "nothing was changed");
    let adopted = adopt("keys adopt --yes").ok();
    assert!(adopted.out.contains("private key of the device is dropped"), "{adopted}");
    assert!(!files.iter().any(|file| file.exists()));
}

#[test]
fn another_root_does_not_hide_what_is_left_in_the_home() {
    let (home, bus) = Home::with_keychain();
    let other = home.path().join("other");
    let files = [
        leave(&default_root(&home), DEVICE, KEY),
        leave(&default_root(&home), TOKEN, &token()),
        leave(&other, TOKEN, &token()),
    ];
    let there =
        |arguments: &str| bus.on(home.bare(arguments)).env("LENSERFIGHT_RUNTIME_DIR", &other);
    chmod(&other, 0o700);
    there("keys init").ok();
    let report = there("keys doctor").fails(3, "checks_failed");
    assert_eq!(report.out.matches("FAIL  plaintext_passphrase").count(), 3, "{report}");
    there("keys adopt").ok();
    assert!(!files.iter().any(|file| file.exists()));
    there("keys doctor").ok();
    // Each root has its own browser.
    for pairings in [there("gateway pairings"), bus.on(home.bare("gateway pairings"))] {
        assert!(pairings.ok().out.contains("web-pair"));
    }
}

#[test]
fn its_temporary_files_go_with_fix_unless_they_may_be_the_only_copy() {
    let (home, id) = Home::with_key();
    let text = fs::read_to_string(home.file(&id)).unwrap();
    let gone = "g".repeat(32);
    let keys = home.keys();
    for (name, content) in [
        (format!("{id}.json.next"), text.as_str()),
        (format!("{id}.json.4711.tmp"), "{\"v\":1,"),
        (format!("{id}.tmp"), ""),
        (format!("{gone}.json.tmp"), "{\"v\":1,"),
    ] {
        fs::write(keys.join(name), content).unwrap();
    }
    let only = keys.join(format!("{gone}.json.next"));
    fs::write(&only, text.replace(&id, &gone)).unwrap();
    fs::write(keys.join("note.tmp"), "mine").unwrap();
    assert_eq!(home.bare("keys list").ok().out.lines().count(), 2);
    let report = home.lf("keys doctor").fails(3, "checks_failed");
    assert_eq!(report.out.matches("FAIL  temporary_files").count(), 4, "{report}");
    home.lf("keys doctor --fix").go();
    let left = [format!("{id}.json"), format!("{gone}.json.next"), "note.tmp".to_owned()];
    let mut left: Vec<String> = left.into();
    left.sort();
    assert_eq!(home.names(), left);
    home.lf(&format!("keys restore {}", keys.display())).ok();
    assert_eq!(home.value(&gone), VALUE);
}

#[test]
fn a_session_is_found_where_the_predecessor_keeps_it() {
    let (home, bus) = Home::with_keychain();
    identify(&home, &bus);
    let root = default_root(&home);
    fs::create_dir_all(root.join("profiles/lab")).unwrap();
    let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
    let says = |profile: &str| {
        let run = bus.on(home.bare("gateway doctor")).env("LF_PROFILE", profile);
        run.go().out.contains("pass  session_present")
    };
    assert!(!says(""));
    write("config.json", r#"{"authToken":"x"}"#);
    assert!(says(""));
    assert!(!says("work"), "it is of another profile");
    write("config.json", "{}");
    write("profiles/work.json", r#"{"authToken":"x"}"#);
    write("profiles/lab/config.json", r#"{"authToken":"x"}"#);
    write("profiles/empty.json", "{}");
    assert!(!says(""), "none is in use");
    assert!(says("work") && says("lab") && !says("empty") && !says("gone"));
    for (active, is_found) in [("work\n", true), ("empty", false), ("../profiles/work", false)] {
        write("profiles/.active", active);
        assert_eq!(says(""), is_found, "{active}");
    }
    assert!(says("work"), "the variable comes first");
    drop(bus);
}

#[test]
fn init_names_adopt_where_the_passphrase_is_left_and_not_for_a_token() {
    let (home, _) = Home::with_key();
    let bus = Bus::with_keyring(&home);
    let root = default_root(&home);
    leave(&root, TOKEN, &token());
    let refused = bus.on(home.bare("keys init")).fails(2, "refused");
    assert!(!refused.err.contains("lf keys adopt"), "{refused}");
    leave(&root, MASTER, PASSPHRASE);
    let refused = bus.on(home.bare("keys init")).fails(2, "refused");
    assert!(refused.err.contains("lf keys adopt"), "{refused}");
}

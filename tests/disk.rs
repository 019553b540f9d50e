//! What the file system may do to us: links, foreign things under our names, no space, no rights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use support::{Home, VALUE, chmod, mode};

/// Every command that touches the one key of a store.
const COMMANDS: [&str; 5] = [
    "keys rotate --",
    "keys rotate --new-value --",
    "keys update --label New --",
    "keys remove --yes --",
    "keys export --i-understand --",
];

#[test]
fn a_link_in_place_of_a_key_is_refused_by_every_command() {
    let (home, id) = Home::with_key();
    let outside = home.path().join("outside.json");
    fs::rename(home.file(&id), &outside).unwrap();
    let before = fs::read(&outside).unwrap();
    for target in [outside.clone(), home.path().join("dangling")] {
        symlink(&target, home.file(&id)).unwrap();
        for command in COMMANDS {
            let refused = home.lf(&format!("{command} {id}")).fed("v").fails(1, "symlink_refused");
            assert!(refused.err.contains(&id) && !refused.err.contains("outside"), "{refused}");
        }
        let listed = home.lf("keys list").ok();
        assert!(listed.err.contains("symbolic link") && !listed.out.contains(&id), "{listed}");
        assert!(
            fs::symlink_metadata(home.file(&id)).unwrap().is_symlink(),
            "the link itself is left as it is"
        );
        fs::remove_file(home.file(&id)).unwrap();
    }
    assert_eq!(fs::read(&outside).unwrap(), before);
}

#[test]
fn a_link_in_place_of_the_directory_is_refused_however_it_is_written() {
    let (home, id) = Home::with_key();
    let real = home.path().join("real");
    fs::rename(home.keys(), &real).unwrap();
    symlink(&real, home.keys()).unwrap();
    for spelling in
        [home.keys(), home.keys().join(""), home.keys().join("."), home.keys().join("./")]
    {
        for command in COMMANDS
            .map(|command| format!("{command} {id}"))
            .iter()
            .map(String::as_str)
            .chain(["keys list", "keys add --provider openai", "keys init"])
        {
            let refused = home
                .lf(command)
                .env("LENSERFIGHT_KEYS_DIR", &spelling)
                .fed("v")
                .fails(1, "symlink_refused");
            assert_eq!(refused.err.matches("symbolic link").count(), 1, "said once: {refused}");
        }
        home.lf("keys doctor").env("LENSERFIGHT_KEYS_DIR", &spelling).fails(3, "checks_failed");
    }
    fs::remove_file(home.keys()).unwrap();
    symlink(home.path().join("dangling"), home.keys()).unwrap();
    home.lf("keys add --provider openai").input("v").fails(1, "symlink_refused");
    assert!(!home.path().join("dangling").exists());
}

#[test]
fn a_link_above_the_directory_is_the_users_own_business() {
    let (home, id) = Home::with_key();
    fs::rename(home.path().join(".lenserfight"), home.path().join("elsewhere")).unwrap();
    symlink(home.path().join("elsewhere"), home.path().join(".lenserfight")).unwrap();
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn what_is_no_regular_file_is_refused_and_does_not_hang() {
    let (home, id) = Home::with_key();
    let place = home.file(&id);
    let make: [&dyn Fn(&Path); 3] =
        [&|path| drop(fs::create_dir(path)), &|path| drop(UnixListener::bind(path)), &|path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        }];
    for make in make {
        fs::remove_dir(&place).or_else(|_| fs::remove_file(&place)).unwrap();
        make(&place);
        for command in COMMANDS {
            home.lf(&format!("{command} {id}")).fed("v").fails(1, "io_error");
        }
        let listed = home.lf("keys list").ok();
        assert!(listed.err.contains(&id), "{listed}");
        assert!(fs::symlink_metadata(&place).is_ok(), "it is left as it is");
    }
}

#[test]
fn a_file_over_256_kib_is_not_read() {
    let (home, id) = Home::with_key();
    let mut text = fs::read(home.file(&id)).unwrap();
    text.resize(256 * 1024, b' ');
    fs::write(home.file(&id), &text).unwrap();
    assert_eq!(home.value(&id), VALUE, "just within the limit");
    text.push(b' ');
    fs::write(home.file(&id), &text).unwrap();
    assert!(
        home.lf(&format!("keys export --i-understand -- {id}"))
            .fails(1, "corrupt_envelope")
            .err
            .contains("256 KiB")
    );
    // A sparse file of 1 TiB: whoever read it all would not come back.
    fs::File::create(home.file(&id)).unwrap().set_len(1 << 40).unwrap();
    home.lf("keys list").ok();
}

#[test]
fn a_file_where_the_directory_belongs_is_an_error() {
    let home = Home::new();
    fs::create_dir(home.path().join(".lenserfight")).unwrap();
    fs::write(home.keys(), "x").unwrap();
    for command in ["keys list", "keys add --provider openai", "keys init"] {
        home.lf(command).fed("v").fails(1, "io_error");
    }
    assert_eq!(fs::read(home.keys()).unwrap(), b"x");
}

#[test]
fn a_left_over_temporary_file_blocks_nothing_and_is_no_key() {
    let (home, id) = Home::with_key();
    let left = home.keys().join(".lf-0123456789abcdef.tmp");
    fs::copy(home.file(&id), &left).unwrap();
    home.lf("keys rotate Prod").ok();
    assert_eq!(home.lf("keys list").ok().out.lines().count(), 2);
    assert!(left.exists());
}

#[test]
fn a_full_disk_loses_nothing() {
    let (home, id) = Home::with_key();
    // A file system of 32 KiB of our own, filled to the last byte.
    let script = format!(
        "mount -t tmpfs -o size=32k,mode=700 none {keys} && cp {save}/* {keys}/ && touch {keys}/audit.log && \
         {{ cat /dev/zero > {keys}/filler; true; }} 2>/dev/null; \"$0\" \"$@\"; code=$?; rm {keys}/filler; cp {keys}/* {save}/; ls -A {keys} | grep -c tmp >&2; exit $code",
        keys = home.keys().display(),
        save = home.path().join("save").display()
    );
    fs::create_dir(home.path().join("save")).unwrap();
    fs::rename(home.file(&id), home.path().join("save").join(format!("{id}.json"))).unwrap();
    let before = fs::read(home.path().join("save").join(format!("{id}.json"))).unwrap();
    for command in [
        format!("keys rotate -- {id}"),
        format!("keys update --label New -- {id}"),
        "keys add --provider openai".to_owned(),
        "keys rekey --passphrase-stdin".to_owned(),
    ] {
        let full = home
            .lf(&command)
            .fed(VALUE)
            .under(&["unshare", "-rm", "sh", "-c", &script])
            .fails(1, "io_error");
        assert!(
            full.err.contains("No space left") && full.err.ends_with("\n0\n"),
            "no temporary file stays: {full}"
        );
        assert_eq!(fs::read(home.path().join("save").join(format!("{id}.json"))).unwrap(), before);
    }
    // An audit line that finds no room stops nothing.
    let exported = home
        .lf(&format!("keys export --i-understand -- {id}"))
        .under(&["unshare", "-rm", "sh", "-c", &script])
        .ok();
    assert!(
        exported.out == format!("{VALUE}\n")
            && exported.err.contains("could not write this to the audit log"),
        "{exported}"
    );
}

#[test]
fn a_read_only_directory_is_read_and_nothing_more() {
    let (home, id) = Home::with_key();
    support::hand_over(home.path());
    chmod(&home.keys(), 0o500);
    chmod(&home.keys().join("audit.log"), 0o400);
    for command in [
        "keys rotate Prod",
        "keys update Prod --label New",
        "keys remove Prod --yes",
        "keys add --provider openai",
    ] {
        home.lf(command).fed("v").unprivileged().fails(1, "permission_error");
    }
    let listed = home.lf("keys list").unprivileged().ok();
    assert!(
        listed.out.contains(&id) && listed.err.contains("could not write this to the audit log"),
        "{listed}"
    );
    let exported = home.lf("keys export Prod --i-understand").unprivileged().ok();
    assert_eq!(exported.out, format!("{VALUE}\n"));
    chmod(&home.file(&id), 0o000);
    home.lf(&format!("keys export --i-understand -- {id}"))
        .unprivileged()
        .fails(1, "permission_error");
    chmod(&home.keys(), 0o700);
    assert_eq!(home.names(), [format!("{id}.json")], "nothing half-written stays");
}

#[test]
fn a_file_system_without_exclusive_rename_still_creates_exclusively() {
    let home = Home::new();
    let id = home
        .lf("keys add --provider openai")
        .fed(VALUE)
        .inject("renameat2:error=EINVAL")
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert_eq!(home.value(&id), VALUE);
    assert_eq!(home.names(), [format!("{id}.json")]);
}

#[test]
fn an_existing_file_is_never_replaced_by_a_new_key() {
    let home = Home::new();
    home.lf("keys add --provider openai")
        .fed(VALUE)
        .inject("renameat2:error=EEXIST")
        .fails(1, "duplicate_key");
    assert!(home.names().is_empty());
}

#[test]
fn what_is_published_is_synced_first_and_its_directory_after() {
    let (home, id) = Home::with_key();
    for (command, rename) in [
        (format!("keys rotate -- {id}"), "renameat("),
        ("keys add --provider openai".to_owned(), "renameat2("),
    ] {
        let log = home.path().join("strace.log");
        home.lf(&command)
            .fed(VALUE)
            .trace(&log, "openat,write,fsync,renameat,renameat2,flock")
            .ok();
        let log = fs::read_to_string(&log).unwrap();
        let at = |what: &str, from: usize| {
            log[from..]
                .find(what)
                .map(|at| from + at)
                .unwrap_or_else(|| panic!("no {what} in {log}"))
        };
        let lock = at("flock(", 0);
        let opened = at("|O_CREAT|O_EXCL|", lock);
        let written = at("write(", opened);
        let synced = at(".tmp>)", at("fsync(", written));
        let renamed = at(rename, synced);
        at("/keys>)", at("fsync(", renamed));
    }
}

#[test]
fn a_failed_sync_leaves_the_old_file() {
    let (home, id) = Home::with_key();
    let before = fs::read(home.file(&id)).unwrap();
    home.lf("keys rotate Prod").inject("fsync:error=EIO:when=1").fails(1, "io_error");
    assert_eq!(fs::read(home.file(&id)).unwrap(), before);
    assert_eq!(home.names().len(), 1);
    assert_eq!(mode(&home.file(&id)), 0o600);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_loses_nothing() {
    let (home, id) = Home::with_key();
    let gone = home.add("openai", "Gone", VALUE);
    let copy = home.copy();
    fs::remove_file(home.file(&gone)).unwrap();
    let before = fs::read(home.file(&id)).unwrap();
    for command in [
        format!("keys rotate -- {id}"),
        "keys add --provider openai".to_owned(),
        "keys rekey --passphrase-stdin".to_owned(),
        format!("keys restore {}", copy.display()),
    ] {
        let limited = home
            .lf(&command)
            .fed("a passphrase, or a value")
            .under(&["prlimit", "--fsize=100"])
            .fails(1, "io_error");
        assert!(limited.err.contains("File too large"), "{limited}");
        assert_eq!(fs::read(home.file(&id)).unwrap(), before);
        assert_eq!(home.names().len(), 1, "{limited}");
    }
}

#[test]
fn a_directory_that_vanishes_under_a_command_is_an_error_or_made_again() {
    for (command, status) in [
        ("keys update --rotate Prod", 1),
        ("keys rotate --new-value Prod", 1),
        ("keys add --provider openai --label Prod", 0),
    ] {
        let (home, _) = Home::with_key();
        let run = home.lf(command);
        let mut child = run.spawn();
        let waits = || {
            let stack = format!("/proc/{}/stat", child.id());
            fs::read_to_string(stack).is_ok_and(|stat| stat.contains(") S "))
        };
        support::until("waiting for the value", waits);
        let moved = home.path().join("elsewhere");
        fs::rename(home.keys(), &moved).unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"new").unwrap();
        let outcome = run.finish(child);
        assert_eq!(outcome.status, Some(status), "{outcome}");
        assert_eq!(fs::read_dir(moved).unwrap().count(), 2, "what was moved away is whole");
    }
}

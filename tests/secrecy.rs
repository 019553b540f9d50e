//! What must not appear, anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use support::gateway::Gateway;
use support::pty::Terminal;
use support::{Home, PASSPHRASE, VALUE, until};

/// Every file below the home, one after the other.
fn everything_on_disk(home: &Home) -> String {
    fn collect(path: &std::path::Path, all: &mut Vec<u8>) {
        for entry in fs::read_dir(path).unwrap().flatten() {
            all.extend(entry.path().as_os_str().as_bytes());
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), all);
            } else {
                all.extend(fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut all = Vec::new();
    collect(home.path(), &mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn no_output_and_no_file_ever_has_a_value_or_a_passphrase() {
    let home = Home::new();
    let mut said = String::new();
    let id = home.add("openai", "Prod", VALUE);
    for (arguments, input) in [
        ("keys init", ""),
        ("keys add --provider openai --label Second --json", VALUE),
        ("keys add --provider OPENAI", VALUE),
        ("keys add --provider openai sk-test-0123456789abcdefghij", VALUE),
        ("keys add --provider openai --key=sk-test-0123456789abcdefghij", VALUE),
        ("keys add --provider openai --label sk-test-0123456789abcdefghij", VALUE),
        ("keys export sk-test-0123456789abcdefghij --i-understand", VALUE),
        ("keys remove --yes --sk-test-0123456789abcdefghij", VALUE),
        ("sk-test-0123456789abcdefghij", VALUE),
        ("keys sk-test-0123456789abcdefghij", VALUE),
        ("gateway pair --name sk-test-0123456789abcdefghij", VALUE),
        ("gateway consent grant tailscale --yes --notes sk-test-0123456789abcdefghij", VALUE),
        ("gateway pairings", VALUE),
        ("keys list", VALUE),
        ("keys audit --key sk-test-0123456789abcdefghij", VALUE),
        ("keys audit --key=Prod --since sk-test-0123456789abcdefghij", VALUE),
        ("keys audit", VALUE),
        ("keys import --env sk-test-0123456789abcdefghij", VALUE),
        ("keys import --env OPENAI_API_KEY=sk-test-0123456789abcdefghij", VALUE),
        ("keys rotate --all", VALUE),
        ("keys rotate Prod --new-value", VALUE),
        ("keys update Prod --rotate --label New", VALUE),
        ("keys export New", VALUE),
        ("keys doctor", VALUE),
        ("keys doctor --json", VALUE),
        ("keys remove New --yes", VALUE),
        ("keys rotate New", VALUE),
    ] {
        let outcome = home.lf(arguments).fed(input).go();
        said.push_str(&format!("{}{}", outcome.out, outcome.err));
    }
    for text in [&said, &everything_on_disk(&home)] {
        assert!(!text.contains(VALUE) && !text.contains("0123456789abcdefghij"), "{text}");
        assert!(!text.contains(PASSPHRASE), "{text}");
    }
    assert!(said.contains(&id));
}

#[test]
fn a_wrong_passphrase_is_not_repeated() {
    let (home, _) = Home::with_key();
    for wrong in ["hunter2-hunter2-hunter2", "short"] {
        for arguments in [
            "keys export Prod --i-understand",
            "keys add --provider openai",
            "keys doctor",
            "keys init",
        ] {
            let outcome =
                home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", wrong).fed(VALUE).go();
            assert!(!outcome.err.contains(wrong) && !outcome.out.contains(wrong), "{outcome}");
        }
    }
}

#[test]
fn what_is_typed_is_not_shown() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai --label Mine"));
    terminal.sees("not shown").types("sk-wrong\u{15}sk-typos\u{7f}\u{7f}ed\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains("sk-") && !screen.contains("typ"), "{screen}");
    assert_eq!(home.value("Mine"), "sk-typed");
}

#[test]
fn a_long_paste_arrives_whole() {
    let home = Home::new();
    let value = "0123456789abcdef".repeat(4096);
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai --label Long"));
    terminal.sees("not shown");
    for piece in value.as_bytes().chunks(1024) {
        terminal.types(std::str::from_utf8(piece).unwrap());
    }
    let (status, screen) = {
        terminal.types("\r");
        terminal.ends()
    };
    assert_eq!(status, Some(0), "{screen}");
    assert_eq!(home.value("Long"), value);
}

#[test]
fn the_process_hardens_itself_before_it_does_anything() {
    let home = Home::new();
    let run = home.lf("keys add --provider openai");
    let mut child = run
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", child.id()));
    // It waits for a value now; what it is like while it does is what counts.
    until("umask 077", || {
        fs::read_to_string(proc.join("status")).unwrap().contains("Umask:\t0077")
    });
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(
        core.split_whitespace().nth(4),
        Some("0"),
        "{core}: the maximum is a program's that lf keys run starts"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let log = home.path().join("strace.log");
    home.lf("keys list").trace(&log, "prctl,open,openat,umask,prlimit64").ok();
    let log = fs::read_to_string(&log).unwrap();
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("no {what} in {log}"));
    let ours = at(".lenserfight");
    assert!(
        at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE") < ours
            && at("umask(") < ours
            && at("RLIMIT_CORE, {rlim_cur=0, ") < ours,
        "{log}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn another_process_of_the_same_user_cannot_read_it() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        // Without root the test's own user is the other process, and the kernel answers directly.
        let home = Home::new();
        let mut child = home.lf("keys add --provider openai").spawn();
        let environ = format!("/proc/{}/environ", child.id());
        until("a closed /proc entry", || fs::read(&environ).is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    let home = Home::new();
    std::os::unix::fs::chown(home.path(), Some(65534), Some(65534)).unwrap();
    let mut command = home.lf("keys add --provider openai").command();
    let mut child = command
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let environ = format!("/proc/{}/environ", child.id());
    let can_read = || {
        std::process::Command::new("cat")
            .arg(&environ)
            .uid(65534)
            .gid(65534)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    until("a closed /proc entry", || !can_read());
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The binary has the allocator that tests/wiped.rs tests: a header is in several blocks of memory
/// that nobody wipes but this, and all of them have been freed once its connection has closed.
#[cfg(target_os = "linux")]
#[test]
fn a_running_gateway_has_nothing_left_of_a_request() {
    let home = Home::new();
    let serve = home.lf("gateway serve --keys-only --port 0");
    // Nobody else may look into its memory; whoever made its user namespace may.
    let is_root = rustix::process::geteuid().is_root();
    let serve = if is_root { serve } else { serve.under(&["unshare", "-r"]) };
    let gateway = Gateway::run(serve);
    let (_, descriptors, _) = gateway.weight();
    let marker = "trace-of-a-header-";
    let header = marker.repeat(64);
    for _ in 0..3 {
        let answer = gateway.ask("GET /healthz", &[("X-Trace", &header)], "");
        assert_eq!(answer.status, 200);
    }
    gateway.settles(descriptors);
    let is_seen = |area: &Vec<u8>| area.windows(marker.len()).any(|it| it == marker.as_bytes());
    // The thread of a connection has a moment more to go than its descriptor.
    until("memory without the header", || !memory(gateway.pid()).iter().any(is_seen));
}

/// What a process can write to, area by area.
#[cfg(target_os = "linux")]
fn memory(pid: u32) -> Vec<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let areas = maps.lines().filter(|line| line.contains(" rw-p "));
    let areas = areas.filter_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut area = vec![0; usize::try_from(end - start).unwrap()];
        memory.read_exact_at(&mut area, start).ok().map(|()| area)
    });
    let areas: Vec<_> = areas.collect();
    assert!(areas.iter().map(Vec::len).sum::<usize>() > 64 * 1024, "{maps}");
    areas
}

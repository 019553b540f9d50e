//! What is Windows' own, under wine (`make windows-check`): the console, access lists, how programs are found and
//! end, and commands that are killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::gateway::Gateway;
use support::pty::Terminal;
use support::{Home, PASSPHRASE, VALUE, chmod, until, wine};

/// How wine shows the prompt: it moves behind it without a space.
const PROMPT: &str = "end with Enter):";

#[test]
fn what_is_typed_is_stored_and_never_shown() {
    let home = Home::new();
    let run = home.lf("keys add --provider openai --label Prod");
    let mut terminal = Terminal::start(&run);
    terminal.sees(PROMPT).types("sk-test-wrong\u{15}").types(VALUE).types("\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("added ") && !screen.contains("sk-test"), "{screen}");
    assert_eq!(home.value("Prod"), VALUE);
}

#[test]
fn of_several_pasted_lines_none_is_stored() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai"));
    terminal.sees(PROMPT).types("sk-test-first\rsecond\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(2), "{screen}");
    assert!(screen.contains("you pasted several lines"), "{screen}");
    assert!(home.names().is_empty(), "{:?}", home.names());
}

#[test]
fn ctrl_c_at_a_prompt_ends_it_and_nothing_is_stored() {
    let home = Home::new();
    let run = home.lf("keys add --provider openai").at_terminal();
    let mut terminal = Terminal::start(&run);
    terminal.sees(PROMPT).types("sk-test-half\u{3}");
    let (_, screen) = terminal.ended();
    assert!(!screen.contains("sk-test") && !screen.contains("added"), "{screen}");
    assert!(home.names().is_empty(), "{:?}", home.names());
}

#[test]
fn a_question_takes_yes_alone() {
    let (home, id) = Home::with_key();
    for (answer, status) in [("no\r", 2), ("yes\r", 0)] {
        let mut terminal = Terminal::start(&home.words(&["keys", "remove", "--", &id]));
        terminal.sees("Type").types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(status), "{screen}");
    }
    assert!(home.names().is_empty());
}

#[test]
fn a_console_gets_text_and_a_pipe_gets_utf_8() {
    let home = Home::new();
    home.add("openai", "Zoë Łódź", VALUE);
    let (_, screen) = Terminal::start(&home.lf("keys list")).ends();
    assert!(screen.contains("Zoë Łódź"), "{screen}");
    let piped = home.lf("keys list").ok();
    assert!(piped.out.contains("Zoë Łódź"), "{piped}");
}

#[test]
fn ctrl_c_ends_a_gateway_in_order() {
    let (home, _) = Home::with_key();
    let gateway = Gateway::start(&home);
    assert!(gateway.is_well());
    // Connections that say nothing do not hold it up.
    let _silent = [gateway.connect(), gateway.connect()];
    let start = std::time::Instant::now();
    gateway.signal(Signal::INT);
    let ended = gateway.wait();
    assert_eq!(ended.status, Some(0), "{ended}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn the_gateway_is_no_service_and_install_names_the_command() {
    let home = Home::new();
    let refused = home.lf("gateway install --keys-only").fails(1, "no_service_manager");
    assert!(refused.err.contains("lf gateway serve --keys-only"), "{refused}");
    assert_eq!(home.lf("gateway uninstall").go().status, Some(0));
}

#[test]
fn a_store_that_others_can_reach_is_a_failure_and_can_be_mended() {
    let (home, id) = Home::with_key();
    assert_eq!(mode_for_others(&home.file(&id)), 0);
    assert_eq!(mode_for_others(&home.keys()), 0);
    home.lf("keys doctor").ok();
    for path in [home.file(&id), home.keys()] {
        chmod(&path, 0o755);
        let told = home.lf("keys doctor").fails(3, "checks_failed");
        assert!(told.out.contains("FAIL  modes: the access list of "), "{told}");
        home.lf("keys doctor --fix").ok();
        assert_eq!(mode_for_others(&path), 0);
    }
    assert_eq!(home.value(&id), VALUE);
}

#[test]
fn a_passphrase_file_that_others_can_read_is_refused() {
    let (home, id) = Home::with_key();
    let file = home.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    let run = || {
        let run = home.words(&["keys", "export", "--i-understand", "--", &id]);
        run.env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", &file)
    };
    chmod(&file, 0o644);
    let refused = run().fails(2, "passphrase_invalid");
    assert!(refused.err.contains("icacls"), "{refused}");
    chmod(&file, 0o600);
    assert_eq!(run().ok().out.trim_end(), VALUE);
}

#[test]
fn a_rekey_leaves_nothing_for_the_doctor() {
    let home = Home::new();
    home.bare("keys init").ok();
    home.bare("keys add --provider openai --label Prod").input(VALUE).ok();
    home.bare("keys rekey").ok();
    assert!(!home.keys().join(".rekey").exists());
    home.bare("keys doctor").ok();
    let value = home.bare("keys export --i-understand Prod").ok();
    assert_eq!(value.out.trim_end(), VALUE);
}

/// A directory in the search path of `lf.exe` with this program.
fn with_program(home: &Home, name: &str, text: &str) -> String {
    let dir = home.path().join("bin");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), text.replace('\n', "\r\n")).unwrap();
    format!("Z:{}", dir.display().to_string().replace('/', "\\"))
}

#[test]
fn a_program_is_found_by_its_ending_and_gets_the_key_and_its_words() {
    let (home, _) = Home::with_key();
    let text = "@echo off\necho [%OPENAI_API_KEY%] [%LENSERFIGHT_KEYS_PASSPHRASE%] %*\nexit /b 7\n";
    let path = with_program(&home, "npm.cmd", text);
    let run = home.words(&["keys", "run", "--key", "openai", "--", "npm", "run", "a b"]);
    let ran = run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).env("WINEPATH", &path).go();
    assert_eq!(ran.status, Some(7), "{ran}");
    assert_eq!(ran.out.trim_end(), format!("[{VALUE}] [] run \"a b\""), "{ran}");
    let run = home.words(&["keys", "run", "--key", "openai", "--", "npn"]);
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
        .env("WINEPATH", &path)
        .fails(127, "command_not_found");
}

#[test]
fn a_program_does_not_outlive_lf_and_ctrl_c_is_for_the_program() {
    let (home, _) = Home::with_key();
    let wait = ["keys", "run", "--key", "openai", "--", "ping", "-n", "600", "127.0.0.1"];
    let run = || home.words(&wait).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
    let mut lf = run().command().stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    until("the program", || !programs(&home, "ping").is_empty());
    // The program has the value, so that lf has it no more from the next moment on.
    until("a memory without the value", || {
        !memory(lf.id()).windows(VALUE.len()).any(|window| window == VALUE.as_bytes())
    });
    lf.kill().unwrap();
    lf.wait().unwrap();
    until("the end of the program", || programs(&home, "ping").is_empty());

    let mut terminal = Terminal::start(&run().at_terminal());
    until("the program", || !programs(&home, "ping").is_empty());
    terminal.types("\u{3}");
    let (_, _) = terminal.ended();
    until("the end of the program", || programs(&home, "ping").is_empty());
}

#[test]
fn killed_at_any_moment_a_command_loses_nothing() {
    let (home, id) = Home::with_key();
    let mut values = vec![VALUE.to_owned()];
    for round in 0_u64..30 {
        let new = format!("sk-test-round-{round}-0123456789");
        let run = match round % 3 {
            0 => home.words(&["keys", "rotate", "--new-value", "--", &id]).input(new.as_str()),
            1 => home.words(&["keys", "rotate", "--", &id]),
            _ => home.lf("keys add --provider mistral").input("sk-test-another-0123456789"),
        };
        if round % 3 == 0 {
            values.push(new);
        }
        let mut lf = run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).start();
        thread::sleep(Duration::from_millis(60 + round * 13));
        lf.kill().unwrap();
        lf.wait().unwrap();
        let value = home.value(&id);
        assert!(values.contains(&value), "{value} in round {round}");
        values = vec![value];
        home.lf("keys list --json").ok();
    }
    home.lf("keys doctor --fix").ok();
    home.lf("keys doctor").ok();
}

#[test]
fn killed_at_any_moment_a_rekey_is_undone_or_finished() {
    let home = Home::new();
    home.bare("keys init").ok();
    for label in ["One", "Two"] {
        let run = home.words(&["keys", "add", "--provider", "openai", "--label", label]);
        run.input(label).ok();
    }
    for round in 0..12 {
        let mut lf = home.bare("keys rekey").start();
        thread::sleep(Duration::from_millis(80 + round * 70));
        lf.kill().unwrap();
        lf.wait().unwrap();
        for label in ["One", "Two"] {
            let value = home.bare(&format!("keys export --i-understand {label}")).ok();
            assert_eq!(value.out.trim_end(), label, "{value}");
        }
    }
    let _ = home.bare("keys rekey --finish").go();
    home.bare("keys doctor --fix").go();
    home.bare("keys doctor").ok();
    assert!(!home.keys().join(".rekey").exists());
}

/// The Unix processes of this home's Windows that run a program.
fn programs(home: &Home, name: &str) -> Vec<u32> {
    let prefix = wine::environment(home.path())[0].1.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32, file: &str, text: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(text)
    };
    pids.filter(|pid| has(pid, "environ", &prefix) && has(pid, "comm", name)).collect()
}

/// What this process may write of its memory.
fn memory(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut words = line.split([' ', '-']);
        let place = |word: Option<&str>| u64::from_str_radix(word.unwrap(), 16).unwrap();
        let (from, to) = (place(words.next()), place(words.next()));
        if words.next().unwrap().starts_with("rw") && to - from < 1 << 28 {
            let mut part = vec![0; usize::try_from(to - from).unwrap()];
            if file.read_exact_at(&mut part, from).is_ok() {
                all.extend(part);
            }
        }
    }
    all
}

/// What everybody may do, in Unix's terms, which wine makes of an access list.
fn mode_for_others(path: &Path) -> u32 {
    support::mode(path) & 0o007
}

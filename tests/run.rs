//! `lf keys run`: the program gets the keys that were named, and a process as if a shell had started it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use support::bus::Bus;
use support::pty::Terminal;
use support::{Home, PASSPHRASE, Run, VALUE, chmod, hand_over, wait};

const TOKEN: &str = "ghp_0123456789abcdefghijklmnop";

/// Whoever starts the tests in the background of a script has them ignore an interrupt, and that stays
/// so for what they start.
const HEARING: &[&str] = &["env", "--default-signal=INT,TERM"];

/// A home with two keys, `Prod` of openai and `Two` of github.
fn two_keys() -> (Home, [String; 2]) {
    let (home, one) = Home::with_key();
    let two = home.add("github", "Two", TOKEN);
    (home, [one, two])
}

/// `lf keys run FLAGS -- COMMAND`.
fn run(home: &Home, flags: &str, command: &[&str]) -> Run {
    let mut words = vec!["keys", "run"];
    words.extend(flags.split_whitespace());
    words.push("--");
    words.extend(command);
    let run = home.words(&words);
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
}

fn sh<'a>(script: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["sh", "-c", script], rest].concat()
}

/// The lines of the audit log about `run`, without their times.
fn told(home: &Home) -> Vec<String> {
    let log = home.audit();
    let lines = log.lines().filter(|line| line.contains(r#""kind":"run""#));
    lines.map(|line| line.split_once(r#""kind":"run","#).unwrap().1.to_owned()).collect()
}

fn script(home: &Home, name: &str, text: &str) -> String {
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    chmod(&path, 0o755);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_environment_has_the_keys_that_were_named_and_no_way_to_the_passphrase() {
    let (home, _) = two_keys();
    home.add("my-own", "Own", "v");
    let file = script(&home, "passphrase", PASSPHRASE);
    chmod(Path::new(&file), 0o600);
    let flags = "--key openai --key=Own --env TOKEN_1=Two --env _=Prod";
    let given = format!(
        "HOME={}\nMY_OWN_API_KEY=v\nOPENAI_API_KEY={VALUE}\nOTHER=kept\nPATH={}\nTOKEN_1={TOKEN}\n_={VALUE}\n",
        home.path().display(),
        std::env::var("PATH").unwrap()
    );
    // What the kernel has of it, not what a program makes of that.
    let print = sh("tr '\\0' '\\n' < /proc/$$/environ | sort", &[]);
    let from_file = home
        .words(
            &[&["keys", "run"], &flags.split(' ').collect::<Vec<_>>()[..], &["--"], &print]
                .concat(),
        )
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", file);
    for run in [run(&home, flags, &print), from_file] {
        let outcome = run
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1")
            .env("OTHER", "kept")
            .env("LC_ALL", "")
            .ok();
        assert_eq!(outcome.out.replace("LC_ALL=\n", ""), given, "{outcome}");
        assert!(outcome.err.is_empty(), "{outcome}");
    }
}

#[test]
fn the_credentials_of_a_unit_stay_the_units() {
    let (home, _) = Home::with_key();
    let dir = home.path().join("credentials");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("lenserfight-keys-passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    chmod(&file, 0o400);
    let command = home
        .bare("keys run --key Prod -- printenv OPENAI_API_KEY CREDENTIALS_DIRECTORY")
        .env("CREDENTIALS_DIRECTORY", &dir);
    assert_eq!(command.ok().out, format!("{VALUE}\n{}\n", dir.display()));
}

#[test]
fn the_process_becomes_the_program() {
    let (home, _) = Home::with_key();
    for (script, status) in [("exit 0", Some(0)), ("exit 3", Some(3)), ("exit 255", Some(255))] {
        let outcome = run(&home, "--key Prod", &sh(script, &[])).go();
        assert_eq!(outcome.status, status, "{outcome}");
    }
    let run = run(&home, "--key Prod", &sh("echo $$; exec cat", &[])).under(HEARING);
    let mut child = run.spawn();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), child.id().to_string());
    // Held open, so that nothing but the signal ends it.
    let input = child.stdin.take();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(wait(child).status.signal(), Some(2));
    drop(input);
}

#[test]
fn a_signal_is_the_programs_to_handle() {
    let (home, _) = Home::with_key();
    let script = "trap 'echo caught; exit 42' INT TERM; echo ready; while :; do read line; done";
    for signal in [Signal::INT, Signal::TERM] {
        let run = run(&home, "--key Prod", &sh(script, &[])).under(HEARING);
        let mut child = run.spawn();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = String::new();
        out.read_line(&mut lines).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Held open, so that nothing but the signal ends it; the line is for a shell that hears the signal
        // right before it begins to read.
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(b"\n");
        out.read_line(&mut lines).unwrap();
        assert_eq!(lines, "ready\ncaught\n");
        assert_eq!(wait(child).status.code(), Some(42));
    }
}

#[test]
fn standard_input_and_the_terminal_are_the_programs() {
    let (home, _) = Home::with_key();
    let passed = run(&home, "--key Prod", &["cat"]).input("a\0b").ok();
    assert_eq!(passed.out, "a\0b");
    let script = "test -t 0 && test -t 1 && test -t 2 && stty -a | grep -o ' echo ' && read -r line && echo \"got:$line:\"";
    let mut terminal = Terminal::start(&run(&home, "--key Prod", &sh(script, &[])));
    terminal.sees("echo").types("typed\r").sees("got:typed:");
    assert_eq!(terminal.ends().0, Some(0));
}

#[test]
fn the_program_finds_the_process_as_a_shell_would_hand_it_over() {
    let (home, _) = Home::with_key();
    let bus = Bus::with_keyring(&home);
    let init = bus.on(home.lf("keys init --force")).go();
    assert_eq!(init.status, Some(0), "{init}");
    let wrapper = sh(
        "umask 027; ulimit -c 1000; ulimit -S -c 7; ulimit -S -n 200; ulimit -f 100000; exec env --block-signal=USR1 --ignore-signal=HUP \"$@\"",
        &["sh"],
    );
    let looks: [&[&str]; 4] = [
        &["grep", "-E", "^(Umask|Shd|Sig[^Q]|Cap|NoNew|Seccomp:|Threads)", "/proc/self/status"],
        &["cat", "/proc/self/limits"],
        &["ls", "/proc/self/fd"],
        // Root's, if it were not dumpable.
        &["stat", "--format=%u:%g", "/proc/self/environ"],
    ];
    for look in looks {
        let argv = [&wrapper, look].concat();
        let plain = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
        let plain = String::from_utf8(plain.stdout).unwrap();
        assert!(!plain.is_empty(), "{look:?}");
        let mut words = vec!["keys", "run", "--key", "Prod", "--"];
        words.extend(look);
        // With the keychain, because that is what takes sockets and threads.
        let ours = bus.on(home.words(&words)).under(&wrapper).ok();
        assert_eq!(standard(&ours.out), standard(&plain), "{look:?}");
    }
}

/// Without the signals above 31, two of which glibc takes for its own threads.
fn standard(text: &str) -> String {
    let line = |line: &str| match line.split_once(":\t") {
        Some((name, mask)) if name.starts_with("Sig") => {
            let mask = u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
            format!("{name} {mask:x}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_program_can_be_looked_at_by_its_own_user() {
    let (home, _) = Home::with_key();
    hand_over(home.path());
    let command = run(&home, "--key Prod", &sh("stat --format=%u /proc/$$/environ; id -u", &[]));
    let out = command.unprivileged().ok().out;
    let (owner, user) = out.trim_end().split_once('\n').unwrap();
    assert_eq!(owner, user);
}

#[test]
fn a_program_that_writes_into_a_closed_pipe_dies_of_it() {
    let (home, _) = Home::with_key();
    // Rust ignores SIGPIPE; a program that inherited that would write for ever.
    let outcome =
        run(&home, "--key Prod", &sh("yes | head -n 1; kill -PIPE $$; echo alive", &[])).go();
    assert_eq!((outcome.status, outcome.out.as_str()), (None, "y\n"), "{outcome}");
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let (home, _) = Home::with_key();
    let odd: [&[u8]; 7] =
        [b"\xff\xfe", b"", b"--", b"--help", b"--key", b"sk-abcdefghijklmnop", b"a b\n"];
    let mut command = run(&home, "--key Prod", &["printf", "<%s>"]).command();
    let output = command.args(odd.map(OsStr::from_bytes)).output().unwrap();
    let expected: Vec<u8> = odd.iter().flat_map(|word| [b"<", *word, b">"].concat()).collect();
    assert_eq!(output.stdout, expected);
    assert_eq!(output.status.code(), Some(0));
    let own_name = run(&home, "--key Prod", &sh("tr '\\0' ' ' < /proc/$$/cmdline", &["x"])).ok();
    assert_eq!(own_name.out, "sh -c tr '\\0' ' ' < /proc/$$/cmdline x ");
}

#[test]
fn a_value_on_standard_input_is_itself_and_nothing_else() {
    let (home, _) = two_keys();
    let largest = "0123456789abcdef".repeat(4096);
    home.add("mistral", "Large", &largest);
    home.add("mistral", "Nul", "a\0b");
    for (label, value) in [("Two", TOKEN), ("Large", &largest), ("Nul", "a\0b")] {
        let outcome = run(&home, &format!("--stdin {label}"), &["cat"]).input("not this").ok();
        assert_eq!(outcome.out, value, "{label}");
    }
    let both = "--stdin Two --key Prod --env SAME=Two";
    let script = "read -r line || true; echo $line:$OPENAI_API_KEY:$SAME; readlink /proc/self/fd/0";
    let out = run(&home, both, &sh(script, &[])).ok().out;
    assert!(out.starts_with(&format!("{TOKEN}:{VALUE}:{TOKEN}\npipe:")), "{out}");
}

#[test]
fn a_value_that_no_pipe_holds_arrives_all_the_same() {
    let (home, _) = Home::with_key();
    for fault in ["write:error=EAGAIN:when=1", "write:retval=5:when=1"] {
        // Words of the shell alone: what it would start has a first write of its own.
        let script = "read -r line; test -f /dev/stdin && echo \"$line\"";
        let outcome = run(&home, "--stdin Prod", &sh(script, &[]));
        let outcome = outcome.inject(fault).ok();
        assert_eq!(outcome.out, format!("{VALUE}\n"), "{fault}: {outcome}");
    }
    let outcome = run(&home, "--stdin Prod", &["true"]).inject("write:error=EIO:when=1");
    outcome.fails(1, "io_error");
    assert!(told(&home).pop().unwrap().contains("io_error"));
}

#[test]
fn a_variable_that_is_set_stays_unless_told() {
    let (home, _) = two_keys();
    let print = ["printenv", "OPENAI_API_KEY"];
    let with = |flags: &str, value: &str| run(&home, flags, &print).env("OPENAI_API_KEY", value);
    for flags in ["--key Prod", "--env OPENAI_API_KEY=Two", "--stdin Two --key openai"] {
        let outcome = with(flags, "mine").fails(2, "refused");
        assert!(
            outcome.err.contains("OPENAI_API_KEY") && outcome.err.contains("--override"),
            "{outcome}"
        );
        assert!(outcome.out.is_empty() && !outcome.err.contains("mine"), "{outcome}");
    }
    for (flags, before, after) in [
        ("--key Prod --override", "mine", VALUE),
        ("--key Prod", "", VALUE),
        ("--key Two", "mine", "mine"),
    ] {
        assert_eq!(with(flags, before).ok().out, format!("{after}\n"), "{flags}");
    }
}

#[test]
fn what_cannot_be_done_starts_nothing() {
    let (home, [one, _]) = two_keys();
    home.add("openai", "Second", "sk-second");
    home.add("mistral", "Nul", "a\0b");
    let broken = home.add("groq", "Broken", "v");
    fs::write(home.file(&broken), "{}").unwrap();
    let forged = home.add("xai", "Forged", "v");
    let text = fs::read_to_string(home.file(&forged)).unwrap();
    let other = fs::read_to_string(home.file(&one)).unwrap();
    let tag =
        |text: &str| text.split("\"tag\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    fs::write(home.file(&forged), text.replace(&tag(&text), &tag(&other))).unwrap();
    let mark = home.path().join("started");
    let command = ["touch", mark.to_str().unwrap()];
    let forged_flags = format!("--key Two --env A={forged}");
    for (flags, status, code) in [
        ("--key Nobody", 1, "key_not_found"),
        ("--stdin Nobody --key Two", 1, "key_not_found"),
        ("--key openai", 2, "ambiguous_key"),
        ("--key Prod --key Second", 2, "usage"),
        ("--key Prod --key Prod", 2, "usage"),
        ("--key Prod --env OPENAI_API_KEY=Second", 2, "usage"),
        ("--env A=Prod --env A=Two", 2, "usage"),
        (&format!("--key {broken}"), 1, "corrupt_envelope"),
        (&format!("--env A={broken}"), 1, "corrupt_envelope"),
        (&forged_flags, 1, "decryption_failed"),
        ("--key Nul", 2, "refused"),
        ("", 2, "usage"),
        ("--override", 2, "usage"),
        ("--key sk-abcdefghijklmnop", 2, "secret_in_argv"),
        ("--env OPENAI_API_KEY=sk-abcdefghijklmnop", 2, "secret_in_argv"),
    ] {
        let outcome = run(&home, flags, &command).fails(status, code);
        assert!(!outcome.err.contains("abcdefgh"), "{outcome}");
    }
    let twice = run(&home, "--key Prod --key Second", &command).go();
    assert!(twice.err.contains("OPENAI_API_KEY"), "{twice}");
    let missing = format!("keys run --key Two -- {}", command.join(" "));
    home.bare(&missing).fails(1, "keychain_unavailable");
    let wrong = home.bare(&missing).env("LENSERFIGHT_KEYS_PASSPHRASE", "another passphrase");
    wrong.fails(1, "decryption_failed");
    let without = home.lf("keys run --key Two touch started").fails(2, "usage");
    assert!(without.err.contains("hint: lf keys run --key openai -- CMD"), "{without}");
    assert!(!mark.exists());
    assert!(run(&home, "--key Two", &command).ok().err.is_empty());
    assert!(mark.exists(), "the command itself is right");
}

#[test]
fn a_program_that_cannot_be_run_is_126_or_127_as_in_shells() {
    let (home, _) = Home::with_key();
    let dir = home.path().to_str().unwrap();
    let plain = script(&home, "plain", "echo no\n");
    chmod(Path::new(&plain), 0o644);
    let no_interpreter = script(&home, "orphan", "#!/no/such/interpreter\n");
    let bare_script = script(&home, "bare", "echo \"$1:$OPENAI_API_KEY\"; exit 7\n");
    fs::create_dir(home.path().join("directory")).unwrap();
    let missing = format!("{dir}/missing");
    let below_file = format!("{plain}/x");
    for (program, status, code) in [
        ("no-such-program-anywhere", 127, "command_not_found"),
        ("", 127, "command_not_found"),
        (missing.as_str(), 127, "command_not_found"),
        ("directory", 127, "command_not_found"),
        ("plain", 126, "command_not_executable"),
        (&plain, 126, "command_not_executable"),
        (&below_file, 126, "command_not_executable"),
        (dir, 126, "command_not_executable"),
    ] {
        // Without a passphrase: nobody is asked for one on behalf of a program that is not there.
        let bare = home.words(&["keys", "run", "--key", "Prod", "--", program]);
        let outcome = bare.env("PATH", dir).fails(status, code);
        assert!(outcome.err.contains(program), "{outcome}");
    }
    let orphan = run(&home, "--key Prod", &[&no_interpreter]).fails(127, "command_not_found");
    assert!(orphan.err.contains("interpreter") && !orphan.err.contains(VALUE), "{orphan}");
    // Only the system finds out about this one.
    let no_permission = script(&home, "locked", &format!("#!{plain}\n"));
    let locked = run(&home, "--key Prod", &[&no_permission]);
    let failed = locked.fails(126, "command_not_executable");
    assert!(!failed.err.contains(VALUE), "{failed}");
    // A script that names no interpreter is run by the shell, as shells do it.
    for program in [&bare_script, "bare"] {
        let path = format!(":{dir}:/usr/bin:/bin");
        let outcome = run(&home, "--key Prod", &[program, "x"]).env("PATH", path).go();
        assert_eq!(outcome.status, Some(7), "{outcome}");
        assert_eq!(outcome.out, format!("x:{VALUE}\n"), "{outcome}");
    }
}

#[test]
fn the_working_directory_is_searched_only_where_path_says_so() {
    let (home, _) = Home::with_key();
    script(&home, "here", "#!/bin/sh\necho here\n");
    fs::create_dir(home.path().join("bin")).unwrap();
    script(&home, "bin/there", "#!/bin/sh\necho there\n");
    let run = |path: &str, program: &str| {
        let mut command = run(&home, "--key Prod", &[program]).env("PATH", path).command();
        let output = command.current_dir(home.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("/bin", "here").0, Some(127));
    for (path, program, said) in [
        ("/bin", "./here", "here\n"),
        (":/bin", "here", "here\n"),
        ("/bin:.", "here", "here\n"),
        ("bin:/bin", "there", "there\n"),
        ("/bin", "bin/there", "there\n"),
    ] {
        assert_eq!(run(path, program), (Some(0), said.to_owned()), "{path} {program}");
    }
}

#[test]
fn the_audit_log_has_a_line_for_each_key_and_nothing_of_the_arguments() {
    let (home, [one, two]) = two_keys();
    let broken = home.add("groq", "Broken", "v");
    fs::write(home.file(&broken), "{}").unwrap();
    let context =
        |program: &str| format!(r#""context":{{"command":"keys run","program":"{program}"}}}}"#);
    let line =
        |id: &str, program: &str| format!(r#""keyId":"{id}","ok":true,{}"#, context(program));
    let failed = |id: &str, reason: &str, program: &str| {
        format!(r#""keyId":"{id}","ok":false,"reason":"{reason}",{}"#, context(program))
    };
    // It is there before the program is.
    let log = home.keys().join("audit.log");
    let grep = ["grep", "-c", "\"run\"", log.to_str().unwrap()];
    let flags = "--key Prod --env A=Prod --stdin Two";
    let seen = run(&home, flags, &grep).ok();
    assert_eq!(seen.out, "2\n", "{seen}");
    run(&home, "--key Prod", &["/bin/echo", "argument"]).ok();
    run(&home, "--key Prod", &["no-such\u{1b}[31mprogram"]).go();
    run(&home, "--key Prod", &["sk-abcdefghijklmnop"]).go();
    run(&home, "--key Nobody", &["true"]).go();
    run(&home, &format!("--env A=Prod --env B={broken}"), &["true"]).go();
    let locked = script(&home, "locked", &format!("#!{}\n", log.display()));
    run(&home, "--key Prod --key Two", &[&locked]).go();
    home.bare("keys run --key Prod -- true").go();
    run(&home, &format!("--key Prod --key {broken}"), &["true"]).go();
    let shown = "(not shown, because it looks like a secret)";
    let expected = [
        line(&one, "grep"),
        line(&two, "grep"),
        line(&one, "echo"),
        failed(&one, "command_not_found", "no-such\\\\u{1b}[31mprogram"),
        failed(&one, "command_not_found", shown),
        format!(r#""ok":false,"reason":"key_not_found",{}"#, context("true")),
        failed(&broken, "corrupt_envelope", "true"),
        line(&one, "locked"),
        line(&two, "locked"),
        failed(&one, "command_not_executable", "locked"),
        failed(&two, "command_not_executable", "locked"),
        failed(&one, "keychain_unavailable", "true"),
        failed(&broken, "corrupt_envelope", "true"),
    ];
    let told = told(&home);
    assert_eq!(told, expected, "{told:#?}");
}

#[test]
fn an_audit_log_that_cannot_be_written_is_said_and_stops_nothing() {
    let (home, _) = Home::with_key();
    let log = home.keys().join("audit.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let outcome = run(&home, "--key Prod", &["printenv", "OPENAI_API_KEY"]).ok();
    assert_eq!(outcome.out, format!("{VALUE}\n"));
    assert!(outcome.err.contains("could not write this to the audit log"), "{outcome}");
}

#[test]
fn nothing_is_written_to_the_disk_but_the_log() {
    let (home, _) = two_keys();
    let log = home.path().join("strace.log");
    let traced = run(&home, "--key Prod --stdin Two", &["true"]);
    traced.trace(&log, "openat,open,creat,rename,memfd_create").ok();
    let log = fs::read_to_string(&log).unwrap();
    let written = log.lines().filter(|line| line.contains("O_CREAT") || line.contains("rename("));
    for line in written {
        assert!(line.contains("audit.log"), "{line}");
    }
    assert!(log.contains("audit.log"), "{log}");
}

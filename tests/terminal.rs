//! What a person at a terminal is asked, and what happens on which answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use support::gateway::Gateway;
use support::pty::Terminal;
use support::{Home, PASSPHRASE, Run};

/// Whoever starts the tests in the background has them ignore an interrupt.
const HEARING: &[&str] = &["env", "--default-signal"];

/// A shell that has the terminal for its session, with this program as `lf`.
fn shell(home: &Home, words: &[&str]) -> Run {
    let lf = std::path::Path::new(env!("CARGO_BIN_EXE_lf")).parent().unwrap();
    let path = format!("{}:{}", lf.display(), std::env::var("PATH").unwrap());
    let words: Vec<&str> = HEARING.iter().chain(&["setsid", "-c"]).chain(words).copied().collect();
    let run = home.program(&words).env("PATH", path).env("PS1", "ready> ");
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
}

#[test]
fn remove_asks_and_only_yes_is_yes() {
    for (answer, status, left) in [
        ("yes\r", 0, 0),
        (" yes \r", 0, 0),
        ("no\r", 2, 1),
        ("\r", 2, 1),
        ("YES\r", 2, 1),
        ("\u{4}", 2, 1),
    ] {
        let (home, id) = Home::with_key();
        let mut terminal = Terminal::start(&home.bare("keys remove Prod"));
        terminal.sees("Type yes").types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!(ended, Some(status), "{answer:?}: {screen}");
        assert!(screen.contains(&id) && screen.contains("Prod"), "{screen}");
        assert_eq!(home.names().len(), left, "{answer:?}");
    }
}

#[test]
fn an_empty_line_is_no_value() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai"));
    terminal.sees("value of the openai key").types("\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(2), "{screen}");
    assert!(screen.contains("empty_key"), "{screen}");
}

#[test]
fn labels_cannot_drive_the_terminal() {
    let home = Home::new();
    home.words(&["keys", "add", "--provider", "openai", "--label", "a\u{202e}b\u{200b}"])
        .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
        .input("v")
        .ok();
    let listed = home.bare("keys list").ok();
    assert!(listed.out.contains("a\\u{202e}b\\u{200b}"), "{listed}");
}

#[test]
fn progress_leaves_nothing_behind_on_a_terminal_that_knows_no_sequences() {
    let (home, _) = Home::with_key();
    home.add("openai", "Two", "v");
    let rotated = Terminal::start(&home.lf("keys rotate --all").env("TERM", "dumb"));
    let (status, screen) = rotated.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("1/2") && !screen.contains('\u{1b}'), "{screen}");
}

#[test]
fn an_editing_key_never_becomes_part_of_a_value() {
    for keys in ["sk-abc\u{1b}[D\u{1b}[Dxy\r", "sk-\u{b}abc\r", "\u{1}sk-abc\r"] {
        let home = Home::new();
        let mut terminal = Terminal::start(&home.lf("keys add --provider openai"));
        terminal.sees("not shown").types(keys);
        let (status, screen) = terminal.ends();
        assert_eq!(status, Some(2), "{keys:?}: {screen}");
        assert!(screen.contains("editing key") && !screen.contains("abc"), "{screen}");
        assert!(home.names().is_empty());
    }
}

#[test]
fn a_bracketed_paste_is_what_was_pasted() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai --label Pasted"));
    terminal.sees("not shown").types("sk-wrong\u{17}\u{1b}[200~sk-pasted\u{1b}[201~\r");
    assert_eq!(terminal.ends().0, Some(0));
    assert_eq!(home.value("Pasted"), "sk-pasted");
}

#[test]
fn several_lines_are_no_value_and_none_of_them_reaches_the_shell() {
    for arguments in ["keys add --provider openai", "keys update Prod --rotate"] {
        let (home, id) = Home::with_key();
        let (names, before) = (home.names(), home.value(&id));
        let run = home.lf(arguments).under(&["sh", "-c", "\"$0\" \"$@\"; cat"]);
        let mut terminal = Terminal::start(&run);
        terminal
            .sees("not shown")
            .types("sk-one\rsk-hidden\rsk-hidden too\r")
            .sees("several lines")
            .types("\u{4}");
        let (_, screen) = terminal.ends();
        assert!(screen.contains("lf: refused: "), "{screen}");
        assert!(!screen.contains("hidden"), "{screen}");
        assert_eq!((home.names(), home.value(&id)), (names, before));
    }
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai --label Pasted"));
    terminal.sees("not shown").types("\u{1b}[200~sk-one\r\r\u{1b}[201~\r");
    assert_eq!(terminal.ends().0, Some(0));
    assert_eq!(home.value("Pasted"), "sk-one");
}

#[test]
fn what_a_paste_brings_along_is_left_out_and_that_is_said() {
    for (keys, value, is_said) in support::rows([
        ("\u{1b}[200~ \"sk-b\" \u{1b}[201~\r", "sk-b", true),
        ("  sk-a \r", "sk-a", true),
        ("'sk c'\r", "sk c", true),
        ("sk\"d\r", "sk\"d", false),
    ]) {
        let (home, id) = Home::with_key();
        for arguments in [
            "keys add --provider openai --label Pasted",
            "keys update Prod --rotate",
            "keys rotate Prod --new-value",
        ] {
            let mut terminal = Terminal::start(&home.lf(arguments));
            terminal.sees("not shown").types(keys);
            let (status, screen) = terminal.ends();
            assert_eq!(status, Some(0), "{screen}");
            assert_eq!(screen.contains("removed surrounding"), is_said, "{screen}");
            assert!(!screen.contains(value), "{screen}");
        }
        assert_eq!(home.value("Pasted"), value);
        assert_eq!(home.value(&id), value);
    }
    let (home, _) = Home::with_key();
    for (keys, value) in [
        ("export OPENAI_API_KEY=\"sk-e\"\r", "sk-e"),
        ("-H \"Authorization: Bearer sk-f\"\r", "sk-f"),
        ("\"apiKey\": \"sk-g\u{a0}\",\u{200b}\r", "sk-g"),
    ] {
        let mut terminal = Terminal::start(&home.lf("keys update Prod --rotate"));
        terminal.sees("not shown").types(keys);
        let (status, screen) = terminal.ends();
        assert!(status == Some(0) && screen.contains("removed surrounding"), "{screen}");
        assert!(!screen.contains("sk-") && !screen.contains("as it is"), "{screen}");
        assert_eq!(home.value("Prod"), value);
    }
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai --label Odd"));
    terminal.sees("not shown").types("sk-\u{430}bc\r");
    let (status, screen) = terminal.ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains("as it is, with a Cyrillic letter at character 4"), "{screen}");
    assert!(!screen.contains("removed surrounding") && !screen.contains("sk-"), "{screen}");
    assert_eq!(home.value("Odd"), "sk-\u{430}bc");
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai"));
    terminal.sees("not shown").types("\" \"\r");
    let (status, screen) = terminal.ends();
    assert!(status == Some(2) && screen.contains("empty_key"), "{screen}");
}

#[test]
fn a_plain_y_gets_the_question_again() {
    for (answer, status, left) in [("yes\r", 0, 0), ("no\r", 2, 1)] {
        let (home, _) = Home::with_key();
        let mut terminal = Terminal::start(&home.bare("keys remove Prod"));
        terminal.next("Type yes").types("y\r").next("Type yes, the whole word").types(answer);
        let (ended, screen) = terminal.ends();
        assert_eq!((ended, home.names().len()), (Some(status), left), "{screen}");
    }
}

#[test]
fn an_enter_that_the_terminal_does_not_translate_ends_an_answer() {
    for (modes, enter) in [("-icrnl", "\r"), ("-icrnl", "\n"), ("igncr", "\r"), ("inlcr", "\n")] {
        let (home, _) = Home::with_key();
        for (command, asks, answer) in [
            ("keys update Prod --rotate", "not shown", "sk-new"),
            ("keys remove Prod", "Type yes", "yes"),
        ] {
            let script = format!("stty {modes}; stty -a; \"$@\"; echo $?; stty -a");
            let run = home.lf(command).under(&["sh", "-c", &script, "sh"]);
            let mut terminal = Terminal::start(&run);
            terminal.sees(asks).types(&format!("{answer}{enter}"));
            let (_, screen) = terminal.ends();
            let set = format!(" {modes} ");
            assert_eq!(screen.matches(&set).count(), 2, "the same before and after: {screen}");
            assert!(screen.contains("\n0\r\n"), "{modes} {enter:?} {command}: {screen}");
        }
    }
}

#[test]
fn whatever_ends_the_prompt_leaves_the_terminal_as_it_was() {
    use Signal as S;
    use rustix::termios::{InputModes, LocalModes};
    let (home, id) = Home::with_key();
    for signal in [S::TERM, S::HUP, S::INT, S::QUIT, S::ALARM, S::XCPU] {
        for (command, asks) in
            [("keys update Prod --rotate", "not shown"), ("keys remove Prod", "Type yes")]
        {
            let run = home.lf(command).under(HEARING);
            let run = run.under(&["sh", "-c", "stty -icrnl; exec \"$@\"", "sh"]);
            let mut terminal = Terminal::start(&run);
            let tty = terminal.tty.try_clone().unwrap();
            terminal.sees(asks).types("sk-half").sends(signal);
            let (status, screen) = terminal.ended();
            assert_eq!(status.signal(), Some(signal.as_raw()), "{screen}");
            let modes = rustix::termios::tcgetattr(&tty).unwrap();
            let usual = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
            assert!(modes.local_modes.contains(usual), "{signal:?}: {modes:?}");
            assert!(!modes.input_modes.contains(InputModes::ICRNL), "{signal:?}: {modes:?}");
        }
    }
    assert_eq!(home.value(&id), support::VALUE);
}

#[test]
fn an_interrupt_at_a_prompt_ends_a_loop_of_the_shell() {
    for (command, asks) in
        [("lf keys add --provider openai", "not shown"), ("lf keys remove Prod", "Type yes")]
    {
        let (home, _) = Home::with_key();
        let looped = format!("for i in 1 2 3; do {command}; done");
        let run = shell(&home, &["bash", "--norc", "-i"]);
        let mut terminal = Terminal::start(&run);
        terminal.next("ready> ").types(&format!("{looped}\r")).next(asks).types("sk-half\u{3}");
        terminal.next("ready> ").types("echo status $?; exit\r").next("status 130\r\n");
        let (_, screen) = terminal.ends();
        assert_eq!(screen.matches(asks).count(), 1, "{screen}");
        // The shell of a script is part of the same job, and is interrupted with it.
        let run = shell(&home, &["bash", "-c", &format!("{looped}; echo after")]);
        let mut terminal = Terminal::start(&run);
        terminal.sees(asks).types("sk-half\u{3}");
        let (status, screen) = terminal.ended();
        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{screen}");
        assert!(screen.matches(asks).count() == 1 && !screen.contains("after"), "{screen}");
        assert_eq!(home.names().len(), 1);
    }
}

#[test]
fn what_is_typed_after_fg_is_not_shown_and_is_the_whole_value() {
    let home = Home::new();
    let mut terminal = Terminal::start(&shell(&home, &["bash", "--norc", "-i"]));
    terminal.next("ready> ");
    for (at, stop) in [None, Some(Signal::TSTP), Some(Signal::STOP)].iter().enumerate() {
        terminal.types(&format!("lf keys add --provider openai --label L{at}\r"));
        terminal.next("not shown");
        match stop {
            None => terminal.types("sk-half\u{1a}"),
            Some(signal) => terminal.sends(*signal),
        };
        terminal.next("Stopped").next("ready> ").types("fg\r").next("not shown");
        terminal.types(&format!("sk-typed{at}\r")).next("added ").next("ready> ");
    }
    // Started in the background, it does not take the modes of the shell's own line for the terminal's.
    terminal.types("lf keys add --provider openai --label L3 &\r").next("ready> ");
    terminal.types("fg\r").next("not shown").types("sk-typed3\r").next("added ").next("ready> ");
    // What is told to end in the background does not wait for the terminal.
    terminal.types("lf keys add --provider openai\r").next("not shown").types("\u{1a}");
    terminal.next("Stopped").next("ready> ").types("kill %1\r").next("ready> ");
    terminal
        .types("while kill -0 %1; do sleep 0.1; done 2>/dev/null; echo go''ne\r")
        .next("gone\r\n");
    terminal.next("ready> ").types("stty -a; exit\r");
    let (_, screen) = terminal.ends();
    assert!(!screen.contains("sk-half") && !screen.contains("sk-typed"), "{screen}");
    assert_eq!(screen.matches("not shown").count(), 8, "{screen}");
    let modes = screen.rsplit("stty -a").next().unwrap();
    assert!(modes.contains(" icanon ") && modes.contains(" echo "), "{modes}");
    for at in 0..4 {
        assert_eq!(home.value(&format!("L{at}")), format!("sk-typed{at}"));
    }
}

#[test]
fn a_prompt_that_is_stopped_gives_the_terminal_back_first() {
    let home = Home::new();
    // This shell leaves the modes as it finds them.
    let mut terminal = Terminal::start(&shell(&home, &["dash", "-i"]));
    terminal.next("ready> ").types("lf keys add --provider openai\r").next("not shown");
    terminal.types("sk-half\u{1a}").next("ready> ").types("stty -a\r").next(" icanon ");
    terminal.next(" echo ").next("ready> ").types("kill %1; fg; exit\r");
    let (_, screen) = terminal.ends();
    assert!(!screen.contains("sk-half"), "{screen}");
}

/// What a command writes to a terminal of 80 columns, in a time zone 5 hours and 45 minutes ahead.
fn at_80_columns(run: Run) -> String {
    let run = run.env("TZ", "XYZ-05:45").under(&["sh", "-c", "stty cols 80; exec \"$@\"", "sh"]);
    let (status, screen) = Terminal::start(&run).ends();
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    screen
}

#[test]
fn a_list_at_80_columns_has_whole_labels_and_ids_that_select() {
    let home = Home::new();
    let long = "the key of the team that looks after everything, until June 2027";
    assert_eq!(long.len(), 64);
    let wide = "日本語".repeat(21) + "x";
    for label in [long, &wide, "Short"] {
        home.add("anthropic", label, label);
    }
    // Beside each other their ids take more, and one begins with what another key is called.
    let envelope = std::fs::read_to_string(home.file(&home.names()[0][..32])).unwrap();
    let (id, label) = (&home.names()[0][..32], "\"label\":\"");
    let at = envelope.find(label).unwrap() + label.len();
    for (twin, name) in
        [("twins-aaaaaaaaaaaaaaaaaaaa", "twins"), ("twins-bbbbbbbbbbbbbbbbbbbb", "twins-a")]
    {
        let rest = &envelope[at + envelope[at..].find('"').unwrap()..];
        let made = format!("{}{name}{rest}", &envelope[..at]).replace(id, twin);
        std::fs::write(home.file(twin), made).unwrap();
    }
    let screen = at_80_columns(home.bare("keys list"));
    let below = " ".repeat(49);
    let whole = |line| str::strip_prefix(line, &below).unwrap_or(line);
    let joined: String = screen.lines().map(whole).collect();
    assert!(joined.contains(long) && joined.contains(&wide), "{screen}");
    let ids: Vec<&str> = screen
        .lines()
        .filter(|line| line.contains("anthropic"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 5, "{screen}");
    assert!(ids.iter().all(|id| id.len() == 8), "twins-a is a label: {screen}");
    for id in ids {
        home.lf(&format!("keys update --label X{id} -- {id}")).ok();
    }
    let piped = home.bare("keys list").env("TZ", "XYZ-05:45").ok().out;
    assert!(home.names().iter().all(|name| piped.contains(&name[..name.len() - 5])), "{piped}");
}

#[test]
fn an_audit_at_80_columns_has_labels_and_local_time() {
    let (home, id) = Home::with_key();
    let gone = "goneaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let line = |id: &str| {
        format!(
            r#"{{"ts":"2026-01-02T23:59:08.000Z","kind":"resolve","keyId":"{id}","ok":true,"context":{{"route":"POST /keys/:id/resolve","origin":"https://lenserfight.com"}}}}"#
        )
    };
    let log = format!("{}\n{}\n", line(&id), line(gone));
    std::fs::write(home.keys().join("audit.log"), &log).unwrap();
    let screen = at_80_columns(home.bare("keys audit"));
    let row = format!("2026-01-03 05:44:08  resolve  ok      {} Prod  ", &id[..4]);
    assert!(screen.contains(&row), "{screen}");
    assert!(!screen.contains(&id) && !screen.contains(gone) && screen.contains("  gone  "));
    let joined: String = screen.lines().map(str::trim_start).collect();
    assert!(joined.contains(r#"route="POST /keys/:id/resolve""#), "{screen}");
    let listed = at_80_columns(home.bare("keys list"));
    assert!(listed.contains("  2026-01-03  Prod"), "{listed}");
    // Through a pipe and as JSON, all is whole and in UTC.
    let piped = home.bare("keys audit").env("TZ", "XYZ-05:45").ok().out;
    assert!(
        piped.contains(&format!("2026-01-02T23:59:08.000Z  resolve  ok      {id}  ")),
        "{piped}"
    );
    let json = home.bare("keys audit --json").env("TZ", "XYZ-05:45").under(&[
        "sh",
        "-c",
        "exec \"$@\"",
        "sh",
    ]);
    let (_, screen) = Terminal::start(&json).ends();
    assert!(screen.contains("2026-01-02T23:59:08.000Z") && screen.contains(gone), "{screen}");
}

/// Every character that could drive a terminal, reorder what is read, or be seen by nobody.
fn hidden() -> Vec<char> {
    let ranges = [
        '\u{1}'..='\u{1f}',
        '\u{7f}'..='\u{9f}',
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0001}'..='\u{e0001}',
    ];
    ranges.into_iter().flatten().collect()
}

#[track_caller]
fn drives_nothing(what: &str, text: &str) {
    let found = text.chars().find(|c| hidden().contains(c) && !matches!(c, '\n' | '\t'));
    assert_eq!(found, None, "{what}: {text:?}");
}

#[test]
fn no_text_from_elsewhere_drives_a_terminal() {
    let home = Home::new();
    let all = hidden();
    // Names of at most 255 bytes.
    let parts: Vec<String> = all.chunks(40).map(|part| part.iter().collect()).collect();
    let root = home.path().join(parts.iter().collect::<std::path::PathBuf>());
    let text: Vec<char> = all.iter().copied().filter(|c| !c.is_control()).collect();
    let place = |run: Run| {
        let run =
            run.env("LENSERFIGHT_RUNTIME_DIR", &root).env("LENSERFIGHT_KEYS_DIR", root.join("k"));
        run.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", root.display()))
    };
    let lf =
        |words: &[&str]| place(home.words(words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE));
    let mut seen = 0;
    let mut check = |words: &[&str]| {
        for json in [None, Some("--json")] {
            let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
            let mut words = words.to_vec();
            words.splice(at..at, json);
            // The doctor without a passphrase, so that it names the bus.
            let without = words.contains(&"doctor").then(|| place(home.words(&words)));
            for run in [lf(&words)].into_iter().chain(without) {
                let told = run.input("value").go();
                drives_nothing(&format!("{words:?}"), &told.out);
                drives_nothing(&format!("{words:?}"), &told.err);
                seen += told.err.matches("\\u").count() + told.out.matches("\\u").count();
            }
        }
    };
    check(&["keys", "init"]);
    let shape = "keys add --provider openai --label";
    for label in text.chunks(30).map(|part| part.iter().collect::<String>()) {
        check(&[&*shape.split(' ').collect::<Vec<_>>(), &[&*label]].concat());
    }
    for part in &parts {
        std::fs::write(root.join("k").join(part), "x").unwrap();
        std::fs::write(root.join("k").join(format!("{part}.json")), "x").unwrap();
    }
    std::fs::create_dir(root.join("k/sub")).unwrap();
    support::chmod(&root.join("k"), 0o777);
    for part in &parts {
        check(&["keys", "add", "--provider", part]);
        check(&["keys", "export", "--i-understand", part]);
        check(&["keys", "restore", part]);
        check(&["keys", "import", "--dotenv", part]);
        check(&["keys", "import", "--env", part]);
        check(&["keys", "run", "--key", part, "--", part]);
        check(&["keys", part]);
        check(&["keys", "list", &format!("--{part}")]);
        check(&["gateway", "pair", "--name", part]);
        check(&["gateway", "serve", "--bind", part]);
        check(&["gateway", "consent", "grant", "tailscale", "--yes", "--notes", part]);
    }
    for line in [
        "keys list",
        "keys doctor",
        "keys doctor --fix",
        "keys audit",
        "keys rotate --all",
        "keys rekey",
        "keys adopt",
        "keys recovery import",
        "keys recovery forget --yes",
        "keys init --force --yes",
        "keys restore .",
        "gateway doctor --port 1",
        "gateway status --port 1",
        "gateway pairings",
        "gateway consent show",
        "gateway unpair --all",
        "gateway serve --port 0",
        "gateway install",
        "gateway install --print",
        "gateway uninstall",
        "keys list --last-used",
        "keys rekey --undo",
    ] {
        check(&line.split(' ').collect::<Vec<_>>());
    }
    assert!(seen > 5000, "{seen}: what is escaped is there");
    // JSON still means the same.
    let report = lf(&["keys", "doctor", "--json"]).go().out;
    let report: miniserde::json::Object = miniserde::json::from_str(&report).unwrap();
    let messages = miniserde::json::to_string(&report["checks"]);
    let path = miniserde::json::to_string(&root.join("k").display().to_string());
    assert!(messages.contains(path.trim_matches('"')), "{messages}");
    // The gateway's first lines, and what it warns of.
    let gateway = Gateway::run(lf(&["gateway", "serve", "--keys-only", "--port", "0"]));
    let ended = gateway.ends();
    drives_nothing("serve", &(ended.err.clone() + &ended.out));
    assert!(ended.err.contains("sandbox: "), "{ended}");
    // At a terminal there are colours, and they are ours.
    let (_, screen) = Terminal::start(&lf(&["keys", "doctor"])).ends();
    assert!(screen.contains("\u{1b}[32mpass\u{1b}[0m"), "{screen:?}");
    let plain = ["\u{1b}[32m", "\u{1b}[1;31m", "\u{1b}[33m", "\u{1b}[0m", "\r"];
    drives_nothing("doctor", &plain.iter().fold(screen, |text, ours| text.replace(ours, "")));
}

#[test]
fn a_value_is_exact_in_a_pipe_and_drives_no_terminal() {
    let home = Home::new();
    let value: String = hidden().into_iter().filter(|c| !matches!(c, '\n' | '\r')).collect();
    home.add("openai", "Prod", &value);
    assert_eq!(home.value("Prod"), value);
    let run = home.lf("keys export --i-understand Prod");
    let (status, screen) = Terminal::start(&run).ends();
    assert_eq!(status, Some(0));
    drives_nothing("export", &screen.replace("\r\n", "\n"));
}

//! What a person at a terminal is asked, and what happens on which answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Home;
use support::pty::Terminal;

#[test]
fn remove_asks_and_only_yes_is_yes() {
    for (answer, status, left) in [
        ("yes\r", 0, 0),
        (" yes \r", 0, 0),
        ("y\r", 2, 1),
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
        .env("LENSERFIGHT_KEYS_PASSPHRASE", support::PASSPHRASE)
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
    for keys in ["sk-abc\u{1b}[D\u{1b}[Dxy\r", "sk-\u{1a}abc\r", "\u{1}sk-abc\r"] {
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
    for (keys, value, is_said) in [
        ("  sk-a \r", "sk-a", true),
        ("\u{1b}[200~ \"sk-b\" \u{1b}[201~\r", "sk-b", true),
        ("'sk c'\r", "sk c", true),
        ("sk\"d\r", "sk\"d", false),
    ] {
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
            assert_eq!(screen.contains("left out"), is_said, "{screen}");
            assert!(!screen.contains(value), "{screen}");
        }
        assert_eq!(home.value("Pasted"), value);
        assert_eq!(home.value(&id), value);
    }
    let home = Home::new();
    let mut terminal = Terminal::start(&home.lf("keys add --provider openai"));
    terminal.sees("not shown").types("\" \"\r");
    let (status, screen) = terminal.ends();
    assert!(status == Some(2) && screen.contains("empty_key"), "{screen}");
}

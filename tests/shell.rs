//! Help at the prompt: completion in real shells, the man page, the errors, and tables on a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use support::pty::Terminal;
use support::{Home, PASSPHRASE, Run, VALUE, until};

/// Labels that a shell would take apart or run, if it was let. Each begins with a letter of its own.
const LABELS: [&str; 7] = [
    "My Prod",
    "it's \"x\" $(touch ran) `touch ran` $HOME",
    "hey!you",
    "team:prod@home=1",
    "back\\slash\\",
    "w~ {a,b} *? [c] # ; touch ran & | < > (",
    "日本 語",
];

/// An interactive shell whose `lf` writes down the words that it is given, and runs nothing. The
/// completions ask the real one.
fn shell(home: &Home, shell: &str) -> Terminal {
    let (rc, recorder) = match shell {
        "fish" => (
            ".config/fish/config.fish",
            "function fish_prompt; printf 'ready> '; end\n\
             lf completions fish | source\n\
             function lf; string join0 -- $argv > ~/words.new; mv ~/words.new ~/words; end\n",
        ),
        "zsh" => (
            ".zshrc",
            "PS1='ready> '; autoload -U compinit; compinit -u -D; source <(lf completions zsh)\n\
             lf() { printf '%s\\0' \"$@\" > ~/words.new; mv ~/words.new ~/words; }\n",
        ),
        _ => (
            ".bashrc",
            "PS1='ready> '; bind 'set enable-bracketed-paste off'; source <(lf completions bash)\n\
             lf() { printf '%s\\0' \"$@\" > ~/words.new; mv ~/words.new ~/words; }\n",
        ),
    };
    let rc = home.path().join(rc);
    fs::create_dir_all(rc.parent().unwrap()).unwrap();
    fs::write(rc, format!("cd\n{recorder}")).unwrap();
    in_path(home.program(&[shell, "--version"])).ok();
    // Without this, fish leaves a process behind that reads every man page.
    let generated = home.path().join(".local/share/fish/generated_completions");
    fs::create_dir_all(generated).unwrap();
    // With a session of its own, because the terminal has to be its controlling one.
    let run = home.program(&["setsid", "-c", shell, "-i"]);
    let mut terminal = Terminal::start(&in_path(run));
    terminal.sees("ready> ");
    terminal
}

fn in_path(run: Run) -> Run {
    let lf = Path::new(env!("CARGO_BIN_EXE_lf")).parent().unwrap();
    let path = format!("{}:{}", lf.display(), std::env::var("PATH").unwrap());
    run.env("PATH", path).env("LC_ALL", "C.UTF-8")
}

/// The words that the command gets when this is typed.
fn words(home: &Home, terminal: &mut Terminal, keys: &str) -> Vec<String> {
    let file = home.path().join("words");
    terminal.types(&format!("lf {keys}\r"));
    until(keys, || file.exists());
    let words = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let words = words.strip_suffix('\0').unwrap_or(&words);
    words.split('\0').map(String::from).collect()
}

fn home_with(labels: &[&str]) -> Home {
    let home = Home::new();
    for label in labels {
        home.add("openai", label, VALUE);
    }
    home
}

fn completes_in(name: &str) {
    let home = home_with(&LABELS);
    let mut terminal = shell(&home, name);
    for label in LABELS {
        let first = label.chars().next().unwrap();
        for quote in ["", "'", "\""] {
            let got = words(&home, &mut terminal, &format!("ke\trem\t{quote}{first}\t"));
            assert_eq!(got, ["keys", "remove", label], "{name} {quote}");
        }
    }
    let hidden = home.add("openai", "hidden\u{202e}", VALUE);
    home.add("mistral", "twice", VALUE);
    home.add("mistral", "twice", VALUE);
    let (audit, id) = (home.audit(), &hidden[..6]);
    for (keys, expected) in [
        ("keys remove My\\ P\t", "keys|remove|My Prod"),
        ("keys remove \"My P\t", "keys|remove|My Prod"),
        ("keys remove team:pr\t", "keys|remove|team:prod@home=1"),
        ("keys remove team:prod@h\t", "keys|remove|team:prod@home=1"),
        ("keys remove twic\t", "keys|remove|twic"),
        ("keys remove hidd\t", "keys|remove|hidd"),
        (&format!("keys remove {id}\t"), &format!("keys|remove|{hidden}")),
        ("keys add --provider gem\t", "keys|add|--provider|gemini"),
        ("keys add --provider=gem\t", "keys|add|--provider=gemini"),
        ("keys add --prov\tgem\t", "keys|add|--provider|gemini"),
        ("keys list --js\t", "keys|list|--json"),
        ("keys run --key My\\ P\t", "keys|run|--key|My Prod"),
        ("keys run --stdin My\\ P\t -- printen\t", "keys|run|--stdin|My Prod|--|printenv"),
        ("keys run --stdin x -- cat /etc/hostn\t", "keys|run|--stdin|x|--|cat|/etc/hostname"),
        ("keys run --env OPENAI_API_KEY=tea\t", "keys|run|--env|OPENAI_API_KEY=team:prod@home=1"),
        ("keys restore /etc/hostn\t", "keys|restore|/etc/hostname"),
        ("help passphrase_conf\t", "help|passphrase_conflict"),
    ] {
        let got = words(&home, &mut terminal, keys).join("|");
        assert_eq!(got, expected, "{name} {keys:?}");
    }
    terminal.types("exit\r");
    let (_, screen) = terminal.ends();
    assert!(!screen.contains('\u{202e}'), "{screen}");
    assert!(!home.path().join("ran").exists(), "a label was run");
    assert_eq!(home.audit(), audit, "completion leaves no trace");
}

#[test]
fn bash_completes_and_quotes() {
    completes_in("bash");
}

#[test]
fn zsh_completes_and_quotes() {
    completes_in("zsh");
}

#[test]
fn fish_completes_and_quotes() {
    completes_in("fish");
}

#[test]
fn all_that_is_offered_selects_one_key_and_a_label_that_two_have_is_not_offered() {
    let home = home_with(&["Prod", "dup", "dup", "groq", "a\u{200b}b"]);
    home.add("groq", "Other", VALUE);
    let dash = home.add("xai", "x", VALUE);
    home.words(&["keys", "update", &dash, "--label=-dash"]).ok();
    let offered = home.words(&["complete", "zsh", "", "keys", "remove", ""]).ok().out;
    let names: Vec<&str> = offered.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert!(
        names.contains(&"Prod") && names.contains(&"Other") && names.contains(&"xai"),
        "{offered}"
    );
    for name in ["dup", "groq", "openai", "-dash", "a\u{200b}b"] {
        assert!(!names.contains(&name), "{name}: {offered}");
    }
    for name in names {
        let run = home.words(&["keys", "update", name, "--label", "x"]);
        run.ok();
    }
}

#[test]
fn completion_needs_no_passphrase_and_is_silent_when_it_cannot_tell() {
    let (home, _) = Home::with_key();
    let ask = |home: &Home| home.words(&["complete", "fish", "P", "keys", "remove", "P"]);
    assert!(ask(&home).ok().out.starts_with("Prod\topenai, "));
    let is_silent = |run: Run| {
        let outcome = run.ok();
        assert_eq!(outcome.out + &outcome.err, "");
    };
    is_silent(ask(&home).env("LENSERFIGHT_KEYS_DIR", "/dev/null"));
    is_silent(ask(&home).env("HOME", ""));
    let empty = Home::new();
    is_silent(ask(&empty));
    is_silent(empty.words(&["complete", "bash", "", "gateway", "unpair", ""]));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made");
    fs::write(home.keys().join("damaged-0123456789abc.json"), "{").unwrap();
    assert!(ask(&home).ok().out.starts_with("Prod"));
    is_silent(ask(&home).env("LENSERFIGHT_KEYS_DIR", home.keys().join("audit.log")));
    for words in ["complete", "complete csh", "complete bash", "complete bash x", "complete --help"]
    {
        is_silent(home.bare(words));
    }
    assert!(!home.bare("--help").ok().out.contains("lf complete "), "hidden");
}

#[test]
fn pairings_complete_by_name() {
    let home = Home::new();
    home.lf("gateway pair --name tablet").ok();
    let ask = ["complete", "zsh", "", "gateway", "unpair", ""];
    assert_eq!(home.words(&ask).ok().out, "tablet\n");
}

#[test]
fn the_man_page_is_one_that_man_reads_without_a_complaint() {
    let home = Home::new();
    let man = home.bare("man").ok().out;
    let lint = home.program(&["mandoc", "-T", "lint"]).input(man.clone()).ok();
    assert_eq!(lint.out, "", "{lint}");
    let read = in_path(home.program(&["mandoc", "-T", "utf8"])).input(man).ok().out;
    // Bold is a letter, a step back, and the letter again.
    let mut plain = String::new();
    for c in read.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c);
        }
    }
    for text in [
        "lf keys rotate",
        "passphrase_conflict",
        "LF_GATEWAY_EXTRA_HOSTS",
        "~/.lenserfight/keys",
        "NO_COLOR",
        "EXIT STATUS",
        "GEMINI_API_KEY",
    ] {
        assert!(plain.contains(text), "{text}: {plain}");
    }
}

#[test]
fn every_error_is_explained_and_what_is_close_to_a_topic_is_named() {
    let home = Home::new();
    let every = home.bare("help errors").ok().out;
    for code in ["\n  key_not_found\n", "\n  rate_limited\n"] {
        assert!(every.contains(code), "{every}");
    }
    let one = home.bare("help passphrase_conflict").ok().out;
    let words = one.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1"), "{one}");
    assert!(words.contains("Exit code 2, HTTP status 503."), "{one}");
    let close = home.bare("help pasphrase_conflict").fails(2, "usage");
    assert!(close.err.contains("did you mean lf help passphrase_conflict?"), "{close}");
}

#[test]
fn a_slip_is_answered_with_what_was_meant_and_nothing_is_run() {
    let home = Home::new();
    for (typed, meant) in [
        ("lst", "did you mean lf keys list?"),
        ("keys lsit", "did you mean lf keys list?"),
        ("list", "did you mean lf keys list?"),
        ("serve --keys-only", "did you mean lf gateway serve?"),
        ("keys pair", "did you mean lf gateway pair?"),
        ("key list", "did you mean lf keys list?"),
        ("key recovery export", "did you mean lf keys recovery export?"),
        ("keys list --jsno", "did you mean --json?"),
        ("keys rekey -undo", "did you mean --undo?"),
    ] {
        let outcome = home.lf(typed).fails(2, "usage");
        assert!(outcome.err.contains(meant), "{outcome}");
    }
    for typed in
        ["frobnicate", "keys frobnicate", "keys list --frobnicate", "sk-abcdefghijklmnop", "x"]
    {
        let outcome = home.lf(typed).go();
        assert!(!outcome.err.contains("did you mean"), "{outcome}");
        assert!(!outcome.err.contains("abcdefgh"), "{outcome}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_table_aligns_wide_characters_and_is_wrapped_on_a_narrow_terminal_only() {
    let label = "日本語のとても長いラベルです, and more of it than fits there";
    let home = home_with(&[label, "Short"]);
    let whole = home.bare("keys list").ok().out;
    assert!(whole.contains(label), "{whole}");
    let narrow = |columns: &str| {
        let script = format!("stty cols {columns}; exec \"$@\"");
        let run = home.bare("keys list").under(&["sh", "-c", &script, "sh"]);
        let (status, screen) = Terminal::start(&run).ends();
        assert_eq!(status, Some(0), "{screen}");
        screen
    };
    // Before the label: 4, 8, 10, 3 and 9 columns, and 2 behind each.
    let (behind, below) = ("  日本語のとても長いラベルです, and mo", "re of it than fits there");
    let wrapped = format!("{behind}\r\n{:44}{below}\r\n", "");
    assert!(narrow("80").contains(&wrapped), "{}", narrow("80"));
    assert!(narrow("200").contains(&format!("{label}\r\n")));
    assert!(narrow("80").contains("  Short\r\n"));
    // Hardly any room: the terminal breaks the line.
    assert!(narrow("40").contains(&format!("  {label}\r\n")));
    let pairings = Home::new();
    for name in ["日本", "tab"] {
        let run = pairings.words(&["gateway", "pair", "--name", name]);
        run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).ok();
    }
    let table = pairings.bare("gateway pairings").ok().out;
    let ends: Vec<&str> = table.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(ends, ["NAME", "日本", "tab"], "{table}");
}

#[test]
fn help_is_as_wide_as_the_terminal_within_reason() {
    let home = Home::new();
    let widest = |columns: &str| {
        let script = format!("stty cols {columns}; exec \"$@\"");
        let run = home.bare("keys list --help").under(&["sh", "-c", &script, "sh"]);
        let (status, screen) = Terminal::start(&run).ends();
        assert_eq!(status, Some(0), "{screen}");
        screen.lines().map(|line| line.chars().count()).max().unwrap()
    };
    for (columns, least, most) in [("40", 55, 60), ("60", 55, 60), ("90", 85, 90), ("200", 95, 100)]
    {
        let widest = widest(columns);
        assert!((least..=most).contains(&widest), "{widest} of {columns}");
    }
    // No terminal, no columns.
    let piped = home.bare("keys list --help").ok().out;
    let widest = piped.lines().map(|line| line.chars().count()).max().unwrap();
    assert!((75..=80).contains(&widest), "{widest}: {piped}");
}

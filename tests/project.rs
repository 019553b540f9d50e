//! A project's keys: the `.lf` file and `lf keys allow`, and dotenv files with references.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::fs;
use std::path::Path;

use support::{Home, PASSPHRASE, Run, VALUE};

const SHOW: &str = "printf '%s' \"$OPENAI_API_KEY\"";

/// Runs lf in that directory with the passphrase in the environment.
fn lf_in(home: &Home, dir: &Path, words: &[&str]) -> Run {
    let script = "cd \"$0\" && exec \"$@\"";
    let run = home.words(words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE);
    run.under(&["sh", "-c", script, dir.to_str().unwrap()])
}

fn run_in(home: &Home, dir: &Path) -> Run {
    lf_in(home, dir, &["keys", "run", "--", "sh", "-c", SHOW])
}

/// A home with the key `Prod`, and a project whose `.lf` names it, with a directory in it.
fn project() -> (Home, std::path::PathBuf, std::path::PathBuf) {
    let (home, _) = Home::with_key();
    let dir = home.path().join("project");
    let inner = dir.join("src/deep");
    fs::create_dir_all(&inner).unwrap();
    fs::write(dir.join(".lf"), "# what make needs\nOPENAI_API_KEY=Prod\n").unwrap();
    (home, dir, inner)
}

#[test]
fn a_projects_file_names_the_keys_of_run_once_it_is_allowed() {
    let (home, dir, inner) = project();
    let refused = run_in(&home, &dir).fails(2, "refused");
    assert!(refused.err.contains("lf keys allow"), "{}", refused.err);
    let allowed = lf_in(&home, &inner, &["keys", "allow"]).ok();
    assert!(allowed.out.contains("OPENAI_API_KEY=Prod"), "{}", allowed.out);
    // Not below the root, which the gateway can write to.
    assert!(home.path().join(".config/lf/allowed").exists());
    for place in [&dir, &inner] {
        assert_eq!(run_in(&home, place).ok().out, VALUE);
    }
    // What is named on the command line takes its place.
    let words = ["keys", "run", "--env", "OTHER=Prod", "--", "sh", "-c", SHOW];
    assert_eq!(lf_in(&home, &dir, &words).ok().out, "");
}

#[test]
fn a_file_that_was_changed_or_copied_has_to_be_allowed_again() {
    let (home, dir, inner) = project();
    lf_in(&home, &dir, &["keys", "allow"]).ok();
    let text = fs::read_to_string(dir.join(".lf")).unwrap();
    fs::write(inner.join(".lf"), &text).unwrap();
    run_in(&home, &inner).fails(2, "refused");
    fs::write(dir.join(".lf"), format!("{text}LD_PRELOAD=Prod\n")).unwrap();
    run_in(&home, &dir).fails(2, "refused");
    fs::write(dir.join(".lf"), &text).unwrap();
    assert_eq!(run_in(&home, &dir).ok().out, VALUE, "this was allowed");
}

#[test]
fn a_projects_file_that_is_wrong_starts_nothing_and_shows_no_secret() {
    let (home, dir, _) = project();
    for (line, code, fault) in [
        ("OPENAI_API_KEY", "usage", "line 2"),
        ("OPENAI_API_KEY=sk-abcdefghijklmnop0", "usage", "only names keys"),
        ("LENSERFIGHT_KEYS_PASSPHRASE=Prod", "usage", "gives that to no program"),
    ] {
        fs::write(dir.join(".lf"), format!("# keys\n{line}\n")).unwrap();
        for run in [lf_in(&home, &dir, &["keys", "allow"]), run_in(&home, &dir)] {
            let refused = run.fails(2, code);
            assert!(refused.err.contains(fault), "{}", refused.err);
            assert!(!refused.err.contains("abcdefgh"), "{}", refused.err);
        }
    }
    fs::write(dir.join(".lf"), "OPENAI_API_KEY=Nobody\n").unwrap();
    let allowed = lf_in(&home, &dir, &["keys", "allow"]).ok();
    assert!(allowed.err.contains("warning: OPENAI_API_KEY: ") && allowed.err.contains("Nobody"));
    run_in(&home, &dir).fails(1, "key_not_found");
    fs::remove_file(dir.join(".lf")).unwrap();
    let none = run_in(&home, &dir).fails(2, "usage");
    assert!(none.err.contains(".lf file"), "{}", none.err);
    lf_in(&home, &dir, &["keys", "allow"]).fails(2, "usage");
}

#[test]
fn references_in_a_dotenv_file_become_values_and_plain_lines_pass() {
    let (home, _) = Home::with_key();
    let file = home.path().join("env");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let show = format!("{SHOW}; printf '|%s|%s' \"$PLAIN\" \"$LENSERFIGHT_KEYS_PASSPHRASE\"");
        let words = ["keys", "run", "--env-file", file, "--", "sh", "-c", &show];
        home.words(&words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
    };
    let both = "# both\nexport OPENAI_API_KEY=lf://Prod\nPLAIN='a b'\n";
    assert_eq!(run(both).ok().out, format!("{VALUE}|a b|"));
    for (text, fault) in [
        ("OPENAI_API_KEY=lf://\n", "line 1"),
        ("A=1\nB\n", "line 2"),
        ("A=$(id)\n", "line 1"),
        ("LENSERFIGHT_KEYS_PASSPHRASE=x\n", "gives that to no program"),
        ("A=lf://Prod\nA=2\n", "two values"),
    ] {
        let refused = run(text).fails(2, "usage");
        assert!(refused.err.contains(fault), "{text}: {}", refused.err);
    }
    run("OPENAI_API_KEY=lf://Nobody\n").fails(1, "key_not_found");
    let large = format!("{both}#{}", "x".repeat(64 * 1024 - both.len() - 1));
    assert_eq!(run(&large).ok().out, format!("{VALUE}|a b|"));
    let too_large = run(&format!("{large}x")).fails(2, "usage");
    assert!(too_large.err.contains("at most 64 KiB"), "{}", too_large.err);
    run(both).env("PLAIN", "set").fails(2, "refused");
}

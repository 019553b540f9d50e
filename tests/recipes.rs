//! The recipes of `lf help recipes`, each as it is printed: git, direnv and systemd's own checks are
//! real, and what needs its service or a runner has a stand-in in `tests/recipes/`, which does with the
//! lines what the program documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};

use support::{Home, PASSPHRASE, Run, chmod, lf};

const VALUE: &str = "sk-recipe-0123456789abcdefghij";

/// A home with a key of this provider, and `lf` and the stand-ins on its path.
struct Desk {
    home: Home,
    bin: PathBuf,
}

impl Desk {
    fn with(provider: &str) -> Desk {
        let home = Home::new();
        home.add(provider, provider, VALUE);
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let desk = Desk { home, bin };
        let words: Vec<String> = lf().iter().map(|word| format!("'{}'", word.display())).collect();
        desk.program("lf", &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")));
        desk
    }

    /// Makes a program on the path.
    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.bin.join(name);
        fs::write(&path, text).unwrap();
        chmod(&path, 0o755);
        path
    }

    /// Writes a file below the home.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs lines of a shell in the home, without a passphrase.
    fn bare(&self, shell: &[&str], script: &str) -> Run {
        let stands_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes");
        let (bin, others) = (self.bin.display(), std::env::var("PATH").unwrap());
        let path = format!("{bin}:{}:{others}", stands_in.display());
        let script = format!("cd {} || exit\n{script}", self.home.path().display());
        let words: Vec<&str> = shell.iter().copied().chain(["-c", &script]).collect();
        self.home.program(&words).env("PATH", path)
    }

    fn run(&self, script: &str) -> Run {
        self.bare(&["sh"], script).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
    }
}

/// What there is to type in this recipe: its blocks of lines that are indented by six.
fn blocks(home: &Home, recipe: &str) -> Vec<String> {
    let text = home.bare("help recipes").ok().out;
    let lines = text.lines().skip_while(|line| *line != recipe).skip(1);
    let section = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let mut blocks = vec![String::new()];
    for line in section {
        match line.strip_prefix("      ") {
            Some(typed) => *blocks.last_mut().unwrap() += &format!("{typed}\n"),
            None if line.is_empty() => *blocks.last_mut().unwrap() += "\n",
            None => blocks.push(String::new()),
        }
    }
    let blocks = blocks.iter().map(|block| format!("{}\n", block.trim_matches('\n')));
    let blocks: Vec<String> = blocks.filter(|block| block != "\n").collect();
    assert!(!blocks.is_empty(), "no {recipe} in {text}");
    blocks
}

#[test]
fn claude_code_gets_the_key_from_its_helper() {
    let desk = Desk::with("anthropic");
    desk.file(".claude/settings.json", &blocks(&desk.home, "Claude Code")[0]);
    assert_eq!(desk.run("claude").ok().out, format!("X-Api-Key: {VALUE}\n"));
    let log = desk.home.audit();
    assert!(log.contains("\"keys get\""), "{log}");
}

#[test]
fn codex_gets_the_key_in_the_variable_that_its_provider_names() {
    let desk = Desk::with("openai");
    let [config, start] = &blocks(&desk.home, "Codex")[..] else { panic!("two blocks") };
    desk.file(".codex/config.toml", config);
    let sent = format!("https://api.openai.com/v1 Bearer {VALUE}\n");
    assert_eq!(desk.run(start).ok().out, sent);
}

#[test]
fn opencode_gets_the_key_in_the_variable_that_its_file_names() {
    let desk = Desk::with("anthropic");
    let [config, start] = &blocks(&desk.home, "opencode")[..] else { panic!("two blocks") };
    desk.file("opencode.json", config);
    assert_eq!(desk.run(start).ok().out, format!("{VALUE}\n"));
}

#[test]
fn git_gets_the_token_for_its_host_and_for_no_other() {
    let desk = Desk::with("github");
    desk.run(&blocks(&desk.home, "git")[0]).ok();
    let fill = |host: &str| {
        let ask = desk.run("git credential fill").env("GIT_TERMINAL_PROMPT", "0");
        ask.input(format!("protocol=https\nhost={host}\n\n"))
    };
    let filled = fill("github.com").ok().out;
    assert!(filled.contains("username=git\n"), "{filled}");
    assert!(filled.contains(&format!("password={VALUE}\n")), "{filled}");
    let other = fill("example.com").go();
    assert!(other.status != Some(0) && !other.out.contains(VALUE), "{other}");
    // What git tells a helper afterwards is none of lf's business.
    desk.run("git credential approve").input(filled).ok();
    assert_eq!(desk.home.audit().matches("\"keys get\"").count(), 1);
}

#[test]
fn direnv_exports_the_key_below_its_directory() {
    let desk = Desk::with("openai");
    desk.file("project/.envrc", &blocks(&desk.home, "direnv")[0]);
    let show = "direnv exec . sh -c 'printf %s \"$OPENAI_API_KEY\"'";
    let refused = desk.run(&format!("cd project && {show}")).go();
    assert!(refused.status != Some(0) && !refused.out.contains(VALUE), "{refused}");
    let shown = desk.run(&format!("cd project && direnv allow && {show}")).ok();
    assert_eq!(shown.out, VALUE);
}

#[test]
fn docker_gets_the_key_without_a_value_in_its_arguments() {
    let desk = Desk::with("openai");
    let ran = desk.run(&blocks(&desk.home, "docker")[0]).ok().out;
    let (arguments, variables) = ran.split_once('\n').unwrap();
    assert!(!arguments.contains(VALUE), "{ran}");
    assert_eq!(variables, format!("OPENAI_API_KEY={VALUE}\n"));
}

#[test]
fn a_github_actions_step_hides_the_value_and_gives_it_to_its_program_alone() {
    let desk = Desk::with("openai");
    // As a checkout has it: modes are the runner's.
    let keys = desk.home.path().join("ci/keys");
    fs::create_dir(keys.parent().unwrap()).unwrap();
    fs::rename(desk.home.keys(), &keys).unwrap();
    for file in support::list(&keys) {
        chmod(&file, 0o644);
    }
    chmod(&keys, 0o755);
    desk.program("make", "#!/bin/sh\necho \"make $1: $OPENAI_API_KEY\"\nenv >&2\n");
    let step = &blocks(&desk.home, "GitHub Actions")[0];
    let (script, variables) = step.split_once("  env:\n").unwrap();
    let script = script.strip_prefix("- run: |\n").unwrap().replace("    ", "");
    // The shell of a step that names none.
    let mut run = desk.bare(&["bash", "-e"], &script);
    for line in variables.lines() {
        let (name, value) = line.trim().split_once(": ").unwrap();
        run = run.env(name, value.replace("${{ secrets.LF_PASSPHRASE }}", PASSPHRASE));
    }
    let ran = run.ok();
    assert_eq!(ran.out, format!("::add-mask::{VALUE}\nmake test: {VALUE}\n"));
    assert!(!ran.err.contains(PASSPHRASE), "{ran}");
}

#[test]
fn a_unit_of_systemd_is_valid_and_starts_its_program_with_the_key() {
    let desk = Desk::with("openai");
    let bot = desk.program("bot", "#!/bin/sh\nprintf %s \"$OPENAI_API_KEY\"\n");
    let unit = blocks(&desk.home, "systemd")[0]
        .replace("/usr/local/bin/lf", desk.bin.join("lf").to_str().unwrap())
        .replace("/usr/local/bin/bot", bot.to_str().unwrap())
        .replace("/var/lib/bot/keys", desk.home.keys().to_str().unwrap());
    let file = desk.file("bot.service", &unit);
    let verified = desk.run(&format!("systemd-analyze verify {}", file.display())).go();
    assert_eq!(
        (verified.status, verified.err.contains("bot.service")),
        (Some(0), false),
        "{verified}"
    );
    // As systemd starts it.
    let value = |name: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().unwrap_or_else(|| panic!("no {name} in {unit}"))
    };
    let (name, source) = value("LoadCredential=").split_once(':').unwrap();
    assert_eq!(source, "/etc/lf/passphrase");
    let credential = desk.file(&format!("credentials/{name}"), PASSPHRASE);
    chmod(&credential, 0o400);
    let (variable, keys) = value("Environment=").split_once('=').unwrap();
    let start: Vec<&str> = value("ExecStart=").split(' ').collect();
    let run = desk.home.program(&start).env(variable, keys);
    let ran = run.env("CREDENTIALS_DIRECTORY", credential.parent().unwrap()).ok();
    assert_eq!(ran.out, VALUE);
}

#[test]
fn every_recipe_fits_a_terminal_and_is_tried_here() {
    let home = Home::new();
    let text = home.bare("help recipes").ok().out;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let names = text.split("\n\n").filter_map(|part| part.lines().next());
    let names: Vec<&str> = names.filter(|line| !line.starts_with(' ')).collect();
    let tried = ["Claude Code", "Codex", "opencode", "git", "direnv", "docker", "GitHub Actions"];
    assert_eq!(names, [&tried[..], &["systemd"]].concat());
    let hint = home.bare("help recipies").fails(2, "usage").err;
    assert!(hint.contains("lf help recipes"), "{hint}");
}

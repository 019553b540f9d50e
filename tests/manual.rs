//! Every command of the README, of the manual and of the help pages, run as it is printed: in a home that
//! has the keys and the files that it names. `manual/elsewhere.txt` has those that cannot be run here, each
//! with a reason; they have to exist. `recipes.rs` runs the recipes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::bus::Bus;
use support::gateway::{Gateway, pair};
use support::{Home, PASSPHRASE, Run, SHEET, VALUE, chmod, free_ports, lf};

/// Beginnings of commands that are run elsewhere or nowhere: `BEGINNING :: REASON`.
const ELSEWHERE: &str = include_str!("manual/elsewhere.txt");
/// What does nothing here but read its input.
const STAND_INS: [&str; 11] = [
    "llm",
    "npm",
    "make",
    "gh",
    "lpr",
    "pbcopy",
    "psql",
    "man",
    "loginctl",
    "systemd-creds",
    "systemd-ask-password",
];
/// Commands that ask; here a flag answers.
const ASKING: [&str; 5] = [
    "lf keys import --dotenv",
    "lf keys import --env",
    "lf keys remove Prod",
    "lf keys recovery forget",
    "lf keys init --force",
];
/// Commands about the keychain.
const KEYCHAIN: [&str; 8] = [
    "lf keys init",
    "lf keys init --passphrase-stdin",
    "LENSERFIGHT_KEYS_PASSPHRASE_FILE=old lf keys init --force",
    "lf keys rekey",
    "lf keys recovery forget",
    "lf keys recovery import",
    "lf keys adopt",
    "secret-tool",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The lines to type of a text: those that are indented by four, without comments.
fn typed(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            is_open = false;
            continue;
        };
        let line = line.split("  # ").next().unwrap().trim_end();
        match commands.last_mut().filter(|_| is_open) {
            Some(last) => *last = format!("{last}\n{line}"),
            None => commands.push(line.to_owned()),
        }
        is_open = line.ends_with('\\') || line.ends_with('{');
        // A block of configuration goes on until its end.
        is_open |= commands.last().is_some_and(|all| all.starts_with("server {"));
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// Every command, and where it is printed.
fn commands() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |place: &str, commands: Vec<String>| {
        found.extend(commands.into_iter().map(|command| (command, place.to_owned())));
    };
    for place in ["README.md", "tests/README.md"] {
        add(place, typed(&read(place)));
    }
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/manual");
    for entry in fs::read_dir(manual).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "recipes.txt" {
            add(&name, typed(&read(&format!("src/cli/manual/{name}"))));
        }
    }
    let help = read("src/cli/help.txt");
    add("help.txt", typed(&help));
    let rows = help.lines().filter(|line| !line.starts_with(['#', '-']));
    let examples = rows.filter_map(|line| line.split_once(" :: "));
    add("help.txt", examples.map(|(command, _)| command.to_owned()).collect());
    found
}

/// A home with all that the commands name, and what is on their path.
struct Desk {
    home: Home,
    bin: PathBuf,
    token: String,
    id: String,
}

impl Desk {
    fn new() -> Desk {
        let home = Home::new();
        for (provider, label) in
            [("anthropic", "Test"), ("github", "github"), ("huggingface", "hf"), ("openai", "Prod")]
        {
            home.add(provider, label, VALUE);
        }
        let listed = home.bare("keys list --json").ok().out;
        let id = listed.rsplit("\"id\":\"").next().unwrap().split('"').next().unwrap().to_owned();
        let token = pair(&home, "--name tablet");
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let desk = Desk { home, bin, token, id };
        let words: Vec<String> = lf().iter().map(|word| format!("'{}'", word.display())).collect();
        desk.program("lf", &format!("exec {} \"$@\"", words.join(" ")));
        for name in STAND_INS {
            desk.program(name, "cat > /dev/null");
        }
        for (name, text) in [
            (".env", "MISTRAL_API_KEY=abcdefghijklmnop0123456789\n"),
            (".lf", "OPENAI_API_KEY=Prod\n"),
            ("FILE", ""),
            ("sheet", SHEET),
            ("passphrase", PASSPHRASE),
            ("old", PASSPHRASE),
            ("new", "another horse battery staple"),
        ] {
            fs::write(desk.home.path().join(name), text).unwrap();
            chmod(&desk.home.path().join(name), 0o600);
        }
        for directory in ["stick", ".local/share/man/man1", ".config/fish/completions"] {
            fs::create_dir_all(desk.home.path().join(directory)).unwrap();
        }
        desk.shell("cp -r .lenserfight saved && cp -r saved/keys stick/keys").ok();
        desk.home.bare("keys allow").under(&["env", "-C", desk.room()]).ok();
        desk
    }

    fn room(&self) -> &str {
        self.home.path().to_str().unwrap()
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        chmod(&path, 0o755);
    }

    /// A line of a shell in the home; bash, because some of the lines are for it.
    fn shell(&self, line: &str) -> Run {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        let script = format!("cd ~ || exit\n{line}");
        let run = self.home.program(&["bash", "-c", &script]).env("PATH", path);
        let run = run.env("TOKEN", &self.token).env("ID", &self.id).env("NEW", VALUE);
        run.env("KEY", VALUE).input(VALUE)
    }

    /// Runs one command as somebody would who has just read of it.
    fn follow(&self, command: &str) -> support::Outcome {
        self.shell("rm -rf .lenserfight && cp -r saved .lenserfight").ok();
        // Where this machine has another address, or the test another port.
        let command =
            command.replace("/media/stick", "~/stick").replace("100.88.58.68", "127.0.0.2");
        let mut command = command.replace(" --print", "").replace(" --yes", "");
        command = command.replace("gateway install", "gateway install --print");
        if ASKING.iter().any(|asking| command.contains(asking)) {
            command += " --yes";
        }
        let bus = KEYCHAIN.iter().any(|it| command.starts_with(it)).then(|| {
            let home = Home::new();
            let bus = Bus::with_keyring(&home);
            if !command.starts_with("lf keys init") && !command.starts_with("LENSERFIGHT") {
                bus.store(&["service", "lenserfight-keys", "account", "master"], PASSPHRASE);
            } else if !command.contains("--") {
                self.shell("rm -r .lenserfight").ok();
            }
            (bus, home)
        });
        if command.contains("--passphrase-file") {
            self.shell("rm -r .lenserfight").ok();
        }
        let with = |run: Run| match &bus {
            Some((bus, _)) => bus.on(run),
            None if command.contains("lf keys init") => run,
            None => run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE),
        };
        let input = match command.as_str() {
            "lf keys recovery import" => SHEET,
            "lf keys rotate Prod" | "lf keys rotate --all" => "",
            _ => VALUE,
        };
        if command.contains("lf gateway serve") {
            let port = free_ports().next().unwrap().to_string();
            let serve = with(self.shell(&command)).env("LF_GATEWAY_PORT", port);
            return Gateway::run(serve).ends();
        }
        let mut run = with(self.shell(&command)).input(input);
        for variable in ["OPENAI_API_KEY", "HF_TOKEN"] {
            if command.contains(&format!("${variable}")) || command.contains("--env OPENAI") {
                run = run.env(variable, VALUE);
            }
        }
        if !["curl", "gateway status", "gateway doctor"].iter().any(|it| command.contains(it)) {
            return run.go();
        }
        let gateway = Gateway::start(&self.home);
        let port = gateway.address.port().to_string();
        let command = command.replace("38080", &port).replace("38081", &port);
        let run = with(self.shell(&command)).env("LF_GATEWAY_PORT", port);
        let outcome = run.go();
        gateway.ends();
        outcome
    }
}

fn elsewhere() -> impl Iterator<Item = &'static str> {
    ELSEWHERE.lines().map(|line| line.split_once(" :: ").expect("a reason").0)
}

fn is_elsewhere(command: &str) -> bool {
    elsewhere().any(|beginning| command.starts_with(beginning))
}

#[test]
fn every_command_that_is_printed_does_what_it_should() {
    let desk = Desk::new();
    let commands: BTreeSet<(String, String)> = commands().into_iter().collect();
    let (mut done, mut failed) = (BTreeSet::new(), String::new());
    for (command, place) in commands {
        if !is_elsewhere(&command) && done.insert(command.clone()) {
            let outcome = desk.follow(&command);
            if outcome.status != Some(0) {
                failed += &format!("{place}: {command}\n{outcome}\n");
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(done.len() > 80, "only {} commands", done.len());
}

#[test]
fn what_cannot_be_run_here_is_still_there() {
    let (home, makefile) = (Home::new(), read("Makefile"));
    let commands: Vec<String> = commands().into_iter().map(|(command, _)| command).collect();
    for beginning in elsewhere() {
        assert!(commands.iter().any(|it| it.starts_with(beginning)), "{beginning} is not printed");
    }
    // And what is named in the midst of a sentence.
    let pages = ["README.md", "tests/README.md"].map(read).join("\n");
    let sentences = pages.split("```").step_by(2).collect::<Vec<_>>().join("\n");
    let quoted = sentences.split('`').skip(1).step_by(2).map(str::to_owned);
    for command in commands.into_iter().filter(|it| is_elsewhere(it)).chain(quoted) {
        for part in command.split(['|', ';', '&', '\n', '(', ')']).map(str::trim) {
            let part = part.strip_prefix("sudo ").unwrap_or(part);
            if let Some(words) = part.strip_prefix("make ") {
                let is_target = |word: &&str| !word.contains('=') && !word.contains('.');
                for target in words.split_whitespace().filter(is_target) {
                    let rule = format!("\n{target}:");
                    assert!(makefile.contains(&rule), "{command}: the Makefile has no {target}");
                }
            } else if let Some(words) = part.strip_prefix("lf ") {
                let words = words.split(" -- ").next().unwrap();
                let words = words.split(['<', '>']).next().unwrap();
                if words.contains("TOPIC") || words.contains("COMMAND") || words.contains("lf/") {
                    continue;
                }
                let help = home.bare(&format!("{words} --help")).go();
                assert_eq!(help.status, Some(0), "{command}: {help}");
            }
        }
    }
}

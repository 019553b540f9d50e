//! Whatever happens at whatever system call of a command that changes something, every key that was
//! there is there, with its old or its new value, and opens with the passphrase that is configured.
//!
//! `cargo test` sweeps the calls that change or sync a file; `make torture` every call, with every fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

#[path = "torture/disk.rs"]
mod disk;
#[path = "torture/further.rs"]
mod further;
#[path = "torture/power.rs"]
mod power;
#[path = "torture/record.rs"]
mod record;
#[path = "torture/stage.rs"]
mod stage;
#[path = "torture/strace.rs"]
mod strace;
#[path = "torture/sweep.rs"]
mod sweep;

use std::fs;
use std::time::Instant;

use stage::{Key, Memory, Template};
use strace::{Extent, Fault, Point};
use support::{Outcome, PASSPHRASE, Run, SHEET};
use sweep::{MASTER, Stage, steadily, sweep_all, value_of};

/// A command that changes something, what it finds, and what it may leave.
struct Scenario {
    name: &'static str,
    /// Makes the store and fills the keychain; the token of the pairing `first`, if it makes one.
    prepare: fn(&Stage) -> Option<String>,
    /// `ONE` stands for the id of the key with this label.
    arguments: &'static str,
    input: &'static str,
    /// Where the command finds the master passphrase.
    with: Source,
    /// Where the next commands find it.
    after: Source,
    /// The passphrases that keys may be under afterwards.
    passphrases: fn(&Stage, &Scenario) -> Vec<String>,
    /// The labels of the keys whose files change.
    touches: &'static [&'static str],
    /// What becomes of each of these.
    becomes: fn(Key) -> Option<Key>,
    /// May it put keys aside in `unreadable/`, or bring them back?
    sets_aside: bool,
    /// The label and the value of a new key.
    adds: Option<(&'static str, &'static str)>,
    /// What else must be so when the command has said that it is done.
    done: fn(&Stage, &Scenario, &Outcome),
    /// What is done first, once it is known that every key opens as it is.
    then: &'static str,
    /// Shall it work the second time? With the code that says that there is nothing left to do.
    again: Option<&'static str>,
}

/// Where the master passphrase comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Environment,
    Keychain,
    /// The environment has it, and there is a keychain.
    Both,
    /// The same, and the keychain is not asked.
    Forced,
    /// The environment has the passphrase that a change waits for.
    Next,
}

impl Source {
    pub fn run(self, stage: &Stage, arguments: &str) -> Run {
        let home = &stage.home;
        match self {
            Source::Environment => home.lf(arguments),
            Source::Keychain => stage.bus.on(home.bare(arguments)),
            Source::Both => stage.bus.on(home.lf(arguments)),
            Source::Forced => stage.bus.on(home.lf(arguments).env(FORCE, "1")),
            Source::Next => home.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", NEXT),
        }
    }
}

impl Scenario {
    fn start(&self, stage: &Stage, template: &Template) -> Run {
        let home = stage.home.path().to_str().unwrap();
        let mut arguments = self.arguments.replace("HOME", home);
        if let Some(one) = template.keys.iter().find(|key| key.label == "One") {
            arguments = arguments.replace("ONE", &one.id);
        }
        let run = self.with.run(stage, &arguments).input(self.input);
        match self.arguments {
            "keys allow" => run.under(&["env", "--chdir", &format!("{home}/project")]),
            _ => run,
        }
    }
}

const ROTATE: Scenario = Scenario {
    name: "rotate",
    prepare: two_keys,
    arguments: "keys rotate -- ONE",
    input: "",
    with: Source::Environment,
    after: Source::Environment,
    passphrases: |stage, scenario| stage.configured(scenario.after).into_iter().collect(),
    touches: &["One"],
    becomes: Some,
    sets_aside: false,
    adds: None,
    done: |_, _, _| {},
    then: "keys list",
    again: None,
};

const REKEY: Scenario = Scenario {
    name: "rekey, keychain",
    prepare: two_keys_and_keychain,
    arguments: "keys rekey",
    with: Source::Keychain,
    after: Source::Keychain,
    touches: &["One", "Two"],
    done: |stage, _, _| assert!(!stage.home.keys().join(".rekey").exists()),
    ..ROTATE
};

const ADD: Scenario = Scenario {
    name: "add",
    arguments: "keys add --provider openai --label New",
    input: "sk-new",
    touches: &[],
    adds: Some(("New", "sk-new")),
    ..ROTATE
};

const NEW_VALUE: Scenario = Scenario {
    input: "sk-new",
    becomes: |key| {
        let value = "sk-new".to_owned();
        Some(Key { value, ..key })
    },
    ..ROTATE
};

const INIT: Scenario = Scenario {
    arguments: "keys init",
    with: Source::Keychain,
    after: Source::Keychain,
    touches: &[],
    done: |stage, _, _| assert!(stage.kept(MASTER).is_some(), "the keychain has none"),
    again: Some("already_configured"),
    ..ROTATE
};

/// The passphrase that the keys are under comes into a keychain that has none.
const BRING: Scenario = Scenario {
    after: Source::Forced,
    passphrases: |stage, _| vec![stage.kept(MASTER).unwrap_or(PASSPHRASE.to_owned())],
    done: |stage, _, _| assert_eq!(stage.kept(MASTER).as_deref(), Some(PASSPHRASE)),
    ..INIT
};

const PAIR: Scenario = Scenario {
    name: "pair",
    prepare: |stage| pairing(stage, Source::Environment, &["first"]),
    arguments: "gateway pair --name second",
    touches: &[],
    done: |stage, scenario, outcome| {
        let token = outcome.out.lines().next().unwrap();
        let name = stage.recognise(scenario, token);
        assert_eq!(name.as_deref(), Some("second"), "{outcome}");
    },
    again: Some("nothing"),
    ..ROTATE
};

const UNPAIR: Scenario = Scenario {
    name: "unpair",
    prepare: |stage| pairing(stage, Source::Environment, &["second", "first"]),
    arguments: "gateway unpair second",
    done: |stage, scenario, _| {
        let listed = scenario.after.run(stage, "gateway pairings").ok();
        assert!(!listed.out.contains("second"), "{listed}");
    },
    again: Some("pairing_not_found"),
    ..PAIR
};

const SCENARIOS: &[Scenario] = &[
    // These two take longest, and each keeps a core busy.
    REKEY,
    // The old passphrase stays the one, whatever happens; and the new one opens everything once it
    // has been said that it does.
    Scenario {
        name: "rekey, environment",
        prepare: |stage| pairing(stage, Source::Environment, &["first"]),
        arguments: "keys rekey --passphrase-stdin",
        input: NEXT,
        with: Source::Environment,
        after: Source::Environment,
        touches: &[],
        done: |stage, _, _| stage.all_open_with(NEXT),
        then: "keys rekey --undo",
        ..REKEY
    },
    Scenario { name: "init, an empty home", prepare: |_| None, ..INIT },
    Scenario {
        name: "init, a directory that others can reach",
        prepare: |stage| {
            fs::create_dir_all(stage.home.keys()).unwrap();
            support::chmod(&stage.home.keys(), 0o755);
            None
        },
        ..INIT
    },
    // By design the keys open no more: their files stay, and whoever has the old passphrase has them.
    Scenario {
        name: "init --force --yes",
        prepare: two_keys_and_keychain,
        arguments: "keys init --force --yes",
        after: Source::Forced,
        ..INIT
    },
    Scenario {
        name: "init --force, environment",
        arguments: "keys init --force",
        with: Source::Both,
        ..BRING
    },
    Scenario {
        name: "init --passphrase-stdin",
        arguments: "keys init --passphrase-stdin",
        input: PASSPHRASE,
        ..BRING
    },
    ADD,
    Scenario {
        name: "add, keychain",
        prepare: two_keys_and_keychain,
        with: Source::Keychain,
        after: Source::Keychain,
        ..ADD
    },
    Scenario {
        name: "import",
        prepare: |stage| {
            two_keys(stage);
            fs::write(stage.home.path().join(".env"), "GROQ_API_KEY=gsk_new\n").unwrap();
            None
        },
        arguments: "keys import --yes --dotenv HOME/.env",
        input: "",
        adds: Some(("GROQ_API_KEY", "gsk_new")),
        again: Some("nothing"),
        ..ADD
    },
    Scenario {
        name: "update --label",
        arguments: "keys update --label Uno -- ONE",
        becomes: |key| {
            let label = "Uno".to_owned();
            Some(Key { label, ..key })
        },
        ..ROTATE
    },
    Scenario { name: "update --rotate", arguments: "keys update --rotate -- ONE", ..NEW_VALUE },
    ROTATE,
    Scenario {
        name: "rotate, keychain",
        prepare: two_keys_and_keychain,
        with: Source::Keychain,
        after: Source::Keychain,
        ..ROTATE
    },
    Scenario {
        name: "rotate --all",
        arguments: "keys rotate --all",
        touches: &["One", "Two"],
        ..ROTATE
    },
    Scenario {
        name: "rotate --new-value",
        arguments: "keys rotate --new-value -- ONE",
        ..NEW_VALUE
    },
    Scenario { name: "remove", arguments: "keys remove --yes -- ONE", becomes: |_| None, ..ROTATE },
    Scenario {
        name: "rekey --finish, environment",
        prepare: |stage| {
            let token = pairing(stage, Source::Environment, &["first"]);
            stage.home.lf("keys rekey --passphrase-stdin").input(NEXT).ok();
            token
        },
        arguments: "keys rekey --finish",
        with: Source::Next,
        after: Source::Next,
        touches: &["One"],
        again: Some("nothing"),
        ..REKEY
    },
    Scenario {
        name: "rekey --finish, keychain",
        prepare: |stage| {
            two_keys_and_keychain(stage);
            let change = stage.bus.on(stage.home.bare("keys rekey"));
            // Killed once the keychain has the next passphrase: at the fifth of its renames, the first that
            // moves an envelope into place.
            let fault = "renameat:signal=SIGKILL:when=5";
            let killed = stage.on_one_core(change.inject(fault)).go();
            assert_eq!(killed.status, None, "{killed}");
            None
        },
        arguments: "keys rekey --finish",
        again: Some("nothing"),
        ..REKEY
    },
    Scenario {
        name: "rekey --undo",
        prepare: |stage| {
            two_keys(stage);
            stage.home.lf("keys rekey --passphrase-stdin").input(NEXT).ok();
            None
        },
        arguments: "keys rekey --undo",
        touches: &[],
        again: Some("nothing"),
        ..ROTATE
    },
    Scenario {
        name: "recovery import",
        arguments: "keys recovery import",
        input: SHEET,
        again: Some("nothing"),
        ..BRING
    },
    Scenario {
        name: "restore",
        prepare: |stage| {
            two_keys(stage);
            stage.home.copy();
            stage.home.lf("keys remove --yes One").ok();
            None
        },
        arguments: "keys restore HOME/copy",
        touches: &[],
        adds: Some(("One", "sk-of-One")),
        again: Some("nothing"),
        ..ROTATE
    },
    // Until the file goes, it has the passphrase that the keychain may not have yet.
    Scenario {
        name: "adopt",
        prepare: |stage| {
            two_keys(stage);
            let dir = stage.home.path().join(".lenserfight/gateway/keys");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy"), PASSPHRASE).unwrap();
            None
        },
        arguments: "keys adopt",
        passphrases: |stage, _| {
            let file = ".lenserfight/gateway/keys/bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy";
            let left = || fs::read_to_string(stage.home.path().join(file)).unwrap();
            vec![stage.kept(MASTER).unwrap_or_else(left)]
        },
        again: Some("nothing"),
        ..BRING
    },
    Scenario {
        name: "recovery forget",
        prepare: |stage| {
            two_keys_and_keychain(stage);
            let earlier = r#"{"v":1,"earlier":[{"passphrase":"an earlier one","until":null}]}"#;
            stage.keep("master.earlier", earlier);
            stage.keep("master.previous", "one that is older still");
            None
        },
        arguments: "keys recovery forget --yes",
        with: Source::Keychain,
        after: Source::Keychain,
        touches: &[],
        done: |stage, _, _| {
            for account in ["master.earlier", "master.previous"] {
                assert_eq!(stage.kept(account), None, "{account}");
            }
        },
        ..ROTATE
    },
    // Nothing opens them, whatever happens; but their envelopes are there, and the sheet brings them back.
    Scenario {
        name: "init --force, keys that nothing opens",
        prepare: strange_keys,
        arguments: "keys init --force --yes",
        after: Source::Forced,
        touches: &["One", "Two"],
        becomes: |_| None,
        sets_aside: true,
        done: |stage, _, _| assert_ne!(stage.kept(MASTER).as_deref(), Some(NEXT)),
        again: None,
        ..INIT
    },
    Scenario {
        name: "recovery import, keys that were given up",
        prepare: |stage| {
            stage.keep(MASTER, NEXT);
            stage.home.add("openai", "One", &value_of("One"));
            let give_up = stage.bus.on(stage.home.bare("keys init --force --yes"));
            give_up.ok();
            None
        },
        arguments: "keys recovery import",
        input: SHEET,
        passphrases: |_, _| vec![PASSPHRASE.to_owned()],
        sets_aside: true,
        adds: Some(("One", "sk-of-One")),
        again: Some("refused"),
        ..BRING
    },
    Scenario {
        name: "rekey --finish, the first version's",
        prepare: rekey_of_the_first_version,
        arguments: "keys rekey --finish",
        again: Some("nothing"),
        ..REKEY
    },
    Scenario {
        name: "rekey --undo, the first version's",
        prepare: rekey_of_the_first_version,
        arguments: "keys rekey --undo",
        touches: &[],
        again: Some("nothing"),
        ..REKEY
    },
    PAIR,
    Scenario {
        name: "pair, keychain",
        prepare: |stage| pairing(stage, Source::Keychain, &["first"]),
        with: Source::Keychain,
        after: Source::Keychain,
        ..PAIR
    },
    UNPAIR,
    Scenario {
        name: "unpair, keychain",
        prepare: |stage| pairing(stage, Source::Keychain, &["second", "first"]),
        with: Source::Keychain,
        after: Source::Keychain,
        ..UNPAIR
    },
];

fn two_keys(stage: &Stage) -> Option<String> {
    for label in ["One", "Two"] {
        stage.home.add("openai", label, &value_of(label));
    }
    None
}

fn two_keys_and_keychain(stage: &Stage) -> Option<String> {
    stage.keep(MASTER, PASSPHRASE);
    two_keys(stage)
}

/// Keys under another passphrase than the keychain's.
fn strange_keys(stage: &Stage) -> Option<String> {
    stage.keep(MASTER, NEXT);
    two_keys(stage)
}

/// A change that the first version of lf has left when everything was staged: its passphrase is in the
/// keychain under a name that no store has for itself, and it has no id.
fn rekey_of_the_first_version(stage: &Stage) -> Option<String> {
    two_keys_and_keychain(stage);
    let change = stage.bus.on(stage.home.bare("keys rekey"));
    // Behind the fourth of its renames, which says that all is ready.
    let stopped = stage.stop(change, "renameat:signal=SIGSTOP:when=4");
    let killed = stopped.unwrap_or_else(|ended| panic!("{ended}")).dies();
    assert_eq!(killed.status, None, "{killed}");
    let id = stage.home.keys().join(".rekey/id");
    let account = format!("rekey.{}", fs::read_to_string(&id).unwrap());
    stage.keep("master.next", &stage.kept(&account).unwrap());
    stage.drop_kept(&account);
    fs::remove_file(id).unwrap();
    None
}

/// One key, and these pairings; gives the token of the last.
fn pairing(stage: &Stage, source: Source, names: &[&str]) -> Option<String> {
    if let Source::Keychain = source {
        stage.keep(MASTER, PASSPHRASE);
    }
    stage.home.add("openai", "One", &value_of("One"));
    let pair = |name: &&str| {
        let paired = source.run(stage, &format!("gateway pair --name {name}"));
        paired.ok().out.lines().next().unwrap().to_owned()
    };
    let mut tokens: Vec<String> = names.iter().map(pair).collect();
    tokens.pop()
}

#[test]
fn nothing_is_lost_at_whatever_call_a_command_ends() {
    let wanted = std::env::var("TORTURE").unwrap_or_default();
    let is_wanted = |scenario: &&Scenario| scenario.name.contains(&wanted);
    let scenarios = support::rows(SCENARIOS.iter().filter(is_wanted));
    sweep_all("scenario", &wanted, scenarios.into_iter(), sweep);
}

/// Runs every point of a scenario; how many those are, and what was wrong at which.
fn sweep(scenario: &Scenario, stage: &mut Stage) -> (usize, Vec<String>) {
    let extent = if cfg!(feature = "torture") { Extent::Full } else { Extent::Fast };
    let (start, memory) = (Instant::now(), Memory::default());
    let traced = steadily(stage, |stage| {
        let template = stage.prepare(scenario);
        let calls = trace(scenario, stage, &template, &memory);
        (template, calls)
    });
    let (template, calls) = match traced {
        Ok(traced) => traced,
        Err(what) => return (0, vec![format!("{}: {what}", scenario.name)]),
    };
    let mut points = strace::points(&calls, extent);
    if extent == Extent::Fast && std::env::var_os("TORTURE").is_none() {
        points = support::part(points, 3, scenario.name);
    }
    let mut lost = Vec::new();
    for point in &points {
        let tried = steadily(stage, |stage| {
            hit(scenario, stage, &template, &memory, point);
        });
        if let Err(what) = tried {
            lost.push(format!("{}: {point}: {what}", scenario.name));
        }
    }
    let mut line = format!("{:40}", scenario.name);
    for fault in strace::FAULTS {
        let count = points.iter().filter(|point| point.fault == *fault).count();
        line.push_str(&format!(" {fault} {count:3} "));
    }
    println!("{line} {:4} s, lost: {}", start.elapsed().as_secs(), lost.len());
    (points.len(), lost)
}

/// The calls of a run that nothing happens to, and of another that would be killed if it made more.
fn trace(
    scenario: &Scenario,
    stage: &Stage,
    template: &Template,
    memory: &Memory,
) -> Vec<strace::Call> {
    let attempt = || {
        stage.reset(template);
        let run = scenario.start(stage, template).trace(&stage.log(), "all");
        let outcome = stage.on_one_core(run).ok();
        stage.survives(scenario, template, memory, &outcome);
        let calls = strace::calls(&fs::read_to_string(stage.log()).unwrap());
        stage.reset(template);
        let run = scenario.start(stage, template);
        let run = run.inject_all(&stage.log(), &strace::one_more(&calls));
        (calls, stage.on_one_core(run))
    };
    // The system's table of sockets, which `gateway pair` reads, has another size now and then.
    for _ in 0..5 {
        let (calls, run) = attempt();
        if run.go().status == Some(0) {
            return calls;
        }
    }
    let (calls, run) = attempt();
    run.ok();
    calls
}

/// One point: the command with the fault, how it ends, and what is there then.
fn hit(scenario: &Scenario, stage: &Stage, template: &Template, memory: &Memory, point: &Point) {
    stage.reset(template);
    let run = scenario.start(stage, template);
    let run = run.inject_all(&stage.log(), &[point.injection()]);
    let outcome = stage.on_one_core(run).go();
    let log = fs::read_to_string(stage.log()).unwrap();
    match (point.fault, outcome.status) {
        (Fault::Kill, None) | (Fault::Error(_), Some(0)) => {}
        (Fault::Error(_), Some(1..=3)) => {
            let is_error = |line: &str| {
                let code = line.strip_prefix("lf: ").and_then(|line| line.split_once(": "));
                code.is_some_and(|(code, _)| !["warning", "hint"].contains(&code))
            };
            assert!(outcome.err.lines().any(is_error), "no reason: {outcome}");
        }
        _ => panic!("it ends as it should not: {outcome}"),
    }
    assert!(point.fault == Fault::Kill || log.contains("(INJECTED)"), "not hit: {outcome}");
    assert!(!outcome.err.contains("panicked"), "{outcome}");
    stage.survives(scenario, template, memory, &outcome);
}

/// A passphrase that is not the usual one.
const NEXT: &str = "the passphrase that comes next";
const FORCE: &str = "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV";

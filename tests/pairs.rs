//! Two commands on two directories of keys and one keychain: whatever the order of their steps, and
//! whichever of them is killed where, every key opens with what is configured then.
//!
//! One command is stopped behind a call that changes or locks something. The other runs to its end, and
//! the first goes on, or is killed there. `cargo test` does so with a few pairs, at the calls about the
//! keychain, a lock or a name; `make torture` with all pairs, at every call. `PAIRS=adopt` runs those that
//! have this in their names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

#[path = "pairs/stage.rs"]
mod stage;
#[path = "torture/strace.rs"]
mod strace;
#[path = "torture/sweep.rs"]
mod sweep;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use stage::{Memory, Side, Template, common, given, hinted};
use strace::{Extent, Fault, Point};
use support::{Outcome, PASSPHRASE, Run, SHEET, Stopped};
use sweep::{Stage, steadily, sweep_all, value_of};

/// A command of a pair.
struct Command {
    arguments: &'static str,
    input: &'static str,
    /// The passphrase in its environment.
    variable: Option<&'static str>,
    /// Brings the keychain and its own side, the first, into the state that it wants.
    prepare: fn(&Stage, Side),
    /// The new value of its first key.
    value: Option<&'static str>,
    /// The label of the key that it adds.
    adds: Option<&'static str>,
    /// The passphrase that its owner has outside of the keychain, until the command is done.
    owned: Option<&'static str>,
    /// The codes with which it may end beside success.
    codes: &'static [&'static str],
}

#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    a: &'static Command,
    b: &'static Command,
    second: Side,
    /// Is it part of `cargo test`?
    is_fast: bool,
}

const REKEY: Command = Command {
    arguments: "keys rekey",
    input: "",
    variable: None,
    prepare: common,
    value: None,
    adds: None,
    owned: None,
    codes: &[],
};

const ADD: Command = Command {
    arguments: "keys add --provider openai --label New",
    input: "sk-of-New",
    adds: Some("New"),
    ..REKEY
};

const UPDATE: Command = Command {
    arguments: "keys update --rotate -- KEY",
    input: "sk-new",
    value: Some("sk-new"),
    ..REKEY
};

const ROTATE: Command = Command { arguments: "keys rotate -- KEY", ..REKEY };

/// Gives up if another process has replaced the passphrase that it has asked about.
const INIT_FORCE: Command =
    Command { arguments: "keys init --force --yes", codes: &["refused"], ..REKEY };

/// Killed once the keychain has the new passphrase: at the first rename of a key.
const FINISH: Command = Command {
    arguments: "keys rekey --finish",
    prepare: |stage, second| {
        common(stage, second);
        killed(stage, "renameat:signal=SIGKILL:when=5");
    },
    ..REKEY
};

/// Killed before the keychain has it.
const FINISH_EARLY: Command = Command {
    prepare: |stage, second| {
        common(stage, second);
        killed_before_it_is_master(stage);
    },
    ..FINISH
};

const UNDO: Command = Command {
    arguments: "keys rekey --undo",
    prepare: |stage, second| {
        common(stage, second);
        killed(stage, "renameat:signal=SIGKILL:when=3");
    },
    ..REKEY
};

const UNDO_LATE: Command = Command { prepare: FINISH_EARLY.prepare, ..UNDO };

/// A rekey of the first version: the keychain has its passphrase as `master.next`, and it has no id.
const FINISH_FORMER: Command = Command {
    prepare: |stage, second| {
        common(stage, second);
        killed_before_it_is_master(stage);
        let id = stage.dir(Side::First).join(".rekey/id");
        let account = format!("rekey.{}", fs::read_to_string(&id).unwrap());
        stage.keep("master.next", &stage.kept(&account).unwrap());
        stage.drop_kept(&account);
        fs::remove_file(id).unwrap();
    },
    ..FINISH
};

const UNDO_FORMER: Command = Command { prepare: FINISH_FORMER.prepare, ..UNDO };

const INIT: Command =
    Command { arguments: "keys init", prepare: |_, _| {}, codes: &["already_configured"], ..REKEY };

const RESEAT: Command = Command {
    arguments: "keys init --force",
    variable: Some(PASSPHRASE),
    prepare: |stage, second| {
        common(stage, second);
        stage.drop_kept("master");
    },
    owned: Some(PASSPHRASE),
    codes: &["refused"],
    ..REKEY
};

const RECOVER: Command = Command {
    arguments: "keys recovery import",
    input: SHEET,
    prepare: |stage, second| {
        stage.keep("master", ANOTHER);
        stage.add(Side::First, "One", PASSPHRASE);
        stage.add(second, "Three", ANOTHER);
    },
    owned: Some(PASSPHRASE),
    codes: &["refused"],
    ..REKEY
};

const ADOPT: Command = Command {
    arguments: "keys adopt",
    input: "",
    prepare: |stage, second| {
        (RECOVER.prepare)(stage, second);
        let dir = stage.home.path().join(".lenserfight/gateway/keys");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy"), PASSPHRASE).unwrap();
    },
    ..RECOVER
};

const fn pair(name: &'static str, a: &'static Command, b: &'static Command) -> Pair {
    let (second, is_fast) = (Side::Directory, false);
    Pair { name, a, b, second, is_fast }
}

const fn fast(pair: Pair) -> Pair {
    let is_fast = true;
    Pair { is_fast, ..pair }
}

const fn on(second: Side, pair: Pair) -> Pair {
    Pair { second, ..pair }
}

const PAIRS: &[Pair] = &[
    fast(pair("rekey, rekey", &REKEY, &REKEY)),
    fast(pair("rekey, add", &REKEY, &ADD)),
    fast(pair("recovery import, rekey", &RECOVER, &REKEY)),
    fast(pair("init --force --yes, rekey", &INIT_FORCE, &REKEY)),
    fast(pair("add, rekey", &ADD, &REKEY)),
    fast(on(Side::First, pair("add, rekey of its own", &ADD, &REKEY))),
    pair("rekey, update --rotate", &REKEY, &UPDATE),
    pair("rekey, rotate", &REKEY, &ROTATE),
    pair("rekey, init --force --yes", &REKEY, &INIT_FORCE),
    pair("rekey, rekey --finish", &REKEY, &FINISH),
    on(Side::Root, pair("rekey, rekey of a root", &REKEY, &REKEY)),
    on(Side::First, pair("rekey, add to its own", &REKEY, &ADD)),
    pair("rekey --finish, rekey", &FINISH, &REKEY),
    pair("rekey --finish, add", &FINISH, &ADD),
    pair("rekey --finish from before, rekey", &FINISH_EARLY, &REKEY),
    pair("rekey --finish from before, add", &FINISH_EARLY, &ADD),
    pair("rekey --finish of the first version, rekey", &FINISH_FORMER, &REKEY),
    pair("rekey --undo, rekey", &UNDO, &REKEY),
    pair("rekey --undo, add", &UNDO, &ADD),
    pair("rekey --undo, late, rekey", &UNDO_LATE, &REKEY),
    pair("rekey --undo of the first version, rekey", &UNDO_FORMER, &REKEY),
    pair("init, init", &INIT, &INIT),
    on(Side::Root, pair("init, init of a root", &INIT, &INIT)),
    pair("init --force --yes, add", &INIT_FORCE, &ADD),
    pair("init --force --yes, update --rotate", &INIT_FORCE, &UPDATE),
    pair("init --force of the environment's, add", &RESEAT, &RESEAT_ADD),
    pair("recovery import, add", &RECOVER, &ADD),
    pair("adopt, rekey", &ADOPT, &REKEY),
    pair("adopt, add", &ADOPT, &ADD),
    pair("update --rotate, rekey", &UPDATE, &REKEY),
    pair("rotate, rekey", &ROTATE, &REKEY),
    pair("add, init --force --yes", &ADD, &INIT_FORCE),
    pair("update --rotate, init --force --yes", &UPDATE, &INIT_FORCE),
];

/// Whether the keychain has it already depends on how far the other one is.
const RESEAT_ADD: Command = Command { codes: &["passphrase_missing"], ..ADD };

impl Command {
    fn start(&self, stage: &Stage, side: Side, template: &Template) -> Run {
        let keys = &template.keys[usize::from(side != Side::First)];
        let key = keys.first().map_or("", |key| &key.id);
        let arguments = self.arguments.replace("KEY", key);
        let run = stage.run(side, &arguments).input(self.input);
        match self.variable {
            Some(passphrase) => run.env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase),
            None => run,
        }
    }

    fn may_end_with(&self, outcome: &Outcome) -> bool {
        let begins = |code: &&str| {
            outcome.err.lines().any(|line| line.starts_with(&format!("lf: {code}: ")))
        };
        outcome.status == Some(0) || self.codes.iter().any(begins)
    }
}

/// Fails as a kill there would; the change that it leaves behind is the first side's.
fn killed(stage: &Stage, fault: &str) {
    let change = stage.run(Side::First, "keys rekey");
    let killed = stage.on_one_core(change.inject(fault)).go();
    assert_eq!(killed.status, None, "{killed}");
}

/// Everything is staged, and the keychain's `master` is the old one.
fn killed_before_it_is_master(stage: &Stage) {
    // The rename behind which it is said that all is ready, and then whatever comes first.
    let change = stage.run(Side::First, "keys rekey");
    let stopped = stage.stop(change, "renameat:signal=SIGSTOP:when=4");
    let killed = stopped.unwrap_or_else(|ended| panic!("{ended}")).dies();
    assert_eq!(killed.status, None, "{killed}");
    assert!(stage.dir(Side::First).join(".rekey/ready").exists());
    assert_eq!(stage.kept("master").as_deref(), Some(PASSPHRASE));
}

#[test]
fn nothing_is_lost_whatever_another_command_does_in_the_middle() {
    let wanted = std::env::var("PAIRS").unwrap_or_default();
    let is_wanted = |pair: &&Pair| {
        pair.name.contains(&wanted)
            && (pair.is_fast || !wanted.is_empty() || cfg!(feature = "torture"))
    };
    let pairs = support::rows(PAIRS.iter().filter(is_wanted));
    sweep_all("pair", &wanted, pairs.into_iter(), sweep);
}

/// Runs every point of a pair; how many those are, and what was wrong at which.
fn sweep(pair: &Pair, stage: &mut Stage) -> (usize, Vec<String>) {
    let (start, memory) = (Instant::now(), Memory::default());
    let traced = steadily(stage, |stage| {
        stage.clear();
        (pair.a.prepare)(stage, pair.second);
        let template = stage.template(pair.second);
        let points = points(pair, stage, &template);
        (template, points)
    });
    let (template, points) = match traced {
        Ok(traced) => traced,
        Err(what) => return (0, vec![format!("{}: {what}", pair.name)]),
    };
    let mut lost = Vec::new();
    for point in &points {
        let tried = steadily(stage, |stage| hit(pair, stage, &template, &memory, point));
        if let Err(what) = tried {
            lost.push(format!("{}: {point}: {what}", pair.name));
        }
    }
    if cfg!(feature = "torture") {
        let tried = steadily(stage, |stage| refused(pair, stage, &template, &points));
        lost.extend(tried.err().map(|what| format!("{}: waited: {what}", pair.name)));
    }
    println!(
        "{:45} {:3} points {:4} s, lost: {}",
        pair.name,
        points.len(),
        start.elapsed().as_secs(),
        lost.len()
    );
    (points.len(), lost)
}

/// Where the first command is stopped or killed: from a run that nothing happens to.
fn points(pair: &Pair, stage: &Stage, template: &Template) -> Vec<Point> {
    stage.reset(template);
    let log = stage.log();
    let run = pair.a.start(stage, Side::First, template);
    // Long enough for the name of what is asked of the bus.
    let strace = ["strace", "-f", "-qq", "-y", "-s", "200", "-o"];
    let run = run.under(&[&strace[..], &[log.to_str().unwrap()]].concat());
    stage.on_one_core(run).ok();
    let calls = strace::calls(&fs::read_to_string(&log).unwrap());
    let mut points = strace::points(&calls, Extent::Pair);
    if !cfg!(feature = "torture") {
        let is_telling = |name: &str| ["sendto", "flock", "renameat"].contains(&name);
        points.retain(|point| point.fault == Fault::Stop && is_telling(&point.call.name));
    }
    points
}

/// Stops the first command at a point.
fn stopped(pair: &Pair, stage: &Stage, template: &Template, point: &Point) -> Stopped {
    stage.reset(template);
    let a = pair.a.start(stage, Side::First, template);
    let a = stage.stop(a, &point.call.stop());
    a.unwrap_or_else(|ended| panic!("not hit: {ended}"))
}

/// One point: how both commands end, and what is there then.
fn hit(pair: &Pair, stage: &Stage, template: &Template, memory: &Memory, point: &Point) {
    let mut masters = Vec::new();
    masters.extend(template.master());
    let a = stopped(pair, stage, template, point);
    masters.extend(stage.kept("master"));
    let b = pair.b.start(stage, pair.second, template);
    let is_locked =
        || stage.bus.owner(LOCK).is_some() || (pair.second == Side::First && a.has_lock());
    let (a, b) = if point.fault == Fault::Kill {
        // The bus gives the name of a process that has ended away, and the kernel its locks.
        let a = a.dies();
        masters.extend(stage.kept("master"));
        (a, b.go())
    } else if is_locked() {
        // The second one waits. Nothing hangs on this time: too short, and it only comes later.
        let child = b.start();
        thread::sleep(Duration::from_millis(300));
        let a = a.goes_on();
        (a, b.finish(child))
    } else {
        let b = b.go();
        masters.extend(stage.kept("master"));
        (a.goes_on(), b)
    };
    assert!(pair.b.may_end_with(&b), "after {a}\nthe other one: {b}");
    match (point.fault, a.status) {
        (Fault::Kill, None) | (Fault::Stop, Some(0)) => {}
        (Fault::Stop, Some(1..=3)) => {
            let is_told = |line: &str| line.starts_with("lf: ") && line.matches(": ").count() > 1;
            assert!(a.err.lines().any(is_told), "no reason: {a}");
        }
        _ => panic!("it ends as it should not: {a}"),
    }
    for outcome in [&a, &b] {
        assert!(!outcome.err.contains("panicked"), "{outcome}");
    }
    let look = Look { pair, stage, template, a: &a, b: &b };
    look.every_key_opens();
    look.every_master_is_known(&masters);
    let shape = format!("{:?} {:?} {}", a.status, b.status, stage.shape(template));
    if memory.is_new(shape) {
        look.hints_lead_to_an_end();
        look.next_commands_work();
    }
}

/// A command that has waited for the lock in vain changes nothing, and works once that is free.
fn refused(pair: &Pair, stage: &Stage, template: &Template, points: &[Point]) {
    let takes = |point: &&Point| point.call.is_of_the_users_lock() && point.fault == Fault::Stop;
    let Some(point) = points.iter().find(takes) else {
        return;
    };
    let a = stopped(pair, stage, template, point);
    assert!(stage.bus.owner(LOCK).is_some());
    let before = stage.kept("master");
    let b = pair.b.start(stage, pair.second, template).go();
    assert_eq!(stage.kept("master"), before, "{b}");
    let b = if b.status == Some(0) {
        b // it wants no lock
    } else {
        assert!(b.err.contains("lf: refused: another process is changing"), "{b}");
        drop(a.goes_on());
        let b = pair.b.start(stage, pair.second, template).go();
        assert!(pair.b.may_end_with(&b), "{b}");
        return;
    };
    let a = a.goes_on();
    let look = Look { pair, stage, template, a: &a, b: &b };
    look.every_key_opens();
}

/// The look afterwards.
struct Look<'a> {
    pair: &'a Pair,
    stage: &'a Stage,
    template: &'a Template,
    a: &'a Outcome,
    b: &'a Outcome,
}

impl Look<'_> {
    /// Both sides, or the one that both commands have worked on, each with the commands that may have
    /// changed it and how they ended.
    fn sides(&self) -> Vec<(Side, Vec<(&Command, &Outcome)>)> {
        let (a, b) = ((self.pair.a, self.a), (self.pair.b, self.b));
        match self.pair.second {
            Side::First => vec![(Side::First, vec![a, b])],
            second => vec![(Side::First, vec![a]), (second, vec![b])],
        }
    }

    /// With what is configured now; nothing has been repaired.
    fn every_key_opens(&self) {
        for (side, commands) in self.sides() {
            let old = &self.template.keys[usize::from(side != Side::First)];
            let keys = self.stage.keys(side);
            for key in old {
                assert!(keys.contains(key), "{key:?} is gone; {}", self.told());
            }
            for key in &keys {
                let mut values = vec![value_of(&key.label)];
                for (command, outcome) in &commands {
                    if let Some(value) = command.value.filter(|_| old.first() == Some(key)) {
                        values.retain(|_| outcome.status != Some(0));
                        values.push(value.to_owned());
                    }
                }
                let value = self.open(side, &key.id, &commands);
                assert!(values.contains(&value), "{key:?} has {value:?}; {}", self.told());
            }
            for (command, outcome) in &commands {
                let is_there = |label: &str| keys.iter().any(|key| key.label == label);
                if let Some(label) = command.adds.filter(|_| outcome.status == Some(0)) {
                    assert!(is_there(label), "{label} is gone; {}", self.told());
                }
            }
        }
    }

    fn open(&self, side: Side, id: &str, commands: &[(&Command, &Outcome)]) -> String {
        let export = || self.stage.run(side, &format!("keys export --i-understand -- {id}"));
        let opened = export().go();
        if opened.status == Some(0) {
            return opened.out.trim_end().to_owned();
        }
        // The person still has it, because the command has not said that it is done.
        let owned = commands
            .iter()
            .filter(|(_, outcome)| outcome.status != Some(0))
            .find_map(|(command, _)| command.owned);
        let Some(owned) = owned else {
            panic!("{side:?}: {opened}\nafter {}", self.told());
        };
        given(export(), owned).ok().out.trim_end().to_owned()
    }

    /// Each passphrase that was the master passphrase at any time is that, or on record.
    fn every_master_is_known(&self, masters: &[String]) {
        let present = self.stage.kept("master").unwrap_or_default();
        let earlier = self.stage.kept("master.earlier").unwrap_or_default();
        for master in masters {
            let is_known = present == *master || earlier.contains(&format!("\"{master}\""));
            assert!(is_known, "a master passphrase is lost; {}", self.told());
        }
    }

    /// Whoever does what the doctor says comes to a store in which all is well.
    fn hints_lead_to_an_end(&self) {
        for (side, commands) in self.sides() {
            let is_owned = |(command, outcome): &(&Command, &Outcome)| {
                command.owned.is_some() && outcome.status != Some(0)
            };
            if commands.iter().any(is_owned) {
                // The way on is the same command again.
                for (command, _) in &commands {
                    let again = command.start(self.stage, side, self.template).go();
                    assert!(command.may_end_with(&again), "{again}\nafter {}", self.told());
                }
            }
            for _ in 0..3 {
                let told = self.stage.run(side, "keys doctor").go();
                if told.status == Some(0) {
                    break;
                }
                let hint = hinted(&told).unwrap_or_else(|| panic!("no hint: {told}"));
                assert!(!hint.contains("--yes"), "{told}");
                if hint == "keys init" && self.stage.kept("master").is_none() {
                    break;
                }
                let done = self.stage.run(side, &hint).go();
                assert_eq!(done.status, Some(0), "{done}\nas {told}\nsays, after {}", self.told());
            }
        }
    }

    fn next_commands_work(&self) {
        let sides = self.sides();
        if self.stage.kept("master").is_none() {
            self.stage.run(Side::First, "keys init").ok();
        }
        for (side, commands) in &sides {
            if commands.iter().any(|(command, outcome)| {
                command.owned.is_some() && outcome.status != Some(0) && command.variable.is_some()
            }) {
                return; // lf asks which of the two to use
            }
            let next = if self.stage.keys(*side).is_empty() {
                self.stage.run(*side, "keys add --provider openai --label Next").input("sk-of-Next")
            } else {
                self.stage.run(*side, "keys rotate --all")
            };
            let next = next.go();
            assert_eq!(next.status, Some(0), "{next}\nafter {}", self.told());
            let rest = self.stage.dir(*side).join(".rekey");
            assert!(!rest.exists(), "{} stays; {}", rest.display(), self.told());
        }
        let rekeys = self.stage.accounts_of_rekeys();
        assert!(rekeys.is_empty(), "{rekeys:?} stay; {}", self.told());
        self.every_key_opens();
    }

    fn told(&self) -> String {
        format!("the first: {}\n the second: {}", self.a, self.b)
    }
}

#[test]
fn a_bus_that_is_restarted_under_the_lock_loses_nothing() {
    let mut stage = Stage::new(support::cores().remove(0));
    let second = Side::Directory;
    let pair = pair("rekey, a restarted bus", &REKEY, &REKEY);
    common(&stage, second);
    let template = stage.template(second);
    let points = points(&pair, &stage, &template);
    let point = points.iter().find(|point| point.call.is_of_the_users_lock());
    let a = stopped(&pair, &stage, &template, point.unwrap());
    stage.bus.restart();
    let a = a.goes_on();
    assert_eq!(a.status, Some(1), "{a}");
    assert!(a.err.contains("lf: keychain_unavailable: "), "{a}");
    let b = REKEY.start(&stage, second, &template).ok();
    let look = Look { pair: &pair, stage: &stage, template: &template, a: &a, b: &b };
    look.every_key_opens();
    look.hints_lead_to_an_end();
    look.next_commands_work();
}

/// The user's lock, as it is called on the bus.
const LOCK: &str = "com.lenserfight.lf.Master";
const ANOTHER: &str = "another master passphrase of this user";

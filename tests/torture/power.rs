//! The power is cut at any call of a command that changes something, and the disk keeps what it likes of what was
//! not synced ([`super::disk`] has the rules): every key opens, and what a command has said that it did, it did.
//!
//! The keychain's own files are the keychain's business: what it has answered counts as kept.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::disk::{Call, Contents, Disk, Node, Random, Tree};
use super::further::FURTHER;
use super::record::{self, Event, Kept, Recording, asks_the_keychain, kept, record};
use super::stage::{Memory, Template};
use super::sweep::{Stage, steadily, sweep_all};
use super::{SCENARIOS, Scenario};
use support::{Outcome, list};

/// What a power cut leaves, and when it came.
struct State {
    tree: Tree,
    /// Which of the keychain's states it is.
    kept: usize,
    /// Had the command ended?
    is_done: bool,
    /// What came last before the cut.
    point: String,
}

/// All states that the cuts of one run may leave.
#[derive(Default)]
struct Cuts {
    states: Vec<State>,
    /// Where each of them is.
    known: HashMap<(Tree, usize), usize>,
    kept: Vec<Kept>,
    points: usize,
    /// Points at which only some of the combinations were tried.
    sampled: usize,
}

impl Cuts {
    /// What a cut at one point may leave, and whether that is all.
    fn add(&mut self, (trees, is_all): (Vec<Tree>, bool), is_done: bool, point: &str) {
        self.points += 1;
        self.sampled += usize::from(!is_all);
        let kept = self.kept.len() - 1;
        for tree in trees {
            let next = self.states.len();
            let at = *self.known.entry((tree.clone(), kept)).or_insert(next);
            if at == next {
                self.states.push(State { tree, kept, is_done, point: point.to_owned() });
            } else if is_done && !self.states[at].is_done {
                // Whoever is done has to keep more than whoever is not.
                (self.states[at].is_done, self.states[at].point) = (true, point.to_owned());
            }
        }
    }
}

/// What is counted over all scenarios.
static POINTS: AtomicUsize = AtomicUsize::new(0);
static STATES: AtomicUsize = AtomicUsize::new(0);
static FOLLOWED: AtomicUsize = AtomicUsize::new(0);
static SYNCS: AtomicUsize = AtomicUsize::new(0);
static NEEDED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn whatever_a_power_cut_leaves_every_key_opens() {
    let wanted = std::env::var("TORTURE").unwrap_or_default();
    let is_wanted = |scenario: &&Scenario| {
        let is_due = IS_FULL || !wanted.is_empty() || FEW.contains(&scenario.name);
        is_due && scenario.name.contains(&wanted)
    };
    let scenarios = support::rows(FURTHER.iter().chain(SCENARIOS).filter(is_wanted)).into_iter();
    println!("POWER_SEED={}", seed());
    sweep_all("power cut", &wanted, scenarios, sweep);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{} crash points, {} distinct states, the next commands after {} of them; {} of {} syncs are needed",
        count(&POINTS),
        count(&STATES),
        count(&FOLLOWED),
        count(&NEEDED),
        count(&SYNCS),
    );
}

#[test]
fn without_any_one_of_its_syncs_a_power_cut_undoes_or_loses_something() {
    let is_wanted = |scenario: &&Scenario| ["add", "rotate", "remove"].contains(&scenario.name);
    sweep_all(
        "sync that is left out",
        "",
        SCENARIOS.iter().filter(is_wanted),
        |scenario, stage| {
            let (mut look, mut contents) = match Look::prepare(scenario, stage) {
                Ok(prepared) => prepared,
                Err(what) => return (0, vec![what]),
            };
            let (needed, syncs) = look.without(stage, &mut contents);
            let lost = (syncs == 0 || needed < syncs)
                .then(|| format!("{}: {needed} of {syncs} syncs are needed", scenario.name));
            (syncs, lost.into_iter().collect())
        },
    );
}

fn seed() -> u64 {
    let seed = std::env::var("POWER_SEED").map(|seed| seed.parse().expect("a number"));
    seed.unwrap_or(1)
}

fn sweep(scenario: &Scenario, stage: &mut Stage) -> (usize, Vec<String>) {
    let start = Instant::now();
    let (mut look, mut contents) = match Look::prepare(scenario, stage) {
        Ok(prepared) => prepared,
        Err(what) => return (0, vec![what]),
    };
    let cuts = look.cuts(&mut contents, None);
    let (mut lost, mut followed) = (Vec::new(), HashSet::new());
    for state in &cuts.states {
        // Not all of that in every run: what the command has left when it was done.
        let is_due = IS_FULL || state.is_done;
        let is_new = is_due && followed.insert(class(state, &contents));
        let further = if is_new { Further::Follow } else { Further::Look };
        if let Err(what) = look.at(stage, state, &cuts, &contents, further) {
            lost.push(format!("{}: cut behind {}: {what}", scenario.name, state.point));
        }
    }
    let is_due = IS_FULL && lost.is_empty();
    let (needed, syncs) = if is_due { look.without(stage, &mut contents) } else { (0, 0) };
    println!(
        "{:40} calls {:3}  points {:3} (sampled {})  states {:4}  followed {:3}  syncs needed {needed} of {syncs}  {:4} s, lost: {}",
        scenario.name,
        look.recording.events.len(),
        cuts.points,
        cuts.sampled,
        cuts.states.len(),
        followed.len(),
        start.elapsed().as_secs(),
        lost.len()
    );
    POINTS.fetch_add(cuts.points, Ordering::Relaxed);
    STATES.fetch_add(cuts.states.len(), Ordering::Relaxed);
    FOLLOWED.fetch_add(followed.len(), Ordering::Relaxed);
    SYNCS.fetch_add(syncs, Ordering::Relaxed);
    NEEDED.fetch_add(needed, Ordering::Relaxed);
    (cuts.points, lost)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Further {
    /// Look at what is there.
    Look,
    /// And see that the next commands do their work.
    Follow,
}

/// What is looked at in one scenario.
struct Look<'a> {
    scenario: &'a Scenario,
    template: Template,
    recording: Recording,
    memory: Memory,
    /// Is all well in this state?
    known: HashMap<(Tree, usize, bool), bool>,
}

impl<'a> Look<'a> {
    /// Prepares the scenario, and records a run of its command.
    fn prepare(scenario: &'a Scenario, stage: &mut Stage) -> Result<(Look<'a>, Contents), String> {
        let recorded = steadily(stage, |stage| {
            clear(stage);
            let template = stage.prepare(scenario);
            let mut contents = Contents::default();
            let mut attempt = || {
                stage.reset(&template);
                record(scenario, stage, &template, &mut contents)
            };
            let recording = (0..5).find_map(|_| attempt());
            (template, recording.expect("a keychain that answers in time"), contents)
        });
        let (template, recording, contents) =
            recorded.map_err(|what| format!("{}: {what}", scenario.name))?;
        let (memory, known) = (Memory::default(), HashMap::new());
        Ok((Look { scenario, template, recording, memory, known }, contents))
    }

    /// Every state that a cut may leave, each once: of a run, or of one whose sync with this number never
    /// reached the disk.
    fn cuts(&self, contents: &mut Contents, without: Option<usize>) -> Cuts {
        let mut disk = Disk::of(&self.recording.before);
        let (mut random, mut cuts, mut syncs) = (Random::new(seed()), Cuts::default(), 0);
        for event in &self.recording.events {
            let point = match event {
                Event::Kept(kept) => {
                    cuts.kept.push(kept.clone());
                    "an answer of the keychain".to_owned()
                }
                Event::Call(call) => {
                    let is_sync = matches!(call, Call::Sync(_));
                    if !is_sync || without != Some(syncs) {
                        disk.play(call, contents);
                    }
                    syncs += usize::from(is_sync);
                    shown(call)
                }
            };
            cuts.add(disk.cut(contents, &mut random, MOST), false, &point);
        }
        cuts.add(disk.cut(contents, &mut random, MOST), true, "the end");
        cuts
    }

    /// Puts everything as the cut has left it, and looks at it.
    fn at(
        &mut self,
        stage: &mut Stage,
        state: &State,
        cuts: &Cuts,
        contents: &Contents,
        further: Further,
    ) -> Result<(), String> {
        let (scenario, template, memory) = (self.scenario, &self.template, &self.memory);
        let cut = Outcome::cut();
        let outcome = if state.is_done { &self.recording.outcome } else { &cut };
        let (accounts, kept) = (&self.recording.accounts, &cuts.kept[state.kept]);
        let looked = steadily(stage, |stage| {
            put(stage, &state.tree, contents);
            if asks_the_keychain(scenario) {
                keep(stage, accounts, kept);
            }
            has_its_log(stage, &self.recording.before, contents);
            let keys = stage.is_whole(scenario, template, memory, outcome);
            if further == Further::Follow {
                stage.goes_on(scenario, template, &keys);
            }
        });
        self.known.insert((state.tree.clone(), state.kept, state.is_done), looked.is_ok());
        looked.map_err(|what| format!("{what}\n{}", sketch(&state.tree, contents)))
    }

    /// Without which of the command's syncs would something be lost? How many those are, of how many.
    fn without(&mut self, stage: &mut Stage, contents: &mut Contents) -> (usize, usize) {
        let sync = |event: &Event| match event {
            Event::Call(call @ Call::Sync(_)) => Some(shown(call)),
            _ => None,
        };
        let syncs: Vec<String> = self.recording.events.iter().filter_map(sync).collect();
        let is_needed = |sync: &usize| {
            let cuts = self.cuts(contents, Some(*sync));
            let is_needed = quietly(|| {
                cuts.states.iter().any(|state| {
                    let known = (state.tree.clone(), state.kept, state.is_done);
                    match self.known.get(&known) {
                        Some(is_well) => !is_well,
                        None => self.at(stage, state, &cuts, contents, Further::Look).is_err(),
                    }
                })
            });
            if !is_needed {
                println!("{}: nothing is lost without {}", self.scenario.name, syncs[*sync]);
            }
            is_needed
        };
        ((0..syncs.len()).filter(is_needed).count(), syncs.len())
    }
}

/// Makes the keychain have this.
fn keep(stage: &Stage, accounts: &BTreeSet<(String, String)>, wanted: &Kept) {
    let keychain = stage.keychain();
    let now = kept(stage, &mut accounts.clone());
    for place @ (service, account) in accounts {
        match (now.get(place), wanted.get(place)) {
            (now, Some(wanted)) if now != Some(wanted) => {
                let secret = local_keys::Secret::new(wanted.clone());
                keychain.store(service, account, &secret).unwrap();
            }
            (Some(_), None) => drop(keychain.delete(service, account).unwrap()),
            _ => {}
        }
    }
}

/// What was in the audit log when the power was on is there, but for lists, which are thinned out.
fn has_its_log(stage: &Stage, before: &Tree, contents: &Contents) {
    let text = |content| String::from_utf8_lossy(contents.bytes(content)).into_owned();
    let now = read_logs(stage);
    let now: HashSet<&str> = now.lines().collect();
    for (path, node) in before {
        if let Node::File(_, content) = node
            && path.contains("/audit.log")
        {
            for line in text(*content).lines().filter(|line| !line.contains(r#""kind":"list""#)) {
                assert!(now.contains(line), "the audit log has lost {line}");
            }
        }
    }
}

fn read_logs(stage: &Stage) -> String {
    let files = ["audit.log.2", "audit.log.1", "audit.log"].map(|it| stage.home.keys().join(it));
    let bytes = files.iter().flat_map(|file| fs::read(file).unwrap_or_default());
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

fn clear(stage: &Stage) {
    for place in list(stage.home.path()) {
        let name = place.file_name().unwrap().to_str().unwrap();
        match record::is_foreign(name) {
            true => {}
            false if place.is_dir() => fs::remove_dir_all(&place).unwrap(),
            false => fs::remove_file(&place).unwrap(),
        }
    }
}

/// Makes the home look like this.
fn put(stage: &Stage, tree: &Tree, contents: &Contents) {
    clear(stage);
    // A directory comes before what is in it.
    for (path, node) in tree {
        let place = stage.home.path().join(path);
        match node {
            Node::Directory(mode) => {
                fs::create_dir(&place).unwrap();
                support::chmod(&place, *mode);
            }
            Node::File(mode, content) => {
                fs::write(&place, contents.bytes(*content)).unwrap();
                support::chmod(&place, *mode);
            }
        }
    }
}

/// States whose next commands need not be tried twice: what is in the audit log and in temporary files makes no
/// difference to them.
fn class(state: &State, contents: &Contents) -> (Tree, usize) {
    let plain = |(path, node): (&String, &Node)| match node {
        Node::File(mode, _) if path.contains("/audit.log") => (path.clone(), Node::File(*mode, 0)),
        Node::File(mode, content) if path.ends_with(".tmp") => {
            let is_empty = contents.bytes(*content).is_empty();
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            (format!("{dir}/temporary"), Node::File(*mode, usize::from(is_empty)))
        }
        _ => (path.clone(), *node),
    };
    (state.tree.iter().map(plain).collect(), state.kept)
}

/// A tree as a person reads it.
fn sketch(tree: &Tree, contents: &Contents) -> String {
    let line = |(path, node): (&String, &Node)| match node {
        Node::Directory(mode) => format!("  {path}/ {mode:03o}\n"),
        Node::File(mode, content) => {
            let bytes = contents.bytes(*content);
            let zeros = bytes.iter().filter(|byte| **byte == 0).count();
            format!("  {path} {mode:03o}, {} bytes, {zeros} of them zero\n", bytes.len())
        }
    };
    tree.iter().map(line).collect()
}

fn shown(call: &Call) -> String {
    match call {
        Call::Write(path, _, bytes) => format!("Write({path:?}, {} bytes)", bytes.len()),
        call => format!("{call:?}"),
    }
}

/// Does this without a word about assertions that fail in this thread.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let done = act();
    QUIET.set(false);
    done
}

const IS_FULL: bool = cfg!(feature = "torture");
/// What `cargo test` does of the scenarios.
const FEW: &[&str] = &[
    "rekey, keychain",
    "init, an empty home",
    "add",
    "update --rotate",
    "remove",
    "adopt",
    "pair",
    "list, a full audit log",
    "doctor --fix",
    "allow",
];
/// Combinations at one point: all of six operations with up to four outcomes each.
const MOST: usize = 4096;

//! What the sweeps over one command and over pairs of commands share: the homes and keyrings that
//! they work on, one for each core.
#![allow(dead_code)] // each of two sweeps uses its own part

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use local_keys::{Keychain, Patience, Secret};

use support::bus::{Bus, environment};
use support::{HANG, Home, Outcome, Run, Stopped, cores};

/// A home and a bus of one thread, used for one point after the other.
pub struct Stage {
    pub home: Home,
    pub bus: Bus,
    /// The one core that the swept command gets, so that its calls come in one order.
    core: String,
    /// How often the keyring was.
    revived: usize,
}

impl Stage {
    pub fn new(core: String) -> Stage {
        let home = Home::new();
        let bus = Bus::with_keyring(&home);
        Stage { home, bus, core, revived: 0 }
    }

    pub fn log(&self) -> PathBuf {
        self.home.path().join("strace.log")
    }

    pub fn on_one_core(&self, run: Run) -> Run {
        run.on_core(&self.core)
    }

    /// Runs it until a fault stops it; `Err` with its end if none does.
    pub fn stop(&self, run: Run, fault: &str) -> Result<Stopped, Box<Outcome>> {
        run.stop(&self.core, &self.log(), fault)
    }

    pub fn keychain(&self) -> Keychain {
        // What is prepared and looked at may take longer than lf waits, on a busy machine.
        let patience = Patience { service: HANG, ..Patience::SHORT };
        Keychain::new(&environment(&self.bus.socket()), patience)
    }

    pub fn keep(&self, account: &str, secret: &str) {
        let secret = Secret::new(secret.to_owned());
        self.keychain().store(SERVICE, account, &secret).unwrap();
    }

    pub fn drop_kept(&self, account: &str) {
        self.keychain().delete(SERVICE, account).unwrap();
    }

    pub fn kept(&self, account: &str) -> Option<String> {
        let kept = self.keychain().find(SERVICE, account).unwrap();
        kept.map(|secret| secret.expose().to_owned())
    }

    /// Starts a keyring that has ended again, with what it has written down, and says so:
    /// gnome-keyring does not bear for ever that clients go away in the middle.
    fn revive(&mut self) -> bool {
        let is_gone = self.keychain().find(SERVICE, MASTER).is_err();
        if is_gone {
            self.bus.restart();
            self.revived += 1;
        }
        is_gone
    }
}

/// Sweeps the cases, each on whichever stage is free: `sweep` says how many points there were, and what
/// was wrong at which. `kind` and `wanted` are for what is printed.
pub fn sweep_all<T: Sync + 'static>(
    kind: &str,
    wanted: &str,
    cases: impl Iterator<Item = &'static T> + Send,
    sweep: fn(&T, &mut Stage) -> (usize, Vec<String>),
) {
    let cases = Mutex::new(cases);
    let mut stages: Vec<Stage> = cores().into_iter().map(Stage::new).collect();
    for tool in ["strace", "taskset"] {
        stages[0].bus.run(tool, &["--version"]);
    }
    let (total, lost, start) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Instant::now());
    let work = |stage: &mut Stage| {
        loop {
            let Some(case) = cases.lock().unwrap().next() else {
                break;
            };
            let (count, failed) = sweep(case, stage);
            total.fetch_add(count, Ordering::Relaxed);
            lost.lock().unwrap().extend(failed);
        }
    };
    thread::scope(|scope| {
        for stage in &mut stages {
            scope.spawn(|| work(stage));
        }
    });
    let (total, lost) = (total.into_inner(), lost.into_inner().unwrap());
    let seconds = start.elapsed().as_secs();
    let revived: usize = stages.iter().map(|stage| stage.revived).sum();
    println!(
        "{total} points of {kind}s in {seconds} s, something lost at {}; the keyring was started again {revived} times",
        lost.len()
    );
    assert!(total > 0, "no {kind} has {wanted:?} in its name");
    assert!(lost.is_empty(), "{}", lost.join("\n\n"));
}

/// Does this, and once more if the keyring ended meanwhile, which is not lf's affair; the words of
/// the assertion that failed, if one did.
pub fn steadily<T>(stage: &mut Stage, act: impl Fn(&Stage) -> T) -> Result<T, String> {
    let attempt = |stage: &Stage| {
        let tried = catch_unwind(AssertUnwindSafe(|| act(stage)));
        tried.map_err(|panic| match panic.downcast::<String>() {
            Ok(what) => *what,
            Err(_) => "an assertion".to_owned(),
        })
    };
    let tried = attempt(stage);
    if tried.is_err() && stage.revive() {
        return attempt(stage);
    }
    tried
}

/// What the keys hold that are prepared.
pub fn value_of(label: &str) -> String {
    format!("sk-of-{label}")
}

pub const SERVICE: &str = "lenserfight-keys";
pub const MASTER: &str = "master";

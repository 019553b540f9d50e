//! The protocol of [`super`] as a model, and every way that two stores' commands can interleave.
//!
//! The world is one keychain and two stores with two keys each, all under passphrase 0 at first. A
//! passphrase is a number. A store's user starts a few commands, one after the other: `rekey`,
//! `rekey --finish`, `rekey --undo`. A command is a process that does one step at a time; between any
//! two steps the other store's process may do any number of its own, or the process may be killed.
//! A process that is stopped is one that does no step for a while, so stops are covered as well.
//!
//! The steps have the numbers of the table in [`super`]:
//!
//! 0. A command looks for a change that was cut short. [`next_step`], the program's own function, says
//!    whether it is undone (step 7), finished (step 5, or 6 if it has taken effect) or waits.
//! 1. `Claim`, `Id`: `.rekey/` and the name of the change.
//! 2. `Keep`: the next passphrase into the keychain, under that name.
//! 3. `Stage`: each key, re-encrypted.
//! 4. `Ready`.
//! 5. `Lock`, `Read`, `Record`, `Write`, `Unlock`: the user's lock, `master` and the record as they are by
//!    now, the record with that `master` on it, the new `master`.
//! 6. `Move`: each staged envelope over the present one.
//! 7. `Retract`, `Clear`, `Drop`, `Leave`: `ready`, the staged envelopes, the keychain's entry, `.rekey/`.
//!
//! The promise, in every state: each key opens with `master` or with one on record, where it lies or where it
//! is staged. And no state is a dead end: a command that is not killed leaves no `.rekey/` behind.

use std::collections::HashSet;

use super::{Step, next_step};

type Passphrase = u8;
/// A set of passphrases, a bit for each.
type Set = u16;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    master: Passphrase,
    record: Set,
    /// The entries `rekey.<id>`. A change and its passphrase have the same number.
    waiting: Set,
    /// Who has the user's lock.
    lock: Option<usize>,
    /// One process may be killed, and the one that settles what it left.
    kills_left: u8,
    /// Has a command met a change that nothing can finish or undo?
    is_stuck: bool,
    stores: [Store; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Store {
    present: [Passphrase; 2],
    staging: Option<Staging>,
    process: Option<Process>,
    commands_left: u8,
    /// The number of this store's next new passphrase.
    fresh: Passphrase,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Staging {
    id: Option<Passphrase>,
    staged: [Option<Passphrase>; 2],
    is_ready: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    command: Command,
    at: At,
    /// The passphrase that the change brings.
    new: Passphrase,
    /// What was read under the user's lock: `master`, and the record.
    seen: (Passphrase, Set),
    /// Is this the rest of an earlier change, before the command's own?
    is_settling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Command {
    Rekey,
    Finish,
    Undo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Look,
    Claim,
    Id,
    Keep,
    Stage(usize),
    Ready,
    Lock,
    Read,
    Record,
    Write,
    Unlock,
    Move(usize),
    Retract,
    Clear,
    Drop,
    Leave,
}

/// A way in which the protocol could be wrong, to see that the walk notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// `master` is replaced without its predecessor on record.
    NoRecord,
    /// The lock is the store's own, so that the other store's process has one too.
    LockPerStore,
    /// All changes keep their passphrase under one name.
    SharedName,
    /// Envelopes are moved before the new passphrase is `master`.
    MovedTooEarly,
    /// The record is read before the lock is there.
    ReadTooEarly,
}

impl World {
    fn new() -> World {
        let store = |fresh, commands_left| Store {
            present: [0, 0],
            staging: None,
            process: None,
            commands_left,
            fresh,
        };
        World {
            master: 0,
            record: 0,
            waiting: 0,
            lock: None,
            kills_left: 2,
            is_stuck: false,
            stores: [store(1, 2), store(2, 1)],
        }
    }

    fn is_known(&self, passphrase: Passphrase) -> bool {
        passphrase == self.master || self.record & bit(passphrase) != 0
    }

    /// The promise; or the store and the key that break it.
    fn broken(&self) -> Option<(usize, usize)> {
        let opens = |store: &Store, key: usize| {
            let staged = store.staging.as_ref().and_then(|staging| staging.staged[key]);
            self.is_known(store.present[key]) || staged.is_some_and(|staged| self.is_known(staged))
        };
        let places = (0..2).flat_map(|at| (0..2).map(move |key| (at, key)));
        places.into_iter().find(|(at, key)| !opens(&self.stores[*at], *key))
    }

    /// What can happen next: a process does a step, is killed, or a user starts a command.
    fn successors(&self, flaw: Flaw) -> Vec<World> {
        let mut all = Vec::new();
        for at in 0..2 {
            match &self.stores[at].process {
                None if self.stores[at].commands_left > 0 => {
                    all.push(self.started(at, Command::Rekey));
                    // Without a change that was begun these two do nothing.
                    if self.stores[at].staging.is_some() {
                        all.push(self.started(at, Command::Finish));
                        all.push(self.started(at, Command::Undo));
                    }
                }
                None => {}
                Some(_) => {
                    all.extend(self.stepped(at, flaw));
                    if self.kills_left > 0 {
                        all.push(self.killed(at));
                    }
                }
            }
        }
        all
    }

    fn started(&self, at: usize, command: Command) -> World {
        let mut next = self.clone();
        let store = &mut next.stores[at];
        store.commands_left -= 1;
        store.process =
            Some(Process { command, at: At::Look, new: 0, seen: (0, 0), is_settling: true });
        next
    }

    /// The kernel and the bus free what a process held.
    fn killed(&self, at: usize) -> World {
        let mut next = self.clone();
        next.kills_left -= 1;
        next.stores[at].process = None;
        if next.lock == Some(at) {
            next.lock = None;
        }
        next
    }

    /// The next passphrase of a change that was begun, as `Change::next` looks for it.
    fn next_passphrase(&self, staging: &Staging, flaw: Flaw) -> Option<Passphrase> {
        let waiting = match flaw {
            Flaw::SharedName => (0..16).find(|at| self.waiting & bit(*at) != 0),
            _ => staging.id.filter(|id| self.waiting & bit(*id) != 0),
        };
        let sample = staging.staged.iter().flatten().next();
        let fits = |known: &Passphrase| sample.is_none_or(|sample| sample == known);
        waiting.or_else(|| (0..16).find(|known| self.is_known(*known) && fits(known)))
    }

    /// One step of a process; `None` where it has to wait for the lock.
    fn stepped(&self, at: usize, flaw: Flaw) -> Option<World> {
        let mut next = self.clone();
        let store = &mut next.stores[at];
        let mut process = store.process.clone()?;
        let new = process.new;
        let staging = store.staging.as_mut();
        process.at = match (process.at, staging) {
            (At::Look, None) if process.command == Command::Rekey => At::Claim,
            (At::Look, None) => return Some(next.ended(at)),
            (At::Look, Some(staging)) => {
                let passphrase = self.next_passphrase(staging, flaw);
                let is_whole = staging.staged.iter().all(Option::is_some);
                process.new = passphrase.unwrap_or_default();
                let is_master = passphrase == Some(self.master);
                let is_waiting = staging.id.is_some_and(|id| self.waiting & bit(id) != 0);
                let is_due = is_waiting && !is_master && (is_whole || !self.is_known(process.new));
                match next_step(staging.is_ready, passphrase.is_some()) {
                    _ if process.command == Command::Undo && staging.is_ready && is_master => {
                        return Some(next.ended(at));
                    }
                    _ if process.command == Command::Undo => At::Retract,
                    Step::Undo => At::Retract,
                    Step::Finish if is_due => At::Lock,
                    Step::Finish => At::Move(0),
                    Step::Wait => {
                        next.is_stuck = true;
                        return Some(next.ended(at));
                    }
                }
            }
            (At::Claim, _) => {
                store.staging = Some(Staging::default());
                process.is_settling = false;
                process.new = store.fresh;
                store.fresh += 2;
                At::Id
            }
            (At::Id, Some(staging)) => {
                staging.id = Some(new);
                At::Keep
            }
            (At::Keep, _) => {
                if flaw == Flaw::SharedName {
                    next.waiting = 0;
                }
                next.waiting |= bit(new);
                At::Stage(0)
            }
            (At::Stage(key), Some(staging)) => {
                staging.staged[key] = Some(new);
                if key == 0 { At::Stage(1) } else { At::Ready }
            }
            (At::Ready, Some(staging)) => {
                staging.is_ready = true;
                match flaw {
                    Flaw::MovedTooEarly => At::Move(0),
                    Flaw::ReadTooEarly => {
                        process.seen = (self.master, self.record);
                        At::Lock
                    }
                    _ => At::Lock,
                }
            }
            (At::Lock, _) => {
                if flaw != Flaw::LockPerStore {
                    if self.lock.is_some() {
                        return None;
                    }
                    next.lock = Some(at);
                }
                if flaw == Flaw::ReadTooEarly && !process.is_settling {
                    At::Record
                } else {
                    At::Read
                }
            }
            (At::Read, _) => {
                process.seen = (self.master, self.record);
                At::Record
            }
            (At::Record, _) => {
                if flaw != Flaw::NoRecord {
                    next.record = process.seen.1 | bit(process.seen.0);
                }
                At::Write
            }
            (At::Write, _) => {
                next.master = new;
                At::Unlock
            }
            (At::Unlock, _) => {
                next.lock = self.lock.filter(|holder| *holder != at);
                At::Move(0)
            }
            (At::Move(key), Some(staging)) => {
                if let Some(staged) = staging.staged[key].take() {
                    store.present[key] = staged;
                }
                if key == 0 { At::Move(1) } else { At::Retract }
            }
            (At::Retract, Some(staging)) => {
                staging.is_ready = false;
                At::Clear
            }
            (At::Clear, Some(staging)) => {
                staging.staged = [None, None];
                At::Drop
            }
            (At::Drop, Some(staging)) => {
                next.waiting &= !staging.id.map_or(0, bit);
                if flaw == Flaw::SharedName {
                    next.waiting = 0;
                }
                At::Leave
            }
            (At::Leave, _) => {
                store.staging = None;
                if !process.is_settling || process.command != Command::Rekey {
                    return Some(next.ended(at));
                }
                At::Claim
            }
            (step, None) => panic!("{step:?} without a staging directory: {self:?}"),
        };
        store.process = Some(process);
        Some(next)
    }

    fn ended(mut self, at: usize) -> World {
        self.stores[at].process = None;
        self
    }

    /// Runs one command of a store to its end, with nobody beside it.
    fn through(&self, at: usize, command: Command) -> World {
        let mut world = self.clone();
        world.stores[1 - at].process = None;
        world.stores[at].commands_left = 1;
        world = world.started(at, command);
        while world.stores[at].process.is_some() {
            world = world.stepped(at, Flaw::None).unwrap();
        }
        world
    }
}

fn bit(passphrase: Passphrase) -> Set {
    1 << passphrase
}

/// All states that can be reached; or how the promise is broken in the first that breaks it.
fn walk(flaw: Flaw) -> Result<HashSet<World>, String> {
    let first = World::new();
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(world) = open.pop() {
        if let Some((store, key)) = world.broken() {
            return Err(format!("key {key} of store {store} is lost in {world:?}"));
        }
        if world.is_stuck {
            return Err(format!("a command waits for nothing in {world:?}"));
        }
        for next in world.successors(flaw) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen)
}

#[test]
fn no_interleaving_of_two_changes_and_their_crashes_loses_a_key() {
    let seen = walk(Flaw::None).unwrap();
    assert!(seen.len() > 10_000, "{} states", seen.len());
}

#[test]
fn every_state_is_left_by_finish_and_by_undo_with_nothing_behind() {
    let seen = walk(Flaw::None).unwrap();
    let is_idle = |world: &&World| world.lock.is_none();
    let crashed = |world: &World, at: usize| world.stores[at].process.is_none();
    for world in seen.iter().filter(is_idle) {
        for at in (0..2).filter(|at| crashed(world, *at)) {
            let finished = world.through(at, Command::Finish);
            assert_eq!(finished.stores[at].staging, None, "{world:?}");
            assert_eq!(finished.broken(), None, "{world:?}");
            // What --undo refuses, because it has taken effect, --finish ends.
            let undone = world.through(at, Command::Undo);
            let settled = undone.through(at, Command::Finish);
            assert_eq!(settled.stores[at].staging, None, "{world:?}");
            let is_refused = undone.stores[at].staging.is_some();
            let is_in_effect = world.stores[at].staging.as_ref().and_then(|staging| staging.id);
            assert!(!is_refused || is_in_effect == Some(world.master), "{world:?}");
            assert_eq!(undone.broken(), None, "{world:?}");
            // The other store's entry is not taken away.
            let id = |world: &World| {
                world.stores[1 - at].staging.as_ref().and_then(|staging| staging.id)
            };
            if let Some(id) = id(world) {
                assert_eq!(world.waiting & bit(id), undone.waiting & bit(id), "{world:?}");
            }
        }
    }
}

#[test]
fn the_walk_notices_each_flaw() {
    for flaw in [
        Flaw::NoRecord,
        Flaw::LockPerStore,
        Flaw::SharedName,
        Flaw::MovedTooEarly,
        Flaw::ReadTooEarly,
    ] {
        assert!(walk(flaw).is_err(), "{flaw:?} costs nothing?");
    }
}

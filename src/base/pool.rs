//! Runs one job per item, on as many threads as there are cores: key derivations cost a core each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, ScopedJoinHandle};

use crate::base::lock::lock;

/// Tells how many of how many are done.
pub(crate) type Progress<'a> = dyn Fn(usize, usize) + 'a;

/// The results in the items' order. `tell` is called on the calling thread. Where a thread gains
/// nothing, or none can be had, the calling thread does the work.
pub(crate) fn each<T: Sync, R: Send + Sync>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    tell: &Progress,
) -> Vec<R> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let job = |at: usize| {
        let _ = results[at].set(work(&items[at]));
    };
    share(items.len(), &job, tell);
    results.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// Both results, worked out side by side where there is a core and a thread for each.
pub(crate) fn beside<A: Send, B>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    let party = PARTY.with_borrow(Clone::clone);
    thread::scope(|scope| {
        let aside_of_party = || on_behalf_of(party.clone(), &aside);
        let start = || thread::Builder::new().spawn_scoped(scope, aside_of_party).ok();
        let thread = (cores() > 1).then(start).flatten();
        let here = here();
        let join =
            |thread: ScopedJoinHandle<'_, A>| thread.join().unwrap_or_else(|it| resume_unwind(it));
        (thread.map_or_else(&aside, join), here)
    })
}

/// Does the jobs 0 to `count`. Not generic, because what is would be there once for every caller.
fn share(count: usize, job: &(dyn Fn(usize) + Sync), tell: &Progress) {
    let hands = cores().min(count);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let party = PARTY.with_borrow(Clone::clone);
    let draw = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        (at < count).then(|| job(at))
    };
    thread::scope(|scope| {
        for _ in 0..if hands > 1 { hands } else { 0 } {
            let (draw, sender, party) = (&draw, sender.clone(), party.clone());
            // The receiver outlives this scope, so there is always somebody to hear of it.
            let work = move || while draw().is_some_and(|()| sender.send(()).is_ok()) {};
            let work = || on_behalf_of(party, work);
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        drop(sender);
        let results = receiver.iter().chain(std::iter::from_fn(&draw));
        results.zip(1..).for_each(|((), finished)| tell(finished, count));
    });
}

/// How many threads run at a time, as the system says it at first: the gateway's sandbox has no way to
/// the files that hold a container's share.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Who work is done for, where several could take all turns from each other.
pub(crate) type Party = Option<Arc<str>>;

/// Does some work whose turns count as this party's, on whichever threads it is done.
pub(crate) fn on_behalf_of<T>(party: Party, work: impl FnOnce() -> T) -> T {
    let before = PARTY.replace(party);
    let done = work();
    PARTY.set(before);
    done
}

thread_local! {
    static PARTY: RefCell<Party> = const { RefCell::new(None) };
}

/// A turn at a core, given back on drop.
pub(crate) struct Turn(());

/// Waits for a turn: there is one per core in the whole process. A key derivation holds 32 MiB;
/// more at once would only take turns at the processor, with the memory of all of them.
///
/// The parties come in turn. The nth request of a party that waits belongs to the nth round from
/// the present one, and a round is served in the order in which its requests came. So a party
/// that asks for one turn waits for at most one turn of each other party.
/// (tests/limits.rs: `turns_go_round_the_pairings`)
pub(crate) fn turn() -> Turn {
    let mut turns = lock(&TURNS);
    let place = turns.ask(PARTY.with_borrow(Clone::clone));
    while turns.taken == cores() || turns.waiting.first() != Some(&place) {
        turns = NEXT.wait(turns).unwrap_or_else(PoisonError::into_inner);
    }
    turns.waiting.pop_first();
    (turns.round, turns.taken) = (place.0, turns.taken + 1);
    // There may be a core for the next one, too.
    NEXT.notify_all();
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&TURNS).taken -= 1;
        NEXT.notify_all();
    }
}

#[derive(Default)]
struct Turns {
    asked: u64,
    taken: usize,
    /// The round that is being served.
    round: u64,
    /// The last round that a party has a place in.
    last: BTreeMap<Party, u64>,
    /// The places of those who wait.
    waiting: BTreeSet<Place>,
}

/// A round, and a number that tells who came first.
type Place = (u64, u64);

impl Turns {
    fn ask(&mut self, party: Party) -> Place {
        let next = self.last.get(&party).map_or(0, |last| last + 1);
        let place = (next.max(self.round), self.asked);
        self.asked += 1;
        self.last.insert(party, place.0);
        self.waiting.insert(place);
        place
    }
}

static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);
static NEXT: Condvar = Condvar::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_turns_at_once_than_cores() {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 * cores {
                scope.spawn(|| {
                    let _turn = turn();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= cores);
    }

    #[test]
    fn a_party_that_asks_often_waits_for_itself() {
        let mut turns = Turns::default();
        let mut asked = std::collections::HashMap::new();
        for name in ["a", "a", "a", "a", "b", "b", "c"] {
            asked.insert(turns.ask(Some(name.into())), name);
        }
        let mut served = Vec::new();
        while let Some(place) = turns.waiting.pop_first() {
            turns.round = place.0;
            served.push(asked[&place]);
            if served.len() == 3 {
                // One that comes later still gets a place in the round that is being served.
                asked.insert(turns.ask(Some("d".into())), "d");
            }
        }
        assert_eq!(served.concat(), "abcdabaa");
    }

    #[test]
    fn work_that_is_shared_out_is_still_the_partys() {
        let party = || PARTY.with_borrow(Clone::clone);
        let name = |_: &()| party();
        let seen = on_behalf_of(Some("a".into()), || {
            let (aside, here) = beside(party, party);
            [each(&[(), ()], name, &|_, _| {}), vec![aside, here]].concat()
        });
        assert_eq!(seen, vec![Some("a".into()); 4]);
        assert_eq!(party(), None);
    }

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let counts = RefCell::new(Vec::new());
        let progress = |done, total| counts.borrow_mut().push((done, total));
        assert_eq!(
            each(&items, |item| item * 2, &progress),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert_eq!(counts.take(), (1..=100).map(|done| (done, 100)).collect::<Vec<_>>());
        assert!(each(&[], |(): &()| (), &progress).is_empty());
        assert!(counts.take().is_empty());
    }
}

//! Runs one job per item, on as many threads as there are cores: key derivations cost a core each.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;

/// The results in the items' order. `done` hears on the calling thread how many are finished. Where
/// a thread gains nothing, or none can be had, the calling thread does the work.
pub(crate) fn each<T: Sync, R: Send + Sync>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize),
) -> Vec<R> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let job = |at: usize| {
        let _ = results[at].set(work(&items[at]));
    };
    share(items.len(), &job, &mut done);
    let results = results.into_iter();
    results.filter_map(OnceLock::into_inner).collect()
}

/// Both results, worked out side by side where there is a core and a thread for each.
pub(crate) fn beside<A: Send, B>(aside: impl Fn() -> A + Sync, here: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let thread = (cores() > 1).then(|| thread::Builder::new().spawn_scoped(scope, &aside));
        match thread {
            Some(Ok(thread)) => {
                let here = here();
                let aside = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                (aside, here)
            }
            Some(Err(_)) | None => (aside(), here()),
        }
    })
}

/// Does the jobs 0 to `count`. Not generic, because what is would be there once for every caller.
fn share(count: usize, job: &(dyn Fn(usize) + Sync), done: &mut dyn FnMut(usize)) {
    let hands = cores().min(count);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let draw = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        (at < count).then(|| job(at))
    };
    thread::scope(|scope| {
        for _ in 0..if hands > 1 { hands } else { 0 } {
            let (draw, sender) = (&draw, sender.clone());
            // The receiver outlives this scope, so there is always somebody to hear of it.
            let work = move || while draw().is_some_and(|()| sender.send(()).is_ok()) {};
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        drop(sender);
        let results = receiver.iter().chain(std::iter::from_fn(&draw));
        results.zip(1..).for_each(|((), finished)| done(finished));
    });
}

/// How many threads run at a time, as the system says it at first: the gateway's sandbox has no way to
/// the files that hold a container's share.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// A turn at a core, given back on drop.
#[derive(Debug)]
pub(crate) struct Turn(());

/// Waits for a turn: there is one per core in the whole process, and they are given in the order in
/// which they were asked for. A key derivation holds 32 MiB; more at once would only take turns at
/// the processor, with the memory of all of them.
pub(crate) fn turn() -> Turn {
    let cores = cores() as u64;
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let ticket = turns.asked;
    turns.asked += 1;
    while ticket >= turns.done + cores {
        turns = NEXT.wait(turns).unwrap_or_else(PoisonError::into_inner);
    }
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.lock().unwrap_or_else(PoisonError::into_inner).done += 1;
        NEXT.notify_all();
    }
}

struct Turns {
    asked: u64,
    done: u64,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { asked: 0, done: 0 });
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
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let mut counts = Vec::new();
        assert_eq!(
            each(&items, |item| item * 2, |count| counts.push(count)),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert_eq!(counts, (1..=100).collect::<Vec<_>>());
        assert!(each(&[], |(): &()| (), |_| {}).is_empty());
    }
}

//! Runs one job per item, on as many threads as there are cores: key derivations cost a core each.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// The results in the items' order. `done` hears on the calling thread how many are finished. Where
/// no thread can be had, the calling thread does the work.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize),
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<(usize, R)> = Vec::with_capacity(items.len());
    let draw = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        items.get(at).map(|item| (at, work(item)))
    };
    thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            let (draw, sender) = (&draw, sender.clone());
            // The receiver outlives this scope, so there is always somebody to take a result.
            let job = move || while draw().is_some_and(|result| sender.send(result).is_ok()) {};
            if thread::Builder::new().spawn_scoped(scope, job).is_err() {
                break;
            }
        }
        drop(sender);
        let mut keep = |result| {
            results.push(result);
            done(results.len());
        };
        receiver.iter().for_each(&mut keep);
        while let Some(result) = draw() {
            keep(result);
        }
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

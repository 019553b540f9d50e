//! Runs one job per item, on as many threads as there are cores: key derivations cost a core each.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// The results in the items' order. `done` hears on the calling thread how many are finished.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize),
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            let (next, work, sender) = (&next, &work, sender.clone());
            scope.spawn(move || {
                while let Some((at, item)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| Some((at, items.get(at)?)))
                {
                    // The receiver outlives this scope, so there is always somebody to take it.
                    let _ = sender.send((at, work(item)));
                }
            });
        }
        drop(sender);
        receiver
            .iter()
            .enumerate()
            .inspect(|(count, _)| done(count + 1))
            .map(|(_, result)| result)
            .collect()
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

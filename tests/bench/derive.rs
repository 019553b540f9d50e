//! The bare key derivation, as a figure to compare with: the median of opening one small envelope in
//! this process, in milliseconds. `cargo bench --bench derive`
//!
//! The library resolves the key, which is one derivation and the reading of one file; the directory
//! and the file take some hundredths of a millisecond of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, unreachable_pub)]

use std::alloc::System;
use std::time::Instant;

use local_keys::memory::{Paged, Wiping};
use local_keys::{KeyId, Keychain, Patience, Store, find_passphrase};
use support::Home;

// As in lf itself: wiping the 32 MiB is part of the price.
#[global_allocator]
static MEMORY: Wiping<Paged<System>> = Wiping(Paged(System));

fn main() {
    let (home, id) = Home::with_key();
    let (store, id) = (Store::at(home.keys()), KeyId::parse(&id).unwrap());
    let environment = support::with_passphrase(support::PASSPHRASE);
    let keychain = Keychain::new(&environment, Patience::SHORT);
    let master = find_passphrase(&environment, &keychain).unwrap();
    let mut times: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            drop(store.resolve(&id, &master).unwrap());
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.2}", times[times.len() / 2]);
}

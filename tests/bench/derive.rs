//! The bare key derivation, as a figure to compare with: the median of opening one small envelope in
//! this process, in milliseconds. `cargo bench --bench derive`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::System;
use std::time::Instant;

use local_keys::base::secret::Secret;
use local_keys::base::time::Timestamp;
use local_keys::system::kernel::memory::{Paged, Wiping};
use local_keys::vault::envelope;
use local_keys::vault::key::{KeyId, KeyMeta, Label, Provider};

// As in lf itself: wiping the 32 MiB is part of the price.
#[global_allocator]
static MEMORY: Wiping<Paged<System>> = Wiping(Paged(System));

fn main() {
    let passphrase = Secret::new("correct horse battery staple".to_owned());
    let (provider, label) = (
        Provider::parse("openai").unwrap(),
        Label::parse("Bench").unwrap(),
    );
    let meta = KeyMeta {
        id: KeyId::mint().unwrap(),
        provider,
        label,
        created_at: Timestamp::now(),
    };
    let envelope = envelope::seal(&passphrase, &Secret::new("sk-bench".to_owned()), meta).unwrap();
    let mut times: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            drop(envelope.open(&passphrase).unwrap());
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.2}", times[times.len() / 2]);
}

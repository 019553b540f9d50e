//! Every block of memory that is given back has been wiped: below the allocator of the binary lies
//! one that looks at what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use local_keys::memory::Wiping;
use local_keys::{Keychain, Patience, Store, find_passphrase};
use support::Home;

struct Inspector;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static DIRTY: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator; it only reads a block that it is given.
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the block is ours until it is passed on, and the allocator under test has
        // initialised all of it; volatile reads, so that nothing is concluded about its content.
        let is_dirty = (0..layout.size()).any(|at| unsafe { block.add(at).read_volatile() } != 0);
        DIRTY.fetch_add(usize::from(is_dirty), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static MEMORY: Wiping<Inspector> = Wiping(Inspector);

#[test]
fn whatever_is_freed_is_wiped() {
    let home = Home::new();
    home.add("openai", "Prod", &"sk-secret".repeat(1000));
    let environment = support::with_passphrase(support::PASSPHRASE);
    let keychain = Keychain::new(&environment, Patience::SHORT);
    let master = find_passphrase(&environment, &keychain).unwrap();
    let store = Store::at(home.keys());
    let resolve = || store.resolve(&store.select("Prod").unwrap(), &master).unwrap();
    let opened = [resolve(), resolve()];
    for value in &opened {
        assert_eq!(value.expose().len(), 9000);
    }
    // A buffer that grows is moved, and its old places are freed.
    let mut grown = Vec::new();
    (0..100_000_u32).for_each(|n| grown.push(n));
    drop((opened, master, grown));
    assert!(BLOCKS.load(Ordering::Relaxed) > 100);
    assert!(
        BYTES.load(Ordering::Relaxed) > 2 * 32 * 1024 * 1024,
        "scrypt's memory is among them, twice"
    );
    assert_eq!(DIRTY.load(Ordering::Relaxed), 0);
}

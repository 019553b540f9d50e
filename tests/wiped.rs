//! Every block of memory that is given back has been wiped: below the allocator of the binary lies
//! one that looks at what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use local_keys::base::secret::Secret;
use local_keys::base::time::Timestamp;
use local_keys::system::kernel::memory::Wiping;
use local_keys::vault::envelope::{self, Envelope};
use local_keys::vault::key::{KeyId, KeyMeta, Label, Provider};

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
    let id = KeyId::mint().unwrap();
    let (provider, label) = (
        Provider::parse("openai").unwrap(),
        Label::parse("Prod").unwrap(),
    );
    let meta = KeyMeta {
        id: id.clone(),
        provider,
        label,
        created_at: Timestamp::now(),
    };
    let passphrase = Secret::new("correct horse battery staple".to_owned());
    let sealed = envelope::seal(&passphrase, &Secret::new("sk-secret".repeat(1000)), meta).unwrap();
    let opened = Envelope::parse(sealed.print().as_bytes(), &id)
        .unwrap()
        .open(&passphrase)
        .unwrap();
    assert_eq!(opened.expose().len(), 9000);
    // A buffer that grows is moved, and its old places are freed.
    let mut grown = Vec::new();
    (0..100_000_u32).for_each(|n| grown.push(n));
    drop((opened, passphrase, grown));
    assert!(BLOCKS.load(Ordering::Relaxed) > 100);
    assert!(
        BYTES.load(Ordering::Relaxed) > 2 * 32 * 1024 * 1024,
        "scrypt's memory is among them, twice"
    );
    assert_eq!(DIRTY.load(Ordering::Relaxed), 0);
}

//! An allocator that wipes every block when it is freed, whoever allocated it: not only our own
//! buffers, but also scrypt's 32 MiB and the scratch space inside parsers. The one room with `unsafe`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::slice;

use zeroize::optimization_barrier;

/// Wraps an allocator; `realloc` never leaves an old copy behind either, because it is left to the
/// trait's default: a fresh block, a copy, and a wiping `dealloc`.
///
/// tests/wiped.rs puts this over an allocator that looks at every block it gets back.
#[derive(Debug, Default)]
pub struct Wiping<A>(pub A);

// SAFETY: every call is passed on unchanged to an allocator that upholds the contract. The only
// addition is a write to a block that the caller has given up, within its bounds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` has `layout.size()` bytes that belong to the caller until the line below
        // gives them back; after writing all of them they are initialised, so the slice is sound.
        unsafe {
            block.write_bytes(0, layout.size());
            // Without this the writes are dead stores before a free, and the optimiser removes them.
            optimization_barrier(slice::from_raw_parts(block, layout.size()));
            self.0.dealloc(block, layout);
        }
    }
}

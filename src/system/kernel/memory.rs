//! The allocator. It wipes every block of this process when the block is freed, and puts scrypt's 32 MiB
//! on huge pages.

use std::alloc::{GlobalAlloc, Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::marker::PhantomData;
use std::slice;

use zeroize::optimization_barrier;

/// Wraps an allocator: not only our own buffers are wiped, but also scrypt's memory and the scratch
/// space inside parsers. `realloc` never leaves an old copy behind either, because it is left to the
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

/// Wraps an allocator: blocks of [`LARGE`] bytes and more are on huge pages where the system has them
/// (Linux, `madvise(2)`: scrypt takes a quarter less time on them), and may be set aside before. Every
/// allocator has such blocks from the system alone, and gives them back there at once.
#[derive(Debug, Default)]
pub struct Paged<A>(pub A);

/// Bytes; only scrypt asks for so much at a time.
pub(crate) const LARGE: usize = 8 * 1024 * 1024;

// SAFETY: every block comes from and goes back to an allocator that upholds the contract, with the same
// layout. One that was set aside came from there too, zeroed, and nobody has seen it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Paged<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe {
            match layout.size() {
                LARGE.. => self.alloc_zeroed(layout),
                _ => self.0.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE
            && let Some(block) = take(layout)
        {
            return block;
        }
        // SAFETY: as above.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if layout.size() >= LARGE {
            advise(block, layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.dealloc(block, layout) };
    }
}

/// Lets all threads share one heap. glibc would set 64 MiB of address space aside for each, and where
/// that is limited, nothing would be left for what they are to do.
pub(crate) fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: numbers for arguments; it may be called at any time.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Memory for the next allocation of exactly this many bytes on this thread, which it cannot leave;
/// given back on drop if that allocation never comes.
pub(crate) struct Reserved(PhantomData<*const ()>);

/// Sets so many bytes aside, at least [`LARGE`], because an allocation that fails ends the process, and
/// one derivation too many should only be an error. `None` if the system has no more.
pub(crate) fn reserve(size: usize) -> Option<Reserved> {
    let layout = Layout::array::<u8>(size.max(LARGE)).ok()?;
    drop(Reserved(PhantomData)); // what was set aside before
    // SAFETY: it has a size.
    let block = unsafe { alloc_zeroed(layout) };
    ASIDE.set((!block.is_null()).then_some((block, layout)));
    ASIDE.get().map(|_| Reserved(PhantomData))
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some((block, layout)) = ASIDE.take() {
            // SAFETY: it came from the allocator with this layout, and `take` leaves no block here.
            unsafe { dealloc(block, layout) };
        }
    }
}

thread_local! {
    /// A block and its layout; without a destructor, so that an allocator may look at it.
    static ASIDE: Cell<Option<(*mut u8, Layout)>> = const { Cell::new(None) };
}

/// What was set aside for this.
#[cold] // and kept out of every place where something is allocated
#[inline(never)]
fn take(layout: Layout) -> Option<*mut u8> {
    let (block, _) = ASIDE.get().filter(|(_, aside)| *aside == layout)?;
    ASIDE.set(None);
    Some(block)
}

/// Asks for huge pages, where whole ones lie in a fresh block; a system that has none gives small ones.
#[cold]
#[inline(never)]
fn advise(block: *mut u8, size: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if !block.is_null() {
        let before = block.addr().next_multiple_of(HUGE) - block.addr();
        let length = size.saturating_sub(before) / HUGE * HUGE;
        // SAFETY: all of it is within the block, whose content this does not change.
        let _ = unsafe {
            let start = block.add(before).cast();
            rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxHugepage)
        };
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (block, size);
}

/// The size of a huge page where they are smallest, in bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HUGE: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use super::*;

    /// Miri takes no part of a mapping back, and is slow; the large ones are for the other runs of `make ub`.
    fn layouts() -> impl Iterator<Item = Layout> {
        let small = [(1, 1), (3, 1), (24, 8), (4096, 64)];
        let large =
            [(LARGE - 1, 1), (LARGE, 1), (LARGE + 1, 16), (2 * LARGE, HUGE), (LARGE, 2 * HUGE)];
        let all = small.into_iter().chain(large.into_iter().filter(|_| !cfg!(miri)));
        all.map(|(size, align)| Layout::from_size_align(size, align).unwrap())
    }

    #[test]
    fn blocks_are_whole_aligned_and_apart_and_can_grow() {
        let allocator = Wiping(Paged(System));
        for layout in layouts() {
            // SAFETY: both blocks have this layout, and are used within it until they are freed.
            unsafe {
                let (block, zeroed) = (allocator.alloc(layout), allocator.alloc_zeroed(layout));
                for one in [block, zeroed] {
                    assert!(!one.is_null() && one.addr().is_multiple_of(layout.align()));
                }
                let zeroed = slice::from_raw_parts_mut(zeroed, layout.size());
                assert!(zeroed.iter().all(|byte| *byte == 0), "{layout:?}");
                block.write_bytes(7, layout.size());
                assert!(zeroed.iter().all(|byte| *byte == 0), "{layout:?}");
                let more = layout.size() + 5;
                let block = allocator.realloc(block, layout, more);
                block.add(more - 1).write(8);
                let grown = slice::from_raw_parts(block, more);
                assert!(grown[..layout.size()].iter().all(|byte| *byte == 7), "{layout:?}");
                let wider = Layout::from_size_align(more, layout.align()).unwrap();
                allocator.dealloc(block, wider);
                allocator.dealloc(zeroed.as_mut_ptr(), layout);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri knows no madvise")]
    fn what_is_set_aside_is_taken_once_by_its_size_and_goes_back_untaken() {
        // SAFETY: blocks that nobody writes to are asked for and freed with one layout.
        let taken = |size| unsafe {
            let (paged, layout) = (Paged(System), Layout::from_size_align(size, 1).unwrap());
            let block = paged.alloc(layout);
            paged.dealloc(block, layout);
            block
        };
        let aside = || ASIDE.get().map(|(block, layout)| (block, layout.size()));
        drop(reserve(LARGE - 1).unwrap());
        assert_eq!(aside(), None, "gone back");
        let reserved = reserve(LARGE).unwrap();
        let (first, _) = aside().unwrap();
        assert_ne!(taken(LARGE + 1), first, "another size");
        assert_eq!(aside(), Some((first, LARGE)));
        assert_eq!(taken(LARGE), first);
        assert_eq!(aside(), None, "taken");
        drop(reserved);
        let _first = reserve(LARGE).unwrap();
        let second = reserve(2 * LARGE).unwrap();
        assert_eq!(aside().unwrap().1, 2 * LARGE, "in place of the first");
        drop(second);
        assert_eq!(aside(), None, "gone back");
        assert!(reserve(usize::MAX / 2).is_none());
    }
}

//! The allocator: it wipes every block when it is freed, whoever allocated it, and has scrypt's 32 MiB
//! on huge pages, given back to the system after use.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
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

/// Wraps an allocator: blocks of [`LARGE`] bytes and more come straight from the system, on huge pages
/// where it has them (Linux, `madvise(2)`: scrypt takes a quarter less time on them), and go back there
/// at once.
#[derive(Debug, Default)]
pub struct Paged<A>(pub A);

/// Bytes; only scrypt asks for so much at a time.
pub(crate) const LARGE: usize = 8 * 1024 * 1024;

// SAFETY: a block comes from and goes back to the same of two places, which its layout alone decides.
// Mapped blocks are fresh, zeroed, at least as large as asked for, and aligned to a huge page.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Paged<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            return take(layout.size());
        }
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            return take(layout.size());
        }
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_mapped(layout) {
            // SAFETY: such a block came from `take`, and its owner gives it up.
            unsafe { unmap(block, layout.size()) };
        } else {
            // SAFETY: the caller's promise is passed on.
            unsafe { self.0.dealloc(block, layout) };
        }
    }
}

/// Lets all threads share one heap. glibc would set 64 MiB of address space aside for each, and where
/// that is limited, nothing would be left for what they are to do.
pub(crate) fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        /// `M_ARENA_MAX` of malloc.h
        const MOST_HEAPS: std::ffi::c_int = -8;
        // SAFETY: glibc's own function, with numbers for arguments; it may be called at any time.
        let _ = unsafe { mallopt(MOST_HEAPS, 1) };
    }
}

/// Memory for the next allocation of exactly this many bytes on this thread, which it cannot leave;
/// given back on drop if that allocation never comes.
#[derive(Debug)]
pub(crate) struct Reserved(PhantomData<*const ()>);

/// Sets so many bytes aside, at least [`LARGE`], because an allocation that fails ends the process, and
/// one derivation too many should only be an error. `None` if the system has no more.
pub(crate) fn reserve(size: usize) -> Option<Reserved> {
    let layout = Layout::from_size_align(size, 1).ok()?;
    if !is_mapped(layout) {
        return Some(Reserved(PhantomData));
    }
    drop(Reserved(PhantomData)); // what was set aside before
    let block = map(size);
    ASIDE.set((block, size));
    (!block.is_null()).then_some(Reserved(PhantomData))
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let (block, size) = ASIDE.replace((ptr::null_mut(), 0));
        if !block.is_null() {
            // SAFETY: it came from `map`, and whoever takes it leaves nothing here.
            unsafe { unmap(block, size) };
        }
    }
}

thread_local! {
    /// A block and its size; without a destructor, so that an allocator may look at it.
    static ASIDE: Cell<(*mut u8, usize)> = const { Cell::new((ptr::null_mut(), 0)) };
}

#[cold] // and kept out of every place where something is allocated
#[inline(never)]
fn take(size: usize) -> *mut u8 {
    match ASIDE.get() {
        (block, aside) if !block.is_null() && aside == size => {
            ASIDE.set((ptr::null_mut(), 0));
            block
        }
        _ => map(size),
    }
}

fn is_mapped(layout: Layout) -> bool {
    cfg!(unix) && layout.size() >= LARGE && layout.align() <= HUGE
}

/// Fresh zeroed pages that begin where a huge page does; null if the system has none.
#[cfg(unix)]
fn map(size: usize) -> *mut u8 {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let Some(whole) = size.checked_next_multiple_of(HUGE) else {
        return ptr::null_mut();
    };
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice touches nobody's memory.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), whole + HUGE, flags, MapFlags::PRIVATE) };
    let Ok(start) = start.map(<*mut _>::cast::<u8>) else {
        return ptr::null_mut();
    };
    let before = start.addr().next_multiple_of(HUGE) - start.addr();
    // SAFETY: all within the new mapping; what is before and behind the aligned part goes back, each a
    // whole number of pages, and nobody has seen it.
    unsafe {
        let block = start.add(before);
        unmap_pages(start, before);
        unmap_pages(block.add(whole), HUGE - before);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // A system without huge pages gives small ones.
        let _ = rustix::mm::madvise(block.cast(), whole, rustix::mm::Advice::LinuxHugepage);
        block
    }
}

#[cfg(not(unix))]
fn map(_: usize) -> *mut u8 {
    ptr::null_mut()
}

/// # Safety
/// `block` came from [`map`] with this size, and nobody uses it any more.
#[cold]
#[inline(never)]
unsafe fn unmap(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise is passed on.
    unsafe { unmap_pages(block, size.next_multiple_of(HUGE)) };
}

/// # Safety
/// Whole pages of a mapping that nobody uses any more.
#[cfg_attr(not(unix), allow(unused_variables))]
unsafe fn unmap_pages(start: *mut u8, length: usize) {
    #[cfg(unix)]
    if length > 0 {
        // SAFETY: the caller's promise is passed on. Pages that do not go back are lost, not wrong.
        let _ = unsafe { rustix::mm::munmap(start.cast(), length) };
    }
}

/// The size of a huge page where they are smallest, in bytes.
const HUGE: usize = 2 * 1024 * 1024;

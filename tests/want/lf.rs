//! lf with an allocator that has nothing to give when it is told so, for tests/want.rs.
//!
//! `LF_WANT=7` fails the seventh allocation, and `LF_WANT=7+` that and all that come later. With
//! `LF_WANT_FROM_SIGNAL` in the environment it is counted from SIGUSR1 on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char, c_int};
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_keys::memory::{Paged, Wiping};

/// Only a test wants this.
struct Failing;

/// Allocations since it is counted.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The first that fails, and the last; 0 where nothing has been read from the environment yet.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static MEMORY: Wiping<Paged<Failing>> = Wiping(Paged(Failing));

// SAFETY: what it does not refuse, which is within the contract, is passed on unchanged.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_refused() {
            return ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn main() -> ExitCode {
    // SAFETY: the handler only stores numbers.
    unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as libc::sighandler_t) };
    local_keys::main()
}

fn is_refused() -> bool {
    if FIRST.load(Ordering::Relaxed) == 0 {
        let first = if variable(c"LF_WANT_FROM_SIGNAL").is_some() { NEVER } else { read() };
        FIRST.store(first, Ordering::Relaxed);
    }
    let nth = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let is_refused = nth >= FIRST.load(Ordering::Relaxed) && nth <= LAST.load(Ordering::Relaxed);
    if is_refused {
        // SAFETY: a write of bytes that live for ever.
        unsafe { libc::write(2, MARK.as_ptr().cast(), MARK.len()) };
    }
    is_refused
}

extern "C" fn on_signal(_: c_int) {
    COUNT.store(0, Ordering::Relaxed);
    FIRST.store(read(), Ordering::Relaxed);
}

/// The first allocation that fails; sets the last, too.
fn read() -> usize {
    let Some(wanted) = variable(c"LF_WANT") else { return NEVER };
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let digits = wanted.iter().take_while(is_digit);
    let first = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    LAST.store(if wanted.ends_with(b"+") { NEVER } else { first }, Ordering::Relaxed);
    first
}

/// A variable of the environment, without an allocation.
fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: nothing changes the environment, so what this finds stays.
    unsafe {
        let found: *const c_char = libc::getenv(name.as_ptr());
        (!found.is_null()).then(|| CStr::from_ptr(found).to_bytes())
    }
}

const NEVER: usize = usize::MAX;
const MARK: &str = "an allocation was refused\n";

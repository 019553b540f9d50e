//! Signals: a request to end becomes the end of a stream, and a file that may not grow is an error.

use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{mem, ptr};

use libc::{SA_RESTART, SHUT_RD, SIG_DFL, SIGINT, SIGTERM, SIGXFSZ, c_int};

use super::checked;

/// Lets this stream come to its end, as if its other side were closed, once somebody asks this process to
/// end (SIGINT, SIGTERM). A second request ends it at once.
pub(crate) fn on_end(end: &UnixStream) -> io::Result<()> {
    // It stays open for good, because a signal may come at any time.
    END.store(end.try_clone()?.into_raw_fd(), Ordering::SeqCst);
    REQUESTS.into_iter().try_for_each(|signal| catch(signal, request, SA_RESTART))
}

/// Makes requests to end mean nothing, for a process that ends with another.
pub(crate) fn ignore_end() -> io::Result<()> {
    REQUESTS.into_iter().try_for_each(|signal| catch(signal, nothing, SA_RESTART))
}

/// Makes a write beyond the limit on file sizes an error, where SIGXFSZ would end the process. A
/// handler that does nothing and not SIG_IGN, which a program that takes our place would inherit.
pub(crate) fn ignore_file_size_signal() -> io::Result<()> {
    catch(SIGXFSZ, nothing, SA_RESTART)
}

/// The handler must be async-signal-safe (signal-safety(7)).
pub(super) fn catch(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) -> io::Result<()> {
    // SAFETY: integers, a mask and pointers, for which all zeros is a value: no signals.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = flags;
    // SAFETY: a complete action, whose handler has this signature and is async-signal-safe.
    checked(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }).map(drop)
}

extern "C" fn request(_: c_int) {
    // SAFETY: signal(2) and shutdown(2) may be called in a handler (signal-safety(7)), and the code that
    // was interrupted finds errno as it was.
    unsafe {
        let before = *errno();
        for signal in REQUESTS {
            libc::signal(signal, SIG_DFL);
        }
        libc::shutdown(END.load(Ordering::SeqCst), SHUT_RD);
        *errno() = before;
    }
}

extern "C" fn nothing(_: c_int) {}

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
pub(super) use libc::__errno as errno;
#[cfg(target_os = "linux")]
pub(super) use libc::__errno_location as errno;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
pub(super) use libc::__error as errno;

static END: AtomicI32 = AtomicI32::new(-1);
const REQUESTS: [c_int; 2] = [SIGINT, SIGTERM];

//! The sockets that a service manager opened for us (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};

use super::checked;

/// The sockets that were passed on, if each is a TCP socket that listens; for the first caller only.
pub(crate) fn listeners(count: i32) -> io::Result<Vec<TcpListener>> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(not_ours(FIRST));
    }
    (FIRST..FIRST + count).map(listener).collect()
}

fn listener(descriptor: i32) -> io::Result<TcpListener> {
    // SAFETY: a question about a number; -1 if it is no descriptor.
    let flags = checked(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
    // What this process opens itself has the flag, from its first moment: std and src/system/ set it.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(not_ours(descriptor));
    }
    // SAFETY: it is open, and was inherited, so that nothing else in this process owns it; nobody gets
    // here twice with one number.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let is_inet = matches!(socket_domain(&socket), Ok(AddressFamily::INET | AddressFamily::INET6));
    if !is_inet || !matches!(socket_acceptconn(&socket), Ok(true)) {
        return Err(not_ours(descriptor));
    }
    // Not for programs that this one might start.
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(TcpListener::from(socket))
}

fn not_ours(descriptor: i32) -> io::Error {
    io::Error::other(format!("descriptor {descriptor} is not a TCP socket that listens"))
}

static TAKEN: AtomicBool = AtomicBool::new(false);
/// `SD_LISTEN_FDS_START`
const FIRST: i32 = 3;

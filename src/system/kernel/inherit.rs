//! The socket that a service manager opened for us (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};

/// The first socket that was passed on, if it is a TCP socket that listens; for the first caller only.
/// To be called before this process listens anywhere itself.
///
/// # Errors
/// What is wrong with the descriptor.
pub fn listener() -> io::Result<TcpListener> {
    let not_ours = || io::Error::other("descriptor 3 is not a TCP socket that listens");
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(not_ours());
    }
    // SAFETY: borrowed for questions only, which fail if there is no such descriptor.
    let socket = unsafe { BorrowedFd::borrow_raw(FIRST) };
    fcntl_getfd(socket)?;
    let is_inet = matches!(
        socket_domain(socket),
        Ok(AddressFamily::INET | AddressFamily::INET6)
    );
    if !is_inet || !matches!(socket_acceptconn(socket), Ok(true)) {
        return Err(not_ours());
    }
    // Not for programs that this one might start.
    fcntl_setfd(socket, FdFlags::CLOEXEC)?;
    // SAFETY: nothing of this process listens yet, so a socket that does was inherited, and nobody
    // else owns it; the flag above lets nobody take it twice.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    Ok(TcpListener::from(socket))
}

static TAKEN: AtomicBool = AtomicBool::new(false);
/// `SD_LISTEN_FDS_START`
const FIRST: i32 = 3;

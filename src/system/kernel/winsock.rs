//! Windows' sockets, as rustix has Unix's: a wait with a limit.

use std::io;
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::*;

/// What a socket is waited for.
#[derive(Clone, Copy)]
#[repr(i16)]
pub(crate) enum Timeout {
    /// Something to read or to accept.
    Recv = POLLRDNORM,
    /// Room for what is to be sent.
    Send = POLLWRNORM,
}

/// Waits so long for the next call on this socket to be one that does not block, but never longer than a
/// [`GLANCE`]. `WouldBlock` if it would. (A timeout in that call itself may lose what came just then.)
pub(crate) fn set_socket_timeout(
    socket: &impl AsSocket,
    act: Timeout,
    span: Option<Duration>,
) -> io::Result<()> {
    let is_ready = wait(&[socket.as_socket()], act, span.unwrap_or(GLANCE))?;
    is_ready.then_some(()).ok_or(io::ErrorKind::WouldBlock.into())
}

/// Waits until one of these sockets is ready, or for so long, but never longer than a [`GLANCE`]. Is one?
pub(crate) fn wait(
    sockets: &[BorrowedSocket<'_>],
    act: Timeout,
    span: Duration,
) -> io::Result<bool> {
    let watched = |socket: &BorrowedSocket<'_>| WSAPOLLFD {
        fd: socket.as_raw_socket() as SOCKET,
        events: act as i16,
        revents: 0,
    };
    let mut watched: Vec<_> = sockets.iter().map(watched).collect();
    let count = u32::try_from(watched.len()).map_err(io::Error::other)?;
    let span = i32::try_from(span.min(GLANCE).as_millis() + 1).map_err(io::Error::other)?;
    // SAFETY: as many entries as it says, of sockets that are borrowed for the time of the call.
    match unsafe { WSAPoll(watched.as_mut_ptr(), count, span) } {
        SOCKET_ERROR => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

/// A shutdown wakes nobody here who waits already, so nobody waits longer before looking again.
const GLANCE: Duration = Duration::from_millis(250);

//! A socket with a deadline.

use std::io::{self, ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;

#[cfg(unix)]
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::base::time::Deadline;
#[cfg(windows)]
use crate::system::kernel::winsock::{Timeout, set_socket_timeout};

/// Fails with `TimedOut` once the deadline has passed. Each call gets the time that is left and not a fixed
/// span, so that a peer that trickles cannot extend it.
pub(crate) struct Stream<S> {
    pub(crate) socket: S,
    pub(crate) deadline: Deadline,
}

impl<S: AsSocket> Stream<S> {
    fn in_time(
        &mut self,
        timeout: Timeout,
        mut act: impl FnMut(&mut S) -> io::Result<usize>,
    ) -> io::Result<usize> {
        use ErrorKind::{Interrupted, TimedOut, WouldBlock};
        loop {
            let left = self.deadline.left().ok_or(TimedOut)?;
            let ready = set_socket_timeout(&self.socket, timeout, Some(left));
            #[allow(clippy::useless_conversion)] // on Unix the type is another one
            match ready.map_err(io::Error::from).and_then(|()| act(&mut self.socket)) {
                Err(error) if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) => {}
                done => return done,
            }
        }
    }
}

impl<S: AsSocket + Read> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time(Timeout::Recv, |socket| socket.read(buffer))
    }
}

impl<S: AsSocket + Write> Write for Stream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_time(Timeout::Send, |socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! HTTP/1.1 on one connection: a strict reader of requests (RFC 9112), a writer of answers.
//!
//! tiny_http has the types and writes the answers. Its own parser is not used: one unauthenticated
//! request can end the process there. Whatever is ambiguous here is an
//! error, and the connection closes, so that no second request can be smuggled behind a first.

mod reply;
pub(crate) mod request;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::Duration;

use tiny_http::{HTTPVersion, Method};
use zeroize::Zeroizing;

pub(crate) use self::reply::Reply;
pub(crate) use self::request::Request;
use crate::base::time::Deadline;
use crate::error::{ErrorInfo, refusal};
use crate::gateway::connections::Place;
use crate::system::stream::Stream;

/// Why there is no request.
pub(crate) enum Failure {
    /// The peer went away, or stayed silent for as long as it may.
    Gone,
    /// This answer, and then the connection closes.
    Refused(Reply),
}

impl From<&'static ErrorInfo> for Failure {
    fn from(info: &'static ErrorInfo) -> Failure {
        Failure::Refused(Reply::error(info))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::TimedOut => (&refusal::REQUEST_TIMEOUT).into(),
            _ => Failure::Gone,
        }
    }
}

/// One accepted connection.
pub(crate) struct Connection<'a> {
    place: &'a Place,
    /// The address of the listener that it came to.
    at: IpAddr,
    /// Bytes that were received and not parsed yet: at most a head.
    received: Zeroizing<Vec<u8>>,
    /// Its deadline is when the request that has begun must be complete, or its answer taken.
    stream: Stream<&'a TcpStream>,
}

impl<'a> Connection<'a> {
    /// Takes over a connection.
    pub(crate) fn new(place: &'a Place, at: IpAddr) -> Connection<'a> {
        // Without it an answer of two packets waits 40 ms for the peer's delayed acknowledgement.
        let _ = place.stream.set_nodelay(true);
        let received = Zeroizing::new(Vec::with_capacity(MAX_HEAD));
        let stream = Stream { socket: &place.stream, deadline: Deadline::after(REQUEST) };
        Connection { place, at, received, stream }
    }

    /// Waits for the next request's head. Until its first byte the peer may be silent for two minutes,
    /// because a browser opens its connection before it asks its user for permission.
    pub(crate) fn request(&mut self) -> Result<Request, Failure> {
        if self.received.is_empty() {
            if !self.place.has_input(SILENCE) {
                return Err(Failure::Gone);
            }
            // While its bytes are still on the socket: otherwise it would pass for a silent one.
            self.place.serving();
            self.stream.deadline = Deadline::after(REQUEST);
            self.receive().map_err(|_| Failure::Gone)?;
        }
        self.stream.deadline = Deadline::after(REQUEST);
        let mut scanned = 0;
        loop {
            if let Some(end) = request::scan(&self.received, scanned)? {
                let request = request::parse(&self.received[..end], self.at);
                self.received.drain(..end);
                self.place.serving();
                return Ok(request?);
            }
            if self.received.len() >= MAX_HEAD {
                return Err((&refusal::HEADERS_TOO_LARGE).into());
            }
            if scanned == 0 {
                self.place.waiting();
            }
            scanned = self.received.len().saturating_sub(3);
            self.receive()?;
        }
    }

    /// Does something that does not count against the peer's deadline.
    pub(crate) fn off_the_clock<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let left = self.stream.deadline.left();
        let done = work();
        if let Some(left) = left {
            self.stream.deadline = Deadline::after(left);
        }
        done
    }

    /// Reads the request's body.
    pub(crate) fn body(&mut self, request: &Request) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if request.content_length > MAX_BODY {
            return Err((&refusal::BODY_TOO_LARGE).into());
        }
        let length = usize::try_from(request.content_length).map_err(|_| Failure::Gone)?;
        let mut body = Zeroizing::new(vec![0; length]);
        let filled = length.min(self.received.len());
        body[..filled].copy_from_slice(&self.received[..filled]);
        self.received.drain(..filled);
        if filled < length {
            self.place.waiting();
            // Once it is waiting: the peer may act as soon as it reads this.
            if request.expects_continue && filled == 0 {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            self.stream.read_exact(&mut body[filled..])?;
        }
        self.place.serving();
        Ok(body)
    }

    /// Writes an answer; the peer has ten seconds to take it. One after which we close is written as
    /// HTTP/1.0, which says so by itself.
    pub(crate) fn answer(&mut self, reply: &Reply, to: Option<&Request>) -> io::Result<()> {
        let is_kept = to.is_some_and(|request| request.keeps_alive);
        let version = HTTPVersion(1, u8::from(is_kept));
        let is_head = to.is_some_and(|request| request.method == Method::Head);
        let bytes = reply.print(version, is_head)?;
        self.stream.deadline = Deadline::after(ANSWER);
        self.place.waiting();
        self.stream.write_all(&bytes)
    }

    /// Ends the connection so that the peer gets to read the answer: what it is still sending is
    /// taken and dropped for a moment, because closing on unread bytes would reset the connection.
    pub(crate) fn linger(&mut self) {
        let _ = self.place.stream.shutdown(Shutdown::Write);
        self.stream.deadline = Deadline::after(LINGER);
        let mut dropped = Zeroizing::new(vec![0; 8 * 1024]);
        let mut left = MAX_LINGER;
        while left > 0 {
            match self.stream.read(&mut dropped) {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }

    /// Receives some bytes, within the deadline and the space that is left for a head.
    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = Zeroizing::new([0; 4096]);
        let space = chunk.len().min(MAX_HEAD - self.received.len());
        let count = self.stream.read(&mut chunk[..space])?;
        self.received.extend_from_slice(&chunk[..count]);
        (count > 0).then_some(()).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The largest head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The largest body, in bytes.
const MAX_BODY: u64 = 64 * 1024;
const SILENCE: Duration = Duration::from_secs(120);
const REQUEST: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(1);
/// More than a browser has sent when it receives a 413.
const MAX_LINGER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;

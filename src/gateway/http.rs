//! HTTP/1.1 on one connection: a strict reader of requests (RFC 9112), a writer of answers.
//!
//! tiny_http lends its vocabulary and writes the answers. Its own parser stays out of the network's
//! reach: one unauthenticated request can end the process there. Whatever is ambiguous here is an
//! error, and the connection closes, so that nobody can smuggle a second request behind a first.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};
use zeroize::Zeroizing;

use crate::error::{Facts, refusal};
use crate::time::Deadline;

/// A request's head; its body is still on the wire.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The target's path, as it was sent.
    pub path: String,
    /// What follows its first question mark; empty without one.
    pub query: String,
    /// Bytes that follow the head.
    pub content_length: u64,
    headers: Vec<(String, String)>,
    expects_continue: bool,
    keeps_alive: bool,
}

impl Request {
    /// Can its body be read and dropped, so that the connection stays of use? One that the peer waits
    /// with cannot, and one that is too large is not worth it.
    #[must_use]
    pub fn can_be_skipped(&self) -> bool {
        self.content_length == 0 || (!self.expects_continue && self.content_length <= MAX_BODY)
    }

    /// No further request is taken after this one.
    pub fn end_here(&mut self) {
        self.keeps_alive = false;
    }

    /// The one header of this (lower-case) name.
    ///
    /// # Errors
    /// [`Repeated`], if there are several.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self
            .headers
            .iter()
            .filter(|(given, _)| given == name)
            .map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }
}

/// More than one header of a kind that must be single.
#[derive(Debug)]
pub struct Repeated;

/// An answer, before it is bytes.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body, JSON unless a `Content-Type` header says otherwise.
    pub body: String,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: String) -> Reply {
        Reply {
            status,
            body,
            headers: vec![("Content-Type", "application/json".to_owned())],
        }
    }

    /// A file of ours.
    #[must_use]
    pub fn text(content_type: &str, body: &str) -> Reply {
        Reply {
            status: 200,
            body: body.to_owned(),
            headers: vec![("Content-Type", content_type.to_owned())],
        }
    }

    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Reply {
        Reply {
            status,
            body: String::new(),
            headers: Vec::new(),
        }
    }

    /// `{"error":"<code>"}`.
    #[must_use]
    pub fn error(facts: &Facts) -> Reply {
        Reply::json(facts.http, format!("{{\"error\":\"{}\"}}", facts.code))
    }

    /// The same with one more header. Values must be ours, or checked to be visible ASCII: bytes of
    /// a request have no place here.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, with this before what else its `Vary` names: one line, for those who read only one.
    #[must_use]
    pub fn varies(mut self, by: &str) -> Reply {
        let vary = |(name, _): &&mut (&str, String)| *name == "Vary";
        match self.headers.iter_mut().find(vary) {
            Some((_, others)) => others.insert_str(0, &format!("{by}, ")),
            None => return self.with("Vary", by),
        }
        self
    }
}

/// Why there is no request.
#[derive(Debug)]
pub enum Failure {
    /// The peer went away, or stayed silent for as long as it may.
    Gone,
    /// This answer, and then the connection closes.
    Refused(Reply),
}

/// One accepted connection.
pub struct Connection<'a> {
    stream: &'a TcpStream,
    /// Bytes that were received and not used yet: at most a head.
    received: Zeroizing<Vec<u8>>,
    /// By when the request that has begun must be complete.
    deadline: Deadline,
}

/// May the next request come on the same connection?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Yes.
    Next,
    /// No; the answer says so.
    Close,
}

impl<'a> Connection<'a> {
    /// Takes over a connection.
    #[must_use]
    pub fn new(stream: &'a TcpStream) -> Connection<'a> {
        // Without it an answer of two packets waits 40 ms for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        Connection {
            stream,
            received: Zeroizing::new(Vec::with_capacity(MAX_HEAD)),
            deadline: Deadline::after(REQUEST),
        }
    }

    /// Waits for the next request's head. `begun` is called at its first byte: until then the peer
    /// may be silent for two minutes, because a browser opens its connection before it asks its user
    /// for permission.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn request(&mut self, begun: impl FnOnce()) -> Result<Request, Failure> {
        if self.received.is_empty() {
            self.deadline = Deadline::after(SILENCE);
            self.receive().map_err(|_| Failure::Gone)?;
        }
        begun();
        self.deadline = Deadline::after(REQUEST);
        let mut scanned = 0;
        loop {
            let end = scan(&self.received, scanned)
                .map_err(|()| Failure::Refused(Reply::error(&refusal::BAD_REQUEST)))?;
            if let Some(end) = end {
                let request = parse(&self.received[..end]).map_err(Failure::Refused);
                self.received.drain(..end);
                return request;
            }
            if self.received.len() >= MAX_HEAD {
                return Err(Failure::Refused(Reply::error(&refusal::HEADERS_TOO_LARGE)));
            }
            scanned = self.received.len().saturating_sub(3);
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Failure::Refused(Reply::error(&refusal::REQUEST_TIMEOUT)));
                }
                Err(_) => return Err(Failure::Gone),
            }
        }
    }

    /// Does something while the peer's time stands still: it cannot help how long we take.
    pub fn off_the_clock<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let left = self.deadline.left();
        let done = work();
        if let Some(left) = left {
            self.deadline = Deadline::after(left);
        }
        done
    }

    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Failure::Refused`] with 413, before a byte of it is read, or 408.
    pub fn body(&mut self, request: &Request) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if request.content_length > MAX_BODY {
            return Err(Failure::Refused(Reply::error(&refusal::BODY_TOO_LARGE)));
        }
        let length = usize::try_from(request.content_length).map_err(|_| Failure::Gone)?;
        if request.expects_continue && self.received.is_empty() && length > 0 {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                .map_err(|_| Failure::Gone)?;
        }
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        let buffered = length.min(self.received.len());
        body.extend(self.received.drain(..buffered));
        let mut rest = Zeroizing::new(vec![0; length - buffered]);
        let mut filled = 0;
        while filled < rest.len() {
            match self.read(|mut stream| stream.read(&mut rest[filled..])) {
                Ok(0) => return Err(Failure::Gone),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Failure::Refused(Reply::error(&refusal::REQUEST_TIMEOUT)));
                }
                Err(_) => return Err(Failure::Gone),
            }
        }
        body.extend_from_slice(&rest);
        Ok(body)
    }

    /// Writes an answer; the peer has ten seconds to take it. One after which we close is written as
    /// HTTP/1.0, which says so by itself.
    ///
    /// # Errors
    /// What the socket says; the connection is of no use then.
    pub fn answer(&mut self, reply: &Reply, to: Option<&Request>) -> io::Result<After> {
        let after = if to.is_some_and(|request| request.keeps_alive) {
            After::Next
        } else {
            After::Close
        };
        let is_head = to.is_some_and(|request| request.method == Method::Head);
        let bytes = print(reply, after, is_head)?;
        self.deadline = Deadline::after(ANSWER);
        self.send(&bytes).map(|()| after)
    }

    /// Ends the connection so that the peer gets to read the answer: what it is still sending is
    /// taken and dropped for a moment, because closing on unread bytes would reset the connection.
    pub fn linger(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.deadline = Deadline::after(LINGER);
        let mut dropped = Zeroizing::new(vec![0; 8 * 1024]);
        let mut left = MAX_LINGER;
        while left > 0 {
            match self.read(|mut stream| stream.read(&mut dropped)) {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }

    /// Receives some bytes, within the deadline and the space that is left for a head.
    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = Zeroizing::new([0; 4096]);
        let space = chunk.len().min(MAX_HEAD - self.received.len());
        let count = self.read(|mut stream| stream.read(&mut chunk[..space]))?;
        self.received.extend_from_slice(&chunk[..count]);
        if count == 0 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    /// Reads once, with the time that is left as the socket's timeout: a peer that trickles cannot
    /// extend it.
    fn read(&self, mut read: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            let left = self.deadline.left().ok_or(io::ErrorKind::TimedOut)?;
            self.stream.set_read_timeout(Some(left))?;
            match read(self.stream) {
                Err(error) if is_again(&error) => {}
                done => return done,
            }
        }
    }

    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream;
        while !bytes.is_empty() {
            let left = self.deadline.left().ok_or(io::ErrorKind::TimedOut)?;
            stream.set_write_timeout(Some(left))?;
            match stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Looks at the bytes from `from` on (a few of the last ones again): where does the head end? What
/// can be in no head is refused at once, so that a TLS hello or a bare LF does not wait for its time
/// to run out.
fn scan(bytes: &[u8], from: usize) -> Result<Option<usize>, ()> {
    for at in from..bytes.len() {
        match bytes[at] {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(()),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\n' => {}
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(()),
            b'\r' | b'\t' | b' '..=b'~' => {}
            _ => return Err(()),
        }
    }
    Ok(None)
}

/// Reads a head, ended by an empty line; [`scan`] has looked at every byte.
fn parse(head: &[u8]) -> Result<Request, Reply> {
    let bad = || Reply::error(&refusal::BAD_REQUEST);
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let (method, (path, query), is_1_1) = parse_request_line(lines.next().unwrap_or_default())?;
    let mut headers = Vec::new();
    for line in lines {
        if headers.len() == MAX_HEADERS {
            return Err(Reply::error(&refusal::HEADERS_TOO_LARGE));
        }
        // A line that begins with a blank would continue the one before (obs-fold): its name is none.
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        if !is_token(name) {
            return Err(bad());
        }
        headers.push((
            name.to_ascii_lowercase(),
            value.trim_matches([' ', '\t']).to_owned(),
        ));
    }
    let mut request = Request {
        method,
        path,
        query,
        content_length: 0,
        headers,
        expects_continue: false,
        keeps_alive: is_1_1,
    };
    if request
        .headers
        .iter()
        .any(|(name, _)| name == "transfer-encoding")
    {
        return Err(Reply::error(&refusal::TRANSFER_ENCODING_NOT_SUPPORTED));
    }
    if let Some(length) = request.header("content-length").map_err(|_| bad())? {
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        // More digits than fit are more bytes than we take.
        request.content_length = length.parse().unwrap_or(u64::MAX);
    }
    match request.header("expect").map_err(|_| bad())? {
        None => {}
        Some(expected) if expected.eq_ignore_ascii_case("100-continue") => {
            request.expects_continue = is_1_1;
        }
        Some(_) => return Err(Reply::error(&refusal::EXPECTATION_FAILED)),
    }
    let closes = |value: &str| {
        value
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("close"))
    };
    if request
        .headers
        .iter()
        .any(|(name, value)| name == "connection" && closes(value))
    {
        request.keeps_alive = false;
    }
    Ok(request)
}

/// Method, path and query, and whether the version is 1.1 (and not 1.0).
fn parse_request_line(line: &str) -> Result<(Method, (String, String), bool), Reply> {
    let bad = || Reply::error(&refusal::BAD_REQUEST);
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let is_1_1 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ if version.starts_with("HTTP/") => {
            return Err(Reply::error(&refusal::HTTP_VERSION_NOT_SUPPORTED));
        }
        _ => return Err(bad()),
    };
    // Origin form only: no proxy's absolute form, no authority, no asterisk.
    if !is_token(method) || !target.starts_with('/') || target.contains(['\t', '#']) {
        return Err(bad());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = method.parse().map_err(|()| bad())?;
    Ok((method, (path.to_owned(), query.to_owned()), is_1_1))
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn print(reply: &Reply, after: After, is_head: bool) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + reply.body.len()));
    let invalid = |()| io::Error::from(io::ErrorKind::InvalidData);
    let fixed = [
        ("Server", "lf"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ];
    let given = reply
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let header = |(name, value): (&str, &str)| {
        // tiny_http takes line ends here, and would let a value write headers of its own.
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Header::from_bytes(name, value)
        } else {
            Err(())
        }
    };
    let headers = fixed
        .into_iter()
        .chain(given)
        .map(header)
        .collect::<Result<Vec<_>, ()>>()
        .map_err(invalid)?;
    let length = reply.body.len();
    let response = Response::new(
        StatusCode(reply.status),
        headers,
        reply.body.as_bytes(),
        Some(length),
        None,
    );
    let version = if after == After::Next {
        HTTPVersion(1, 1)
    } else {
        HTTPVersion(1, 0)
    };
    response.with_chunked_threshold(usize::MAX).raw_print(
        &mut *bytes,
        version,
        &[],
        is_head,
        None,
    )?;
    if reply.status == 204 {
        // RFC 9110, section 8.6: no Content-Length here; tiny_http writes one.
        const LENGTH: &[u8] = b"Content-Length: 0\r\n";
        if let Some(at) = bytes
            .windows(LENGTH.len())
            .position(|window| window == LENGTH)
        {
            bytes.drain(at..at + LENGTH.len());
        }
    }
    Ok(bytes)
}

/// The largest head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The largest body, in bytes.
const MAX_BODY: u64 = 64 * 1024;
const SILENCE: Duration = Duration::from_secs(120);
const REQUEST: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(1);
/// More than a browser has under way when it hears of a 413.
const MAX_LINGER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        match scan(head.as_bytes(), 0) {
            Err(()) => 400,
            Ok(None) => 0,
            Ok(Some(end)) => {
                parse(&head.as_bytes()[..end]).map_or_else(|reply| reply.status, |_| 200)
            }
        }
    }

    #[test]
    fn only_one_reading_is_possible() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("GET /a?b=c HTTP/1.0\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nA:\r\nB:  \t b \t\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nHost: x\r\n", 0),
            ("GET / HTTP/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nH\u{e4}: x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nA: \u{0}\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nA: \u{7f}\r\n\r\n", 400),
            ("\r\nGET / HTTP/1.1\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\n\r\n", 400),
            (" GET / HTTP/1.1\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/1.2\r\n\r\n", 505),
            ("GET / http/1.1\r\n\r\n", 400),
            ("GET http://x/ HTTP/1.1\r\n\r\n", 400),
            ("CONNECT x:1 HTTP/1.1\r\n\r\n", 400),
            ("OPTIONS * HTTP/1.1\r\n\r\n", 400),
            ("G(T / HTTP/1.1\r\n\r\n", 400),
            ("GET /\t HTTP/1.1\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 200),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
                501,
            ),
            ("POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", 200),
            ("POST / HTTP/1.1\r\nExpect: 200-ok\r\n\r\n", 417),
        ] {
            assert_eq!(status(head), expected, "{head:?}");
        }
        let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!((status(&many(64)), status(&many(65))), (200, 431));
    }

    #[test]
    fn the_end_is_found_wherever_the_packets_are_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 1..head.len() {
            assert_eq!(scan(&head[..cut], 0), Ok(None), "{cut}");
            assert_eq!(
                scan(head, cut.saturating_sub(3)),
                Ok(Some(head.len())),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_length_that_fits_no_number_is_a_length_too_large() {
        let head = format!(
            "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n",
            "9".repeat(40)
        );
        assert_eq!(parse(head.as_bytes()).unwrap().content_length, u64::MAX);
    }

    #[test]
    fn answers_say_their_length_and_nothing_of_us() {
        let text = |reply: Reply, after, is_head| {
            String::from_utf8(print(&reply, after, is_head).unwrap().to_vec()).unwrap()
        };
        let answer = text(Reply::json(200, "{}".into()), After::Next, false);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n")
                && answer.ends_with("\r\nContent-Length: 2\r\n\r\n{}"),
            "{answer}"
        );
        assert!(
            answer.contains("Cache-Control: no-store\r\n") && !answer.contains("tiny"),
            "{answer}"
        );
        assert!(text(Reply::empty(204), After::Close, false).starts_with("HTTP/1.0 204 "));
        assert!(!text(Reply::empty(204), After::Next, false).contains("Content-Length"));
        assert!(
            text(Reply::json(405, "{}".into()), After::Next, true)
                .ends_with("Content-Length: 2\r\n\r\n")
        );
        assert!(
            print(
                &Reply::empty(204).with("X", "a\r\nB: c"),
                After::Next,
                false
            )
            .is_err()
        );
    }
}

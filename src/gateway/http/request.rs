//! A request's head, read strictly (RFC 9112): whatever is ambiguous is an error.

use std::net::IpAddr;

use tiny_http::Method;

use super::MAX_BODY;
use crate::error::{ErrorInfo, refusal};

/// A request's head; its body is still on the wire.
#[derive(Debug)]
pub(crate) struct Request {
    /// The address of the listener that it came to.
    pub(crate) at: IpAddr,
    /// The method.
    pub(crate) method: Method,
    /// The target's path, as it was sent.
    pub(crate) path: String,
    /// What follows its first question mark; empty without one.
    pub(crate) query: String,
    /// Bytes that follow the head.
    pub(crate) content_length: u64,
    headers: Vec<(String, String)>,
    pub(super) expects_continue: bool,
    /// May another request follow on this connection?
    pub(crate) keeps_alive: bool,
}

impl Request {
    /// Can its body be read and dropped, so that the connection can be kept? Not if the peer sends it only
    /// after a 100 Continue, or if it is too large.
    pub(crate) fn can_be_skipped(&self) -> bool {
        self.content_length == 0 || (!self.expects_continue && self.content_length <= MAX_BODY)
    }

    /// The header of this (lower-case) name; an error if there are several.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(BAD),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(given, _)| given == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// Looks at the bytes from `from` on (a few of the last ones again): where does the head end? What
/// can be in no head is refused at once, so that a TLS hello or a bare LF does not wait for its time
/// to run out.
pub(crate) fn scan(bytes: &[u8], from: usize) -> Result<Option<usize>> {
    for at in from..bytes.len() {
        match bytes[at] {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(BAD),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\n' => {}
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(BAD),
            b'\r' | b'\t' | b' '..=b'~' => {}
            _ => return Err(BAD),
        }
    }
    Ok(None)
}

/// Reads a head, ended by an empty line; [`scan`] has looked at every byte.
pub(crate) fn parse(head: &[u8], at: IpAddr) -> Result<Request> {
    let text = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut request = parse_request_line(lines.next().unwrap_or_default(), at)?;
    let is_1_1 = request.keeps_alive;
    for line in lines {
        if request.headers.len() == MAX_HEADERS {
            return Err(&refusal::HEADERS_TOO_LARGE);
        }
        // A line that begins with a blank would continue the one before (obs-fold): its name is none.
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        if !is_token(name) {
            return Err(BAD);
        }
        let value = value.trim_matches([' ', '\t']).to_owned();
        request.headers.push((name.to_ascii_lowercase(), value));
    }
    if request.all("transfer-encoding").next().is_some() {
        return Err(&refusal::TRANSFER_ENCODING_NOT_SUPPORTED);
    }
    if let Some(length) = request.header("content-length")? {
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BAD);
        }
        // More digits than fit are more bytes than we take.
        request.content_length = length.parse().unwrap_or(u64::MAX);
    }
    match request.header("expect")? {
        None => {}
        Some(expected) if expected.eq_ignore_ascii_case("100-continue") => {
            request.expects_continue = is_1_1;
        }
        Some(_) => return Err(&refusal::EXPECTATION_FAILED),
    }
    let mut options = request.all("connection").flat_map(|value| value.split(','));
    let closes = options.any(|option| option.trim().eq_ignore_ascii_case("close"));
    drop(options);
    request.keeps_alive &= !closes;
    Ok(request)
}

/// A request without headers; one of HTTP/1.1 keeps its connection alive, one of 1.0 does not.
fn parse_request_line(line: &str, at: IpAddr) -> Result<Request> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts[..] else { return Err(BAD) };
    let keeps_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ if version.starts_with("HTTP/") => return Err(&refusal::HTTP_VERSION_NOT_SUPPORTED),
        _ => return Err(BAD),
    };
    // Origin form only: no proxy's absolute form, no authority, no asterisk.
    if !is_token(method) || !target.starts_with('/') || target.contains(['\t', '#']) {
        return Err(BAD);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request {
        at,
        method: method.parse().map_err(|()| BAD)?,
        path: path.to_owned(),
        query: query.to_owned(),
        content_length: 0,
        headers: Vec::new(),
        expects_continue: false,
        keeps_alive,
    })
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_fit)
}

type Result<T> = std::result::Result<T, &'static ErrorInfo>;

const BAD: &ErrorInfo = &refusal::BAD_REQUEST;
const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    impl Request {
        /// For tests elsewhere: what a head says.
        pub(crate) fn of(head: &str, at: IpAddr) -> Request {
            parse(head.as_bytes(), at).unwrap()
        }
    }

    fn status(head: &str) -> u16 {
        match scan(head.as_bytes(), 0) {
            Err(info) => info.http,
            Ok(None) => 0,
            Ok(Some(end)) => {
                parse(&head.as_bytes()[..end], AT).map_or_else(|info| info.http, |_| 200)
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
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", 200),
            ("POST / HTTP/1.1\r\nExpect: 200-ok\r\n\r\n", 417),
        ] {
            assert_eq!(status(head), expected, "{head:?}");
        }
        let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!((status(&many(64)), status(&many(65))), (200, 431));
    }

    #[test]
    fn a_head_says_what_follows_it_and_whether_more_may_come() {
        let of = |line: &str, headers: &str| Request::of(&format!("{line}\r\n{headers}\r\n"), AT);
        let old = "GET /a?b?c HTTP/1.0";
        let new = "POST /a HTTP/1.1";
        for (line, headers, length, keeps_alive, can_be_skipped) in [
            (new, "", 0, true, true),
            (old, "", 0, false, true),
            (old, "Connection: keep-alive\r\n", 0, false, true),
            (new, "Connection: close\r\n", 0, false, true),
            (new, "Connection: a, CLOSE\r\n", 0, false, true),
            (new, "Connection: a\r\nConnection: close\r\n", 0, false, true),
            (new, "Connection: closed\r\n", 0, true, true),
            (new, "Content-Length: 65536\r\n", 65536, true, true),
            (new, "Content-Length: 65537\r\n", 65537, true, false),
            (new, "Content-Length: 007\r\nExpect: 100-Continue\r\n", 7, true, false),
            (new, "Content-Length: 0\r\nExpect: 100-continue\r\n", 0, true, true),
            // To 1.0 no 100 Continue is sent (RFC 9110, section 10.1.1).
            (old, "Content-Length: 7\r\nExpect: 100-continue\r\n", 7, false, true),
        ] {
            let request = of(line, headers);
            assert_eq!(request.content_length, length, "{headers}");
            assert_eq!(request.keeps_alive, keeps_alive, "{line} {headers}");
            assert_eq!(request.can_be_skipped(), can_be_skipped, "{line} {headers}");
        }
        let request = of(old, "A: 1\r\nB: 2\r\nb: 3\r\n");
        assert_eq!((&*request.path, &*request.query), ("/a", "b?c"));
        assert_eq!((request.method.clone(), request.at), (Method::Get, AT));
        assert_eq!(request.header("a").unwrap(), Some("1"));
        assert_eq!(request.header("c").unwrap(), None);
        assert_eq!(request.header("b").unwrap_err().code, BAD.code);
    }

    #[test]
    fn the_end_is_found_wherever_the_packets_are_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 1..head.len() {
            assert_eq!(scan(&head[..cut], 0).unwrap(), None, "{cut}");
            assert_eq!(scan(head, cut.saturating_sub(3)).unwrap(), Some(head.len()), "{cut}");
        }
    }

    #[test]
    fn a_length_that_fits_no_number_is_a_length_too_large() {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", "9".repeat(40));
        assert_eq!(parse(head.as_bytes(), AT).unwrap().content_length, u64::MAX);
    }
}

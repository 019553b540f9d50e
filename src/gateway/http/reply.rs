//! An answer, and its bytes.

use std::io;

use tiny_http::{HTTPVersion, Header, Response, StatusCode};
use zeroize::Zeroizing;

use crate::error::ErrorInfo;

/// An answer, before it is bytes.
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The body, JSON unless a `Content-Type` header says otherwise.
    pub(crate) body: String,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    /// An answer with a JSON body.
    pub(crate) fn json(status: u16, body: String) -> Reply {
        Reply { body, ..Reply::empty(status).with("Content-Type", "application/json") }
    }

    /// A file of ours.
    pub(crate) fn text(content_type: &str, body: &str) -> Reply {
        Reply { body: body.to_owned(), ..Reply::empty(200).with("Content-Type", content_type) }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Reply {
        Reply { status, body: String::new(), headers: Vec::new() }
    }

    /// `{"error":"<code>"}`: the code alone, without the sentence; and when to try again, where
    /// that may help.
    pub(crate) fn error(info: &ErrorInfo) -> Reply {
        let reply = Reply::json(info.http, format!(r#"{{"error":"{}"}}"#, info.code));
        let may_pass = matches!(info.http, 429 | 503);
        if may_pass { reply.with("Retry-After", RETRY) } else { reply }
    }

    /// The same with a header, in place of one of the same name. Values must be ours, or checked to
    /// be visible ASCII: bytes of a request have no place here.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.retain(|(given, _)| *given != name);
        self.headers.push((name, value.into()));
        self
    }

    /// The same, with this in front of its `Vary` header: one line, because some caches read only one.
    pub(crate) fn varies(mut self, by: &str) -> Reply {
        let vary = |(name, _): &&mut (&str, String)| *name == "Vary";
        match self.headers.iter_mut().find(vary) {
            Some((_, others)) => others.insert_str(0, &format!("{by}, ")),
            None => return self.with("Vary", by),
        }
        self
    }

    /// What goes over the wire; without the body for a HEAD.
    pub(super) fn print(
        &self,
        version: HTTPVersion,
        is_head: bool,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + self.body.len()));
        let given = self.headers.iter();
        let given = given.map(|(name, value)| (*name, value.as_str()));
        let header = |(name, value): (&str, &str)| {
            // tiny_http takes line ends in a value, and would let it write headers of its own.
            let is_safe = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let header = is_safe.then(|| Header::from_bytes(name, value));
            header.and_then(Result::ok).ok_or(io::ErrorKind::InvalidData)
        };
        let headers = FIXED.into_iter().chain(given).map(header);
        let response = Response::new(
            StatusCode(self.status),
            headers.collect::<Result<_, _>>()?,
            self.body.as_bytes(),
            Some(self.body.len()),
            None,
        );
        let response = response.with_chunked_threshold(usize::MAX);
        response.raw_print(&mut *bytes, version, &[], is_head, None)?;
        if self.status == 204 {
            // RFC 9110, section 8.6: no Content-Length here; tiny_http writes one.
            const LENGTH: &[u8] = b"Content-Length: 0\r\n";
            let mut windows = bytes.windows(LENGTH.len());
            if let Some(at) = windows.position(|window| window == LENGTH) {
                bytes.drain(at..at + LENGTH.len());
            }
        }
        Ok(bytes)
    }
}

/// Seconds. A keychain that is slow, or a lock that is held, may do by then.
const RETRY: &str = "5";
/// The headers of every answer.
const FIXED: [(&str, &str); 4] = [
    ("Server", "lf"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    impl Reply {
        /// For tests elsewhere: what goes over the wire.
        pub(crate) fn print_for_tests(&self) -> Vec<u8> {
            self.print(HTTPVersion(1, 1), false).unwrap().to_vec()
        }
    }

    fn has(reply: &Reply, line: &str) -> bool {
        String::from_utf8(reply.print_for_tests()).unwrap().contains(&format!("\r\n{line}\r\n"))
    }

    #[test]
    fn an_answer_says_when_to_try_again_where_that_may_help() {
        for (http, may_help) in [(429, true), (503, true), (500, false), (404, false)] {
            let reply = Reply::error(&ErrorInfo { code: "x", exit: 0, http });
            assert_eq!((reply.status, &*reply.body), (http, r#"{"error":"x"}"#));
            assert_eq!(has(&reply, "Retry-After: 5"), may_help, "{http}");
            assert!(has(&reply, "Content-Type: application/json"));
        }
    }

    #[test]
    fn a_header_is_there_once_and_vary_is_one_line() {
        let reply = Reply::empty(200).with("A", "1").with("B", "2").with("A", "3");
        assert!(!has(&reply, "A: 1") && has(&reply, "A: 3") && has(&reply, "B: 2"));
        let reply = reply.varies("One");
        assert!(has(&reply, "Vary: One"));
        let reply = reply.varies("Two").with("C", "~ !");
        assert!(has(&reply, "Vary: Two, One") && has(&reply, "B: 2") && has(&reply, "C: ~ !"));
        for value in ["\u{7f}", "\u{1f}", "ü", "\t"] {
            let reply = Reply::empty(200).with("A", value);
            assert!(reply.print(HTTPVersion(1, 1), false).is_err(), "{value:?}");
        }
    }

    #[test]
    fn answers_say_their_length_and_nothing_of_us() {
        let text = |reply: Reply, version, is_head| {
            String::from_utf8(reply.print(version, is_head).unwrap().to_vec()).unwrap()
        };
        let answer = text(Reply::text("application/json", "{}"), HTTPVersion(1, 1), false);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n")
                && answer.ends_with("\r\nContent-Length: 2\r\n\r\n{}"),
            "{answer}"
        );
        assert!(
            answer.contains("Cache-Control: no-store\r\n") && !answer.contains("tiny"),
            "{answer}"
        );
        assert!(text(Reply::empty(204), HTTPVersion(1, 0), false).starts_with("HTTP/1.0 204 "));
        assert!(!text(Reply::empty(204), HTTPVersion(1, 1), false).contains("Content-Length"));
        assert!(
            text(Reply::text("application/json", "{}"), HTTPVersion(1, 1), true)
                .ends_with("Content-Length: 2\r\n\r\n")
        );
        assert!(Reply::empty(204).with("X", "a\r\nB: c").print(HTTPVersion(1, 1), false).is_err());
    }
}

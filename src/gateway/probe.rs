//! Asks what listens on an address: a gateway of `lf`, something else, or nobody. It shows no token.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use miniserde::json::{self, Object, Value};

use super::api::daemon_version;
use crate::base::time::{Deadline, Timestamp};
use crate::error::{Error, Result};
use crate::system::fs;

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// A gateway of `lf`'s.
    Gateway {
        /// Its `daemon_version`.
        version: String,
        /// Its clock.
        time: Timestamp,
    },
    /// A gateway that answers nobody, because its interface is not as consented to.
    Waiting,
    /// Somebody else, or nobody who answers; how that shows.
    Stranger(&'static str),
    /// Nobody; what the system says.
    Nobody(io::Error),
}

impl Answer {
    /// The gateway's `daemon_version` and clock, from what was asked at `address`.
    ///
    /// # Errors
    /// [`Error::ConsentMissing`] of one that waits; [`Error::GatewayUnreachable`].
    pub fn health(self, address: SocketAddr) -> Result<(String, Timestamp)> {
        match self {
            Answer::Gateway { version, time } => Ok((version, time)),
            Answer::Waiting => Err(Error::ConsentMissing(format!(
                "a gateway listens on {address} and answers nobody: its interface is not as consented to"
            ))),
            Answer::Stranger(reason) => Err(Error::GatewayUnreachable {
                sentence: format!("something else listens on {address}: {reason}"),
                hint: "stop that, or take another port: lf gateway serve --port N",
            }),
            Answer::Nobody(error) => Err(Error::GatewayUnreachable {
                sentence: format!("no gateway listens on {address}: {error}"),
                hint: "lf gateway serve --keys-only; or name its address with --bind and --port",
            }),
        }
    }
}

/// One `GET /healthz` to a gateway that listens there, within two seconds.
#[must_use]
pub fn ask(address: SocketAddr) -> Answer {
    let address = reachable(address);
    let deadline = Deadline::after(PATIENCE);
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if is_late(&error) => return Answer::Stranger(LATE),
        Err(error) => return Answer::Nobody(error),
    };
    // Whoever had the port first can answer as a gateway does, and wait for a token.
    if is_of_another_user(address) {
        return Answer::Stranger(ANOTHER_USER);
    }
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let asked = stream
        .set_write_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(request.as_bytes()));
    let mut bytes = Vec::new();
    while asked.is_ok() && bytes.len() <= MAX_ANSWER {
        let mut buffer = [0; 1024];
        let Some(left) = deadline.left() else {
            return Answer::Stranger(LATE);
        };
        let count = match stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.read(&mut buffer))
        {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_late(&error) => return Answer::Stranger(LATE),
            Err(_) => 0,
        };
        bytes.extend_from_slice(&buffer[..count]);
        match body(&bytes) {
            Body::Whole(body) => return judge(body),
            Body::None(reason) => return Answer::Stranger(reason),
            Body::More if count > 0 => {}
            Body::More => break,
        }
    }
    Answer::Stranger(NO_HTTP)
}

/// What listens everywhere is asked on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Does the socket that listens there belong to another user? Root's is a service manager's. `false`
/// where nobody can tell.
fn is_of_another_user(address: SocketAddr) -> bool {
    let (own, root) = (fs::own_user(), 0);
    let table = |name: &str| fs::read_named(Path::new(name), MAX_TABLE).unwrap_or_default();
    let owner = match address.ip() {
        IpAddr::V4(ip) => {
            let owner = owner(&table("/proc/net/tcp"), &ip.octets(), address.port());
            // What listens for IPv6 may hear IPv4 too.
            let mapped = || ip.to_ipv6_mapped().octets();
            owner.or_else(|| self::owner(&table("/proc/net/tcp6"), &mapped(), address.port()))
        }
        IpAddr::V6(ip) => owner(&table("/proc/net/tcp6"), &ip.octets(), address.port()),
    };
    owner.is_some_and(|owner| owner != own && owner != root)
}

/// The user id of the socket that listens at this address, or at all, by a table of Linux's
/// (proc_pid_net(5)): addresses are words in the machine's own byte order, and 0A is LISTEN.
fn owner(table: &[u8], ip: &[u8], port: u16) -> Option<u32> {
    let mut exact = String::new();
    for word in ip.chunks_exact(4) {
        let word = u32::from_ne_bytes(word.try_into().ok()?);
        exact.push_str(&format!("{word:08X}"));
    }
    let (any, port) = ("0".repeat(exact.len()), format!("{port:04X}"));
    let table = String::from_utf8_lossy(table);
    let owner = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (ip, at) = fields.next()?.split_once(':')?;
        let is_it = at == port && (ip == exact || ip == any) && fields.nth(1)? == "0A";
        fields.nth(3).filter(|_| is_it)?.parse().ok()
    };
    table.lines().find_map(owner)
}

/// The body of an answer, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
enum Body<'a> {
    Whole(&'a str),
    More,
    None(&'static str),
}

/// Takes what our own gateway sends, and nothing else: a length, and no transfer coding.
fn body(bytes: &[u8]) -> Body<'_> {
    let start = &bytes[..bytes.len().min(STATUS_LENGTH)];
    if !STATUSES.iter().any(|status| status.starts_with(start)) {
        return Body::None(NO_HTTP);
    }
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Body::More;
    };
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else {
        return Body::None(NO_HTTP);
    };
    let status = head[STATUS_LENGTH..].get(..4);
    if !matches!(status, Some("200 " | "403 ")) {
        return Body::None("it answers GET /healthz with an error");
    }
    let mut lengths = head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    let (length, second) = (lengths.next(), lengths.next());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let length = length.filter(|length| second.is_none() && *length <= MAX_ANSWER);
    let Some(length) = length else {
        return Body::None(OTHER);
    };
    match bytes[end + 4..].get(..length).map(std::str::from_utf8) {
        Some(Ok(body)) => Body::Whole(body),
        Some(Err(_)) => Body::None(OTHER),
        None => Body::More,
    }
}

fn judge(body: &str) -> Answer {
    let health = json::from_str::<Object>(body).unwrap_or_default();
    let text = |name| match health.get(name) {
        Some(Value::String(text)) => text.as_str(),
        _ => "",
    };
    let (version, time) = (text("daemon_version"), Timestamp::parse(text("time")));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./-+".contains(&byte);
    let is_ours = text("status") == "ok"
        && version.starts_with(NAME)
        && version.len() <= MAX_VERSION
        && version.bytes().all(is_plain);
    match time {
        Some(time) if is_ours => Answer::Gateway {
            version: version.to_owned(),
            time,
        },
        None if text("error") == WAITING => Answer::Waiting,
        _ => Answer::Stranger(OTHER),
    }
}

/// Is this version the one of this program?
#[must_use]
pub fn is_ours(version: &str) -> bool {
    version == daemon_version()
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 16 * 1024;
const MAX_VERSION: usize = 64;
/// A gateway that is asked to close speaks as 1.0 does.
const STATUSES: [&[u8; STATUS_LENGTH]; 2] = [b"HTTP/1.1 ", b"HTTP/1.0 "];
const STATUS_LENGTH: usize = 9;
const NAME: &str = "lf/";
const WAITING: &str = "consent_missing";
/// Bytes; a socket takes some 150.
const MAX_TABLE: usize = 1024 * 1024;
const ANOTHER_USER: &str = "it belongs to another user of this machine";
const LATE: &str = "it does not answer within 2 seconds";
const NO_HTTP: &str = "it does not answer as HTTP does";
const OTHER: &str = "what it answers to GET /healthz is not lf's";

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTH: &str = r#"{"status":"ok","device_id":null,"daemon_version":"lf/0.1.0","time":"2026-01-02T03:04:05.678Z"}"#;

    fn answer(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nX: y\r\ncontent-LENGTH: {length}\r\n\r\n{body}")
    }

    #[test]
    fn an_answer_is_whole_when_its_last_byte_has_come() {
        let whole = answer(HEALTH);
        for end in 0..whole.len() {
            assert_eq!(body(&whole.as_bytes()[..end]), Body::More, "{end}");
        }
        assert_eq!(body(whole.as_bytes()), Body::Whole(HEALTH));
        let old = whole.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(body(old.as_bytes()), Body::Whole(HEALTH));
        assert_eq!(body((whole + "more").as_bytes()), Body::Whole(HEALTH));
    }

    #[test]
    fn what_is_no_answer_of_ours_has_no_body() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1\r\n\r\nContent-Length: 0",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 16385\r\n\r\n",
        ] {
            assert!(matches!(body(text.as_bytes()), Body::None(_)), "{text:?}");
        }
        let broken = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xFF";
        assert_eq!(body(broken), Body::None(OTHER));
        assert_eq!(body(b"HTTP/1.1 \xFF\r\n\r\n"), Body::None(NO_HTTP));
    }

    #[test]
    fn the_table_of_sockets_says_whose_the_listener_is() {
        let local = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: {local}:94C0 00000000:0000 01 00000000:00000000 00:00000000 00000000  1001 0 5 1\n   \
             1: {local}:94C0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002 0 6 1\n   \
             2: 00000000:94C1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1003 0 7 1\n   \
             3: 0200000A:94C2 00000000:0000 0A\n"
        );
        let of = |port| owner(table.as_bytes(), &[127, 0, 0, 1], port);
        assert_eq!(
            [of(0x94C0), of(0x94C1), of(0x94C2), of(1)],
            [Some(1002), Some(1003), None, None]
        );
    }

    #[test]
    fn only_our_own_health_is_a_gateways() {
        assert!(matches!(judge(HEALTH), Answer::Gateway { .. }));
        let waiting = r#"{"error":"consent_missing"}"#;
        assert!(matches!(judge(waiting), Answer::Waiting));
        for (from, to) in [
            ("\"ok\"", "\"ill\""),
            ("lf/", "gateway/"),
            ("lf/0", "lf/\\u001b[2J"),
            ("lf/0", &format!("lf/{}", "0".repeat(64))),
            ("2026", "yesterday"),
            ("{", "["),
        ] {
            let health = HEALTH.replace(from, to);
            assert!(matches!(judge(&health), Answer::Stranger(_)), "{health}");
        }
    }
}

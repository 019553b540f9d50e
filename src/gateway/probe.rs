//! Asks what listens on an address: a gateway of `lf`, another program, or none; and whose it is. It sends
//! no token.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use miniserde::{Deserialize, json};

use crate::base::time::{Deadline, Timestamp};
use crate::error::Error;
use crate::system::{fs, stream::Stream};

/// What a gateway of `lf` answers to `GET /healthz`.
#[derive(Deserialize)]
pub(crate) struct Health {
    status: String,
    pub(crate) daemon_version: String,
    /// Its clock.
    pub(crate) time: Timestamp,
}

/// Why there is no [`Health`].
pub(crate) enum Absence {
    /// Another program listens, or does not answer; how that shows.
    Stranger(&'static str),
    /// No program listens; what the system says.
    Nobody(io::Error),
}

impl Absence {
    /// At this address.
    pub(crate) fn error(self, address: SocketAddr) -> Error {
        match self {
            Absence::Stranger(reason) => Error::GatewayUnreachable(
                format!("something else listens on {address}: {reason}"),
                STOP,
            ),
            Absence::Nobody(error) => Error::GatewayUnreachable(
                format!("no gateway listens on {address}: {error}"),
                "lf gateway serve --keys-only; or name its address with --bind and --port",
            ),
        }
    }
}

/// One `GET /healthz` to a gateway that listens there, within two seconds.
pub(crate) fn ask(address: SocketAddr) -> Result<Health, Absence> {
    let deadline = Deadline::after(PATIENCE);
    let socket = TcpStream::connect_timeout(&address, CONNECT);
    let socket = socket.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => Absence::Stranger(LATE),
        _ => Absence::Nobody(error),
    })?;
    let answer = exchange(Stream { socket, deadline }).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => LATE,
        _ => NO_HTTP,
    });
    answer.and_then(|bytes| parse(&bytes)).map_err(Absence::Stranger)
}

/// The user whose socket listens on this address, or on one that it stands for or belongs to, as far as the
/// system tells: in proc_net_tcp(5) an address is words of its bytes, read as this machine's numbers.
pub(crate) fn listener(address: SocketAddr) -> Option<u32> {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let word = |word: &[u8]| Some(format!("{:08X}", u32::from_ne_bytes(word.try_into().ok()?)));
    let mut ip = octets.chunks_exact(4).map(word).collect::<Option<String>>()?;
    if address.ip().is_unspecified() {
        ip.clear();
    }
    let tables = if cfg!(windows) { ["", ""] } else { ["/proc/net/tcp", "/proc/net/tcp6"] };
    let tables =
        tables.map(|path| fs::read_exposed(path.as_ref(), MAX_TABLE).unwrap_or_default().0);
    let tables = String::from_utf8_lossy(&tables.concat()).into_owned();
    let rows = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|row| row.get(3) == Some(&LISTENING)).collect();
    [&*ip, "00000000"].into_iter().find_map(|ip| {
        let place = format!("{ip}:{:04X}", address.port());
        rows.iter().find(|row| row[1].ends_with(&place))?.get(7)?.parse().ok()
    })
}

/// What else than one gateway of this user is to be found on these addresses; if one runs, on the first
/// of them, it holds the others too. Whoever holds another one gets what pages send there: tokens.
pub(crate) fn doubts(addresses: &[SocketAddr], is_running: bool) -> Vec<Error> {
    let doubt = |(at, address): (usize, &SocketAddr)| {
        // Nobody is safe from root, who may hold a socket for somebody else.
        let is_other = |user: &u32| ![0, fs::own_user()].contains(user);
        let whose = listener(*address).filter(is_other);
        let (sentence, hint) = match (whose, (at > 0 && is_running).then(|| ask(*address))) {
            (Some(user), _) => {
                (format!("user {user} listens on {address}, where pages may send tokens"), STOP)
            }
            (None, Some(Err(Absence::Nobody(_)))) => (
                format!("the gateway does not listen on {address}, so another user could"),
                RESTART,
            ),
            (None, Some(Err(absence))) => return Some(absence.error(*address)),
            (None, None | Some(Ok(_))) => return None,
        };
        Some(Error::GatewayUnreachable(sentence, hint))
    };
    addresses.iter().enumerate().filter_map(doubt).collect()
}

/// All that is answered, until the other side closes.
fn exchange(mut stream: Stream<TcpStream>) -> io::Result<Vec<u8>> {
    stream.write_all(REQUEST)?;
    let mut bytes = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut bytes) {
        // It sent more than was read, or refused the request.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        Ok(_) | Err(_) => Ok(bytes),
    }
}

/// Takes what our own gateway sends: one JSON object of a known shape, and nothing after it.
fn parse(bytes: &[u8]) -> Result<Health, &'static str> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    // A gateway that is asked to close answers as HTTP/1.0.
    let text = text.strip_prefix("HTTP/1.").unwrap_or_default();
    let text = text.strip_prefix("1 ").or_else(|| text.strip_prefix("0 "));
    let parts = text.and_then(|rest| rest.split_once("\r\n\r\n"));
    let (head, body) = parts.ok_or(NO_HTTP)?;
    if !head.starts_with("200 ") {
        return Err("it answers GET /healthz with an error");
    }
    let health: Health = json::from_str(body).map_err(|_| OTHER)?;
    let version = &health.daemon_version;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./-+".contains(&byte);
    let is_ours =
        version.starts_with("lf/") && version.len() <= MAX_VERSION && version.bytes().all(is_plain);
    let is_ours = is_ours && health.status == "ok";
    is_ours.then_some(health).ok_or(OTHER)
}

/// Every gateway answers to this host.
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(2);
/// Windows tries a port where nobody listens for two seconds before it says so.
const CONNECT: Duration = if cfg!(windows) { Duration::from_secs(5) } else { PATIENCE };
const STOP: &str = "stop that, or take another port: lf gateway serve --port N";
const RESTART: &str = "start it again; for a service: lf gateway install";
const LISTENING: &str = "0A";
/// A line has 150 bytes.
const MAX_TABLE: usize = 8 * 1024 * 1024;
const MAX_ANSWER: u64 = 16 * 1024;
const MAX_VERSION: usize = 64;
const LATE: &str = "it does not answer within 2 seconds";
const NO_HTTP: &str = "it does not speak HTTP";
const OTHER: &str = "its answer to GET /healthz is not that of lf";

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTH: &str = r#"{"status":"ok","device_id":null,"daemon_version":"lf/0.1.0","time":"2026-01-02T03:04:05.678Z"}"#;

    fn answer(body: &str) -> Result<Health, &'static str> {
        let length = body.len();
        parse(format!("HTTP/1.0 200 OK\r\ncontent-LENGTH: {length}\r\n\r\n{body}").as_bytes())
    }

    #[test]
    fn what_is_no_answer_of_ours_is_a_strangers() {
        for (text, reason) in [
            ("", NO_HTTP),
            ("SSH-2.0-OpenSSH_9.2\r\n", NO_HTTP),
            ("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", NO_HTTP),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", NO_HTTP),
            ("HTTP/1.1 200 OK\r\n\r\n", OTHER),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", OTHER),
        ] {
            let found = parse(text.as_bytes());
            assert!(matches!(found, Err(told) if told == reason), "{text:?}");
        }
        for status in ["404 Not Found", "2000 OK", ""] {
            let found = parse(format!("HTTP/1.1 {status}\r\n\r\n{HEALTH}").as_bytes());
            assert!(found.is_err(), "{status:?}");
        }
        let broken = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xFF");
        assert!(matches!(broken, Err(NO_HTTP)));
    }

    #[test]
    fn only_our_own_health_is_a_gateways() {
        assert!(answer(HEALTH).is_ok());
        for end in 0..HEALTH.len() {
            assert!(matches!(answer(&HEALTH[..end]), Err(OTHER)), "{end}");
        }
        for (from, to) in [
            ("\"ok\"", "\"ill\""),
            ("lf/", "gateway/"),
            ("lf/0", "lf/\\u001b[2J"),
            ("lf/0", &format!("lf/{}", "0".repeat(64))),
            ("2026", "yesterday"),
            ("{", "["),
            ("}", "}more"),
        ] {
            let health = HEALTH.replace(from, to);
            assert!(matches!(answer(&health), Err(OTHER)), "{health}");
        }
    }
}

//! One POST to the cloud: over TCP to this machine, and with the program curl, which speaks TLS, to any
//! other. What is secret goes to curl on its standard input, because everybody can read an argument list.
//! (tests/cloud.rs: `curl_gets_what_is_secret_on_its_standard_input_alone`)

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::base::{Deadline, Secret, shown};
use crate::error::{Error, Result};
use crate::system::{program::Program, stream::Stream};

/// Where the cloud is.
pub(super) struct Url {
    pub(super) text: String,
    /// For http: where the host is on this machine.
    addresses: Vec<SocketAddr>,
}

impl Url {
    /// Takes https, and http to this machine.
    pub(super) fn parse(text: &str) -> Result<Url> {
        let text = text.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
        let addresses = match text.split_once("://") {
            Some((_, rest)) if rest.starts_with(['/', ':']) || !rest.chars().all(is_plain) => None,
            Some(("https", _)) => Some(Vec::new()),
            Some(("http", rest)) => loopback(rest.split('/').next().unwrap_or_default()),
            _ => None,
        };
        let sentence = || format!("SUPABASE_URL is \"{}\", and has to be {ADDRESS}", shown(text));
        let addresses = addresses.ok_or_else(|| Error::usage(sentence()))?;
        Ok(Url { text: text.to_owned(), addresses })
    }

    /// The status of the answer, and its body; or what happened instead, by the names of `told.txt`.
    pub(super) fn post(&self, path: &str, headers: &Secret, body: &str) -> Outcome {
        let send = if self.addresses.is_empty() { Url::by_curl } else { Url::by_tcp };
        send(self, path, headers, body)
    }

    /// HTTP/1.0, to which an answer is in one piece and ends with the connection.
    fn by_tcp(&self, path: &str, headers: &Secret, body: &str) -> Outcome {
        let rest = self.text.trim_start_matches("http://");
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let request = Secret::new(format!(
            "POST {base}{path} HTTP/1.0\r\nHost: {host}\r\n{}Content-Length: {}\r\n\r\n{body}",
            headers.expose(),
            body.len()
        ));
        let connect = |address| TcpStream::connect_timeout(address, LIMIT).ok();
        let socket = self.addresses.iter().find_map(connect).ok_or("curl 7")?;
        let (mut stream, mut answer) =
            (Stream { socket, deadline: Deadline::after(LIMIT) }, Vec::new());
        stream.write_all(request.expose().as_bytes()).map_err(|_| "curl 28")?;
        stream.take(MAX as u64).read_to_end(&mut answer).map_err(|_| "curl 28")?;
        let answer = Secret::from_bytes(answer).ok_or(NO_HTTP)?;
        let (head, body) = answer.expose().split_once("\r\n\r\n").ok_or(NO_HTTP)?;
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        Ok((status.ok_or(NO_HTTP)?, Secret::new(body.to_owned())))
    }

    fn by_curl(&self, path: &str, headers: &Secret, body: &str) -> Outcome {
        let curl = Program::find("curl".as_ref()).map_err(|_| "no curl")?;
        let url = format!("{}{path}", self.text);
        let lines = headers.expose().lines().map(|header| ("header", header));
        let quoted = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
        let lines = lines
            .chain([("url", &*url), ("data-raw", body)])
            .map(|(name, value)| format!("{name} = \"{}\"\n", quoted(value)));
        let config = Secret::new(CONFIG.to_owned() + &lines.collect::<String>());
        // -q comes first: none of the user's own configuration counts, which could turn checks off.
        let arguments = ["-q", "--config", "-"].map(str::to_owned);
        let printed = curl.output(&arguments, Some(&config), MAX, LIMIT + LIMIT);
        let printed = printed.map_err(|fault| fault.replace("failed: exit status:", "curl"))?;
        let (body, status) = printed.expose().rsplit_once('\n').ok_or(NO_HTTP)?;
        Ok((status.parse().map_err(|_| NO_HTTP)?, Secret::new(body.to_owned())))
    }
}

type Outcome = std::result::Result<(u16, Secret), String>;

/// The address, on both loopback interfaces for localhost; no name is looked up.
fn loopback(host: &str) -> Option<Vec<SocketAddr>> {
    let parse = |ip| {
        let place = host.replacen("localhost", ip, 1);
        place.parse().or_else(|_| format!("{place}:80").parse()).ok()
    };
    let addresses = ["127.0.0.1", "[::1]"].map(parse).into_iter().collect::<Option<Vec<_>>>();
    addresses.filter(|all| all.iter().all(|address: &SocketAddr| address.ip().is_loopback()))
}

const ADDRESS: &str = "https://PROJECT.supabase.co or the like; http, which is not encrypted, may lead only to this machine";
const CONFIG: &str = include_str!("curl.txt");
const LIMIT: Duration = Duration::from_secs(10);
const MAX: usize = 1024 * 1024;
const NO_HTTP: &str = "no HTTP";

//! A running gateway, and a client that can also misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::time::Duration;

use super::bus::Bus;
use super::{Home, Outcome, Run, until};

pub struct Gateway {
    pub address: SocketAddr,
    child: Option<Child>,
    run: Run,
}

impl Gateway {
    /// Serves the home's keys on a free port.
    pub fn start(home: &Home) -> Gateway {
        Gateway::run(home.lf("gateway serve --keys-only --port 0"))
    }

    pub fn run(run: Run) -> Gateway {
        let mut child = run.spawn();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            panic!("{line:?} {}", run.finish(child));
        };
        let mut address: SocketAddr = address.parse().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip("127.0.0.1".parse().unwrap());
        }
        Gateway { address, child: Some(child), run }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes and returns everything until the gateway closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may well hang up before it has heard everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One request on a connection of its own.
    pub fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Client::new(self).ask(line, headers, body)
    }

    pub fn is_well(&self) -> bool {
        self.ask("GET /healthz", &[], "").status == 200
    }

    /// What /proc says of it: threads, descriptors, resident KiB.
    pub fn weight(&self) -> (usize, usize, usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        // Only root may look at the descriptors of a process that has hardened itself; whoever else
        // is told of its connections.
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let descriptors = descriptors.map_or_else(|_| self.connections(), Iterator::count);
        (number("Threads:"), descriptors, number("VmRSS:"))
    }

    /// Has it read all that was sent to it?
    pub fn has_read_all(&self) -> bool {
        let local = format!(":{:04X} ", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().filter_map(|row| row.split_once(&local));
        // Where the port is the peer's, the row is the client's.
        rows.all(|(before, rest)| {
            let queues = rest.split(' ').nth(2).unwrap();
            before.matches(':').count() > 1 || queues.ends_with(":00000000")
        })
    }

    /// Connections that the gateway's side has not closed yet: established, or waiting for that.
    fn connections(&self) -> usize {
        let local = format!(":{:04X}", self.address.port());
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
            .map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let rows = tables
            .iter()
            .flat_map(|table| table.lines().skip(1))
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1].ends_with(&local) && matches!(row[3], "01" | "08")).count()
    }

    /// Waits until there are no more descriptors than this.
    pub fn settles(&self, descriptors: usize) {
        until("descriptors going back", || self.weight().1 <= descriptors);
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        // wine makes Ctrl-C of SIGINT, and has nothing like SIGTERM.
        let is_wine = super::wine::template().is_some();
        let is_end = is_wine && signal == rustix::process::Signal::TERM;
        let signal = if is_end { rustix::process::Signal::INT } else { signal };
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn ends(self) -> Outcome {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        self.run.finish(self.child.take().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            super::end_traced(&mut child);
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn error(&self) -> &str {
        self.body
            .strip_prefix("{\"error\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"))
            .unwrap_or("")
    }

    /// Status and error code.
    pub fn told(&self) -> (u16, &str) {
        (self.status, self.error())
    }
}

/// A connection that is kept.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn new(gateway: &Gateway) -> Client {
        Client { stream: BufReader::new(gateway.connect()) }
    }

    pub fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let _ = self.stream.get_mut().write_all(format!("{text}\r\n{body}").as_bytes());
        self.answer(line.starts_with("HEAD"))
    }

    pub fn answer(&mut self, is_head: bool) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let version = words.next().unwrap_or_else(|| panic!("no answer")).to_owned();
        let status = words.next().unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, version, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if is_head { 0 } else { length }];
        self.stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }
}

/// What full mode needs beside a session: an identity, and its key in the keychain.
pub fn identify(home: &Home, bus: &Bus) {
    let state = home.path().join(".lenserfight/gateway");
    std::fs::create_dir_all(&state).unwrap();
    let identity = r#"{"public_key":"abc","signing_algo":"ed25519","lenser_id":"lenser-1"}"#;
    std::fs::write(state.join("identity.json"), identity).unwrap();
    let entry = ["service", "lenserfight-gateway", "account", "device:active"];
    bus.store(&entry, "private");
}

/// The `Authorization` header of a token.
pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Pairs a browser, and gives its token.
pub fn pair(home: &Home, arguments: &str) -> String {
    token(home.lf(&format!("gateway pair {arguments}")))
}

/// The token that this `lf gateway pair` prints.
pub fn token(pair: Run) -> String {
    pair.ok().out.lines().next().unwrap().to_owned()
}

//! A D-Bus client for method calls over a Unix socket, as much as the Secret Service needs.
//!
//! Source: the D-Bus specification, "Authentication Protocol" and "Server Addresses". Every call has
//! a deadline, and a message has at most 1 MiB: whatever the peer sends, the worst is an error
//! (tests/keychain.rs: `garbage_in_place_of_answers_is_an_error_and_nothing_worse`).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use zeroize::Zeroizing;

use super::wire::{
    self, Body, ERROR, FIELD_ERROR_NAME, FIELD_PATH, FIXED_HEADER, Failure, METHOD_RETURN, Message,
    Result, SIGNAL, Target,
};
use crate::base::time::Deadline;
use crate::system::{environment::Bus, stream::Stream};

/// A connection that has said hello.
pub(super) struct Connection {
    /// Its deadline is for everything; the owner of the connection may move it.
    pub(super) stream: Stream<UnixStream>,
    serial: u32,
    /// The paths of the last signals, newest first: one may arrive while something else is awaited.
    signals: Vec<String>,
}

impl Connection {
    /// Connects to the first of the bus's addresses that answers.
    pub(super) fn open(bus: &Bus, deadline: Deadline) -> Result<Connection> {
        let mut failure = Failure::Unreachable(match bus.address {
            Some(_) => "no session bus (DBUS_SESSION_BUS_ADDRESS names no Unix socket)".to_owned(),
            None => "no session bus (neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set)"
                .to_owned(),
        });
        for address in addresses(bus) {
            match Connection::connect(&address, deadline) {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn connect(address: &SocketAddrUnix, deadline: Deadline) -> Result<Connection> {
        let failed = |error| Failure::Unreachable(format!("cannot connect: {error}"));
        let stream = Stream { socket: connect(address).map_err(failed)?, deadline };
        let mut connection = Connection { stream, serial: 0, signals: Vec::new() };
        // SASL EXTERNAL without an identity of our own: the bus takes it from the socket.
        connection.stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        if connection.line()? != b"DATA\r\n" {
            return Err(Failure::Malformed("no DATA after AUTH EXTERNAL"));
        }
        connection.stream.write_all(b"DATA\r\n")?;
        if !connection.line()?.starts_with(b"OK ") {
            return Err(Failure::Malformed("the bus does not accept this user"));
        }
        connection.stream.write_all(b"BEGIN\r\n")?;
        connection.call(&BUS, "Hello", &Body::new(""))?;
        Ok(connection)
    }

    /// Calls a method and waits for its reply, which is read with [`Message::body`].
    pub(super) fn call(&mut self, target: &Target<'_>, name: &str, body: &Body) -> Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        self.stream.write_all(&wire::call(serial, target, name, body))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                METHOD_RETURN if message.reply_serial == serial => return Ok(message),
                ERROR if message.reply_serial == serial => {
                    return Err(Failure::named(message.text(FIELD_ERROR_NAME)));
                }
                _ => {}
            }
        }
    }

    /// Waits for a signal from this object, of which one kind is asked for.
    pub(super) fn wait_for(&mut self, path: &str) -> Result<()> {
        while !self.signals.iter().any(|signal| signal == path) {
            self.receive()?;
        }
        Ok(())
    }

    /// The next message; a signal is also put aside for who waits for it.
    fn receive(&mut self) -> Result<Message> {
        let mut header = [0; FIXED_HEADER];
        self.stream.read_exact(&mut header)?;
        // Of the final size from the start: growing it would leave a copy behind.
        let mut whole = Zeroizing::new(vec![0; wire::message_length(&header)?]);
        whole[..FIXED_HEADER].copy_from_slice(&header);
        self.stream.read_exact(&mut whole[FIXED_HEADER..])?;
        let message = Message::parse(whole)?;
        if message.kind == SIGNAL {
            self.signals.insert(0, message.text(FIELD_PATH).to_owned());
            self.signals.truncate(MAX_SIGNALS);
        }
        Ok(message)
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > MAX_LINE {
                return Err(Failure::Malformed("an endless line instead of an answer"));
            }
        }
        Ok(line)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::TimedOut => Failure::TimedOut,
            io::ErrorKind::UnexpectedEof => Failure::Broken("the connection was closed".to_owned()),
            _ => Failure::Broken(format!("the connection broke: {error}")),
        }
    }
}

/// The addresses that we can use, in order: Unix sockets by path or by abstract name.
fn addresses(bus: &Bus) -> Vec<SocketAddrUnix> {
    let default = || SocketAddrUnix::new(bus.runtime_dir.as_ref()?.join("bus")).ok();
    let address = |option: &str| match option.split_once('=')? {
        ("path", path) => SocketAddrUnix::new(unescape(path)?).ok(),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        ("abstract", name) => SocketAddrUnix::new_abstract_name(&unescape(name)?).ok(),
        ("runtime", _) => default(),
        _ => None,
    };
    let Some(list) = &bus.address else { return default().into_iter().collect() };
    let sockets = list.split(';').filter_map(|address| address.strip_prefix("unix:"));
    sockets.flat_map(|options| options.split(',')).filter_map(address).collect()
}

/// `%xx` stands for a byte.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        // `from_str_radix` alone would take a sign for a digit.
        let digits = part.get(..2).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    Some(bytes)
}

/// Connects without waiting: a Unix socket whose queue is full would block for as long as it likes.
fn connect(address: &SocketAddrUnix) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, address)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The bus itself.
pub(super) const BUS: Target<'_> = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
const MAX_LINE: usize = 1024;
const MAX_SIGNALS: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keychain::tests::said;
    use crate::keychain::wire::LOCKED;

    /// A connection to a peer that has sent these bytes already, and closed.
    fn connection(said: &[u8]) -> (Connection, UnixStream) {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(said).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        (Connection { stream: Stream { socket, deadline }, serial: 0, signals: Vec::new() }, peer)
    }

    /// A message without a body, in answer to this call, from this object.
    fn message(kind: u8, reply_serial: u32, name: (u8, &str)) -> Vec<u8> {
        said(kind, reply_serial, name, &Body::new(""))
    }

    #[test]
    fn a_reply_is_one_to_this_call_and_no_other_message_is() {
        let path = |kind, serial| message(kind, serial, (FIELD_PATH, "/a"));
        let error = |serial, name| message(ERROR, serial, (FIELD_ERROR_NAME, name));
        let noise = [path(SIGNAL, 1), path(1, 1), path(METHOD_RETURN, 9), error(9, "a.X")];
        for (last, found) in [
            (path(METHOD_RETURN, 1), Ok(())),
            (error(1, "a.IsLocked"), Err(LOCKED)),
            (error(1, "a.NoReply"), Err("it ended before it answered")),
            (Vec::new(), Err("the connection was closed")),
        ] {
            let said = [noise.concat(), last].concat();
            let (mut connection, _peer) = connection(&said);
            let reply = connection.call(&BUS, "Hello", &Body::new(""));
            let reply = reply.map_err(|failure| failure.to_string());
            match reply {
                Ok(reply) => assert_eq!((Ok(()), reply.reply_serial), (found, 1)),
                Err(sentence) => assert_eq!(Err(&*sentence), found),
            }
            assert!(connection.wait_for("/a").is_ok(), "the signal came before the answer");
            assert!(connection.wait_for("/b").is_err());
        }
    }

    #[test]
    fn the_last_signals_are_kept() {
        let signals =
            (0..=MAX_SIGNALS).map(|at| message(SIGNAL, 0, (FIELD_PATH, &format!("/{at}"))));
        let (mut connection, _peer) = connection(&signals.collect::<Vec<_>>().concat());
        for _ in 0..=MAX_SIGNALS {
            connection.receive().unwrap();
        }
        assert_eq!(connection.signals.len(), MAX_SIGNALS);
        assert!(connection.wait_for(&format!("/{MAX_SIGNALS}")).is_ok());
        assert!(connection.wait_for("/0").is_err(), "the oldest");
    }

    #[test]
    fn lines_end_and_time_runs_out() {
        let (mut two, _peer) = connection(b"DATA\r\nOK \r\n");
        assert_eq!(two.line().unwrap(), b"DATA\r\n");
        assert_eq!(two.line().unwrap(), b"OK \r\n");
        assert_eq!(two.line().unwrap_err().to_string(), "the connection was closed");
        for (length, is_endless) in [(MAX_LINE, false), (MAX_LINE + 1, true)] {
            let line = format!("{}\r\n", "x".repeat(length - 2));
            let (mut long, _peer) = connection(line.as_bytes());
            assert_eq!(long.line().is_err(), is_endless, "{length}");
        }
        let (mut late, _peer) = connection(b"DATA\r\n");
        late.stream.deadline = Deadline::after(Duration::ZERO);
        assert!(matches!(late.line(), Err(Failure::TimedOut)));
        assert!(matches!(
            late.stream.write_all(b"x").map_err(Failure::from),
            Err(Failure::TimedOut)
        ));
        let (socket, _silent) = UnixStream::pair().unwrap();
        let deadline = Deadline::after(Duration::from_millis(20));
        let stream = Stream { socket, deadline };
        let mut silent = Connection { stream, serial: 0, signals: Vec::new() };
        assert!(matches!(silent.line(), Err(Failure::TimedOut)));
        let broken = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(broken.to_string(), "the connection broke: broken pipe");
    }

    #[test]
    fn addresses_are_taken_in_their_order() {
        let list = |address: &str| {
            addresses(&Bus {
                address: Some(address.to_owned()),
                runtime_dir: Some("/run/user/0".into()),
            })
        };
        let path = |path: &str| SocketAddrUnix::new(path).unwrap();
        let name = SocketAddrUnix::new_abstract_name(b"c").unwrap();
        assert_eq!(
            list("unix:path=/a%20b,guid=0;tcp:host=x;unix:abstract=c"),
            [path("/a b"), name]
        );
        assert_eq!(list("unix:runtime=yes"), [path("/run/user/0/bus")]);
        for escape in ["%2", "%+1", "%-1", "% 1", "%é", "%"] {
            assert_eq!(list(&format!("unix:path=/a{escape}")), [], "{escape}");
        }
        assert_eq!(list("unix:path=/a%zz;unix:guid=0;;unix:;x"), []);
        assert_eq!(
            addresses(&Bus { address: None, runtime_dir: Some("/r".into()) }),
            [path("/r/bus")]
        );
        assert_eq!(addresses(&Bus::default()), []);
    }
}

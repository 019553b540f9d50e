//! Tells a service manager how this process does (`sd_notify(3)`).

use std::ffi::OsStr;
#[cfg(windows)]
use std::net::UdpSocket as UnixDatagram;
#[cfg(unix)]
use std::os::unix::net::UnixDatagram;

/// Who started this process and waits for news; often nobody.
pub(crate) struct Manager(Option<UnixDatagram>);

impl Manager {
    /// The one at this address: a path, or an abstract name behind an `@`. Connected to at once, because
    /// a sandbox may come between.
    pub(crate) fn at(address: Option<&OsStr>) -> Manager {
        Manager(address.and_then(open))
    }

    /// Tells it, if it is there; serving does not depend on that.
    pub(crate) fn tell(&self, news: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(news.as_bytes());
        }
    }
}

#[cfg(unix)]
fn open(address: &OsStr) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    connect(&socket, address).ok()?;
    // Never to wait for somebody who does not listen.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Windows has no such manager.
#[cfg(windows)]
fn open(_: &OsStr) -> Option<UnixDatagram> {
    None
}

#[cfg(unix)]
fn connect(socket: &UnixDatagram, address: &OsStr) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.connect_addr(&address);
    }
    socket.connect(address)
}

//! The gateway: it listens, asks the guard about each request, answers with the API, and ends in order.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::UnixStream as End;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::Duration;

use super::{api::Api, connections::Connections, connections::PLACES, connections::Place};
use super::{connections::Serve, consent::Permit, guard::Caller, guard::Guard, guard::Told};
use super::{guard::with_cors, http::Connection, http::Failure, http::Reply, http::Request, probe};
use crate::base::{Deadline, Timestamp, lock::lock, pool, time::monotonic};
use crate::error::{Error, Result, refusal};
#[cfg(windows)]
use crate::system::kernel::signal::{End, is_asked_to_end};
use crate::vault::{Kind, audit::Event, audit::Flood, files};

/// A gateway, ready to serve.
pub(crate) struct Gateway {
    guard: Guard,
    api: Api,
    /// The consent by which it listens beyond loopback, if it does.
    permit: Option<Permit>,
    flood: Mutex<Flood>,
    /// Has the warning about a file that is out of reach been given?
    unreachable: Once,
    /// Prints a warning.
    warn: fn(&str),
}

/// Opens a listener on each address; they do not accept connections yet. Port 0 stands for one that is
/// free on all of them.
pub(crate) fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for mut address in addresses.iter().copied() {
        let is_any = address.port() == 0 && !listeners.is_empty();
        if is_any {
            address.set_port(listeners[0].local_addr().map_err(unusable)?.port());
        }
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            // The first one keeps its port meanwhile, so that it gets another one.
            Err(error) if is_any && error.kind() == ErrorKind::AddrInUse => {
                return listen(addresses);
            }
            Err(error) => {
                let user =
                    probe::listener(address).map(|user| format!("user {user} listens there"));
                let error = user.map_or(error, |user| io::Error::new(ErrorKind::AddrInUse, user));
                return Err(Error::Listen(address.to_string(), error));
            }
        }
    }
    Ok(listeners)
}

/// Can this machine listen on this address? Some have no IPv6.
pub(crate) fn is_own(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}

/// The error of a listener that has been opened.
pub(crate) fn unusable(source: io::Error) -> Error {
    Error::Listen("that socket".to_owned(), source)
}

impl Gateway {
    /// A gateway of these parts.
    pub(crate) fn new(guard: Guard, api: Api, permit: Option<Permit>, warn: fn(&str)) -> Gateway {
        Gateway { guard, api, permit, flood: Mutex::default(), unreachable: Once::new(), warn }
    }

    /// Serves until there is something to read at `end`, or until no connection was open for `idle`; calls
    /// `on_ending`, and finishes what has begun. An error is a listener that cannot be watched, or a
    /// consent that was withdrawn.
    pub(crate) fn serve(
        self,
        listeners: Vec<TcpListener>,
        end: &End,
        idle: Option<Duration>,
        on_ending: impl FnOnce(),
    ) -> Result<()> {
        let (gateway, connections) = (Arc::new(self), Arc::new(Connections::default()));
        let doors = listeners.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            // Its connections inherit that: answers that nobody takes fill no megabytes of the kernel's.
            #[cfg(unix)]
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER);
            let at = listener.local_addr()?.ip();
            let most = if at.is_loopback() { PLACES } else { PLACES / 2 };
            let (gateway, connections) = (Arc::clone(&gateway), Arc::clone(&connections));
            let serve: Serve =
                Arc::new(move |place| gateway.serve_connection(&connections, place, at));
            Ok((listener, most, serve))
        });
        let doors: Vec<Door> = doors.collect::<io::Result<_>>().map_err(unusable)?;
        let accept = |(listener, most, serve): &Door| -> io::Result<()> {
            let (stream, peer) = listener.accept()?;
            // On Windows a thread waits before it reads or writes.
            if stream.set_nonblocking(cfg!(windows)).is_ok() {
                connections.admit(stream, canonical(peer.ip()), *most, serve);
            }
            Ok(())
        };
        let interval = idle.unwrap_or(TICK).min(TICK);
        let (mut tick, mut last_used) = (Deadline::after(interval), monotonic());
        let ended = loop {
            if is_over(&doors, end, tick) {
                break Ok(());
            }
            // One that cannot be read now is no reason to end.
            if let Err(error @ Error::ConsentMissing(_)) = gateway.check_permit() {
                break Err(error);
            }
            for door in &doors {
                match accept(door) {
                    Ok(()) => last_used = monotonic(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // No descriptor is free, or the peer has gone: neither is a reason to end.
                    Err(_) => thread::sleep(BACK_OFF),
                }
            }
            if tick.left().is_none() {
                let now = monotonic();
                gateway.settle(Some(now));
                tick = Deadline::after(interval);
                if !connections.is_empty() {
                    last_used = now;
                }
                if idle.is_some_and(|idle| now - last_used >= idle) {
                    break Ok(());
                }
            }
        };
        on_ending();
        // Connections that are in the accept queues already are still served.
        for door in &doors {
            let _ = (0..PLACES).try_for_each(|_| accept(door));
        }
        // New ones are refused at once, and need not wait for the others.
        drop(doors);
        connections.end(Deadline::after(FAREWELL));
        gateway.settle(None);
        ended
    }

    /// Looked at for every request, as a token is.
    /// (tests/consent.rs: `a_consent_that_is_withdrawn_ends_the_gateway`)
    fn check_permit(&self) -> Result<()> {
        self.permit.as_ref().map_or(Ok(()), Permit::check)
    }

    /// One connection, which came to the listener on this address, from its first request to its last.
    fn serve_connection(&self, connections: &Connections, place: &Place, at: IpAddr) {
        let mut connection = Connection::new(place, at);
        loop {
            place.silent();
            if connections.is_ending() {
                place.read_no_more();
            }
            let (reply, body, request) = match connection.request() {
                Err(Failure::Gone) => return,
                Err(Failure::Refused(reply)) => (reply, Rest::Broken, None),
                Ok(mut request) => {
                    let (reply, body) =
                        or_internal_error(|| self.respond(&mut connection, &request, place));
                    let is_kept = match body {
                        Rest::Read => true,
                        // After an ambiguous request the connection is closed.
                        Rest::Unread => request.can_be_skipped() && reply.status != 400,
                        Rest::Broken => false,
                    };
                    if !is_kept || connections.is_ending() {
                        request.keeps_alive = false;
                    }
                    (reply, body, Some(request))
                }
            };
            self.warn_if_unreachable(&reply);
            if connection.answer(&reply, request.as_ref()).is_err() {
                return;
            }
            let Some(request) = request.filter(|request| request.keeps_alive) else {
                place.silent();
                return connection.linger();
            };
            if body == Rest::Unread && connection.body(&request).is_err() {
                return;
            }
        }
    }

    /// The guard first, then the body, then the API.
    fn respond(
        &self,
        connection: &mut Connection<'_>,
        request: &Request,
        place: &Place,
    ) -> (Reply, Rest) {
        if self.check_permit().is_err() {
            return (Reply::error(Error::ConsentMissing(String::new()).info()), Rest::Broken);
        }
        let now = Timestamp::now();
        let mut caller = Caller::default();
        // Who waits for the keychain is not sending, and is not closed for another.
        // (tests/limits.rs: `who_waits_for_the_keychain_is_not_closed_for_another`)
        let admitted =
            connection.off_the_clock(|| self.guard.admit(request, now, monotonic(), &mut caller));
        if caller.pairing.is_some() {
            place.recognised();
        }
        let ((reply, event), rest) = match admitted {
            Err(answer) => (answer, Rest::Unread),
            Ok(route) => match connection.body(request) {
                Ok(bytes) => {
                    let pairing = caller.pairing.as_deref();
                    let answer = || self.api.answer(&route, pairing, (request, &bytes), now);
                    let party = pairing.map(|pairing| pairing.name.as_str().into());
                    (pool::on_behalf_of(party, answer), Rest::Read)
                }
                Err(Failure::Refused(reply)) => ((reply, None), Rest::Broken),
                Err(Failure::Gone) => ((Reply::error(&refusal::BAD_REQUEST), None), Rest::Broken),
            },
        };
        let reply = match event.map(|event| self.tell(event, request, &caller)) {
            Some(Err(error)) => Reply::error(error.info()),
            Some(Ok(())) | None => reply,
        };
        (with_cors(reply, caller.origin.as_deref()), rest)
    }

    /// The sandbox allows the directories that were there at the start. If they were replaced since, warns
    /// once that their files cannot be read any more.
    fn warn_if_unreachable(&self, reply: &Reply) {
        if reply.status == 500 && reply.body == UNREACHABLE {
            self.unreachable.call_once(|| {
                (self.warn)(
                    "the system refuses a file to this gateway (permission_error); if you moved or replaced a directory since the start, restart the gateway",
                );
            });
        }
    }

    /// Writes down what was done or refused; what nothing limits is thinned out. After an error the
    /// answer must not go out: no value leaves without its line.
    /// (tests/limits.rs: `a_value_that_cannot_be_audited_is_not_resolved`)
    fn tell(&self, (kind, key, reason): Told, request: &Request, caller: &Caller) -> Result<()> {
        let (mut context, mut count) = (caller.context(), None);
        if matches!(kind, Kind::List | Kind::AuthFailure | Kind::RateLimited) {
            let flow = (kind, reason, caller.paired());
            let Some(admitted) = lock(&self.flood).admit(flow, monotonic()) else { return Ok(()) };
            count = (admitted > 1 || kind != Kind::List).then(|| admitted.to_string());
        }
        context.extend(count.as_deref().map(|count| ("count", count)));
        let origin = request.header("origin").ok().flatten();
        let foreign = origin.filter(|origin| !origin.is_empty() && caller.origin.is_none());
        let foreign = foreign.map(|origin| origin.chars().take(MAX_ORIGIN).collect::<String>());
        context.extend(foreign.as_deref().map(|origin| ("origin", origin)));
        if reason.is_none() && matches!(kind, Kind::Add | Kind::Update | Kind::Remove) {
            files::tighten(self.api.store.path()).iter().for_each(|it| (self.warn)(it));
        }
        let told = self.log(&Event { kind, key: key.as_ref(), reason, context: &context });
        if kind == Kind::Resolve && reason.is_none() { told } else { Ok(()) }
    }

    /// A line that could not be written is warned of here.
    fn log(&self, event: &Event<'_>) -> Result<()> {
        self.api.store.audit(event, Timestamp::now()).inspect_err(|error| {
            (self.warn)(&format!("the gateway could not write an event to the audit log: {error}"));
        })
    }

    /// Now and then, and at the end: writes down the counts that are in no line yet, and times of last use.
    fn settle(&self, now: Option<std::time::Instant>) {
        let over = lock(&self.flood).settle(now);
        for ((kind, reason, paired), count) in over {
            let count = count.to_string();
            let paired =
                paired.iter().flat_map(|(name, route)| [("route", *route), ("pairing", name)]);
            let context: Vec<_> = paired.chain([("count", count.as_str())]).collect();
            let _ = self.log(&Event { kind, key: None, reason, context: &context });
        }
        self.guard.recogniser.save();
    }
}

/// What has become of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Read,
    Unread,
    Broken,
}

/// A panic becomes a 500 for the request that caused it; other requests go on.
fn or_internal_error(work: impl FnOnce() -> (Reply, Rest)) -> (Reply, Rest) {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| (Reply::error(&refusal::INTERNAL_ERROR), Rest::Broken))
}

/// The address that a peer's places are counted for. An IPv4 peer of a dual-stack listener is that IPv4 peer.
fn canonical(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        // One host has all of a /64 to come from.
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// Waits for a connection, the end or the tick; is it the end?
#[cfg(unix)]
fn is_over(doors: &[Door], end: &End, tick: Deadline) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut events = vec![PollFd::new(end, PollFlags::IN)];
    events.extend(doors.iter().map(|(listener, ..)| PollFd::new(listener, PollFlags::IN)));
    let tick = Timespec::try_from(tick.left().unwrap_or_default()).ok();
    poll(&mut events, tick.as_ref()).is_ok() && !events[0].revents().is_empty()
}

/// Waits for a connection or the tick, but only for a moment; is it the end?
#[cfg(windows)]
fn is_over(doors: &[Door], _: &End, tick: Deadline) -> bool {
    use crate::system::kernel::winsock::{Timeout, wait};
    use std::os::windows::io::AsSocket;
    let doors: Vec<_> = doors.iter().map(|(listener, ..)| listener.as_socket()).collect();
    let _ = wait(&doors, Timeout::Recv, tick.left().unwrap_or_default());
    is_asked_to_end()
}

/// A listener, the places that one of its peers may have, and what serves those who come.
type Door = (TcpListener, usize, Serve);

/// How often counts and times of last use are written down.
const TICK: Duration = Duration::from_secs(15);
const BACK_OFF: Duration = Duration::from_millis(50);
/// Bytes; more than the largest answer.
#[cfg(unix)]
const SEND_BUFFER: usize = 256 * 1024;
/// A request has ten seconds, its answer too, and a key derivation may wait for its turn.
const FAREWELL: Duration = Duration::from_secs(25);
const MAX_ORIGIN: usize = 100;
/// The answer for [`Error::Permission`].
const UNREACHABLE: &str = r#"{"error":"permission_error"}"#;

#[cfg(test)]
mod tests;

//! The gateway: listens, lets the guard judge, has the API answer, and ends in order.

use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::api::{Answer, Api, Body};
use super::connections::{Connections, PLACES, PeerLimit, Serve};
use super::consent::{Permit, Standing};
use super::guard::{Denial, Guard, Verdict, with_cors};
use super::http::{After, Connection, Failure, Reply, Request};
use crate::base::time::{Deadline, Timestamp, monotonic};
use crate::error::{Error, Result, refusal};
use crate::vault::audit::{Event, Flood, Kind};
use crate::vault::key::KeyId;

/// A gateway, ready to serve.
pub struct Gateway {
    guard: Guard,
    api: Api,
    /// By what it listens beyond loopback, if it needs that.
    permit: Option<Permit>,
    flood: Mutex<Flood>,
    /// Has it been said that something is out of reach?
    has_wondered: AtomicBool,
    /// Says something that a person should know.
    warn: fn(&str),
}

/// How long a gateway serves.
pub struct Lifetime<'a> {
    /// Until there is something to read here.
    pub end: &'a UnixStream,
    /// Or until nobody has been connected for so long.
    pub idle: Option<Duration>,
    /// Hears that the end has begun.
    pub on_ending: &'a dyn Fn(),
}

/// Takes an address; nobody is answered yet.
///
/// # Errors
/// [`Error::Listen`].
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|source| Error::Listen {
        address: address.to_string(),
        source,
    })
}

impl Gateway {
    /// A gateway of these parts.
    #[must_use]
    pub fn new(guard: Guard, api: Api, permit: Option<Permit>, warn: fn(&str)) -> Gateway {
        Gateway {
            guard,
            api,
            permit,
            flood: Mutex::new(Flood::default()),
            has_wondered: AtomicBool::new(false),
            warn,
        }
    }

    /// Serves for its lifetime; then finishes what has begun.
    ///
    /// # Errors
    /// [`Error::Listen`] for a listener that cannot be watched; [`Error::ConsentMissing`] if it ends
    /// because what permits it was withdrawn.
    pub fn serve(self, listener: TcpListener, lifetime: &Lifetime<'_>) -> Result<()> {
        listener
            .set_nonblocking(true)
            .map_err(|source| Error::Listen {
                address: "that socket".to_owned(),
                source,
            })?;
        let limit = match listener.local_addr() {
            Ok(address) if address.ip().is_loopback() => PeerLimit::None,
            _ => PeerLimit::Half,
        };
        let (gateway, connections) = (Arc::new(self), Arc::new(Connections::default()));
        let (of_gateway, of_connections) = (Arc::clone(&gateway), Arc::clone(&connections));
        let serve: Serve =
            Arc::new(move |id, stream| of_gateway.converse(&of_connections, id, stream));
        let welcome = |(stream, peer): (TcpStream, SocketAddr)| {
            let is_ready = stream.set_nonblocking(false).is_ok();
            if is_ready {
                connections.admit(stream, canonical(peer.ip()), limit, &serve);
            }
            is_ready
        };
        let beat = lifetime.idle.unwrap_or(TICK).min(TICK);
        let (mut tick, mut last) = (Deadline::after(beat), monotonic());
        let mut is_permitted = true;
        while !is_over(&listener, lifetime.end, tick) {
            is_permitted = gateway.standing() != Standing::Withdrawn;
            if !is_permitted {
                break;
            }
            match listener.accept() {
                Ok(accepted) => {
                    if welcome(accepted) {
                        last = monotonic();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // Out of descriptors, or a peer that is gone again: never a reason to end.
                Err(_) => thread::sleep(BACK_OFF),
            }
            if tick.left().is_none() {
                let now = monotonic();
                gateway.settle(Some(now));
                tick = Deadline::after(beat);
                if !connections.is_empty() {
                    last = now;
                }
                if lifetime.idle.is_some_and(|idle| now - last >= idle) {
                    break;
                }
            }
        }
        (lifetime.on_ending)();
        // Who stands at the door already is heard.
        for accepted in std::iter::from_fn(|| listener.accept().ok()).take(PLACES) {
            welcome(accepted);
        }
        // Who comes now is refused at once, and need not wait for the others.
        drop(listener);
        connections.end(Deadline::after(FAREWELL));
        gateway.settle(None);
        if is_permitted {
            return Ok(());
        }
        let sentence = "the consent to Tailscale was withdrawn, so this gateway has ended";
        Err(Error::ConsentMissing(sentence.to_owned()))
    }

    /// May it be reached as it is? Looked at for every request, as a token is.
    /// (tests/consent.rs: `a_consent_that_is_withdrawn_ends_the_gateway`)
    fn standing(&self) -> Standing {
        let permit = self.permit.as_ref();
        permit.map_or(Standing::Good, Permit::standing)
    }

    /// One connection, from its first request to its last.
    fn converse(&self, connections: &Connections, id: u64, stream: &TcpStream) {
        let mut connection = Connection::new(stream);
        loop {
            if !connections.silent(id) {
                // What has come is still taken; nothing is waited for.
                let _ = stream.shutdown(Shutdown::Read);
            }
            let mut request = match connection.request(|| connections.begun(id)) {
                Ok(request) => request,
                Err(Failure::Gone) => return,
                Err(Failure::Refused(reply)) => {
                    if connection.answer(&reply, None).is_ok() {
                        connection.linger();
                    }
                    return;
                }
            };
            let (reply, body) =
                survive(|| self.respond(&mut connection, &request, || connections.received(id)));
            let is_kept = match body {
                Rest::Read => true,
                Rest::Unread => request.can_be_skipped(),
                Rest::Broken => false,
            };
            self.wonder(&reply);
            // What is ambiguous ends the connection; so does the end of the gateway.
            let is_ambiguous = body == Rest::Unread && reply.status == 400;
            if !is_kept || is_ambiguous || connections.is_ending() {
                request.end_here();
            }
            match connection.answer(&reply, Some(&request)) {
                Ok(After::Next) if body == Rest::Unread && connection.body(&request).is_err() => {
                    return;
                }
                Ok(After::Next) => {}
                Ok(After::Close) => {
                    connections.silent(id);
                    return connection.linger();
                }
                Err(_) => return,
            }
        }
    }

    /// The guard first, then the body, then the API.
    fn respond(
        &self,
        connection: &mut Connection<'_>,
        request: &Request,
        received: impl FnOnce(),
    ) -> (Reply, Rest) {
        if self.standing() != Standing::Good {
            return (
                Reply::error(Error::ConsentMissing(String::new()).facts()),
                Rest::Broken,
            );
        }
        let now = Timestamp::now();
        let verdict = connection.off_the_clock(|| self.guard.judge(request, now, monotonic()));
        let origin = verdict.origin.as_deref();
        let route = match &verdict.outcome {
            Ok(route) => route,
            Err(denial) => {
                self.log_denial(request, &verdict, denial);
                return (with_cors(denial.reply.clone(), origin), Rest::Unread);
            }
        };
        let bytes = match connection.body(request) {
            Ok(bytes) => {
                received();
                bytes
            }
            Err(Failure::Refused(reply)) => return (with_cors(reply, origin), Rest::Broken),
            Err(Failure::Gone) => return (Reply::error(&refusal::BAD_REQUEST), Rest::Broken),
        };
        let content_type = request.header("content-type").ok().flatten();
        let Answer { reply, event } = self.api.answer(
            route,
            &Body {
                content_type,
                bytes: &bytes,
            },
            now,
        );
        if let Some((kind, key, reason)) = event {
            self.log(kind, key.as_ref(), reason, &context(&verdict));
        }
        (with_cors(reply, origin), Rest::Read)
    }

    /// The sandbox is made for the directories of the start. Whoever puts others in their place hears
    /// once why nothing is answered any more.
    fn wonder(&self, reply: &Reply) {
        let is_barred = reply.status == 500 && reply.body == BARRED;
        if is_barred && !self.has_wondered.swap(true, Ordering::Relaxed) {
            (self.warn)(
                "the system keeps a file from this gateway (permission_error); if a directory was moved or made anew since its start, restart it",
            );
        }
    }

    fn log_denial(&self, request: &Request, verdict: &Verdict, denial: &Denial) {
        let Some((kind, reason)) = denial.event else {
            return;
        };
        let count = self
            .flood
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(kind, reason, monotonic());
        if let Some(count) = count {
            let count = count.to_string();
            let stranger = verdict
                .origin
                .is_none()
                .then(|| request.header("origin").ok().flatten())
                .flatten();
            let stranger: String = stranger
                .unwrap_or_default()
                .chars()
                .take(MAX_ORIGIN)
                .collect();
            let mut context = context(verdict);
            context.push(("count", &count));
            if !stranger.is_empty() {
                context.push(("origin", &stranger));
            }
            self.log(kind, None, Some(reason), &context);
        }
    }

    fn log(&self, kind: Kind, key: Option<&KeyId>, reason: Option<&str>, context: &[(&str, &str)]) {
        let event = Event {
            kind,
            key,
            reason,
            context,
        };
        let written = self.api.store.audit(&event, Timestamp::now());
        if let Err(error) = written {
            (self.warn)(&format!(
                "an event was not written to the audit log: {error}"
            ));
        }
    }

    /// Now and then, and at the end: counts that no line has told, and times of last use.
    fn settle(&self, now: Option<std::time::Instant>) {
        let over = self
            .flood
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .settle(now);
        for (kind, reason, count) in over {
            self.log(kind, None, Some(reason), &[("count", &count.to_string())]);
        }
        self.guard.save_last_used();
    }
}

/// What has become of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Read,
    Unread,
    Broken,
}

/// A panic costs the request that caused it an answer, and nobody else anything.
fn survive(work: impl FnOnce() -> (Reply, Rest)) -> (Reply, Rest) {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| (Reply::error(&refusal::INTERNAL_ERROR), Rest::Broken))
}

fn context(verdict: &Verdict) -> Vec<(&str, &str)> {
    let route = Some(("route", verdict.route));
    let origin = verdict.origin.as_deref().map(|origin| ("origin", origin));
    let pairing = verdict
        .pairing
        .as_deref()
        .map(|pairing| ("pairing", pairing));
    [route, origin, pairing].into_iter().flatten().collect()
}

/// Who a peer is, as far as places go. An IPv4 peer of a dual-stack listener is that IPv4 peer.
fn canonical(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        // One host has all of a /64 to come from.
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// Waits for a connection or the end; now and then for neither.
fn is_over(listener: &TcpListener, end: &UnixStream, tick: Deadline) -> bool {
    let mut events = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(end, PollFlags::IN),
    ];
    let left = tick.left().unwrap_or_default();
    let tick = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut events, Some(&tick)) {
        Ok(_) => !events[1].revents().is_empty(),
        Err(_) => false,
    }
}

/// How often counts and times of last use are written down.
const TICK: Duration = Duration::from_secs(15);
const BACK_OFF: Duration = Duration::from_millis(50);
/// A request has ten seconds, its answer too, and a key derivation may wait for its turn.
const FAREWELL: Duration = Duration::from_secs(25);
const MAX_ORIGIN: usize = 100;
/// The answer for [`Error::Permission`].
const BARRED: &str = r#"{"error":"permission_error"}"#;

#[cfg(test)]
mod tests;

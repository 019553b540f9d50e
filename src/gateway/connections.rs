//! The connections that are open, and the threads that serve them: one each, reused when idle.
//!
//! There are 64 places, and connections that wait for their peer have at most 56 of them: those that are
//! silent, that send a request, or that have an answer under way. The other 8 are for requests that are
//! being served. Where too many wait, a new connection closes another one, the one that has waited longest
//! of the first of these:
//! 1. silent for a second: a browser's spare socket matters less than a request;
//! 2. sending a request, or not taking its answer: both take a moment;
//! 3. silent, and just connected;
//! 4. waiting in fact for a thread of ours, with a request that nobody has begun to read.
//!
//! One that has shown a good token is closed after all that have not. One whose request is being served,
//! or waits for the keychain or for its turn, is never closed for another. On a wide bind no single peer
//! has more than half of the places. (tests/gateway_load.rs: `sockets_that_are_renewed_lock_nobody_out`,
//! `clients_that_never_read_lock_nobody_out`)

use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::{Deadline, lock::lock, time::monotonic};

/// The table of open connections and the queue for threads.
#[derive(Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    changed: Condvar,
    is_ending: AtomicBool,
}

/// What a thread does with a connection.
pub(crate) type Serve = Arc<dyn Fn(&Place) + Send + Sync>;

#[derive(Default)]
struct Table {
    open: Vec<Arc<Place>>,
    queue: VecDeque<(Arc<Place>, Serve)>,
    threads: usize,
    idle_threads: usize,
}

/// One connection, and how far it has come.
pub(crate) struct Place {
    /// The connection itself.
    pub(crate) stream: TcpStream,
    peer: IpAddr,
    state: Mutex<State>,
    has_token: AtomicBool,
    #[cfg(windows)]
    is_closing: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a request has come.
    Silent(Instant),
    /// The peer sends a request, or has an answer to take.
    Waiting(Instant),
    /// A request is being served.
    Serving,
}

impl Place {
    fn new(stream: TcpStream, peer: IpAddr) -> Place {
        let state = Mutex::new(State::Silent(monotonic()));
        Place {
            stream,
            peer,
            state,
            has_token: AtomicBool::new(false),
            #[cfg(windows)]
            is_closing: AtomicBool::new(false),
        }
    }

    /// Waits so long for something to read, or for the end of what there is.
    #[cfg(unix)]
    pub(crate) fn has_input(&self, span: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut events = [PollFd::new(&self.stream, PollFlags::IN)];
        let span = Timespec::try_from(span).ok();
        while poll(&mut events, span.as_ref()) == Err(rustix::io::Errno::INTR) {}
        !events[0].revents().is_empty()
    }

    /// The same, but for an end that [`Place::read_no_more`] makes.
    #[cfg(windows)]
    pub(crate) fn has_input(&self, span: Duration) -> bool {
        use crate::system::kernel::winsock::{Timeout, wait};
        use std::os::windows::io::AsSocket;
        let deadline = Deadline::after(span);
        loop {
            // What has come before it was closing is seen once more after that.
            let is_last = self.is_closing.load(Ordering::SeqCst) || deadline.left().is_none();
            let span = if is_last { Duration::ZERO } else { span };
            match wait(&[self.stream.as_socket()], Timeout::Recv, span) {
                Ok(false) if !is_last => {}
                found => return found.unwrap_or(false),
            }
        }
    }

    /// Bytes that have arrived are still read, but none are waited for.
    pub(crate) fn read_no_more(&self) {
        #[cfg(unix)]
        let _ = self.stream.shutdown(Shutdown::Read);
        // A shutdown throws away what has arrived there, and wakes nobody.
        #[cfg(windows)]
        self.is_closing.store(true, Ordering::SeqCst);
    }

    fn has_bytes(&self) -> bool {
        #[cfg(unix)]
        return rustix::io::ioctl_fionread(&self.stream).is_ok_and(|count| count > 0);
        #[cfg(windows)]
        return self.stream.peek(&mut [0]).is_ok_and(|count| count > 0);
    }

    /// The peer has begun a request, has more of it to send, or has an answer to take.
    pub(crate) fn waiting(&self) {
        *lock(&self.state) = State::Waiting(monotonic());
    }

    /// What was to come has come, and is worked on.
    pub(crate) fn serving(&self) {
        *lock(&self.state) = State::Serving;
    }

    /// A good token was shown.
    pub(crate) fn recognised(&self) {
        self.has_token.store(true, Ordering::Relaxed);
    }

    /// The answer is out, and the next request is waited for.
    pub(crate) fn silent(&self) {
        let mut state = lock(&self.state);
        // It has been silent since it was opened, whenever its thread reads from it.
        if !matches!(*state, State::Silent(_)) {
            *state = State::Silent(monotonic());
        }
    }

    /// The less, the sooner it is closed; `None` for never.
    fn worth(&self, now: Instant) -> Option<(bool, u8, Instant)> {
        let (class, since) = match *lock(&self.state) {
            // What it has sent waits for a thread of ours.
            State::Silent(since) if self.has_bytes() => (4, since),
            State::Silent(since) if now.duration_since(since) >= PATIENCE => (1, since),
            State::Waiting(since) => (2, since),
            State::Silent(since) => (3, since),
            State::Serving => return None,
        };
        Some((self.has_token.load(Ordering::Relaxed), class, since))
    }
}

impl Connections {
    /// Takes a new connection in and finds a thread for it, which runs `serve`. One that there is no
    /// place for is closed. A peer has at most `most` places.
    pub(crate) fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        most: usize,
        serve: &Serve,
    ) {
        let mut table = lock(&self.table);
        if !table.make_room(peer, most) {
            return;
        }
        let place = Arc::new(Place::new(stream, peer));
        table.open.push(Arc::clone(&place));
        table.queue.push_back((place, Arc::clone(serve)));
        if table.queue.len() <= table.idle_threads {
            self.changed.notify_all();
            return;
        }
        // There are more threads than places, so some threads serve connections that were closed, and
        // take this one next.
        if table.threads == THREADS {
            return;
        }
        table.threads += 1;
        let connections = Arc::clone(self);
        let started = thread::Builder::new().stack_size(STACK).spawn(move || connections.work());
        if started.is_err() {
            table.threads -= 1;
            if table.threads == 0 {
                // No thread is there that could ever serve it.
                table.queue.clear();
                table.open.clear();
            }
        }
    }

    /// Is no connection open?
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.table).open.is_empty()
    }

    /// Is the gateway ending?
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    /// Waits until the requests that have begun are answered, at most until `deadline`; silent connections
    /// are closed.
    pub(crate) fn end(&self, deadline: Deadline) {
        let table = lock(&self.table);
        // Before the states are looked at: one that becomes silent afterwards sees it.
        self.is_ending.store(true, Ordering::SeqCst);
        for place in &table.open {
            if matches!(*lock(&place.state), State::Silent(_)) {
                // Only for reading: a request that has come, and that no thread has seen yet, is answered.
                place.read_no_more();
            }
        }
        self.changed.notify_all();
        let most = deadline.left().unwrap_or_default();
        let is_open = |table: &mut Table| !table.open.is_empty();
        drop(self.changed.wait_timeout_while(table, most, is_open));
    }

    /// What a thread does: it serves connections, one after the other, until there is none for a while.
    fn work(&self) {
        let mut table = lock(&self.table);
        loop {
            table.idle_threads += 1;
            let is_idle = |table: &mut Table| table.queue.is_empty() && !self.is_ending();
            let woken = self.changed.wait_timeout_while(table, IDLE, is_idle);
            table = woken.unwrap_or_else(PoisonError::into_inner).0;
            table.idle_threads -= 1;
            let Some((place, serve)) = table.queue.pop_front() else { break };
            drop(table);
            // A panic that got as far as here costs its connection, and neither the place nor the
            // thread.
            let _ = catch_unwind(AssertUnwindSafe(|| serve(&place)));
            table = lock(&self.table);
            table.open.retain(|open| !Arc::ptr_eq(open, &place));
            self.changed.notify_all();
        }
        table.threads -= 1;
    }
}

impl Table {
    fn make_room(&mut self, peer: IpAddr, most: usize) -> bool {
        let now = monotonic();
        let of_peer = self.open.iter().filter(|open| open.peer == peer).count();
        if of_peer >= most {
            return self.evict(now, |open| open.peer == peer);
        }
        let waiting = || self.open.iter().filter(|open| open.worth(now).is_some()).count();
        let count = self.open.len();
        let has_room = count < WAITING || (count < PLACES && waiting() < WAITING);
        has_room || self.evict(now, |_| true)
    }

    /// Closes the connection of these that matters least; its thread notices and serves another.
    fn evict(&mut self, now: Instant, of: impl Fn(&Place) -> bool) -> bool {
        let these = self.open.iter().enumerate().filter(|(_, open)| of(open));
        let least = these.filter_map(|(at, open)| open.worth(now).map(|worth| (worth, at))).min();
        let Some((_, at)) = least else { return false };
        let evicted = self.open.remove(at);
        let _ = evicted.stream.shutdown(Shutdown::Both);
        #[cfg(windows)]
        evicted.read_no_more();
        self.queue.retain(|(queued, _)| !Arc::ptr_eq(queued, &evicted));
        true
    }
}

/// Whoever connects for a request sends it within a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at a time.
pub(crate) const PLACES: usize = 64;
/// Those of them that may wait for their peer.
const WAITING: usize = PLACES - 8;
const THREADS: usize = 96;
const IDLE: Duration = Duration::from_secs(10);
/// A request needs far less; 64 threads of the usual 2 MiB would look like a lot.
const STACK: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Both ends of a connection.
    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (stream, listener.accept().unwrap().0)
    }

    impl Place {
        /// For tests elsewhere: a connection, and its peer's end.
        pub(crate) fn pair() -> (Place, TcpStream) {
            let (stream, peer) = connected();
            (Place::new(stream, PEER), peer)
        }

        pub(crate) fn is_serving(&self) -> bool {
            *lock(&self.state) == State::Serving
        }
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_panic_costs_neither_the_place_nor_the_thread() {
        let connections = Arc::new(Connections::default());
        let serve: Serve = Arc::new(|_| panic!("expected by this test"));
        for _ in 0..2 * THREADS {
            connections.admit(connected().0, PEER, PLACES, &serve);
        }
        connections.end(Deadline::after(Duration::from_secs(10)));
        assert!(connections.is_empty());
        let is_alive = |table: &Table| table.threads > 0;
        let deadline = Deadline::after(Duration::from_secs(10));
        while is_alive(&lock(&connections.table)) && deadline.left().is_some() {
            thread::yield_now();
        }
        assert_eq!(lock(&connections.table).threads, 0, "each has come to its end");
    }

    #[test]
    fn who_came_first_makes_room_first_whichever_thread_is_the_faster() {
        let mut table = Table::default();
        table.open.extend((0..2).map(|_| Arc::new(Place::new(connected().0, PEER))));
        let last = Arc::clone(&table.open[1]);
        for at in [1, 0] {
            table.open[at].silent();
        }
        assert!(table.evict(monotonic(), |_| true));
        assert!(Arc::ptr_eq(&table.open[0], &last));
    }

    #[test]
    fn connections_are_closed_in_the_order_of_the_list_and_one_that_is_served_never() {
        let now = monotonic() + 10 * PATIENCE;
        let ago = |seconds: f64| now - PATIENCE.mul_f64(seconds);
        let order = [
            (State::Silent(ago(2.0)), false),
            (State::Silent(ago(1.0)), false),
            (State::Waiting(ago(3.0)), false),
            (State::Waiting(ago(0.9)), false),
            (State::Waiting(ago(0.1)), false),
            (State::Silent(ago(0.8)), false),
            (State::Silent(ago(0.2)), false),
            (State::Silent(ago(5.0)), true),
            (State::Waiting(ago(4.0)), true),
        ];
        let mut table = Table::default();
        let serving = Place::new(connected().0, PEER);
        serving.serving();
        table.open.push(Arc::new(serving));
        for (state, has_token) in order.iter().rev() {
            let place = Place::new(connected().0, PEER);
            *lock(&place.state) = *state;
            place.has_token.store(*has_token, Ordering::Relaxed);
            table.open.push(Arc::new(place));
        }
        for (state, _) in order {
            let expected = table.open.iter().position(|open| *lock(&open.state) == state).unwrap();
            let expected = Arc::clone(&table.open[expected]);
            assert!(table.evict(now, |_| true));
            let is_left = table.open.iter().any(|open| Arc::ptr_eq(open, &expected));
            assert!(!is_left, "{state:?} is next, of {order:?}");
        }
        assert!(!table.evict(now, |_| true), "the last one is being served");
    }
}

//! The connections that are open, and the threads that serve them: one each, reused when idle.
//!
//! There are 64 places. When all are taken, a new connection closes an old one: first the oldest silent one,
//! because a browser's spare socket matters less than a request; without a silent one, the oldest that has
//! been sending its request for more than a second. A connection whose request is being served is never
//! closed for another. On a wide
//! bind no single peer has more than half of the places.

use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::time::{Deadline, monotonic};

/// The table of open connections and the queue for threads.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    changed: Condvar,
}

/// What a thread does with a connection, which has a number.
pub(crate) type Serve = Arc<dyn Fn(u64, &TcpStream) + Send + Sync>;

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: Vec<Open>,
    queue: VecDeque<(u64, Arc<TcpStream>)>,
    threads: usize,
    idle_threads: usize,
    is_ending: bool,
}

#[derive(Debug)]
struct Open {
    id: u64,
    peer: IpAddr,
    stream: Arc<TcpStream>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a request has come, or the last answer is on its way out.
    Silent(Instant),
    /// A request has begun, and is not complete.
    Receiving(Instant),
    /// A request is being served.
    Serving,
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
        let mut table = self.table();
        if !table.make_room(peer, most) {
            return;
        }
        let (id, stream) = (table.next, Arc::new(stream));
        table.next += 1;
        table.open.push(Open {
            id,
            peer,
            stream: stream.clone(),
            state: State::Silent(monotonic()),
        });
        table.queue.push_back((id, stream));
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
        let (connections, serve) = (Arc::clone(self), Arc::clone(serve));
        let work = move || connections.work(&*serve);
        let started = thread::Builder::new().stack_size(STACK).spawn(work);
        if started.is_err() {
            table.threads -= 1;
            if table.threads == 0 {
                // No thread is there that could ever serve it.
                table.queue.clear();
                table.open.clear();
            }
        }
    }

    /// A request has begun on this connection.
    pub(crate) fn begun(&self, id: u64) {
        self.table().set(id, State::Receiving(monotonic()));
    }

    /// The request on this connection is complete.
    pub(crate) fn received(&self, id: u64) {
        self.table().set(id, State::Serving);
    }

    /// This connection waits for its next request; `false` if the gateway is ending and it should
    /// not.
    pub(crate) fn silent(&self, id: u64) -> bool {
        let mut table = self.table();
        table.set(id, State::Silent(monotonic()));
        !table.is_ending
    }

    /// Is no connection open?
    pub(crate) fn is_empty(&self) -> bool {
        self.table().open.is_empty()
    }

    /// Is the gateway ending?
    pub(crate) fn is_ending(&self) -> bool {
        self.table().is_ending
    }

    /// Waits until the requests that have begun are answered, at most until `deadline`; silent connections
    /// are closed.
    pub(crate) fn end(&self, deadline: Deadline) {
        let mut table = self.table();
        table.is_ending = true;
        for open in &table.open {
            if matches!(open.state, State::Silent(_)) {
                // Only for reading: a request that has come, and that no thread has seen yet, is answered.
                let _ = open.stream.shutdown(Shutdown::Read);
            }
        }
        self.changed.notify_all();
        let most = deadline.left().unwrap_or_default();
        let is_open = |table: &mut Table| !table.open.is_empty();
        drop(self.changed.wait_timeout_while(table, most, is_open));
    }

    /// What a thread does: it serves connections, one after the other, until there is none for a while.
    fn work(&self, serve: &(dyn Fn(u64, &TcpStream) + Send + Sync)) {
        let mut table = self.table();
        loop {
            table.idle_threads += 1;
            let is_idle = |table: &mut Table| table.queue.is_empty() && !table.is_ending;
            let woken = self.changed.wait_timeout_while(table, IDLE, is_idle);
            table = woken.unwrap_or_else(PoisonError::into_inner).0;
            table.idle_threads -= 1;
            let Some((id, stream)) = table.queue.pop_front() else {
                break;
            };
            drop(table);
            // A panic that got as far as here costs its connection, and neither the place nor the
            // thread.
            let _ = catch_unwind(AssertUnwindSafe(|| serve(id, &stream)));
            table = self.table();
            table.open.retain(|open| open.id != id);
            self.changed.notify_all();
        }
        table.threads -= 1;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self, peer: IpAddr, most: usize) -> bool {
        let of_peer = self.open.iter().filter(|open| open.peer == peer).count();
        if of_peer >= most {
            return self.evict(|open| open.peer == peer);
        }
        self.open.len() < PLACES || self.evict(|_| true)
    }

    /// Closes the connection of these that matters least; its thread notices and serves another.
    fn evict(&mut self, of: impl Fn(&Open) -> bool) -> bool {
        let now = monotonic();
        let worth = |open: &Open| match open.state {
            State::Silent(since) => Some((0, since)),
            State::Receiving(since) if now.duration_since(since) >= PATIENCE => Some((1, since)),
            State::Receiving(_) | State::Serving => None,
        };
        let these = self.open.iter().enumerate().filter(|(_, open)| of(open));
        let least = these.filter_map(|(at, open)| worth(open).map(|worth| (worth, at))).min();
        let Some((_, at)) = least else { return false };
        let evicted = self.open.remove(at);
        let _ = evicted.stream.shutdown(Shutdown::Both);
        self.queue.retain(|(id, _)| *id != evicted.id);
        true
    }

    fn set(&mut self, id: u64, state: State) {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == id)
            // A silent connection has been silent since it was opened, whenever its thread reads from it.
            && !matches!((open.state, state), (State::Silent(_), State::Silent(_)))
        {
            open.state = state;
        }
    }
}

/// A request that is sent at once takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at a time.
pub(crate) const PLACES: usize = 64;
const THREADS: usize = 96;
const IDLE: Duration = Duration::from_secs(10);
/// A request needs far less; 64 threads of the usual 2 MiB would look like a lot.
const STACK: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_panic_costs_neither_the_place_nor_the_thread() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Connections::default());
        let serve: Serve = Arc::new(|_, _| panic!("expected by this test"));
        for _ in 0..2 * THREADS {
            let stream = TcpStream::connect(address).unwrap();
            drop(listener.accept().unwrap());
            connections.admit(stream, address.ip(), PLACES, &serve);
        }
        connections.end(Deadline::after(Duration::from_secs(10)));
        assert!(connections.is_empty());
        let is_alive = |table: &Table| table.threads > 0;
        let deadline = Deadline::after(Duration::from_secs(10));
        while is_alive(&connections.table()) && deadline.left().is_some() {
            thread::yield_now();
        }
        assert_eq!(connections.table().threads, 0, "each has come to its end");
    }

    #[test]
    fn who_came_first_makes_room_first_whichever_thread_is_the_faster() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut table = Table::default();
        for id in 0..2 {
            table.open.push(Open {
                id,
                peer: address.ip(),
                stream: Arc::new(TcpStream::connect(address).unwrap()),
                state: State::Silent(monotonic()),
            });
        }
        for id in [1, 0] {
            table.set(id, State::Silent(monotonic()));
        }
        assert!(table.evict(|_| true));
        assert_eq!(table.open[0].id, 1);
    }
}

//! The connections that are open, and the threads that serve them: one each, reused when idle.
//!
//! There are 64 places. When all are taken, the oldest connection that is silent makes room; a
//! browser's spare socket is worth less than a request. On a wide bind no single peer has more than
//! half of the places.

use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::time::{Deadline, monotonic};

/// The table of open connections and the queue for threads.
#[derive(Debug, Default)]
pub struct Connections {
    table: Mutex<Table>,
    changed: Condvar,
}

/// What a thread does with a connection, which has a number.
pub type Serve = Arc<dyn Fn(u64, &TcpStream) + Send + Sync>;

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
    /// Since when nothing of a request has come; `None` while one is being served.
    silent_since: Option<Instant>,
}

/// How many places one peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLimit {
    /// All: they are all this machine.
    None,
    /// Half of them.
    Half,
}

impl Connections {
    /// Takes a new connection in and finds a thread for it, which runs `serve`. One that there is no
    /// place for is closed.
    pub fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        limit: PeerLimit,
        serve: &Serve,
    ) {
        let mut table = self.table();
        if !table.make_room(peer, limit) {
            return;
        }
        let (id, stream) = (table.next, Arc::new(stream));
        table.next += 1;
        table.open.push(Open {
            id,
            peer,
            stream: stream.clone(),
            silent_since: Some(monotonic()),
        });
        table.queue.push_back((id, stream));
        if table.queue.len() <= table.idle_threads {
            self.changed.notify_all();
            return;
        }
        // With as many threads as places, one of them serves a connection that was evicted just now,
        // and comes for this one next.
        if table.threads == PLACES {
            return;
        }
        table.threads += 1;
        let (connections, serve) = (Arc::clone(self), Arc::clone(serve));
        let work = move || connections.work(&*serve);
        if thread::Builder::new()
            .stack_size(STACK)
            .spawn(work)
            .is_err()
        {
            table.threads -= 1;
            if table.threads == 0 {
                // Nobody is there who could ever come to it.
                table.queue.clear();
                table.open.clear();
            }
        }
    }

    /// A request has begun on this connection.
    pub fn begun(&self, id: u64) {
        self.table().set_silent(id, None);
    }

    /// This connection waits for its next request; `false` if the gateway is ending and it should
    /// not.
    pub fn silent(&self, id: u64) -> bool {
        let mut table = self.table();
        table.set_silent(id, Some(monotonic()));
        !table.is_ending
    }

    /// Is the gateway ending?
    pub fn is_ending(&self) -> bool {
        self.table().is_ending
    }

    /// Lets requests that have begun come to their end, for as long as that may take, and everybody
    /// else go.
    pub fn end(&self, deadline: Deadline) {
        let mut table = self.table();
        table.is_ending = true;
        for open in table.open.iter().filter(|open| open.silent_since.is_some()) {
            let _ = open.stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
        while let (false, Some(left)) = (table.open.is_empty(), deadline.left()) {
            table = self
                .changed
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// A thread's life: connections, one after the other, until there has been none for a while.
    fn work(&self, serve: &(dyn Fn(u64, &TcpStream) + Send + Sync)) {
        let mut table = self.table();
        loop {
            if let Some((id, stream)) = table.queue.pop_front() {
                drop(table);
                serve(id, &stream);
                table = self.table();
                table.open.retain(|open| open.id != id);
                self.changed.notify_all();
                continue;
            }
            if table.is_ending {
                break;
            }
            table.idle_threads += 1;
            let (woken, waited) = self
                .changed
                .wait_timeout(table, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            table = woken;
            table.idle_threads -= 1;
            if waited.timed_out() && table.queue.is_empty() {
                break;
            }
        }
        table.threads -= 1;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self, peer: IpAddr, limit: PeerLimit) -> bool {
        let of_peer = self.open.iter().filter(|open| open.peer == peer).count();
        if limit == PeerLimit::Half && of_peer >= PLACES / 2 {
            return self.evict(|open| open.peer == peer);
        }
        self.open.len() < PLACES || self.evict(|_| true)
    }

    /// Closes the oldest silent one of these; its thread notices and goes on to another.
    fn evict(&mut self, of: impl Fn(&Open) -> bool) -> bool {
        let silent = self.open.iter().enumerate().filter(|(_, open)| of(open));
        let oldest = silent
            .filter_map(|(at, open)| open.silent_since.map(|since| (since, at)))
            .min();
        let Some((_, at)) = oldest else { return false };
        let evicted = self.open.remove(at);
        let _ = evicted.stream.shutdown(Shutdown::Both);
        self.queue.retain(|(id, _)| *id != evicted.id);
        true
    }

    fn set_silent(&mut self, id: u64, since: Option<Instant>) {
        if let Some(open) = self.open.iter_mut().find(|open| open.id == id) {
            open.silent_since = since;
        }
    }
}

const PLACES: usize = 64;
const IDLE: Duration = Duration::from_secs(10);
/// A request needs far less; 64 threads of the usual 2 MiB would look like a lot.
const STACK: usize = 512 * 1024;

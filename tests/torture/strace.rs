//! What a command asks of the system, call by call, and the faults that can be put there.
#![allow(dead_code)] // each of two sweeps uses its own part

use std::collections::BTreeMap;
use std::fmt;

/// One system call of a run: the `nth` of its name, and what strace wrote of it.
#[derive(Clone)]
pub struct Call {
    pub name: String,
    pub nth: usize,
    line: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed in place of the call.
    Kill,
    /// The call fails, and does nothing.
    Error(&'static str),
    /// The process is stopped behind the call.
    Stop,
}

/// A fault at a call: one run of a sweep.
pub struct Point {
    pub call: Call,
    pub fault: Fault,
}

/// How much of a run is swept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every call that matters from the first that is about the store or the keychain, every fault.
    Full,
    /// The calls that change or sync a file or the keychain, and two faults.
    Fast,
    /// The same, and the calls that take a lock, with a stop and a kill.
    Pair,
}

/// The calls of one run, from a log that strace wrote with `-f -y`.
pub fn calls(log: &str) -> Vec<Call> {
    let mut counts = BTreeMap::new();
    let mut call = |line: &str| {
        let text = line.split_once(' ')?.1.trim_start();
        let name = text.split_once('(')?.0.to_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(is_name).then_some(())?;
        let nth = counts.entry(name.clone()).or_insert(0);
        *nth += 1;
        Some(Call { name, nth: *nth, line: text.chars().take(LINE).collect() })
    };
    log.lines().filter_map(&mut call).collect()
}

/// The points of a sweep over these calls.
pub fn points(calls: &[Call], extent: Extent) -> Vec<Point> {
    let begins = |call: &Call| call.line.contains(STORE) || call.name == "socket";
    let first = calls.iter().position(begins);
    let calls = &calls[first.expect("a call that is about the store")..];
    let faults = match extent {
        Extent::Full => FAULTS,
        Extent::Fast => &FAULTS[..2],
        Extent::Pair => &[Fault::Stop, Fault::Kill],
    };
    let is_swept = |call: &Call, fault: Fault| match (extent, fault) {
        (Extent::Full, Fault::Kill) => call.matters(),
        (Extent::Full, Fault::Error(error)) => {
            call.matters() && call.can_fail() && (error == "EIO" || call.can_fail_in_every_way())
        }
        (Extent::Pair, _) => {
            call.changes_something()
                || call.takes_a_lock()
                || call.is_before(calls, Call::takes_a_lock)
        }
        (_, Fault::Stop) => false,
        (Extent::Fast, _) => call.changes_something(),
    };
    let at = |fault| {
        let swept = calls.iter().filter(move |call| is_swept(call, fault));
        swept.map(move |call| Point { call: call.clone(), fault })
    };
    faults.iter().copied().flat_map(at).collect()
}

/// Kills a run at the first call of any name that is one more than these; but for randomness, of which
/// an id that comes out unfit takes more.
pub fn one_more(calls: &[Call]) -> Vec<String> {
    let last: BTreeMap<&str, usize> = calls
        .iter()
        .filter(|call| call.name != RANDOM)
        .map(|call| (call.name.as_str(), call.nth))
        .collect();
    let kill = |(name, nth): (&str, usize)| format!("{name}:signal=SIGKILL:when={}", nth + 1);
    last.into_iter().map(kill).collect()
}

impl Call {
    /// Whether it may leave something else than the call before it: not when it sets how long to
    /// wait, nor when it takes random bytes, nor for each byte of the bus's greeting, which is read one
    /// by one.
    fn matters(&self) -> bool {
        let is_byte = self.line.ends_with("\", 1, 0, NULL, NULL) = 1");
        let is_idle = ["setsockopt", RANDOM].contains(&self.name.as_str());
        !is_idle && (!is_byte || self.line.contains("\"D\""))
    }

    /// Not for files of /proc and /sys: there std counts the cores, and where it cannot there is one.
    fn can_fail(&self) -> bool {
        let is_ours = !["\"/proc/", "\"/sys/", "</proc/", "</sys/"]
            .iter()
            .any(|foreign| self.line.contains(foreign));
        let name = self.name.as_str();
        is_ours && (CHANGING.contains(&name) || FAILING.contains(&name))
    }

    fn can_fail_in_every_way(&self) -> bool {
        let name = self.name.as_str();
        CHANGING.contains(&name) || ["close", "open", "openat", "write"].contains(&name)
    }

    /// Stops a run behind it, as strace's `inject=` wants it.
    pub fn stop(&self) -> String {
        format!("{}:signal=SIGSTOP:when={}", self.name, self.nth)
    }

    /// Does such a call come next?
    fn is_before(&self, calls: &[Call], is_it: fn(&Call) -> bool) -> bool {
        let is_self = |call: &&Call| call.name == self.name && call.nth == self.nth;
        let mut from_here = calls.iter().skip_while(|call| !is_self(call));
        from_here.nth(1).is_some_and(is_it)
    }

    /// One on a directory, or that of the user.
    fn takes_a_lock(&self) -> bool {
        self.name == "flock" || self.is_of_the_users_lock()
    }

    /// That lock is a name on the bus.
    pub fn is_of_the_users_lock(&self) -> bool {
        self.name == "sendto" && self.line.contains("RequestName")
    }

    fn changes_something(&self) -> bool {
        match self.name.as_str() {
            "open" | "openat" => self.line.contains("O_CREAT"),
            // Not what is written, which may well name the store, but where.
            "write" | "pwrite64" => self.line.split(',').next().unwrap().contains(STORE),
            // Of what is sent to the keychain, only a secret to keep makes so long a message.
            "sendto" => {
                let sent = self.line.rsplit(" = ").next().unwrap();
                sent.parse().is_ok_and(|length: usize| length > 400)
            }
            name => CHANGING.contains(&name),
        }
    }
}

impl Point {
    /// As strace's `inject=` wants it.
    pub fn injection(&self) -> String {
        let Call { name, nth, .. } = &self.call;
        match self.fault {
            Fault::Kill => format!("{name}:signal=SIGKILL:when={nth}"),
            Fault::Error(error) => format!("{name}:error={error}:when={nth}"),
            Fault::Stop => self.call.stop(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.injection(), self.call.line)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Error(error) => error,
            Fault::Stop => "stop",
        })
    }
}

const STORE: &str = "/.lenserfight";
/// Characters of a call that are kept.
const LINE: usize = 1_000;
const RANDOM: &str = "getrandom";
pub const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Error("EIO"),
    Fault::Error("ENOSPC"),
    Fault::Error("EACCES"),
    Fault::Error("EINTR"),
];
const CHANGING: &[&str] = &[
    "fchmod",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "unlink",
    "unlinkat",
];
/// In which an error is put, beside the changing ones; EIO alone in most.
const FAILING: &[&str] = &[
    "close",
    "connect",
    "faccessat",
    "faccessat2",
    "flock",
    "fstat",
    "getdents64",
    "lseek",
    "newfstatat",
    "open",
    "openat",
    "poll",
    "ppoll",
    "pwrite64",
    "read",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "socket",
    "statx",
    "write",
];

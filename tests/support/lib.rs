//! Drives the real binary: each test in a home of its own, with a cleared environment. A failed
//! expectation shows argv, exit status and both streams.
#![allow(clippy::new_without_default)] // what is made here is made on the disk

pub mod bus;
pub mod gateway;
pub mod net;
pub mod provider;
pub mod pty;
pub mod wine;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use local_keys::Environment;
use rustix::process::{Pid, Signal, kill_process};

use self::bus::Bus;

pub const PASSPHRASE: &str = "correct horse battery staple";
/// [`PASSPHRASE`] as `lf keys recovery export` prints it.
pub const SHEET: &str = "\
     1   CDQQ4 WK5CD T20T3 FE9SP   1F
     2   A832C 5T78S BJF4G 76X31   QQ
     3   E1P6A RJXWP   2D
";
pub const VALUE: &str = "sk-test-0123456789abcdefghij";

/// The program under test: the one that cargo has built beside this test, or the one that `LF_BINARY`
/// names, behind an emulator if that is needed (`make static-check`).
pub fn lf() -> Vec<OsString> {
    match std::env::var("LF_BINARY") {
        Ok(words) => words.split_whitespace().map(Into::into).collect(),
        Err(_) => {
            // In deps/ below it.
            let test = std::env::current_exe().unwrap();
            vec![test.ancestors().nth(2).unwrap().join("lf").into()]
        }
    }
}

/// A directory that is gone when the test has passed.
pub struct Home {
    path: PathBuf,
}

impl Home {
    pub fn new() -> Home {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let name =
                format!("lf-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                // Left behind by a test that failed, in a process that had the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("make a home");
                    wine::make(&path);
                    return Home { path };
                }
            }
        }
    }

    /// A home whose store has one key, labelled `Prod`.
    pub fn with_key() -> (Home, String) {
        let home = Home::new();
        let id = home.add("openai", "Prod", VALUE);
        (home, id)
    }

    /// A home with an unlocked keyring, which has a master passphrase.
    pub fn with_keychain() -> (Home, Bus) {
        let home = Home::new();
        let bus = Bus::with_keyring(&home);
        bus.on(home.bare("keys init")).ok();
        (home, bus)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn keys(&self) -> PathBuf {
        self.path.join(".lenserfight/keys")
    }

    /// A copy of the keys directory, as anybody makes one: that is the backup.
    pub fn copy(&self) -> PathBuf {
        let to = self.path.join("copy");
        let _ = fs::remove_dir_all(&to);
        let mut cp = Command::new("cp");
        let copied = cp.arg("-r").args([&self.keys(), &to]).status();
        assert!(copied.unwrap().success());
        to
    }

    pub fn file(&self, id: &str) -> PathBuf {
        self.keys().join(format!("{id}.json"))
    }

    pub fn audit(&self) -> String {
        fs::read_to_string(self.keys().join("audit.log")).unwrap_or_default()
    }

    /// `lf` with these arguments, split at spaces, and the usual passphrase in the environment.
    pub fn lf(&self, arguments: &str) -> Run {
        self.bare(arguments).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
    }

    /// The same without a passphrase.
    pub fn bare(&self, arguments: &str) -> Run {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.words(&words)
    }

    pub fn words(&self, words: &[&str]) -> Run {
        let mut run = self.program(&[]);
        run.program = lf();
        run.arguments = words.iter().map(Into::into).collect();
        run
    }

    /// Another program in the same home.
    pub fn program(&self, words: &[&str]) -> Run {
        Run::of(&self.path, words)
    }

    pub fn add(&self, provider: &str, label: &str, value: &str) -> String {
        let run = self.words(&["keys", "add", "--provider", provider, "--label", label]);
        let added = run.env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).input(value).ok();
        added.out.trim_end().to_owned()
    }

    pub fn value(&self, id: &str) -> String {
        let out = self
            .words(&["keys", "export", "--i-understand", "--", id])
            .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
            .ok()
            .out;
        out.strip_suffix('\n').expect("a newline behind the value").to_owned()
    }

    /// The names in the keys directory, sorted, without the audit log.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.keys()).map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        });
        let mut names: Vec<String> = entries.unwrap_or_default();
        // On Windows a file is locked for a directory.
        names.retain(|name| name != "audit.log" && !name.ends_with(".lock"));
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        wine::remove(&self.path);
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

pub struct Run {
    program: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
}

pub struct Outcome {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
    argv: Vec<OsString>,
}

impl Run {
    /// A program in a home.
    fn of(home: &Path, words: &[&str]) -> Run {
        let run = Run {
            program: words.iter().map(Into::into).collect(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: Vec::new(),
        };
        let run = run.env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let wine = wine::environment(home);
        wine.into_iter().fold(run, |run, (name, value)| run.env(name, value))
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Run {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Run {
        self.input = input.into();
        self
    }

    /// Input for a command that may read one: a rotate that keeps the value refuses it.
    pub fn fed(self, input: &str) -> Run {
        let has = |word: &str| self.arguments.iter().any(|given| given == word);
        if has("rotate") && !has("--new-value") { self } else { self.input(input) }
    }

    /// Runs `lf` under another program, such as strace.
    pub fn under(mut self, program: &[&str]) -> Run {
        self.program.splice(0..0, program.iter().map(Into::into));
        self
    }

    /// Runs `lf` with a fault that strace injects, such as `fsync:error=EIO:when=1`.
    pub fn inject(self, fault: &str) -> Run {
        self.inject_all(Path::new("/dev/null"), &[fault.to_owned()])
    }

    /// The same with several faults, and a log of what came of each call.
    pub fn inject_all(self, log: &Path, faults: &[String]) -> Run {
        let faults = faults.iter().map(|fault| format!("--inject={fault}"));
        let mut strace: Vec<String> = ["strace", "-f", "-qq", "-o"].map(Into::into).into();
        strace.extend([log.to_str().unwrap().to_owned()].into_iter().chain(faults));
        self.under(&strace.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts it on one core and under strace, with a fault that stops it behind one of its calls, and
    /// waits for that. `Err` with its end if it made no such call.
    pub fn stop(self, core: &str, log: &Path, fault: &str) -> Result<Stopped, Box<Outcome>> {
        let _ = fs::remove_file(log);
        // strace counts the calls of lf alone, and none of taskset's.
        let run = self.inject_all(log, &[fault.to_owned()]).on_core(core);
        let mut strace = run.start();
        let mut is_over = false;
        // strace holds what it traces: for /proc it is not stopped, but traced.
        until("a stop", || {
            is_over = strace.try_wait().unwrap().is_some();
            let log = fs::read_to_string(log).unwrap_or_default();
            is_over || log.contains("--- stopped by SIGSTOP ---")
        });
        if is_over {
            return Err(Box::new(run.finish(strace)));
        }
        Ok(Stopped { run, strace: Some(strace) })
    }

    /// Starts it with its input, which is short enough for a pipe.
    pub fn start(&self) -> Child {
        let mut child = self.spawn();
        // A command that does not read its input is free to leave it.
        let _ = child.stdin.take().unwrap().write_all(&self.input);
        child
    }

    /// Runs `lf` on one core, where it needs one thread only: its system calls come in one order.
    pub fn on_core(self, core: &str) -> Run {
        self.under(&["taskset", "-c", core])
    }

    /// Runs `lf` where no terminal is: what a person's terminal would be to the tests is none to it.
    pub fn off_terminal(self) -> Run {
        self.under(&["setsid", "--wait"])
    }

    /// Runs `lf` as what a terminal was opened for; see [`pty::Terminal`].
    pub fn at_terminal(self) -> Run {
        self.under(&["setsid", "--ctty", "--wait"])
    }

    /// Runs `lf` and writes down these system calls of it.
    pub fn trace(self, log: &Path, calls: &str) -> Run {
        let (log, calls) = (log.to_str().unwrap(), format!("trace={calls}"));
        let traced = self.under(&["strace", "-f", "-qq", "-y", "-o", log, "-e", &calls]);
        // It does not let its own user look inside; a namespace makes that user root for this once.
        if rustix::process::geteuid().is_root() { traced } else { traced.under(&["unshare", "-r"]) }
    }

    /// Runs `lf` as a user whom file modes bind, if this is root.
    pub fn unprivileged(self) -> Run {
        if rustix::process::geteuid().is_root() {
            self.under(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        } else {
            self
        }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).args(&self.arguments).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn spawn(&self) -> Child {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| {
            panic!(
                "{:?} does not start ({error}); {}",
                self.program[0],
                package_of(&self.program[0])
            )
        })
    }

    pub fn go(self) -> Outcome {
        let mut child = self.spawn();
        let mut stdin = child.stdin.take().unwrap();
        let input = self.input.clone();
        // A command that does not read its input is free to leave it.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let outcome = self.finish(child);
        writer.join().unwrap();
        outcome
    }

    pub fn finish(&self, child: Child) -> Outcome {
        let Output { status, stdout, stderr } = wait(child);
        let argv = self.program.iter().chain(&self.arguments).cloned().collect();
        Outcome {
            status: status.code(),
            out: wine::as_on_unix(String::from_utf8_lossy(&stdout).into_owned()),
            err: wine::as_on_unix(String::from_utf8_lossy(&stderr).into_owned()),
            argv,
        }
    }

    pub fn ok(self) -> Outcome {
        let outcome = self.go();
        assert_eq!(outcome.status, Some(0), "{outcome}");
        outcome
    }

    /// Expects this exit status, and this code at the start of a line of standard error.
    pub fn fails(self, status: i32, code: &str) -> Outcome {
        let outcome = self.go();
        assert_eq!(outcome.status, Some(status), "{outcome}");
        assert!(
            outcome.err.lines().any(|line| line.starts_with(&format!("lf: {code}: "))),
            "no {code} in {outcome}"
        );
        outcome
    }
}

impl Outcome {
    /// That of a command which a power cut has ended.
    pub fn cut() -> Outcome {
        Outcome { status: None, out: String::new(), err: String::new(), argv: Vec::new() }
    }
}

/// A run under strace that has been stopped behind one of its calls.
pub struct Stopped {
    run: Run,
    strace: Option<Child>,
}

impl Stopped {
    pub fn goes_on(self) -> Outcome {
        self.end(Signal::CONT)
    }

    pub fn dies(self) -> Outcome {
        self.end(Signal::KILL)
    }

    /// Has it locked a file or a directory?
    pub fn has_lock(&self) -> bool {
        let pids = children(self.strace.as_ref().unwrap());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let mut holders = locks.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let is_held = words.next() == Some("FLOCK");
            words.nth(2).filter(|_| is_held)?.parse::<i32>().ok()
        });
        holders.any(|holder| pids.iter().any(|pid| pid.as_raw_nonzero().get() == holder))
    }

    fn end(mut self, signal: Signal) -> Outcome {
        let strace = self.strace.take().unwrap();
        for pid in children(&strace) {
            kill_process(pid, signal).unwrap();
        }
        self.run.finish(strace)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(strace) = &mut self.strace {
            end_traced(strace);
        }
    }
}

/// The processes that a process has started.
pub fn children(parent: &Child) -> Vec<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = fs::read_to_string(children).unwrap_or_default();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.filter_map(Pid::from_raw).collect()
}

/// Ends a process and those that it has started: what runs under strace would outlive that.
pub fn end_traced(process: &mut Child) {
    for pid in children(process) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = process.kill();
    let _ = process.wait();
}

/// Waits for a process and what it writes.
pub fn wait(mut child: Child) -> Output {
    drop(child.stdin.take());
    let reader = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.map(|mut stream| stream.read_to_end(&mut bytes));
            bytes
        })
    };
    let out = reader(child.stdout.take().map(|stream| Box::new(stream) as _));
    let err = reader(child.stderr.take().map(|stream| Box::new(stream) as _));
    Output { status: exit(&mut child), stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// Waits for a process, and kills one that hangs.
pub fn exit(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if start.elapsed() > HANG => {
                child.kill().unwrap();
                panic!("hangs");
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANG, "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What takes longer will not come, however busy the machine is.
pub const HANG: Duration = Duration::from_secs(60);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n  argv   {:?}\n  status {:?}\n  stdout {}\n  stderr {}",
            self.argv, self.status, self.out, self.err
        )
    }
}

/// The cores that this process may use.
pub fn cores() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = list.unwrap().trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    cores.map(|core| core.to_string()).collect()
}

/// One of so many points of a sweep, and at least one; which, its name says. `SHARE=4` leaves a fourth of
/// those, as `make test` does.
pub fn part<T>(points: Vec<T>, of: usize, name: &str) -> Vec<T> {
    let share = std::env::var("SHARE").map_or(1, |share| share.parse().expect("a number"));
    let step = of * share;
    let first = name.len() % step.min(points.len().max(1));
    points.into_iter().skip(first).step_by(step).collect()
}

/// The rows of a table of cases that take seconds each; `SHARE=4` leaves a fourth, with the first.
pub fn rows<T>(table: impl IntoIterator<Item = T>) -> Vec<T> {
    part(table.into_iter().collect(), 1, "")
}

/// Ports that nobody has, below those that the system gives to whoever asks for any: they stay free
/// until they are wanted.
pub fn free_ports() -> impl Iterator<Item = u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 3_000 * 4).unwrap();
    (first..).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

/// Another user of this machine, who listens on an address; without root to become one, this user.
pub struct Stranger(Child);

impl Stranger {
    pub fn on(address: std::net::SocketAddr) -> Stranger {
        const LISTEN: &str = "use IO::Socket::IP; my $s = IO::Socket::IP->new(LocalHost => $ARGV[0], \
            LocalPort => $ARGV[1], Listen => 9) or die $@; $| = 1; print qq(up\\n); sleep 1 while 1;";
        let mut command = Command::new("perl");
        command.args(["-e", LISTEN, &address.ip().to_string(), &address.port().to_string()]);
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        Stranger(child)
    }

    /// How lf names that user.
    pub fn name() -> String {
        let user = rustix::process::geteuid();
        let user = if user.is_root() { 65534 } else { user.as_raw() };
        format!("user {user} listens ")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives everything below a directory to the user of [`Run::unprivileged`], if this is root.
pub fn hand_over(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let to = format!("{0}:{0}", 65534);
        assert!(Command::new("chown").args(["-R", &to]).arg(path).status().unwrap().success());
    }
}

/// Variables for the library that have this master passphrase, and lead to no keychain.
pub fn with_passphrase(passphrase: &str) -> Environment {
    let passphrase = passphrase.to_owned();
    Environment::of(move |name| match name {
        "LENSERFIGHT_KEYS_PASSPHRASE" => Some(passphrase.clone().into()),
        "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" => Some("1".into()),
        _ => None,
    })
}

/// Takes the lock on a directory as `lf` does: flock(2) on the directory itself; on Windows, where wine
/// makes it of fcntl(2), a file.
pub fn lock(dir: &Path) -> fs::File {
    if wine::template().is_some() {
        let name = dir.file_name().unwrap().to_str().unwrap();
        let beside = dir.with_file_name(format!("{name}.lock"));
        let path = if name == ".rekey" { beside } else { dir.join(".lock") };
        let file = fs::File::options().read(true).append(true).create(true).open(path).unwrap();
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::fcntl_lock(&file, exclusive).unwrap();
        return file;
    }
    let dir = fs::File::open(dir).unwrap();
    dir.try_lock().unwrap();
    dir
}

/// Is this a moment as `lf` writes them: `YYYY-MM-DDTHH:MM:SS.mmmZ`, in UTC, on a day that exists?
pub fn is_timestamp(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape != "0000-00-00T00:00:00.000Z" {
        return false;
    }
    let number = |at: usize, length: usize| text[at..at + length].parse::<u32>().unwrap();
    let year = number(0, 4);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match number(5, 2) {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&number(8, 2))
        && number(11, 2) < 24
        && number(14, 2) < 60
        && number(17, 2) < 60
}

/// The entries of a directory, in one order.
pub fn list(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Copies a directory with everything below it, and the modes.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for path in list(from) {
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

pub fn mode(path: &Path) -> u32 {
    let stat = fs::symlink_metadata(path).unwrap();
    let mode = stat.permissions().mode() & 0o777;
    // What wine makes of an access list: the group's bits are those of administrators.
    match wine::template() {
        Some(_) if mode & 0o007 == 0 && mode & 0o600 == 0o600 => {
            if stat.is_dir() {
                0o700
            } else {
                0o600
            }
        }
        _ => mode,
    }
}

/// The Debian package that has a program which a test needs.
pub fn package_of(program: &std::ffi::OsStr) -> String {
    let package = match program.to_str() {
        Some("dbus-daemon" | "dbus-send") => "dbus",
        Some("systemd-analyze" | "systemctl") => "systemd",
        Some("gnome-keyring-daemon") => "gnome-keyring",
        Some("secret-tool") => "libsecret-tools",
        Some("setpriv" | "unshare" | "nsenter" | "prlimit" | "taskset" | "setsid") => "util-linux",
        Some("kwalletd5") => "libkf5wallet-bin",
        Some("keepassxc-cli") => "keepassxc",
        Some("/usr/libexec/gcr-prompter") => "gcr",
        Some("Xvfb") => "xvfb",
        Some("ip") => "iproute2",
        Some("losetup") => "mount",
        Some("mkfs.exfat") => "exfatprogs",
        Some("mount.exfat-fuse") => "exfat-fuse",
        Some("mkfs.ntfs" | "lowntfs-3g") => "ntfs-3g",
        Some("nginx") => "nginx-light",
        Some("postgres") => "postgresql-15",
        Some(other) => other,
        None => "it",
    };
    format!("on Debian: apt-get install {package}")
}

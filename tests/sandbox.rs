//! The gateway's sandbox, attacked from inside: a thread of this test takes it on as the gateway does, and
//! tries what a bug in the gateway would let somebody try. And what the gateway's two processes do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)] // the attacker makes system calls that no library offers

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use libc::c_long;
use local_keys::sandbox;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use support::gateway::{Client, Gateway, bearer, pair};
use support::{Home, VALUE, until};

/// What this comes to in a thread that has entered the sandbox of a gateway with this root. `None` where
/// the kernel has no such thing, and the sandbox says so.
fn inside<T: Send>(root: &Path, work: impl FnOnce() -> T + Send) -> Option<T> {
    let attack = || {
        let said = sandbox::enter(root, &root.join("keys")).unwrap();
        let is_there =
            said.starts_with("landlock ") && said.ends_with("; seccomp: no sockets, no programs");
        assert!(is_there || !is_offered(), "{said}");
        is_there.then(work)
    };
    thread::scope(|scope| scope.spawn(attack).join().unwrap())
}

/// Does this kernel have both, and does nobody refuse them to this test?
fn is_offered() -> bool {
    // SAFETY: numbers and a null pointer, for questions that change nothing.
    unsafe {
        let (none, version): (usize, u32) = (0, 1);
        let landlock = libc::syscall(libc::SYS_landlock_create_ruleset, none, none, version);
        landlock >= 2 && libc::prctl(libc::PR_GET_SECCOMP, none, none, none, none) >= 0
    }
}

type Attack<'a> = (&'static str, Box<dyn Fn() -> io::Result<()> + Sync + 'a>);

fn done<T>(result: io::Result<T>) -> io::Result<()> {
    result.map(drop)
}

fn answered(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A listener, and a socket that will be asked to connect to it.
fn listener() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!() };
    (listener, address)
}

/// TCP out of a socket that was never connected, without connect(2).
fn fast_open(socket: i32, to: SocketAddrV4) -> io::Result<()> {
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    // SAFETY: a buffer and an address, each with its size.
    let sent = unsafe {
        let size = size_of_val(&to) as u32;
        libc::sendto(socket, b"x".as_ptr().cast(), 1, flags, (&raw const to).cast(), size)
    };
    answered(sent as c_long)
}

fn path_of(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_str().unwrap()).unwrap()
}

#[test]
fn nothing_outside_is_read_written_run_called_or_changed_from_inside() {
    let home = Home::new();
    let root = home.path().join(".lenserfight");
    let outside = home.path().join("id");
    fs::write(&outside, "a private key").unwrap();
    let bus = UnixListener::bind(home.path().join("private")).unwrap();
    let name = UnixAddr::from_abstract_name(format!("lf-attack-{}", std::process::id())).unwrap();
    let named = UnixListener::bind_addr(&name).unwrap();
    let (_tcp, address) = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to_udp = udp.local_addr().unwrap();
    let unbound = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    );
    let unbound: OwnedFd = unbound.unwrap();
    let other = Command::new("sleep").arg("100").spawn().unwrap();
    let other = Mutex::new(other);
    let pid = other.lock().unwrap().id() as i32;
    // One for each of the two times.
    let spare = Mutex::new(vec![listener().0, listener().0]);
    let file = path_of(&outside);
    let mode = |mode| fs::set_permissions(&outside, Permissions::from_mode(mode));
    let attacks: Vec<Attack<'_>> = vec![
        ("a file is read", Box::new(|| done(fs::read(&outside)))),
        ("a file is written", Box::new(|| done(File::options().append(true).open(&outside)))),
        ("a file is made", Box::new(|| done(fs::write(home.path().join("new"), "")))),
        (
            "a file is moved in",
            Box::new(|| {
                fs::rename(home.path().join("new"), root.join("new"))?;
                fs::rename(root.join("new"), home.path().join("new"))
            }),
        ),
        ("a directory is listed", Box::new(|| done(fs::read_dir(home.path())))),
        ("a mode is changed", Box::new(|| mode(0o644))),
        (
            "a time is changed",
            Box::new(|| {
                // SAFETY: a path, and a null pointer that stands for now.
                answered(unsafe { libc::utimes(file.as_ptr(), std::ptr::null()) }.into())
            }),
        ),
        (
            "a link is made",
            Box::new(|| {
                let link = root.join("link");
                let _ = fs::remove_file(&link);
                std::os::unix::fs::symlink(&outside, link)
            }),
        ),
        ("a program is run", Box::new(|| done(Command::new("true").status()))),
        (
            "the manager is asked",
            Box::new(|| done(UnixStream::connect(bus.local_addr()?.as_pathname().unwrap()))),
        ),
        ("an abstract socket is asked", Box::new(|| done(UnixStream::connect_addr(&name)))),
        ("a socket pair is made", Box::new(|| done(UnixStream::pair()))),
        ("TCP is connected", Box::new(|| done(TcpStream::connect(address)))),
        (
            "TCP is connected with data",
            Box::new(|| {
                // SAFETY: numbers only.
                let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
                answered(socket.into())?;
                fast_open(socket, address)
            }),
        ),
        (
            "a listener connects",
            Box::new(|| {
                let spare = spare.lock().unwrap().pop().unwrap();
                // SAFETY: an open socket.
                unsafe { libc::shutdown(spare.as_raw_fd(), libc::SHUT_RDWR) };
                fast_open(spare.as_raw_fd(), address)
            }),
        ),
        (
            "an unbound socket listens",
            Box::new(|| {
                // SAFETY: an open socket.
                answered(unsafe { libc::listen(unbound.as_raw_fd(), 1) }.into())
            }),
        ),
        (
            "UDP is sent",
            Box::new(|| {
                UdpSocket::bind("127.0.0.1:0").and_then(|socket| done(socket.send_to(b"x", to_udp)))
            }),
        ),
        ("UDP is sent from what is open", Box::new(|| done(udp.send_to(b"x", to_udp)))),
        (
            "a signal is sent",
            Box::new(|| {
                // SAFETY: numbers only.
                answered(unsafe { libc::kill(pid, 0) }.into())
            }),
        ),
        (
            "a signal is sent by a file's owner",
            Box::new(|| {
                // SAFETY: an open socket and a number.
                answered(unsafe { libc::fcntl(unbound.as_raw_fd(), libc::F_SETOWN, pid) }.into())
            }),
        ),
        (
            "a program in memory is made",
            Box::new(|| {
                // SAFETY: a name.
                answered(unsafe { libc::memfd_create(c"x".as_ptr(), 0) }.into())
            }),
        ),
        (
            "memory becomes code",
            Box::new(|| {
                let (rwx, private) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
                let flags = private | libc::MAP_ANONYMOUS;
                // SAFETY: a new mapping, which nobody uses.
                let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rwx, flags, -1, 0) };
                if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
            }),
        ),
    ];
    // What the attacker does outside works, or it would show nothing.
    fs::create_dir_all(&root).unwrap();
    for (what, attack) in &attacks {
        attack().unwrap_or_else(|error| panic!("outside, {what}: {error}"));
    }
    let worked = inside(&root, || {
        let worked = attacks.iter().filter(|(_, attack)| attack().is_ok());
        worked.map(|(what, _)| *what).collect::<Vec<_>>()
    });
    assert_eq!(worked.unwrap_or_default(), Vec::<&str>::new());
    let mut other = other.lock().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    drop(named);
}

/// Calls, with arguments that do nothing: outside the kernel finds fault with them, or finds nothing to do.
fn calls() -> Vec<(&'static str, c_long, [c_long; 6])> {
    macro_rules! table {
        ($($name:ident($($argument:expr),*);)*) => {
            vec![$((stringify!($name), libc::$name, {
                let mut arguments = [0; 6];
                let given: &[c_long] = &[$($argument as c_long),*];
                arguments[..given.len()].copy_from_slice(given);
                arguments
            })),*]
        };
    }
    #[allow(clippy::unnecessary_cast)]
    let mut calls = table! {
        SYS_execve(); SYS_execveat(-1); SYS_clone3(); SYS_unshare(); SYS_setns(-1);
        SYS_clone(libc::CLONE_THREAD | libc::CLONE_NEWNET); SYS_clone(libc::CLONE_NEWUSER | libc::CLONE_FS);
        SYS_ptrace(libc::PTRACE_PEEKDATA, -1); SYS_process_vm_readv(-1); SYS_process_vm_writev(-1);
        SYS_kcmp(-1, -1); SYS_pidfd_open(-1); SYS_pidfd_getfd(-1); SYS_pidfd_send_signal(-1);
        SYS_kill(0, 999); SYS_tkill(-1); SYS_tgkill(-1, -1); SYS_rt_sigqueueinfo(-1, -1);
        SYS_memfd_create(); SYS_userfaultfd(-1); SYS_perf_event_open(); SYS_bpf(-1);
        SYS_io_uring_setup(); SYS_io_uring_enter(-1); SYS_io_uring_register(-1);
        SYS_socket(-1); SYS_socket(libc::AF_VSOCK, -1); SYS_socketpair(-1); SYS_connect(-1);
        SYS_bind(-1); SYS_listen(-1); SYS_sendmsg(-1); SYS_sendmmsg(-1); SYS_recvmsg(-1);
        SYS_sendto(-1, 0, 0, libc::MSG_FASTOPEN); SYS_sendto(-1, 0, 0, 0, 1);
        SYS_sendto(-1, 0, 0, 0, 1_i64 << 32); SYS_setsockopt(-1, 1, 26); SYS_setsockopt(-1, 6, 30);
        SYS_fchmodat(-1); SYS_fchownat(-1); SYS_utimensat(-1, 1); SYS_truncate(); SYS_symlinkat();
        SYS_mknodat(-1); SYS_setxattr(); SYS_name_to_handle_at(-1); SYS_open_by_handle_at(-1);
        SYS_openat2(-1); SYS_inotify_init1(-1); SYS_fanotify_init(-1);
        SYS_mount(); SYS_umount2(); SYS_pivot_root(); SYS_chroot(); SYS_chdir(); SYS_fchdir(-1);
        SYS_open_tree(-1, 0, -1); SYS_fsopen(); SYS_move_mount(-1);
        SYS_keyctl(-1); SYS_add_key(); SYS_request_key(); SYS_prctl(-1); SYS_seccomp(-1);
        SYS_personality(-1); SYS_prlimit64(0, 999); SYS_sched_setaffinity(-1); SYS_setpriority(-1);
        SYS_setresuid(-1, -1, -1); SYS_setgroups(-1); SYS_capset(); SYS_init_module(); SYS_delete_module();
        SYS_reboot(); SYS_swapon(); SYS_settimeofday(1); SYS_clock_settime(-1); SYS_sethostname(0, -1);
        SYS_ioctl(-1, libc::TIOCSTI); SYS_ioctl(-1, libc::TIOCSTI as i64 | 1 << 32); SYS_ioctl(-1, libc::TIOCSCTTY);
        SYS_fcntl(-1, libc::F_SETOWN); SYS_fcntl(-1, 10); SYS_fcntl(-1, libc::F_NOTIFY);
        SYS_mprotect(1, 0, libc::PROT_EXEC); SYS_mmap(0, 0, libc::PROT_EXEC); SYS_pkey_mprotect(1);
    };
    #[cfg(target_arch = "x86_64")]
    calls.extend(table! {
        SYS_chmod(); SYS_chown(); SYS_lchown(); SYS_utime(); SYS_utimes(); SYS_rename();
        SYS_link(); SYS_symlink(); SYS_unlink(); SYS_mkdir(); SYS_rmdir(); SYS_mknod(); SYS_creat();
    });
    calls
}

fn errno((_, number, [a, b, c, d, e, f]): &(&str, c_long, [c_long; 6])) -> i32 {
    // SAFETY: whoever is called has nothing to read or write by these arguments.
    match unsafe { libc::syscall(*number, *a, *b, *c, *d, *e, *f) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}

#[test]
fn a_call_that_serving_does_not_take_is_not_there() {
    let home = Home::new();
    let calls = calls();
    let outside: Vec<i32> = calls.iter().map(errno).collect();
    let known = outside.iter().filter(|errno| **errno != libc::ENOSYS).count();
    assert!(known * 10 > calls.len() * 9, "most of them are there outside: {outside:?}");
    let Some(inside) = inside(home.path(), || calls.iter().map(errno).collect::<Vec<_>>()) else {
        return;
    };
    for (call, errno) in calls.iter().zip(inside) {
        assert_eq!(errno, libc::ENOSYS, "{call:?}");
    }
}

/// The helper of this gateway: the one process that it has started.
fn helper(gateway: &Gateway) -> Pid {
    let path = format!("/proc/{0}/task/{0}/children", gateway.pid());
    let children = fs::read_to_string(path).unwrap();
    let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{children}");
    };
    Pid::from_raw(child.parse().unwrap()).unwrap()
}

#[test]
fn the_gateway_and_its_helper_end_together() {
    let (home, id) = Home::with_key();
    let authorization = bearer(&pair(&home, ""));
    let start = || {
        let gateway = Gateway::start(&home);
        let helper = helper(&gateway);
        (gateway, helper)
    };
    let is_gone = |pid| test_kill_process(pid).is_err();

    let (gateway, killed) = start();
    // A request to end, as Ctrl-C makes it of both, does not take the helper from what is in flight.
    for signal in [Signal::INT, Signal::TERM, Signal::TERM] {
        kill_process(killed, signal).unwrap();
    }
    let line = format!("POST /keys/{id}/resolve");
    let resolved = gateway.ask(&line, &[("Authorization", &authorization)], "");
    assert_eq!(resolved.body, format!("{{\"key\":\"{VALUE}\"}}"));
    kill_process(killed, Signal::KILL).unwrap();
    let ended = gateway.wait();
    assert_eq!(ended.status, Some(1), "{ended}");
    assert!(
        ended.err.contains("lf: service_failed: the helper of the gateway has ended"),
        "{ended}"
    );

    let (gateway, left) = start();
    gateway.signal(Signal::KILL);
    let _ = gateway.wait();
    until("the helper's end", || is_gone(left));

    let (gateway, left) = start();
    assert_eq!(gateway.ends().status, Some(0));
    until("the helper's end", || is_gone(left));
}

#[test]
fn the_helper_is_there_before_the_first_thread() {
    let (home, _) = Home::with_key();
    let log = home.path().join("log");
    let run = home.lf("gateway serve --keys-only --port 0");
    let gateway = Gateway::run(run.trace(&log, "clone,clone3,fork,vfork,prctl,write"));
    assert!(gateway.is_well());
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    let starts = |line: &&str| line.contains("clone") || line.contains("fork(");
    let mut lines = log.lines().filter(starts);
    let first = lines.next().unwrap();
    assert!(!first.contains("CLONE_THREAD"), "{log}");
    let me = first.split_whitespace().next().unwrap();
    let threads = lines.filter(|line| line.starts_with(me) && line.contains("CLONE_THREAD"));
    assert!(threads.count() > 0, "{log}");
}

#[test]
fn directories_that_are_missing_are_made_and_none_above_them_is_opened() {
    let home = Home::new();
    let keys = home.path().join("mount/keys");
    fs::create_dir(home.path().join("mount")).unwrap();
    let serve = |keys: &Path| {
        home.lf("gateway serve --keys-only --port 0").env("LENSERFIGHT_KEYS_DIR", keys)
    };
    let gateway = Gateway::run(serve(&keys));
    let root = home.path().join(".lenserfight");
    for made in [&keys, &root] {
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let ended = gateway.ends();
    let said = format!(": files below {} and {};", root.display(), keys.display());
    assert!(ended.err.contains(&said) || ended.err.contains("landlock: none"), "{ended}");
    // Where it cannot be made, the gateway does not start.
    let keys = Path::new("/proc/lf/keys");
    let refused = serve(keys).fails(2, "refused");
    let hint = format!("lf: hint: mkdir -p -m 700 {}\n", keys.display());
    assert!(refused.err.contains(&hint) && refused.out.is_empty(), "{refused}");
}

#[test]
fn a_system_that_allows_no_sandbox_is_named_at_the_start() {
    let (home, _) = Home::with_key();
    let token = pair(&home, "");
    let run = home.lf("gateway serve --keys-only --port 0");
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "--inject=prctl:error=EPERM"];
    let gateway = Gateway::run(run.under(&strace));
    assert_eq!(gateway.ask("GET /keys", &[("Authorization", &bearer(&token))], "").status, 200);
    let ended = gateway.ends();
    let refused = "none (Operation not permitted (os error 1))";
    let line = format!("lf: sandbox: landlock: {refused}; seccomp: {refused}\n");
    assert!(ended.err.contains(&line), "{ended}");
}

#[test]
fn a_change_of_the_passphrase_that_was_cut_short_is_settled_by_the_helper() {
    let (home, bus) = Home::with_keychain();
    let add = |label| {
        let run = home.words(&["keys", "add", "--provider", "openai", "--label", label]);
        bus.on(run).input(VALUE).ok().out.trim_end().to_owned()
    };
    let id = add("Prod");
    let rekey = bus.on(home.bare("keys rekey")).inject("renameat:signal=SIGKILL:when=4");
    let killed = rekey.on_core(&support::cores()[0]).go();
    assert!(home.keys().join(".rekey").is_dir(), "{killed}");
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let token = support::gateway::token(bus.on(home.bare("gateway pair")));
    let authorization = bearer(&token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let body = r#"{"provider":"openai","label":"New","rawKey":"sk-new"}"#;
    let added = gateway.ask("POST /keys", &headers, body);
    assert_eq!(added.status, 201, "{added:?}");
    assert!(!home.keys().join(".rekey").exists());
    let resolved = gateway.ask(&format!("POST /keys/{id}/resolve"), &headers, "");
    assert_eq!(resolved.body, format!("{{\"key\":\"{VALUE}\"}}"));
    bus.on(home.bare("keys doctor")).ok();
}

#[test]
fn all_that_the_gateway_does_works_inside_for_as_long_as_it_is_asked() {
    let (home, bus) = Home::with_keychain();
    let pairs = ["one", "two", "three"].map(|name| {
        support::gateway::token(bus.on(home.bare(&format!("gateway pair --name {name}"))))
    });
    let gateway = Gateway::run(bus.on(home.bare("gateway serve --keys-only --port 0")));
    let span = Duration::from_secs(if cfg!(feature = "torture") { 600 } else { 2 });
    let end = Instant::now() + span;
    let work = |token: &String| {
        let authorization = bearer(token);
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let mut client = Client::new(&gateway);
        let mut ask = |line: &str, body: &str, status: u16| loop {
            // What a pairing may do in a while is bounded; the rest of it is for the next while.
            let answer = client.ask(line, &headers, body);
            match answer.status {
                429 => thread::sleep(Duration::from_millis(200)),
                _ => {
                    assert_eq!(answer.status, status, "{line} {answer:?}");
                    return answer.body;
                }
            }
        };
        let mut rounds = 0;
        while rounds == 0 || Instant::now() < end {
            let body = r#"{"provider":"openai","label":"L","rawKey":"sk-1"}"#;
            let added = ask("POST /keys", body, 201);
            let id = added.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
            ask("GET /healthz", "", 200);
            ask("GET /keys?include=last_used", "", 200);
            ask(&format!("PUT /keys/{id}"), r#"{"label":"M","rawKey":"sk-2"}"#, 200);
            ask(&format!("POST /keys/{id}/rotate"), "", 200);
            let value = ask(&format!("POST /keys/{id}/resolve"), "", 200);
            assert_eq!(value, r#"{"key":"sk-2"}"#);
            ask(&format!("DELETE /keys/{id}"), "", 204);
            ask("GET /client.js", "", 200);
            assert_eq!(gateway.ask("GET /keys", &[], "").status, 401);
            rounds += 1;
        }
    };
    thread::scope(|scope| {
        for token in &pairs {
            scope.spawn(|| work(token));
        }
    });
    let ended = gateway.ends();
    assert_eq!(ended.status, Some(0), "{ended}");
    assert!(!ended.err.contains("warning"), "{ended}");
}

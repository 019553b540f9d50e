//! The gateway under a service manager, and what it gives up before it serves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::gateway::{Gateway, bearer, pair, token};
use support::{HANG, Home, Outcome, PASSPHRASE, VALUE, free_ports, hand_over, package_of, until};

/// `lf` with this as descriptor 3, as a service manager would start it.
fn passed_on(home: &Home, socket: impl Into<OwnedFd>, arguments: &str) -> Child {
    passed_on_many(home, socket, "1", arguments)
}

fn passed_on_many(home: &Home, socket: impl Into<OwnedFd>, count: &str, arguments: &str) -> Child {
    let mut shell = Command::new("sh");
    let line = "LISTEN_PID=$$ exec \"$@\" 3<&0 0</dev/null";
    shell
        .args(["-c", line, "sh", env!("CARGO_BIN_EXE_lf")])
        .args(arguments.split_whitespace())
        .env_clear()
        .env("HOME", home.path())
        .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
        .env("LF_GATEWAY_EXTRA_ORIGINS", ORIGIN)
        .env("LISTEN_FDS", count)
        .stdin(Stdio::from(socket.into()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shell.spawn().unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

fn end(home: &Home, mut child: Child) -> Outcome {
    let pid = rustix::process::Pid::from_child(&child);
    if child.try_wait().unwrap().is_none() {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
    home.lf("gateway serve").finish(child)
}

#[test]
fn a_socket_that_the_service_manager_opened_is_served() {
    let (home, _) = Home::with_key();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut child = passed_on(&home, listener, "gateway serve --keys-only");
    assert_eq!(first_line(&mut child), format!("listening on http://{address}\n"));
    assert!(answers(address));
    let ended = end(&home, child);
    assert_eq!(ended.status, Some(0), "{ended}");
}

#[test]
fn all_sockets_that_were_passed_on_are_served_and_only_those() {
    let (home, _) = Home::with_key();
    let listeners = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [first, second] = listeners.map(OwnedFd::from);
    // Standard error carries the second one over.
    let mut shell = Command::new("sh");
    let line = "LISTEN_PID=$$ exec \"$@\" 3<&0 4<&2 0</dev/null 2>/dev/null";
    let child = shell
        .args(["-c", line, "sh", env!("CARGO_BIN_EXE_lf"), "gateway", "serve", "--keys-only"])
        .env_clear()
        .env("HOME", home.path())
        .env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE)
        .env("LF_GATEWAY_EXTRA_ORIGINS", ORIGIN)
        .env("LISTEN_FDS", "2")
        .stdin(Stdio::from(first))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(second))
        .spawn();
    let mut child = child.unwrap();
    assert_eq!(first_line(&mut child), format!("listening on http://{}\n", addresses[0]));
    assert!(addresses.iter().all(|address| answers(*address)));
    // One that an older unit opened alone stays alone.
    let other = SocketAddr::new("::1".parse().unwrap(), addresses[0].port());
    assert!(TcpStream::connect(other).is_err());
    assert_eq!(end(&home, child).status, Some(0));
}

#[test]
fn the_rules_for_addresses_hold_for_a_socket_that_was_passed_on() {
    let home = Home::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let child = passed_on(&home, listener, "gateway serve");
    let refused = home.lf("").finish(child);
    assert_eq!(refused.status, Some(5), "{refused}");
    assert!(refused.err.contains("lf: unsafe_bind: "), "{refused}");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let home = Home::new();
    let file = fs::File::create(home.path().join("file")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let unix = std::os::unix::net::UnixListener::bind(home.path().join("socket")).unwrap();
    let others: [OwnedFd; 4] = [file.into(), udp.into(), connected.into(), unix.into()];
    let refused = |child| {
        let refused = home.lf("").finish(child);
        assert_eq!(refused.status, Some(2), "{refused}");
        assert!(refused.err.contains("lf: usage: "), "{refused}");
    };
    for other in others {
        refused(passed_on(&home, other, "gateway serve --keys-only"));
    }
    let socket = || listener.try_clone().unwrap();
    refused(passed_on(&home, socket(), "gateway serve --keys-only --port 1"));
    refused(passed_on(&home, socket(), "gateway serve --keys-only --bind ::1"));
    // More than one: the environment says so, whatever there is.
    for count in ["2", "17", "-1", "x"] {
        refused(passed_on_many(&home, socket(), count, "gateway serve --keys-only"));
    }
}

#[test]
fn a_socket_for_another_process_is_left_alone() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = listener.local_addr().unwrap();
    let run =
        home.lf("gateway serve --keys-only --port 0").env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let gateway = Gateway::run(run);
    assert_ne!(gateway.address, theirs);
    assert!(gateway.is_well());
}

#[test]
fn the_service_manager_hears_of_the_beginning_and_of_the_end() {
    let home = Home::new();
    let path = home.path().join("notify");
    let abstract_name = format!("lf-test-{}", std::process::id());
    let by_name = UnixAddr::from_abstract_name(&abstract_name).unwrap();
    let sockets = [
        (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
        (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{abstract_name}")),
    ];
    for (socket, address) in sockets {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let hears = || {
            let mut news = [0; 256];
            let count = socket.recv(&mut news).unwrap();
            String::from_utf8_lossy(&news[..count]).into_owned()
        };
        let run = home.lf("gateway serve --keys-only --port 0");
        let gateway = Gateway::run(run.env("NOTIFY_SOCKET", &address));
        let news = hears();
        assert!(
            news.starts_with("READY=1\n") && news.contains(&gateway.address.to_string()),
            "{news}"
        );
        let ended = gateway.ends();
        assert_eq!(ended.status, Some(0), "{ended}");
        assert_eq!(hears(), "STOPPING=1");
    }
}

#[test]
fn a_service_manager_that_is_not_there_stops_nothing() {
    let home = Home::new();
    for address in ["/nowhere", "@nobody-of-this-name", "vsock:2:1", "relative"] {
        let run = home.lf("gateway serve --keys-only --port 0");
        let gateway = Gateway::run(run.env("NOTIFY_SOCKET", address));
        assert!(gateway.is_well());
        assert_eq!(gateway.ends().status, Some(0));
    }
}

/// What the gateway says of its sandbox, and whether there is one.
fn sandbox(outcome: &Outcome) -> (String, bool) {
    let mut lines = outcome.err.lines();
    let line = lines.find_map(|line| line.strip_prefix("lf: sandbox: "));
    let line = line.unwrap_or_else(|| panic!("no word of a sandbox: {outcome}"));
    (line.to_owned(), line.starts_with("landlock "))
}

fn is_landlock_on() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) => list.contains("landlock"),
        Err(_) => symbols.contains("sys_landlock_create_ruleset"),
    }
}

#[test]
fn a_store_that_is_moved_out_of_the_sandbox_is_out_of_reach() {
    let (home, _) = Home::with_key();
    let token = pair(&home, "");
    let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::rename(home.keys(), inside.join("keys")).unwrap();
    let link = home.path().join("link");
    symlink(&inside, &link).unwrap();
    let run = home
        .lf("gateway serve --keys-only --port 0")
        .env("LENSERFIGHT_KEYS_DIR", link.join("keys"));
    let gateway = Gateway::run(run);
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let list = || gateway.ask("GET /keys", &[("Authorization", &bearer(&token))], "");
    assert_eq!(list().status, 200);
    // What it opens by the same path is another directory now, which nobody named at its start.
    fs::create_dir(&outside).unwrap();
    let copied = Command::new("cp").arg("-a").arg(inside.join("keys")).arg(&outside).status();
    assert!(copied.unwrap().success());
    let point = |to: &Path| {
        fs::remove_file(&link).unwrap();
        symlink(to, &link).unwrap();
    };
    point(&outside);
    let away = list();
    point(&inside);
    assert_eq!(list().status, 200);
    let ended = gateway.ends();
    assert_eq!(ended.status, Some(0), "{ended}");
    let (line, is_confined) = sandbox(&ended);
    if is_confined {
        assert_eq!(away.told(), (500, "permission_error"), "{line}");
        assert!(
            ended.err.contains("replaced a directory since the start, restart the gateway"),
            "{ended}"
        );
        assert!(line.contains(&home.path().join("link/keys").display().to_string()), "{line}");
    } else {
        assert!(line.starts_with("landlock: none") && !is_landlock_on(), "{line}");
        assert_eq!(away.status, 200);
    }
}

#[test]
fn a_store_that_comes_or_is_replaced_while_the_gateway_runs_is_served() {
    let home = Home::new();
    let gateway = Gateway::start(&home);
    let token = pair(&home, "");
    let id = home.add("openai", "Prod", VALUE);
    let authorization = bearer(&token);
    let headers = [("Authorization", authorization.as_str())];
    let resolve = || gateway.ask(&format!("POST /keys/{id}/resolve"), &headers, "");
    assert_eq!(resolve().body, format!("{{\"key\":\"{VALUE}\"}}"));
    let old = home.path().join(".lenserfight/old");
    fs::rename(home.keys(), &old).unwrap();
    assert_eq!(resolve().told(), (404, "key_not_found"));
    let copied = Command::new("cp").arg("-a").arg(&old).arg(home.keys()).status();
    assert!(copied.unwrap().success());
    assert_eq!(resolve().status, 200);
    let json = [headers[0], ("Content-Type", "application/json")];
    let body = r#"{"provider":"openai","label":"New","rawKey":"sk-new"}"#;
    assert_eq!(gateway.ask("POST /keys", &json, body).status, 201);
    assert!(home.audit().contains("POST /keys"));
}

#[test]
fn a_passphrase_file_that_is_replaced_is_read_in_the_sandbox_too() {
    let (home, id) = Home::with_key();
    let token = pair(&home, "");
    // As Kubernetes has it: a link to a file in a directory that changes.
    let dir = home.path().join("secret");
    let version = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("passphrase"), text).unwrap();
        support::chmod(&path.join("passphrase"), 0o600);
        let _ = fs::remove_file(dir.join("..data"));
        symlink(name, dir.join("..data")).unwrap();
    };
    version("..1", PASSPHRASE);
    symlink("..data/passphrase", dir.join("passphrase")).unwrap();
    let run = home
        .bare("gateway serve --keys-only --port 0")
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", dir.join("passphrase"));
    let gateway = Gateway::run(run);
    let authorization = bearer(&token);
    let resolve = || {
        let line = format!("POST /keys/{id}/resolve");
        gateway.ask(&line, &[("Authorization", &authorization)], "").status
    };
    assert_eq!(resolve(), 200);
    version("..2", "another passphrase that opens nothing");
    assert_ne!(resolve(), 200);
    version("..3", PASSPHRASE);
    assert_eq!(resolve(), 200);
}

#[test]
fn a_passphrase_file_in_the_next_directory_of_many_is_read_in_the_sandbox_too() {
    let (home, id) = Home::with_key();
    let token = pair(&home, "");
    // As agenix and sops-nix have it: a link to the newest of several directories.
    let (all, link) = (home.path().join("secrets.d"), home.path().join("secrets"));
    let version = |name: &str| {
        let dir = all.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("passphrase"), PASSPHRASE).unwrap();
        support::chmod(&dir.join("passphrase"), 0o600);
        let _ = fs::remove_file(&link);
        symlink(dir, &link).unwrap();
    };
    version("1");
    let run = home
        .bare("gateway serve --keys-only --port 0")
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", link.join("passphrase"));
    let gateway = Gateway::run(run);
    version("2");
    fs::remove_dir_all(all.join("1")).unwrap();
    let line = format!("POST /keys/{id}/resolve");
    let resolved = gateway.ask(&line, &[("Authorization", &bearer(&token))], "");
    assert_eq!(resolved.body, format!("{{\"key\":\"{VALUE}\"}}"));
}

/// The unit, or both, as `--print` shows them.
fn printed(home: &Home, arguments: &str) -> Outcome {
    home.lf(&format!("gateway install --print {arguments}")).ok()
}

#[test]
fn printing_the_unit_needs_no_systemd_changes_nothing_and_has_no_secret() {
    let home = Home::new();
    let run = home.lf("gateway install --print --keys-only --socket --port 4711");
    let unit = run.env("PATH", "/nowhere").ok();
    for line in [
        "ListenStream=127.0.0.1:4711",
        "ListenStream=[::1]:4711",
        "Type=notify",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.out.lines().any(|it| it == line), "no {line}: {unit}");
    }
    assert!(!unit.out.contains(PASSPHRASE), "{unit}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_unit_that_needs_no_keychain_sees_no_socket_of_the_session() {
    let home = Home::new();
    let run = home.path().join("run");
    let hidden = |arguments: &str, variables: &[(&str, PathBuf)]| {
        let install = home.bare(&format!("gateway install --print --keys-only {arguments}"));
        let install = install.env("XDG_RUNTIME_DIR", &run);
        let set = |install: support::Run, (name, value): &(&str, PathBuf)| install.env(name, value);
        let unit = variables.iter().fold(install, set).ok().out;
        assert!(unit.contains("\nBindPaths=%t/systemd/notify\n"), "{unit}");
        let mut lines = unit.lines();
        let line = lines.find_map(|line| line.strip_prefix("TemporaryFileSystem="));
        line.unwrap().to_owned()
    };
    let force = ("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1".into());
    let file = |path: PathBuf| ("LENSERFIGHT_KEYS_PASSPHRASE_FILE", path);
    let (manager, all) = ("%t/systemd:ro", "%t:ro");
    let out = || file(home.path().join("passphrase"));
    for (arguments, variables, expected) in [
        ("", vec![], manager),
        ("", vec![force.clone()], manager),
        // The tokens of pairings may be in the keychain.
        ("", vec![out()], manager),
        ("--credential x", vec![], manager),
        ("", vec![force.clone(), out()], all),
        ("--credential x", vec![force.clone()], all),
        ("", vec![force.clone(), file(run.join("passphrase"))], manager),
        ("--credential x", vec![force, ("LENSERFIGHT_RUNTIME_DIR", run.join("root"))], manager),
    ] {
        assert_eq!(hidden(arguments, &variables), expected, "{arguments} {variables:?}");
    }
}

#[test]
fn the_unit_names_the_path_that_lf_was_called_by() {
    let home = Home::new();
    let (versions, bin) = (home.path().join("Cellar/1.0"), home.path().join("bin"));
    fs::create_dir_all(&versions).unwrap();
    fs::create_dir(&bin).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_lf"), versions.join("lf")).unwrap();
    symlink(versions.join("lf"), bin.join("lf")).unwrap();
    // Another program of that name, which PATH has later.
    let path = format!("{}:{}", bin.display(), versions.display());
    for (program, line) in [
        ("lf", "lf \"$@\""),
        ("a path", "bin/lf \"$@\""),
        ("another name", "exec -a nonsense bin/lf \"$@\""),
    ] {
        let mut shell = Command::new("/bin/bash");
        let output = shell
            .args(["-c", line, "bash", "gateway", "install", "--print"])
            .current_dir(home.path())
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let unit = String::from_utf8(output.stdout).unwrap();
        let expected = if program == "another name" { versions.join("lf") } else { bin.join("lf") };
        let start = format!("ExecStart={expected:?} gateway serve\n");
        assert!(unit.contains(&start), "{program}: {unit}");
    }
}

#[test]
fn what_serve_would_refuse_is_not_installed() {
    let home = Home::new();
    for (arguments, status, code) in [
        ("--port 0", 2, "usage"),
        ("--port 70000", 2, "usage"),
        ("--bind nowhere", 2, "usage"),
        ("--bind 0.0.0.0", 5, "unsafe_bind"),
        // It would take the next line of the unit for its rest.
        ("--credential x\\", 2, "usage"),
    ] {
        home.lf(&format!("gateway install --print {arguments}")).fails(status, code);
    }
    let twice = home.lf("gateway install --print --credential x");
    twice.env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", "y").fails(2, "usage");
    let pattern = home.lf("gateway install --print");
    pattern.env("LF_GATEWAY_EXTRA_ORIGINS", "(").fails(2, "usage");
}

#[test]
fn systemd_finds_no_fault_with_the_units_whatever_the_paths() {
    let home = Home::new();
    let nasty = home.path().join("a b/100% $HOME \"x\" \\y");
    fs::create_dir_all(nasty.join("units")).unwrap();
    let refused = nasty.join("lf");
    let program = home.path().join("a b/100% $HOME {;}/lf");
    fs::create_dir(program.parent().unwrap()).unwrap();
    for copy in [&refused, &program] {
        fs::copy(env!("CARGO_BIN_EXE_lf"), copy).unwrap();
    }
    // Such a name systemd does not take for a program, however it is written.
    let output = Command::new(refused).args(["gateway", "install", "--print"]).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    for (arguments, units) in [
        ("--keys-only", &["lf-gateway.service"][..]),
        ("--keys-only --socket", &["lf-gateway.socket", "lf-gateway.service"]),
        ("--credential /a%b", &["lf-gateway.service"]),
    ] {
        let mut command = Command::new(&program);
        let output = command
            .args(["gateway", "install", "--print"])
            .args(arguments.split(' '))
            .env_clear()
            .env("HOME", home.path())
            .env("LENSERFIGHT_RUNTIME_DIR", nasty.join("root"))
            .env("LENSERFIGHT_KEYS_DIR", nasty.join("keys %h"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let texts: Vec<&str> = text.split("\n\n# made by").collect();
        assert_eq!(texts.len(), units.len(), "{text}");
        for (name, text) in units.iter().zip(&texts) {
            let text = format!("# made by{}", text.trim_start_matches("# made by"));
            fs::write(nasty.join("units").join(name), text).unwrap();
        }
        let verified = analyze(&home, "verify", &nasty.join("units").join(units[0]));
        assert_eq!((verified.status, verified.err.as_str()), (Some(0), ""), "{verified}");
        let scored = analyze(&home, "security", &nasty.join("units/lf-gateway.service"));
        let level = scored.out.rsplit("lf-gateway.service: ").next().unwrap();
        let level: f32 = level.split(' ').next().unwrap().parse().unwrap();
        assert!(level < 3.0, "{scored}");
        let _ = fs::remove_file(nasty.join("units/lf-gateway.socket"));
    }
}

fn analyze(home: &Home, verb: &str, unit: &Path) -> Outcome {
    let mut command = Command::new("systemd-analyze");
    match verb {
        "verify" => command.args(["--user", "--man=no", verb]),
        _ => command.args(["--offline=yes", "--no-pager", verb]),
    };
    let child = command
        .arg(unit)
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("systemd-analyze: {error}; {}", package_of("systemd-analyze".as_ref()))
        });
    home.lf("").finish(child)
}

#[test]
fn without_a_service_manager_nothing_is_written_and_the_line_to_run_is_named() {
    let home = Home::new();
    for path in ["/nowhere".into(), std::env::var_os("PATH").unwrap()] {
        let run = home.lf("gateway install --keys-only --port 4712");
        let refused = run.env("PATH", path).fails(1, "no_service_manager");
        let line = "lf: hint: lf gateway serve --keys-only --bind 127.0.0.1 --port 4712\n";
        assert!(refused.err.contains(line), "{refused}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
    let nothing = home.lf("gateway uninstall").ok();
    assert!(nothing.out.contains("nothing to do"), "{nothing}");
}

#[test]
fn the_tools_that_are_asked_do_not_get_the_passphrase() {
    let home = Home::new();
    let tool = home.path().join("systemctl");
    fs::write(&tool, "#!/bin/sh\nexport -p >\"$HOME/seen\"\nexit 1\n").unwrap();
    support::chmod(&tool, 0o755);
    let run = home.lf("gateway install --keys-only");
    run.env("PATH", home.path()).fails(1, "no_service_manager");
    let seen = fs::read_to_string(home.path().join("seen")).unwrap();
    assert!(seen.contains("HOME=") && !seen.contains(PASSPHRASE), "{seen}");
}

#[test]
fn a_unit_that_is_not_ours_or_was_changed_is_left_alone() {
    let home = Home::new();
    let dir = home.path().join("config/systemd/user");
    fs::create_dir_all(&dir).unwrap();
    let unit = dir.join("lf-gateway.service");
    let ours = printed(&home, "--keys-only").out;
    for text in ["[Service]\nExecStart=/bin/true\n".to_owned(), format!("{ours}Nice=1\n")] {
        fs::write(&unit, &text).unwrap();
        for command in ["gateway install --keys-only", "gateway uninstall"] {
            let run = home.lf(command).env("XDG_CONFIG_HOME", home.path().join("config"));
            let refused = run.fails(2, "refused");
            assert!(
                refused.err.contains("systemctl --user disable --now lf-gateway.service && rm ")
            );
            assert_eq!(fs::read_to_string(&unit).unwrap(), text);
        }
    }
    fs::remove_file(&unit).unwrap();
    symlink("/dev/null", &unit).unwrap(); // as systemctl mask leaves it
    let run = home.lf("gateway install --keys-only");
    run.env("XDG_CONFIG_HOME", home.path().join("config")).fails(1, "symlink_refused");
}

/// A user manager of systemd's own, where this machine lets us have one.
struct Manager {
    child: Child,
    home: Home,
}

impl Manager {
    fn start() -> Option<Manager> {
        let home = Home::new();
        for dir in ["home", "run"] {
            fs::create_dir(home.path().join(dir)).unwrap();
        }
        hand_over(home.path());
        let mut unshare = Command::new("unshare");
        let child = unshare
            .args(["--mount", "sh", "tests/service/manager.sh"])
            .arg(home.path())
            .arg("65534")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut manager = Manager { child, home };
        let start = Instant::now();
        while !manager.ask(&["is-active", "basic.target"]).starts_with("active") {
            let is_over = manager.child.try_wait().unwrap().is_some();
            if is_over || start.elapsed() > Duration::from_secs(20) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(manager)
    }

    fn variables(&self) -> [(&'static str, PathBuf); 2] {
        let room = self.home.path();
        [("HOME", room.join("home")), ("XDG_RUNTIME_DIR", room.join("run"))]
    }

    /// What `systemctl --user` says.
    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("setpriv");
        let output = command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "systemctl", "--user"])
            .args(arguments)
            .env_clear()
            .envs(self.variables())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn lf(&self, arguments: &str) -> support::Run {
        let [(_, home), (_, run)] = self.variables();
        let passphrase = self.home.path().join("home/passphrase");
        // What quoting gets wrong could not be read or written there.
        let root = self.home.path().join("home/a b 100%h $HOME \"x\" 'y' \\z");
        self.home
            .bare(arguments)
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", run)
            .env("LENSERFIGHT_KEYS_PASSPHRASE_FILE", passphrase)
            .env("LENSERFIGHT_RUNTIME_DIR", root)
            .env("LF_GATEWAY_EXTRA_ORIGINS", r"https://\d{2}\.example")
            .unprivileged()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > HANG {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Control groups are removed from the inside.
        let name = self.home.path().file_name().unwrap().to_owned();
        for tree in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
            let mut find = Command::new("find");
            find.arg(Path::new(tree).join(&name));
            let _ = find
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
        && tell(address, "GET /healthz", "", "").starts_with("HTTP/1.0 200 ")
}

/// One request of a paired browser at an origin that only a pattern allows.
fn tell(address: SocketAddr, line: &str, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

const ORIGIN: &str = "https://42.example";

#[test]
fn the_service_is_installed_updated_started_by_a_socket_and_removed() {
    let Some(manager) = Manager::start() else {
        // No namespaces or no control groups for us here: what the unit starts must still run as it says.
        return the_line_of_the_unit_serves();
    };
    let passphrase = manager.home.path().join("home/passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    support::chmod(&passphrase, 0o600);
    hand_over(&passphrase);
    let id = manager.lf("keys add --provider openai --label Prod").input(VALUE).ok().out;
    let token = token(manager.lf("gateway pair"));
    let mut ports = free_ports();
    let (first, second) = (ports.next().unwrap(), ports.next().unwrap());
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));

    let installed = manager.lf(&format!("gateway install --keys-only --port {first}")).ok();
    assert!(installed.out.contains(&format!("serves on http://{}", at(first))), "{installed}");
    assert!(answers(at(first)));
    let is_cargos = env!("CARGO_BIN_EXE_lf").contains("/target/");
    assert_eq!(installed.err.contains("cargo clean removes it"), is_cargos, "{installed}");
    let pid = manager.ask(&["show", "--property=MainPID", "--value", "lf-gateway.service"]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{status}");
    }
    // The manager's own socket, which starts any program, is out of sight.
    let seen = |name: &str| {
        let run = manager.home.path().join("run/systemd").join(name);
        let (own, here) = (PathBuf::from(format!("/proc/{pid}/root{}", run.display())), run);
        assert!(here.exists());
        own.exists()
    };
    assert!(seen("notify") && !seen("private"));

    // In use by somebody else: said before anything is changed.
    let taken = TcpListener::bind(at(second)).unwrap();
    manager.lf("gateway uninstall").ok();
    let run = manager.lf(&format!("gateway install --keys-only --port {second}"));
    run.fails(1, "cannot_listen");
    assert_eq!(manager.ask(&["is-active", "lf-gateway.service"]), "inactive");
    drop(taken);

    manager.lf(&format!("gateway install --keys-only --port {first}")).ok();
    let taken = TcpListener::bind(at(second)).unwrap();
    let run = manager.lf(&format!("gateway install --keys-only --port {second}"));
    run.fails(1, "cannot_listen");
    assert!(answers(at(first)), "what was there before goes on");
    drop(taken);
    manager.lf(&format!("gateway install --keys-only --port {second}")).ok();
    // Again and again, as somebody does who tries it out: that is no service that keeps failing.
    for _ in 0..6 {
        manager.lf(&format!("gateway install --keys-only --port {second}")).ok();
    }
    assert!(answers(at(second)) && !answers(at(first)));

    // Where the manager does not look: it has another unit of that name, and that one is not ours to claim.
    let other = manager.home.path().join("home/other");
    for command in
        [format!("gateway install --keys-only --port {first}"), "gateway uninstall".to_owned()]
    {
        let run = manager.lf(&command).env("XDG_CONFIG_HOME", &other);
        let refused = run.fails(2, "refused");
        assert!(refused.err.contains("systemd reads lf-gateway.service from "));
        assert!(!other.join("systemd/user/lf-gateway.service").exists());
    }
    assert!(answers(at(second)) && !answers(at(first)));

    let socket = format!("gateway install --keys-only --socket --port {second}");
    manager.lf(&socket).ok();
    assert_eq!(manager.ask(&["is-active", "lf-gateway.service"]), "inactive");
    assert!(answers(SocketAddr::new("::1".parse().unwrap(), second)), "the first connection");
    let line = format!("POST /keys/{}/resolve", id.trim_end());
    let resolved = tell(at(second), &line, &token, "");
    let value = format!("{{\"key\":\"{VALUE}\"}}");
    assert!(resolved.ends_with(&value), "{resolved}");
    let body = r#"{"provider":"openai","label":"New","rawKey":"sk-new"}"#;
    let added = tell(at(second), "POST /keys", &token, body);
    assert!(added.starts_with("HTTP/1.0 201 "), "{added}");
    assert!(added.contains(": https://42.example\r\n"), "{added}");
    assert_eq!(manager.ask(&["is-active", "lf-gateway.service"]), "active");

    manager.lf("gateway uninstall").ok();
    assert!(!answers(at(second)));
    let left = fs::read_dir(manager.home.path().join("home/.config/systemd/user")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_none()), "{left:?}");

    // It cannot start: said, and not tried for ever.
    let refused = manager.lf(&format!("gateway install --port {first}"));
    let refused = refused.fails(1, "service_failed");
    assert!(refused.err.contains("journalctl --user -u lf-gateway.service"), "{refused}");
    until("giving up", || manager.ask(&["is-active", "lf-gateway.service"]) == "failed");
    let status =
        manager.ask(&["show", "--property=ExecMainStatus,NRestarts", "lf-gateway.service"]);
    assert!(status.contains("ExecMainStatus=3") && status.contains("NRestarts=0"), "{status}");
    manager.lf("gateway uninstall").ok();
}

fn the_line_of_the_unit_serves() {
    let home = Home::new();
    let port = free_ports().next().unwrap();
    let unit = printed(&home, &format!("--keys-only --port {port}")).out;
    let mut lines = unit.lines();
    let line = lines.find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let program = format!("{:?} gateway serve", env!("CARGO_BIN_EXE_lf"));
    assert_eq!(line, program);
    let mut run = home.lf("gateway serve");
    let settings = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    for setting in settings.flat_map(|line| line.trim_matches('"').split("\" \"")) {
        let (name, value) = setting.split_once('=').unwrap();
        run = run.env(name, value);
    }
    let gateway = Gateway::run(run);
    assert_eq!(gateway.address.port(), port);
    assert!(gateway.is_well());
}

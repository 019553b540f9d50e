//! A session bus of the test's own, with a real Secret Service on it if it wants one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use local_keys::Environment;

use super::{Home, Outcome, Run, package_of, until};

/// In the foreground, the secrets alone.
const KEYRING: [&str; 2] = ["--foreground", "--components=secrets"];
/// The name of a Secret Service on the bus.
const SECRETS: &str = "org.freedesktop.secrets";

pub struct Bus {
    dir: PathBuf,
    /// None on Windows, which has its own keychain.
    daemon: Option<Child>,
    keyring: Option<Child>,
}

impl Bus {
    /// A bus without anything on it, below the home.
    pub fn start(home: &Home) -> Bus {
        let dir = home.path().join("session");
        for name in ["", "home", "data", "run"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        // Without <servicedir>: an activated second daemon would outlive the test.
        let config = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            dir.join("run/bus").display()
        );
        fs::write(dir.join("bus.conf"), config).unwrap();
        let is_wine = super::wine::template().is_some();
        let daemon = (!is_wine).then(|| start_daemon(&dir));
        Bus { dir, daemon, keyring: None }
    }

    /// A new bus daemon and a new keyring daemon at the same place.
    pub fn restart(&mut self) {
        self.stop_keyring();
        let daemon = self.daemon.as_mut().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        fs::remove_file(self.socket()).unwrap();
        self.daemon = Some(start_daemon(&self.dir));
        self.start_keyring(true);
    }

    /// A bus with an unlocked login keyring.
    pub fn with_keyring(home: &Home) -> Bus {
        let mut bus = Bus::start(home);
        bus.start_keyring(true);
        bus
    }

    /// Starts gnome-keyring, and unlocks (or makes) its login keyring, or leaves it as it is.
    pub fn start_keyring(&mut self, unlock: bool) {
        let command = self.command("gnome-keyring-daemon", &KEYRING);
        self.start_keyring_by(command, unlock);
    }

    /// Starts it on a disk that takes nothing: it answers what it has, and keeps nothing new.
    pub fn start_keyring_that_cannot_write(&mut self) {
        let strace = [
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "--inject=rename,renameat,renameat2,link:error=EROFS",
            "gnome-keyring-daemon",
        ];
        let command = self.command("strace", &[&strace[..], &KEYRING].concat());
        self.start_keyring_by(command, true);
    }

    fn start_keyring_by(&mut self, mut command: Command, unlock: bool) {
        if self.daemon.is_none() {
            return;
        }
        command.args(unlock.then_some("--unlock"));
        let mut keyring =
            start(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()));
        keyring.stdin.take().unwrap().write_all(b"keyring password").unwrap();
        self.keyring = Some(keyring);
        until("the Secret Service", || self.owner(SECRETS).is_some());
    }

    /// Which connection has this name on the bus.
    pub fn owner(&self, name: &str) -> Option<String> {
        let asked = self.run(
            "dbus-send",
            &[
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/",
                "org.freedesktop.DBus.GetNameOwner",
                &format!("string:{name}"),
            ],
        );
        let owner = asked.out.split('"').nth(1).map(str::to_owned);
        owner.filter(|_| asked.status == Some(0))
    }

    pub fn stop_keyring(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            super::end_traced(&mut keyring);
            // Whoever comes next would find the name taken.
            until("the end of the Secret Service", || self.owner(SECRETS).is_none());
        }
    }

    /// Stops the keyring in its tracks: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.keyring.as_ref().unwrap().id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    pub fn lock(&self) {
        let method = "org.freedesktop.Secret.Service.Lock";
        let collection = "array:objpath:/org/freedesktop/secrets/collection/login";
        let done = self.run(
            "dbus-send",
            &[
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                method,
                collection,
            ],
        );
        assert!(done.out.contains("collection/login"), "{done}");
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("run/bus")
    }

    /// Gives a run of `lf` the way to this bus.
    pub fn on(&self, run: Run) -> Run {
        run.env("DBUS_SESSION_BUS_ADDRESS", address(&self.socket()))
    }

    /// What a foreign client finds.
    pub fn lookup(&self, service: &str, account: &str) -> String {
        if self.daemon.is_none() {
            return self.credential("get", &format!("{service}/{account}"), "").out;
        }
        self.run("secret-tool", &["lookup", "service", service, "account", account]).out
    }

    /// Writes as a foreign client does; attributes come in pairs.
    pub fn store(&self, attributes: &[&str], secret: &str) {
        if self.daemon.is_none() {
            let value = |name| attributes.iter().skip_while(|word| **word != name).nth(1).unwrap();
            let target = format!("{}/{}", value("service"), value("account"));
            assert_eq!(self.credential("set", &target, secret).status, Some(0));
            return;
        }
        let mut command = self.command("secret-tool", &["store", "--label=test"]);
        let mut child = start(command.args(attributes).stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn credential(&self, act: &str, target: &str, secret: &str) -> Outcome {
        let mut words = super::wine::tool("credential.exe");
        words.extend([act.into(), target.into()]);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let home = self.dir.parent().unwrap();
        Run::of(home, &words).input(secret).go()
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        let child = start(
            self.command(program, arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let output = super::wait(child);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
            argv: vec![program.into()],
        }
    }

    /// A program of this session: its own home, and no screen.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command
            .env("HOME", self.dir.join("home"))
            .env("XDG_DATA_HOME", self.dir.join("data"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"));
        command.env("DBUS_SESSION_BUS_ADDRESS", address(&self.socket()));
        command
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.keyring.iter_mut().for_each(super::end_traced);
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn start_daemon(dir: &Path) -> Child {
    let mut command = Command::new("dbus-daemon");
    command.arg("--config-file").arg(dir.join("bus.conf")).args(["--nofork", "--print-address"]);
    let mut daemon = start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut address = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
    assert!(address.starts_with("unix:"), "dbus-daemon says {address:?}");
    daemon
}

pub fn address(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}

/// Variables for the library that lead to this bus, and to nothing else.
pub fn environment(socket: &Path) -> Environment {
    let address = address(socket);
    Environment::of(move |name| {
        (name == "DBUS_SESSION_BUS_ADDRESS").then(|| address.clone().into())
    })
}

pub fn start(command: &mut Command) -> Child {
    let program = command.get_program().to_owned();
    command.spawn().unwrap_or_else(|error| {
        panic!("{} does not start ({error}); {}", program.display(), package_of(&program))
    })
}

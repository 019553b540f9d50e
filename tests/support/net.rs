//! A network namespace of the test's own, with interfaces that nobody else has.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use super::{Run, package_of, until};

/// The address of [`Net::with_tailscale`].
pub const TAILNET: &str = "100.101.102.103";

pub struct Net {
    holder: Child,
}

impl Net {
    /// With a loopback interface that is up, and nothing else.
    pub fn new() -> Net {
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", "ip link set lo up && echo up && exec cat"]);
        let mut holder = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        let mut out = BufReader::new(holder.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "{}", package_of("ip".as_ref()));
        Net { holder }
    }

    /// And one that looks like Tailscale's. One end of a veth pair, and not a dummy, which not every
    /// kernel has: both ends up, it runs as a tunnel does.
    pub fn with_tailscale() -> Net {
        let net = Net::new();
        net.ip("link add tailscale0 type veth peer name peer0");
        net.ip("link set peer0 up");
        net.ip(&format!("addr add {TAILNET}/32 dev tailscale0"));
        net.up("tailscale0");
        // Tailscale's own address is behind it.
        net.ip("route add 100.100.100.100 dev tailscale0");
        net
    }

    /// Brings an interface up, which takes the kernel a moment.
    pub fn up(&self, name: &str) {
        self.ip(&format!("link set {name} up"));
        until("the interface runs", || {
            let shown = self.output(&["ip", "link", "show", name]);
            shown.contains("state UP")
        });
    }

    pub fn ip(&self, arguments: &str) {
        let mut command = self.command("ip");
        let status = command.args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }

    /// `lf`, in this network.
    pub fn run(&self, run: Run) -> Run {
        let pid = self.holder.id().to_string();
        run.under(&["nsenter", "--target", &pid, "--user", "--net", "--preserve-credentials"])
    }

    /// The status of a GET, and the body.
    pub fn get(&self, url: &str, header: &str) -> (String, String) {
        let form = "\n%{http_code}";
        let out = self.output(&["curl", "-s", "-m", "20", "-w", form, "-H", header, url]);
        let (body, status) = out.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    /// A connection that is kept.
    pub fn connect(&self, address: std::net::SocketAddr) -> Kept {
        let script = "exec 3<>/dev/tcp/$0/$1 4<&0; cat <&4 >&3 & exec cat <&3 4<&-";
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = self.command("bash");
        command.args(["-c", script, &ip, &port]);
        Kept(start(command.stdin(Stdio::piped()).stdout(Stdio::piped())))
    }

    fn output(&self, words: &[&str]) -> String {
        let mut command = self.command(words[0]);
        let output = command.args(&words[1..]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string()]);
        command.args(["--user", "--net", "--preserve-credentials", program]);
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A connection that is kept; bash holds it, since this process is in another network.
pub struct Kept(Child);

impl Kept {
    pub fn asks(&mut self, text: &str) {
        let _ = self.0.stdin.as_mut().unwrap().write_all(text.as_bytes());
    }

    /// What has come, when it has this in it, or when the other side has closed.
    pub fn hears(&mut self, end: &str) -> String {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        let out = self.0.stdout.as_mut().unwrap();
        while !String::from_utf8_lossy(&heard).contains(end) && out.read(&mut byte).unwrap() == 1 {
            heard.extend(byte);
        }
        String::from_utf8(heard).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Without its input, the half of it that writes ends.
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Child {
    let program = command.get_program().to_owned();
    let package = package_of(&program);
    let started = command.spawn();
    started
        .unwrap_or_else(|error| panic!("{} does not start ({error}); {package}", program.display()))
}

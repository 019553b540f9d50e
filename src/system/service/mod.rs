//! The gateway as a service of its user: what systemd or launchd is told, and how it is asked.

pub mod launchd;
pub mod manager;
#[cfg(unix)]
pub mod notify;
pub mod systemd;

use std::net::SocketAddr;

use sha2::{Digest, Sha256};

/// What is to run, and with what. All text, because that is what the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The absolute path of `lf`.
    pub program: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// In what mode.
    pub mode: Mode,
    /// When it starts.
    pub start: Start,
    /// Environment variables; none of them secret.
    pub variables: Vec<(&'static str, String)>,
    /// The directories that it writes; the first is there, others may come.
    pub writable: Vec<String>,
    /// The file of an encrypted systemd credential with the passphrase.
    pub credential: Option<String>,
    /// Can the manager give it namespaces of its own?
    pub walls: Walls,
}

/// What `lf gateway serve` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `--keys-only`
    KeysOnly,
    /// Nothing.
    Full,
    /// `--tailscale`
    Tailscale,
}

/// When the service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With its user's session.
    AtLogin,
    /// With the first connection.
    OnConnection,
}

/// What stands between the service and the rest, as far as namespaces go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// A user namespace, and in it all that needs one.
    Namespaces,
    /// None: this system gives users none.
    NoNamespaces,
}

/// Whose a file is that stands where ours belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Ours, as we wrote it.
    Lf,
    /// Ours, and changed since.
    Edited,
    /// Somebody else's.
    Stranger,
}

impl Service {
    /// What to type for the same without a service manager.
    #[must_use]
    pub fn foreground(&self) -> String {
        let here = Service {
            start: Start::AtLogin,
            ..self.clone()
        };
        format!("lf {}", here.arguments().join(" "))
    }

    /// What follows the program's name.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["gateway", "serve"].map(str::to_owned).into();
        match self.mode {
            Mode::KeysOnly => arguments.push("--keys-only".to_owned()),
            Mode::Full => {}
            Mode::Tailscale => arguments.push("--tailscale".to_owned()),
        }
        if self.start == Start::AtLogin {
            arguments.extend(["--bind".to_owned(), self.address.ip().to_string()]);
            arguments.extend(["--port".to_owned(), self.address.port().to_string()]);
        }
        arguments
    }
}

/// Puts the line that says whose the file is where [`MARK`] stands in its text.
fn signed(text: &str) -> String {
    text.replacen(MARK, &format!("{SIGNATURE}{}", digest(text)), 1)
}

/// Whose is it?
#[must_use]
pub fn maker(text: &str) -> Maker {
    let Some(at) = text.find(SIGNATURE) else {
        return Maker::Stranger;
    };
    let (before, rest) = text.split_at(at);
    let rest = &rest[SIGNATURE.len()..];
    let Some((digits, after)) = rest.split_at_checked(DIGITS) else {
        return Maker::Edited;
    };
    if digest(&format!("{before}{MARK}{after}")) == digits {
        Maker::Lf
    } else {
        Maker::Edited
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().take(DIGITS / 2);
    digits.map(|byte| format!("{byte:02x}")).collect()
}

const MARK: &str = "\u{1}";
const SIGNATURE: &str = "made by lf gateway install, which replaces it if its digest is still ";
const DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_whether_it_is_ours_and_untouched() {
        let text = signed(&format!("# {MARK}\n[Unit]\n"));
        assert!(
            !text.contains(MARK) && text.ends_with("\n[Unit]\n"),
            "{text}"
        );
        assert_eq!(maker(&text), Maker::Lf);
        assert_eq!(maker(&format!("{text}Nice=1\n")), Maker::Edited);
        assert_eq!(maker(&text.replace("# made", "#made")), Maker::Edited);
        assert_eq!(maker(&text[..text.len() - 20]), Maker::Edited);
        assert_eq!(maker("[Unit]\n"), Maker::Stranger);
    }
}

//! The gateway as a service of its user: the text of the systemd units and of the launchd agent, and the
//! tools that start them.

pub(crate) mod notify;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// What is to run, and with what. None of it is secret.
pub(crate) struct Service {
    /// The absolute path of `lf`.
    pub(crate) program: String,
    /// Where it listens, as a person is told.
    pub(crate) address: SocketAddr,
    /// What `LF_GATEWAY_BIND` says of that.
    pub(crate) binds: String,
    /// The lines for all of its addresses in [`SOCKET`].
    pub(crate) streams: String,
    /// The variables that it is set up by.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// The file of an encrypted systemd credential with the passphrase.
    pub(crate) credential: Option<String>,
    /// Its only socket comes from systemd.
    pub(crate) is_private: bool,
    /// What it does not see: where the manager has its sockets, or all sockets of the user's session.
    pub(crate) hidden: &'static str,
    /// A directory that it writes to.
    pub(crate) root: String,
    /// Another one, which may come later.
    pub(crate) keys: String,
}

impl Service {
    /// The text of [`SERVICE`].
    pub(crate) fn unit(&self) -> String {
        let mut settings = String::new();
        for (name, value) in &self.variables {
            settings += &format!("Environment={}\n", quoted(&format!("{name}={value}")));
        }
        if let Some(file) = &self.credential {
            let file = file.replace('%', "%%");
            settings += &format!("LoadCredentialEncrypted={CREDENTIAL}:{file}\n");
        }
        format!(
            include_str!("lf-gateway.service"),
            address = self.address,
            digest = DIGEST,
            program = quoted(&self.program),
            ip = self.binds,
            port = self.address.port(),
            settings = settings,
            private = if self.is_private { "yes" } else { "no" },
            hidden = self.hidden,
            root = quoted(&self.root),
            keys = quoted(&format!("-{}", self.keys)),
        )
    }

    /// The text of [`SOCKET`].
    pub(crate) fn socket(&self) -> String {
        let (address, digest, streams) = (self.address, DIGEST, &self.streams);
        format!(
            include_str!("lf-gateway.socket"),
            address = address,
            digest = digest,
            streams = streams
        )
    }

    /// The text of the agent [`AGENT`]; what the gateway says goes to this log.
    pub(crate) fn agent(&self, log: &str) -> String {
        let mut settings = String::new();
        for (name, value) in &self.variables {
            let value = escaped(value);
            settings += &format!("<key>{name}</key>\n<string>{value}</string>\n");
        }
        format!(
            include_str!("com.lenserfight.lf-gateway.plist"),
            address = self.address,
            digest = DIGEST,
            program = escaped(&self.program),
            ip = self.binds,
            port = self.address.port(),
            settings = settings,
            log = escaped(log),
        )
    }
}

/// A unit without what needs namespaces.
pub(crate) fn without_namespaces(unit: &str) -> &str {
    let parts = unit.split_once("# The rest needs namespaces.");
    parts.map_or(unit, |(before, _)| before)
}

/// Puts the digest of a file's text where the text has a place for it.
pub(crate) fn signed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits = digest.iter().take(DIGEST.len() / 2);
    let digits: String = digits.map(|byte| format!("{byte:02x}")).collect();
    text.replacen(DIGEST, &digits, 1)
}

/// Did `lf` write this file for a service at this address?
pub(crate) fn is_for(text: &str, address: SocketAddr) -> bool {
    text.contains(&format!("made by lf gateway install for http://{address}, "))
}

/// Did `lf` write this file, and has nobody changed it since?
pub(crate) fn is_ours(text: &str) -> bool {
    let (_, rest) = text.split_once("its digest is ").unwrap_or_default();
    let digits = rest.get(..DIGEST.len());
    digits.is_some_and(|digits| signed(&text.replacen(digits, DIGEST, 1)) == text)
}

/// Text as one word of a unit, where `%` begins a specifier.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", text.replace('%', "%%"))
}

/// Text in a property list.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

/// Runs one of the system's tools to its end, without input and without the passphrase: what it wrote
/// to standard output, or where that is nothing to standard error; as an error if it failed.
pub(crate) fn ask(tool: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("LENSERFIGHT_KEYS_PASSPHRASE")
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{tool}: {error}"))?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// The service's unit.
pub(crate) const SERVICE: &str = "lf-gateway.service";
/// The unit of the socket that starts it.
pub(crate) const SOCKET: &str = "lf-gateway.socket";
/// The agent's property list, which launchd knows by its name without the ending.
pub(crate) const AGENT: &str = "com.lenserfight.lf-gateway.plist";
/// The name of the systemd credential that holds the passphrase.
pub(crate) const CREDENTIAL: &str = "lenserfight-keys-passphrase";
/// Stands for the digest of the text that it is in.
const DIGEST: &str = "00000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            program: "/opt/my tools/100%/$lf".into(),
            address: "127.0.0.1:38080".parse().unwrap(),
            binds: "127.0.0.1,100.64.0.1".into(),
            streams: "ListenStream=127.0.0.1:38080\n".into(),
            variables: vec![("LENSERFIGHT_KEYS_DIR", "/m/<a> \"b\" \\c%".into())],
            credential: None,
            is_private: false,
            hidden: "%t/systemd",
            root: "/h/.lenserfight".into(),
            keys: "/m/<a> \"b\" \\c%".into(),
        }
    }

    #[track_caller]
    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "no {line} in {text}");
        }
    }

    #[test]
    fn a_file_tells_whether_it_is_ours_and_untouched() {
        let service = service();
        for text in [service.unit(), service.socket(), service.agent("/log")] {
            let text = signed(&text);
            assert!(is_ours(&text) && !text.contains(DIGEST), "{text}");
            assert!(!is_ours(&format!("{text}Nice=1\n")));
            assert!(!is_ours(&text.replace(" made", "made")));
            assert!(!is_ours(&text[..text.len() - 20]));
            assert!(!is_ours(&text[..60]));
        }
        assert!(!is_ours("[Unit]\n"));
    }

    #[test]
    fn paths_are_words_of_their_own_and_nothing_in_them_is_a_specifier() {
        has(
            &service().unit(),
            &[
                "ExecStart=\"/opt/my tools/100%%/$lf\" gateway serve",
                "Environment=\"LF_GATEWAY_BIND=127.0.0.1,100.64.0.1\" \"LF_GATEWAY_PORT=38080\"",
                "Environment=\"LENSERFIGHT_KEYS_DIR=/m/<a> \\\"b\\\" \\\\c%%\"",
                "ReadWritePaths=\"/h/.lenserfight\"",
                "ReadWritePaths=\"-/m/<a> \\\"b\\\" \\\\c%%\"",
                "PrivateNetwork=no",
                "TemporaryFileSystem=%t/systemd:ro",
                "BindPaths=%t/systemd/notify",
                "WantedBy=default.target",
            ],
        );
    }

    #[test]
    fn a_socket_takes_the_network_away() {
        let service = Service { is_private: true, ..service() };
        has(&service.unit(), &["PrivateNetwork=yes"]);
        has(&service.socket(), &["ListenStream=127.0.0.1:38080", "WantedBy=sockets.target"]);
    }

    #[test]
    fn an_address_that_comes_later_than_its_users_session_is_waited_for() {
        let unit = service().unit();
        let value = |name: &str| -> u32 {
            let value = unit.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap().parse().unwrap()
        };
        let starts = value("StartLimitIntervalSec=") / value("RestartSec=");
        assert!(starts < value("StartLimitBurst="), "{unit}");
        has(&service().socket(), &["FreeBind=yes"]);
    }

    #[test]
    fn without_namespaces_nothing_stays_that_would_stop_the_start() {
        let service = Service { credential: Some("/h/100%.cred".into()), ..service() };
        let unit = service.unit();
        assert!(unit.contains("ProtectSystem=strict"), "{unit}");
        let text = without_namespaces(&unit);
        for word in ["Private", "Protect", "Capability", "ReadWritePaths", "Temporary", "Bind"] {
            assert!(!text.contains(word), "{text}");
        }
        has(
            text,
            &[
                "LoadCredentialEncrypted=lenserfight-keys-passphrase:/h/100%%.cred",
                "NoNewPrivileges=yes",
            ],
        );
    }

    #[test]
    fn text_in_the_property_list_is_never_markup() {
        let service = Service { program: "/Users/a&b/<lf>".into(), ..service() };
        let text = service.agent("/Users/a&b/Library/Logs/lf-gateway.log");
        for expected in [
            "<string>/Users/a&amp;b/&lt;lf&gt;</string>\n<string>gateway</string>\n<string>serve</string>\n",
            "<key>LF_GATEWAY_PORT</key>\n<string>38080</string>\n",
            "<key>ProcessType</key>\n<string>Interactive</string>\n",
            "<key>LENSERFIGHT_KEYS_DIR</key>\n<string>/m/&lt;a&gt; ",
            "<key>StandardErrorPath</key>\n<string>/Users/a&amp;b/Library/Logs/lf-gateway.log</string>\n",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
        for tag in ["dict", "array", "string", "key", "integer", "plist"] {
            let (open, end) = (format!("<{tag}"), format!("</{tag}>"));
            assert_eq!(text.matches(&open).count(), text.matches(&end).count(), "{tag}");
        }
    }
}

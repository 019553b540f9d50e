//! The units of a systemd user manager, as text (`systemd.service(5)`, `systemd.exec(5)`).

use super::{MARK, Mode, Service, Start, Walls, signed};

/// The service's unit.
pub const SERVICE: &str = "lf-gateway.service";
/// The unit of the socket that starts it.
pub const SOCKET: &str = "lf-gateway.socket";
/// The name of the credential that holds the passphrase.
pub const CREDENTIAL: &str = "lenserfight-keys-passphrase";
/// The version from which on a user manager can open encrypted credentials.
pub const CREDENTIALS_SINCE: u32 = 256;

/// The text of [`SERVICE`].
#[must_use]
pub fn service_unit(service: &Service) -> String {
    let mut text = head(SERVICE, "API keys for paired browsers");
    // An interface may come long after its user's session: then it is tried until it is there.
    let (limit, pause) = if service.address.ip().is_loopback() {
        ("60", "2")
    } else {
        ("0", "10")
    };
    line(&mut text, "StartLimitIntervalSec", limit);
    text.push_str("StartLimitBurst=5\n\n[Service]\nType=notify\n");
    line(&mut text, "RestartSec", pause);
    line(&mut text, "ExecStart", &command(service));
    for (name, value) in &service.variables {
        line(
            &mut text,
            "Environment",
            &quoted(&format!("{name}={value}")),
        );
    }
    if let Some(file) = &service.credential {
        let file = file.replace('%', "%%");
        line(
            &mut text,
            "LoadCredentialEncrypted",
            &format!("{CREDENTIAL}:{file}"),
        );
    }
    text.push_str(RUNNING);
    text.push_str(CONFINED);
    // A full mode looks at the interfaces of this machine, and that goes by netlink.
    let families = match (service.mode, service.start) {
        (Mode::KeysOnly, Start::OnConnection) => "AF_UNIX",
        (Mode::KeysOnly, Start::AtLogin) => "AF_UNIX AF_INET AF_INET6",
        (Mode::Full | Mode::Tailscale, _) => "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    };
    line(&mut text, "RestrictAddressFamilies", families);
    if service.walls == Walls::Namespaces {
        text.push_str(WALLED);
        for (at, path) in service.writable.iter().enumerate() {
            // Only the first is sure to be there.
            let path = if at == 0 {
                path.clone()
            } else {
                format!("-{path}")
            };
            line(&mut text, "ReadWritePaths", &quoted(&path));
        }
        // The one socket that it needs comes from outside.
        if service.mode == Mode::KeysOnly && service.start == Start::OnConnection {
            text.push_str("PrivateNetwork=yes\n");
        }
    }
    if service.start == Start::AtLogin {
        text.push_str("\n[Install]\nWantedBy=default.target\n");
    }
    signed(&text)
}

/// The settings that need namespaces, for whoever wants to know whether this system has them.
pub fn walls() -> impl Iterator<Item = &'static str> {
    WALLED.lines().chain(["PrivateNetwork=yes"])
}

/// The text of [`SOCKET`].
#[must_use]
pub fn socket_unit(service: &Service) -> String {
    let mut text = head(SOCKET, "starts it at the first connection");
    text.push_str("\n[Socket]\n");
    line(&mut text, "ListenStream", &service.address.to_string());
    // The address may come later than the socket.
    text.push_str("FreeBind=yes\n");
    text.push_str("\n[Install]\nWantedBy=sockets.target\n");
    signed(&text)
}

/// What stands in one of the units of a service that listens at this address.
#[must_use]
pub fn listening(service: &Service) -> [String; 2] {
    let address = service.address;
    let (ip, port) = (address.ip(), address.port());
    [
        format!("\nListenStream={address}\n"),
        format!(" \"--bind\" \"{ip}\" \"--port\" \"{port}\"\n"),
    ]
}

fn head(unit: &str, what: &str) -> String {
    format!(
        "# {MARK}\n# Changes of your own: systemctl --user edit {unit}\n[Unit]\nDescription=lf gateway: {what}\n"
    )
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    text.push('\n');
}

fn command(service: &Service) -> String {
    let mut command = quoted(&service.program);
    for argument in service.arguments() {
        command.push(' ');
        command.push_str(&quoted(&argument).replace('$', "$$"));
    }
    command
}

/// Text as one word: `%` would be a specifier, and control characters could end the line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Not again after what only a person can mend: the command line, a precondition, a trust state.
const RUNNING: &str = "\
Restart=on-failure
RestartPreventExitStatus=2 3 5
TimeoutStopSec=30
";

/// What needs no privilege and no namespace.
const CONFINED: &str = "\
NoNewPrivileges=yes
UMask=0077
LimitCORE=0
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged @keyring @aio @memlock
";

/// What a user manager has only together with `PrivateUsers=`; without it some of these are ignored and
/// others stop the start (218/CAPABILITIES). `ProtectHome=yes` would hide the session bus.
const WALLED: &str = "\
PrivateUsers=yes
CapabilityBoundingSet=
PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelModules=yes
ProtectSystem=strict
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::service::{Maker, maker};

    fn service() -> Service {
        Service {
            program: "/opt/my tools/100%/$lf".into(),
            address: "127.0.0.1:38080".parse().unwrap(),
            mode: Mode::KeysOnly,
            start: Start::AtLogin,
            variables: vec![("LENSERFIGHT_KEYS_DIR", "/m/a \"b\" \\c%".into())],
            writable: vec!["/h/.lenserfight".into(), "/m/a \"b\" \\c%".into()],
            credential: None,
            walls: Walls::Namespaces,
        }
    }

    #[track_caller]
    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "no {line} in {text}");
        }
    }

    #[test]
    fn paths_are_words_of_their_own_and_nothing_in_them_is_a_specifier() {
        let text = service_unit(&service());
        let start = "ExecStart=\"/opt/my tools/100%%/$lf\" \"gateway\" \"serve\" \"--keys-only\" \"--bind\" \"127.0.0.1\" \"--port\" \"38080\"";
        has(
            &text,
            &[
                start,
                "Environment=\"LENSERFIGHT_KEYS_DIR=/m/a \\\"b\\\" \\\\c%%\"",
                "ReadWritePaths=\"/h/.lenserfight\"",
                "ReadWritePaths=\"-/m/a \\\"b\\\" \\\\c%%\"",
                "WantedBy=default.target",
            ],
        );
        assert_eq!(
            quoted("a\nExecStart=/bin/sh\u{7f}ä"),
            "\"a\\x0aExecStart=/bin/sh\\x7fä\""
        );
        assert_eq!(maker(&text), Maker::Lf);
        assert!(text.contains(&listening(&service())[1]));
    }

    #[test]
    fn a_socket_takes_the_address_the_start_and_the_network_away() {
        let service = Service {
            start: Start::OnConnection,
            address: "[::1]:8080".parse().unwrap(),
            ..service()
        };
        let text = service_unit(&service);
        has(
            &text,
            &["PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"],
        );
        assert!(
            !text.contains("--bind") && !text.contains("[Install]"),
            "{text}"
        );
        has(
            &socket_unit(&service),
            &["ListenStream=[::1]:8080", "WantedBy=sockets.target"],
        );
        assert!(socket_unit(&service).contains(&listening(&service)[0]));
        let text = service_unit(&Service {
            mode: Mode::Full,
            ..service
        });
        assert!(
            !text.contains("PrivateNetwork") && text.contains("AF_NETLINK"),
            "{text}"
        );
    }

    #[test]
    fn an_address_that_comes_later_than_its_users_session_is_waited_for() {
        let limits = |address: &str| {
            let text = service_unit(&Service {
                address: address.parse().unwrap(),
                ..service()
            });
            let value = |name| text.lines().find_map(|line| line.strip_prefix(name));
            (
                value("StartLimitIntervalSec=").map(str::to_owned),
                value("RestartSec=").map(str::to_owned),
            )
        };
        let pair = |limit: &str, pause: &str| (Some(limit.to_owned()), Some(pause.to_owned()));
        assert_eq!(limits("127.0.0.1:38080"), pair("60", "2"));
        assert_eq!(limits("100.88.58.68:38080"), pair("0", "10"));
        has(&socket_unit(&service()), &["FreeBind=yes"]);
    }

    #[test]
    fn without_namespaces_nothing_stays_that_would_stop_the_start() {
        let service = Service {
            walls: Walls::NoNamespaces,
            credential: Some("/h/100%.cred".into()),
            mode: Mode::Tailscale,
            ..service()
        };
        let text = service_unit(&service);
        for word in ["Private", "Protect", "Capability", "ReadWritePaths"] {
            assert!(!text.contains(word), "{text}");
        }
        has(
            &text,
            &[
                "LoadCredentialEncrypted=lenserfight-keys-passphrase:/h/100%%.cred",
                "NoNewPrivileges=yes",
            ],
        );
        assert!(
            text.contains("\"--tailscale\"") && !text.contains("keys-only"),
            "{text}"
        );
    }
}

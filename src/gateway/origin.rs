//! Is this `Origin` one of ours? And is this `Host` one that we answer to?
//!
//! Both are what a browser sends, compared as text: lower case, no user, no path, no trailing dot
//! (RFC 6454, section 7; RFC 9110, section 7.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex_lite::Regex;

use crate::base::secret::shown;
use crate::error::{Error, ErrorInfo, Result, refusal};

/// The origins whose pages may talk to the gateway.
#[derive(Debug)]
pub(crate) struct Origins {
    extra: Vec<Regex>,
}

impl Origins {
    /// The built-in ones, and those that match one of these comma-separated regular expressions in
    /// full.
    pub(crate) fn with_extra(patterns: &str) -> Result<Origins> {
        let mut extra = Vec::new();
        let patterns = patterns.split(',').map(str::trim).enumerate();
        for (at, pattern) in patterns.filter(|(_, pattern)| !pattern.is_empty()) {
            // By itself first: a parenthesis that closes ours would leave its sides without an anchor.
            let anchored =
                Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$")));
            extra.push(anchored.map_err(|error| {
                Error::usage(format!(
                    "expression {} of {EXTRA_ORIGINS}, \"{}\", is not a regular expression: {error}",
                    at + 1,
                    shown(pattern)
                ))
            })?);
        }
        Ok(Origins { extra })
    }

    /// May a page of this origin talk to us? `null`, which every sandboxed frame has, never may.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        origin != "null"
            && (is_built_in(origin) || self.extra.iter().any(|pattern| pattern.is_match(origin)))
    }
}

fn is_built_in(origin: &str) -> bool {
    let Some((scheme @ ("https" | "http"), rest)) = origin.split_once("://") else { return false };
    let cloud = rest.strip_suffix("lenserfight.com");
    let is_sub = |sub: &str| sub.is_empty() || sub.strip_suffix('.').is_some_and(is_label);
    if scheme == "https" && cloud.is_some_and(is_sub) {
        return true;
    }
    let Some(host) = without_port(rest) else { return false };
    match host.parse::<Ipv4Addr>() {
        Ok(address) => address == Ipv4Addr::LOCALHOST || address.is_private() || is_cgnat(address),
        Err(_) if host == "localhost" || host == "[::1]" => true,
        Err(_) => host.strip_suffix(".local").is_some_and(is_label),
    }
}

/// Tailscale's addresses, 100.64.0.0/10 (RFC 6598).
pub(crate) fn is_cgnat(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xC0 == 64
}

/// The same, of either family; Tailscale's own of IPv6 are not among them.
pub(crate) fn is_tailscale(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if is_cgnat(address))
}

/// One label of a host name (RFC 1123), in lower case.
fn is_label(label: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(is_plain)
}

/// The host in front of an optional port from 1 to 65535; `None` if the port is none.
fn without_port(text: &str) -> Option<&str> {
    let end = text.find(']').map_or(0, |end| end + 1);
    match text[end..].split_once(':') {
        None => Some(text),
        Some((before, port)) => is_port(port).then(|| &text[..end + before.len()]),
    }
}

fn is_port(port: &str) -> bool {
    !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok()
}

/// The host names that we answer to. A name that anybody could point at this machine (DNS rebinding)
/// is not among them.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Those of the owner's choice, for every listener; in lower case, as the others.
    extra: Vec<String>,
    /// The machine's own, for listeners beyond loopback.
    own: [String; 2],
}

type Malformed = &'static ErrorInfo;

impl Hosts {
    /// For a machine of this name, with further names separated by commas.
    pub(crate) fn new(machine: &str, extra: &str) -> Result<Hosts> {
        let mut names = Vec::new();
        for name in extra.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let host = name.to_ascii_lowercase();
            if !parse_host(&host).is_ok_and(|(parsed, _)| parsed == host) {
                return Err(Error::usage(format!(
                    "\"{}\" of {EXTRA_HOSTS} matches no host; it takes names such as box.example, without scheme, port or asterisk",
                    shown(name)
                )));
            }
            names.push(host);
        }
        let machine = machine.to_ascii_lowercase();
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        Ok(Hosts { extra: names, own: [machine, short] })
    }

    /// Is this `Host` header one of ours, for the listener on `at`? An error if it is not a host and an
    /// optional port.
    pub(crate) fn check(&self, at: IpAddr, header: &str) -> std::result::Result<bool, Malformed> {
        let (host, address) = parse_host(header)?;
        let is_wide = !at.is_loopback();
        let is_built_in = match address {
            Some(address) => is_wide || address.is_loopback(),
            None => host == "localhost" || (is_wide && self.is_own(&host)),
        };
        Ok(is_built_in || self.extra.contains(&host))
    }

    fn is_own(&self, host: &str) -> bool {
        let is_mdns = host.strip_suffix(".local");
        let is_mdns = is_mdns.is_some_and(|name| name.split('.').all(is_label));
        is_mdns || self.own.iter().any(|name| name == host)
    }
}

/// A host, in lower case, and the address that it may be; without the port behind it.
fn parse_host(text: &str) -> std::result::Result<(String, Option<IpAddr>), Malformed> {
    const MALFORMED: Malformed = &refusal::BAD_REQUEST;
    // RFC 3986 allows an empty port.
    let host = text.strip_suffix(':').or_else(|| without_port(text));
    let host = host.ok_or(MALFORMED)?.to_ascii_lowercase();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match literal.map(str::parse::<Ipv6Addr>) {
        Some(address) => Some(IpAddr::V6(address.map_err(|_| MALFORMED)?)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let is_part = |part: &str| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_fit)
    };
    // A name may end with the root's dot.
    let name = host.strip_suffix('.').unwrap_or(&host);
    let is_host = host.len() <= 253 && name.split('.').all(is_part);
    (address.is_some() || is_host).then_some((host, address)).ok_or(MALFORMED)
}

/// Can a page of our own talk to the listener on this address? Of all loopback addresses only these two
/// are origins of ours.
pub(crate) fn is_for_pages(at: IpAddr) -> bool {
    at == Ipv4Addr::LOCALHOST || at == Ipv6Addr::LOCALHOST
}

/// The variable with expressions for other origins.
pub(crate) const EXTRA_ORIGINS: &str = "LF_GATEWAY_EXTRA_ORIGINS";
/// The variable with other hosts.
pub(crate) const EXTRA_HOSTS: &str = "LF_GATEWAY_EXTRA_HOSTS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origins_of_the_table_are_ours() {
        let origins = Origins::with_extra("").unwrap();
        for origin in [
            "https://lenserfight.com",
            "https://app.lenserfight.com",
            "https://x.lenserfight.com",
            "http://localhost",
            "https://localhost",
            "http://localhost:3000",
            "https://127.0.0.1:65535",
            "http://127.0.0.1",
            "http://[::1]",
            "http://[::1]:3000",
            "http://100.64.0.1:3000",
            "https://100.127.255.255",
            "http://10.0.0.1",
            "http://172.16.0.1",
            "http://172.31.255.255:80",
            "http://192.168.1.1:8080",
            "http://printer.local",
            "https://my-mac.local:3000",
        ] {
            assert!(origins.allow(origin), "{origin}");
        }
    }

    #[test]
    fn look_alikes_are_not() {
        let origins = Origins::with_extra("").unwrap();
        for origin in [
            "",
            "null",
            "file://",
            "https://",
            "http://lenserfight.com",
            "https://lenserfight.com:443",
            "https://lenserfight.com.",
            "https://lenserfight.com/",
            "https://evil-lenserfight.com",
            "https://evillenserfight.com",
            "https://lenserfight.com.evil.com",
            "https://a.b.lenserfight.com",
            "https://.lenserfight.com",
            "https://-.lenserfight.com",
            "https://lenserfight.com@evil.com",
            "https://evil.com#lenserfight.com",
            "https://LENSERFIGHT.com",
            "HTTPS://lenserfight.com",
            "https://xn--lenserfght-2ob.com",
            "http://localhost.",
            "http://localhost.evil.com",
            "http://localhost@evil.com",
            "http://evil.com:localhost",
            "http://LOCALHOST",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:080",
            "http://localhost:65536",
            "http://localhost:123456",
            "http://localhost:+80",
            "http://localhost:80:80",
            "http://localhost:3000/",
            "http://localhost:3000?x",
            "http://127.0.0.2",
            "http://127.1",
            "http://0127.0.0.1",
            "http://0x7f.0.0.1",
            "http://2130706433",
            "http://127.0.0.1.evil.com",
            "http://127.0.0.1:80 ",
            "http://100.63.255.255",
            "http://100.128.0.0",
            "http://11.0.0.1",
            "http://172.15.0.1",
            "http://172.32.0.1",
            "http://192.169.0.1",
            "http://192.168.1.256",
            "http://192.168.001.1",
            "http://[::2]",
            "http://[::1",
            "http://::1",
            "http://[::ffff:127.0.0.1]",
            "http://.local",
            "http://a.b.local",
            "http://evil.local.com",
            "http://-a.local",
            "ws://localhost",
            "ftp://localhost",
            "chrome-extension://abcdef",
            "http://loc\u{430}lhost",
            "http://localhost\u{0}",
            "http://a_b.local",
        ] {
            assert!(!origins.allow(origin), "{origin}");
        }
    }

    #[test]
    fn extra_patterns_match_in_full_and_never_null() {
        let origins = Origins::with_extra(
            r"^https://app\.mycompany\.local$, https://b\.example|https://c\.example ,,.*x",
        )
        .unwrap();
        for origin in ["https://app.mycompany.local", "https://b.example", "https://c.example", "x"]
        {
            assert!(origins.allow(origin), "{origin}");
        }
        for origin in [
            "https://app.mycompany.local.evil",
            "https://b.example.evil",
            "evil https://c.example",
            "null",
        ] {
            assert!(!origins.allow(origin), "{origin}");
        }
        assert!(!Origins::with_extra(".*").unwrap().allow("null"));
        let error = Origins::with_extra("fine,(broken").unwrap_err();
        assert!(
            error.exit_code() == 2
                && error.to_string().contains("expression 2")
                && error.to_string().contains("(broken"),
            "{error}"
        );
    }

    #[test]
    fn a_loopback_bind_answers_to_loopback_names_and_those_of_its_owner() {
        let hosts = Hosts::new("box.example", "extra.example, 192.0.2.1,[2001:db8::1]").unwrap();
        let check = |host| hosts.check(IpAddr::V4(Ipv4Addr::LOCALHOST), host);
        for host in [
            "localhost",
            "LocalHost:38080",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:38080",
            "localhost:",
            "extra.example:443",
            "Extra.example",
            "192.0.2.1",
            "[2001:DB8::1]:80",
        ] {
            assert!(matches!(check(host), Ok(true)), "{host}");
        }
        for host in [
            "box",
            "box.example",
            "a.local",
            "192.168.1.1",
            "evil.com",
            "localhost.evil.com",
            "localhost.",
            "[::2]",
            "192.0.2.2",
            "x.extra.example",
        ] {
            assert!(matches!(check(host), Ok(false)), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "[::1]x",
            "user@localhost",
            "localhost/",
            "a,b",
            "[x]",
            "localhost:1:2",
            ".extra.example",
            "extra..example",
        ] {
            assert!(check(host).is_err(), "{host}");
        }
    }

    #[test]
    fn a_wide_bind_answers_to_literals_and_its_own_names() {
        let hosts = Hosts::new("Box.example", " extra.example , Other ,").unwrap();
        let check = |host| hosts.check(IpAddr::V4(Ipv4Addr::UNSPECIFIED), host);
        for host in [
            "localhost",
            "192.168.1.1:80",
            "[2001:db8::1]",
            "box",
            "BOX.example:1",
            "extra.example",
            "other",
            "mac.local",
            "a.b.local",
        ] {
            assert!(matches!(check(host), Ok(true)), "{host}");
        }
        for host in ["evil.com", "box.evil.com", "box.example.", "example"] {
            assert!(matches!(check(host), Ok(false)), "{host}");
        }
    }

    #[test]
    fn what_can_match_no_host_is_no_extra_host() {
        for host in [
            "*.x", "http://x", "x:8080", "x:", ".x", "x/", "a b", "a..b", "[::1", "::1", "ü", "*",
            "x@y", "[::1]:80", "?", "x\u{1b}y", ".",
        ] {
            let error = Hosts::new("box", &format!("fine,{host}")).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("EXTRA_HOSTS"), "{host}");
        }
        for host in ["x", "x.y.", "a_b.example", "xn--4ca", "192.0.2.1", "[::1]", "X.Example", ""] {
            assert!(Hosts::new("box", host).is_ok(), "{host}");
        }
    }
}

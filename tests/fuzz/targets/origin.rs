//! The headers `Origin` and `Host`.

use std::net::{IpAddr, Ipv4Addr};

use crate::gateway::origin::{Hosts, Origins};

/// What is accepted.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// The origin, by the built-in table.
    pub origin: Option<&'a str>,
    /// The host, on a loopback listener.
    pub loopback: Option<&'a str>,
    /// The host, on a wide listener of the machine `box.example`.
    pub wide: Option<&'a str>,
}

/// Takes an origin, a host and regular expressions, each in a line of its own.
///
/// 1. An accepted origin is in lower case, and no other spelling of it is accepted.
/// 2. More expressions accept more origins; `null` never.
/// 3. A host is the same one in any case. What a loopback listener answers to, a wide one does, too.
/// 4. A host that an owner may name is answered to.
pub fn origin(bytes: &[u8]) -> Option<Accepted<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.splitn(3, '\n');
    let [origin, host, patterns] = [(); 3].map(|()| lines.next().unwrap_or_default());

    let plain = Origins::with_extra("").unwrap();
    let is_allowed = plain.allow(origin);
    if is_allowed {
        assert!(origin.is_ascii() && !origin.contains(|c: char| c.is_ascii_uppercase()));
        for other in [format!("{origin}."), format!("{origin}/"), origin.to_uppercase()] {
            assert!(!plain.allow(&other), "{other}");
        }
    }
    if patterns.len() <= MAX_PATTERNS
        && let Ok(extra) = Origins::with_extra(patterns)
    {
        assert!(!is_allowed || extra.allow(origin));
        assert!(!extra.allow("null"));
        assert!(!patterns.is_empty() || is_allowed == extra.allow(origin));
    }

    let hosts = Hosts::new("Box.example", "").unwrap();
    let check = |hosts: &Hosts, at: Ipv4Addr, host: &str| hosts.check(IpAddr::V4(at), host).ok();
    let loopback = check(&hosts, Ipv4Addr::LOCALHOST, host);
    let wide = check(&hosts, Ipv4Addr::UNSPECIFIED, host);
    assert_eq!(loopback.is_some(), wide.is_some(), "well formed or not, on any listener");
    assert!(loopback <= wide);
    for other in [host.to_ascii_uppercase(), host.to_ascii_lowercase()] {
        assert_eq!(check(&hosts, Ipv4Addr::LOCALHOST, &other), loopback);
        assert_eq!(check(&hosts, Ipv4Addr::UNSPECIFIED, &other), wide);
    }
    if let Ok(named) = Hosts::new("", host)
        && !host.contains(',')
        && !host.trim().is_empty()
    {
        let at = check(&named, Ipv4Addr::LOCALHOST, host.trim());
        assert_eq!(at, Some(true), "the owner named it");
    }
    Some(Accepted {
        origin: is_allowed.then_some(origin),
        loopback: (loopback == Some(true)).then_some(host),
        wide: (wide == Some(true)).then_some(host),
    })
}

/// Bytes; a long one may compile to megabytes.
const MAX_PATTERNS: usize = 48;

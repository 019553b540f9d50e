//! Consent to Tailscale: by which addresses of this machine full mode may be reached.
//!
//! `<root>/gateway/tailscale-consent.json` names them as fingerprints, `name:address/prefix`. Of a
//! fingerprint the address alone counts; a new one says `tailscale:ADDRESS/32`. A consent to addresses
//! that this machine does not have now counts as none.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use miniserde::{Deserialize, Serialize, json};

use super::origin::is_cgnat;
use crate::base::secret::shown;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Publish};

/// What was consented to, as it is on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Consent {
    /// When: a timestamp.
    pub(crate) granted_at: String,
    /// By whom, if that is known.
    pub(crate) granter_lenser_id: Option<String>,
    /// The addresses that were covered, as fingerprints.
    pub(crate) fingerprints: Vec<String>,
    /// What the granter had to say.
    pub(crate) notes: Option<String>,
}

impl Consent {
    /// The addresses that it covers and that this machine has now.
    pub(crate) fn live(&self) -> Vec<Ipv4Addr> {
        let addresses = self.fingerprints.iter().filter_map(|text| address_of(text));
        addresses.filter(|address| is_live(*address)).collect()
    }

    fn covers(&self, address: IpAddr) -> bool {
        let mut addresses = self.fingerprints.iter().filter_map(|text| address_of(text));
        addresses.any(|covered| covered == address)
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Consent, &'static str> {
        if bytes.len() > MAX_FILE {
            return Err("it is larger than 64 KiB");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
        let consent: Consent =
            json::from_str(text).map_err(|_| "it is not a JSON object of the expected shape")?;
        match Timestamp::parse(&consent.granted_at) {
            Some(_) => Ok(consent),
            None => Err("granted_at is not a time"),
        }
    }
}

/// The fingerprint of an address.
pub(crate) fn fingerprint(address: Ipv4Addr) -> String {
    format!("tailscale:{address}/32")
}

/// The address that a fingerprint names, if that can be Tailscale's.
pub(crate) fn address_of(fingerprint: &str) -> Option<Ipv4Addr> {
    let (_, rest) = fingerprint.rsplit_once(':')?;
    let address: Ipv4Addr = rest.split('/').next()?.parse().ok()?;
    is_cgnat(address).then_some(address)
}

/// Does this machine have this address now? Only then can a socket be bound to it.
pub(crate) fn is_live(address: Ipv4Addr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// This machine's address on the tailnet: from where it would reach Tailscale's own address. A UDP
/// socket says that without sending anything. A provider's CGNAT looks the same.
pub(crate) fn tailnet_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((TAILSCALE, 1)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if is_cgnat(address) => Some(address),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The consent in the gateway's directory; `None` if there is none.
pub(crate) fn read(dir: &Path) -> Result<Option<Consent>> {
    match Dir::open(dir)? {
        Some(dir) => read_in(&dir),
        None => Ok(None),
    }
}

fn read_in(dir: &Dir) -> Result<Option<Consent>> {
    let bytes = dir.read(FILE, MAX_FILE)?;
    let consent = bytes.map(|bytes| Consent::parse(&bytes)).transpose();
    consent.map_err(|reason| Error::CorruptConsent {
        file: dir.path().join(FILE),
        reason,
    })
}

/// Records a consent in place of the one that is there. One that cannot be read is not overwritten.
pub(crate) fn grant(dir: &Path, consent: &Consent) -> Result<()> {
    let dir = Dir::create(dir)?.lock()?;
    read_in(&dir)?;
    let text = json::to_string(consent);
    dir.publish(FILE, text.as_bytes(), Publish::Replacement)
}

/// Removes the consent, whatever is in it; `false` if there was none.
pub(crate) fn revoke(dir: &Path) -> Result<bool> {
    let Some(dir) = Dir::open(dir)? else {
        return Ok(false);
    };
    dir.lock()?.remove(FILE)
}

/// The consent, which covers one address of this machine at least.
pub(crate) fn in_force(dir: &Path) -> Result<Consent> {
    let missing = |sentence: String| Error::ConsentMissing(sentence);
    let consent = read(dir)?
        .ok_or_else(|| missing("nobody has consented to full mode over Tailscale".to_owned()))?;
    if consent.live().is_empty() {
        return Err(missing(format!(
            "the consent to Tailscale counts as none: this machine has no address of {}",
            listed(&consent.fingerprints)
        )));
    }
    Ok(consent)
}

/// Fingerprints, for a person.
pub(crate) fn listed(fingerprints: &[String]) -> String {
    let shown: Vec<String> = fingerprints.iter().map(|text| shown(text)).collect();
    shown.join(", ")
}

/// The consent by which a running gateway listens beyond loopback.
#[derive(Debug)]
pub(crate) struct Permit {
    dir: PathBuf,
    address: IpAddr,
}

/// What a look at the consent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It covers the address.
    Good,
    /// It cannot be read now.
    Unknown,
    /// It does not cover the address any more.
    Withdrawn,
}

impl Permit {
    /// For this address; [`Error::UnsafeBind`] if the consent does not cover it.
    pub(crate) fn new(dir: &Path, address: IpAddr) -> Result<Permit> {
        if !in_force(dir)?.covers(address) {
            return Err(Error::UnsafeBind(address.to_string()));
        }
        let dir = dir.to_owned();
        Ok(Permit { dir, address })
    }

    /// Reads the consent again. Whether the address is live need not be asked: no request arrives at one
    /// that is not.
    pub(crate) fn standing(&self) -> Standing {
        match read(&self.dir) {
            Ok(Some(consent)) if consent.covers(self.address) => Standing::Good,
            Ok(_) | Err(Error::CorruptConsent { .. }) => Standing::Withdrawn,
            // Out of descriptors, say: no reason to end, and none to answer.
            Err(_) => Standing::Unknown,
        }
    }
}

/// Tailscale's own address on every machine of a tailnet.
const TAILSCALE: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 100);
const FILE: &str = "tailscale-consent.json";
const MAX_FILE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let text = r#"{"granted_at":"2026-01-02T03:04:05.678Z","granter_lenser_id":null,"fingerprints":["tailscale0:100.101.102.103/32"],"notes":"\"tablet\""}"#;
        let consent = Consent::parse(text.as_bytes()).unwrap();
        assert_eq!(json::to_string(&consent), text);
        let more = text.replace("null", "\"l-1\",\"version\":2");
        let more = Consent::parse(more.as_bytes()).unwrap();
        assert_eq!(more.granter_lenser_id.as_deref(), Some("l-1"));
    }

    #[test]
    fn what_is_no_consent_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"granted_at":"2026-01-02T03:04:05.678Z"}"#,
            r#"{"granted_at":"yesterday","fingerprints":[]}"#,
            r#"{"granted_at":1,"fingerprints":[]}"#,
            r#"{"granted_at":"2026-01-02T03:04:05.678Z","fingerprints":"a"}"#,
            r#"{"granted_at":"2026-01-02T03:04:05.678Z","fingerprints":[1]}"#,
            r#"{"granted_at":"2026-01-02T03:04:05.678Z","fingerprints":[],"notes":1}"#,
            r#"{"granted_at":"2026-01-02T03:04:05.678Z","fingerprints":[]"#,
        ] {
            assert!(Consent::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_names_an_address_of_tailscales_range_or_none() {
        let address = Ipv4Addr::new(100, 101, 102, 103);
        for text in [
            "tailscale0:100.101.102.103/32",
            "utun3:100.101.102.103/10",
            "100.101.102.103",
            &fingerprint(address),
        ] {
            let expected = text.contains(':').then_some(address);
            assert_eq!(address_of(text), expected, "{text}");
        }
        for text in [
            "",
            "tailscale0:",
            "lo:127.0.0.1/8",
            "eth0:192.168.1.1/24",
            "tailscale0:100.128.0.1/32",
            "tailscale0:fd7a:115c:a1e0::1/48",
            "tailscale0:100.101.102.103 /32",
        ] {
            assert_eq!(address_of(text), None, "{text}");
        }
    }
}

//! Consent to Tailscale: by which addresses of this machine full mode may be reached.
//!
//! `<root>/gateway/tailscale-consent.json` names them as fingerprints, `name:address/prefix`. Of a
//! fingerprint the address alone counts; a new one says `tailscale:ADDRESS/32`. A consent to addresses
//! that this machine does not have now counts as none.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use miniserde::{Deserialize, Serialize, json};

use super::{origin::is_cgnat, state};
use crate::base::{secret::shown, time::Timestamp};
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Publish};

/// What was consented to, as it is on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Consent {
    /// When.
    pub(crate) granted_at: Timestamp,
    /// By whom, if that is known.
    pub(crate) granter_lenser_id: Option<String>,
    /// The addresses that were covered, as fingerprints.
    pub(crate) fingerprints: Vec<String>,
    /// What the granter had to say.
    pub(crate) notes: Option<String>,
}

impl Consent {
    /// The address that it covers and that this machine has now.
    pub(crate) fn live(&self) -> Option<IpAddr> {
        self.addresses().find(|address| is_live(*address)).map(IpAddr::V4)
    }

    fn covers(&self, address: IpAddr) -> bool {
        self.addresses().any(|covered| covered == address)
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.fingerprints.iter().filter_map(|text| address_of(text))
    }

    /// Its fingerprints, for a person.
    pub(crate) fn listed(&self) -> String {
        let shown: Vec<String> = self.fingerprints.iter().map(|text| shown(text)).collect();
        shown.join(", ")
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
    let reason = "it is not a JSON object of the expected shape";
    let corrupt = || Error::CorruptConsent(dir.join(FILE), reason);
    let found: Option<Option<Consent>> = state::read(dir, FILE)?;
    found.map(|consent| consent.ok_or_else(corrupt)).transpose()
}

/// Records a consent in place of the one that is there. One that cannot be read is not overwritten.
pub(crate) fn grant(dir: &Path, consent: &Consent) -> Result<()> {
    let locked = Dir::create(dir)?.lock()?;
    read(dir)?;
    locked.publish(FILE, json::to_string(consent).as_bytes(), Publish::Replacement)
}

/// Removes the consent, whatever is in it; `false` if there was none.
pub(crate) fn revoke(dir: &Path) -> Result<bool> {
    let Some(dir) = Dir::open(dir)? else { return Ok(false) };
    dir.lock()?.remove(FILE)
}

/// The consent, which covers one address of this machine at least.
pub(crate) fn in_force(dir: &Path) -> Result<Consent> {
    let none = "there is no consent to full mode over Tailscale";
    let consent = read(dir)?.ok_or_else(|| Error::ConsentMissing(none.to_owned()))?;
    if consent.live().is_some() {
        return Ok(consent);
    }
    Err(Error::ConsentMissing(format!(
        "the consent to Tailscale does not hold: this machine has no address of {}",
        consent.listed()
    )))
}

/// The consent by which a running gateway listens beyond loopback.
pub(crate) struct Permit {
    dir: PathBuf,
    address: IpAddr,
}

impl Permit {
    /// For this address; [`Error::UnsafeBind`] if the consent does not cover it.
    pub(crate) fn new(dir: &Path, address: IpAddr) -> Result<Permit> {
        if !in_force(dir)?.covers(address) {
            return Err(Error::UnsafeBind(address.to_string()));
        }
        Ok(Permit { dir: dir.to_owned(), address })
    }

    /// Reads the consent again: [`Error::ConsentMissing`] if it does not cover the address any more. Whether
    /// the address is live need not be asked: no request arrives at one that is not.
    pub(crate) fn check(&self) -> Result<()> {
        match read(&self.dir) {
            Ok(Some(consent)) if consent.covers(self.address) => Ok(()),
            Ok(_) | Err(Error::CorruptConsent(..)) => Err(Error::ConsentMissing(
                "the consent to Tailscale was revoked, so this gateway has ended".to_owned(),
            )),
            // It cannot be read now, because there are no descriptors, say.
            Err(error) => Err(error),
        }
    }
}

/// Tailscale's own address on every machine of a tailnet.
const TAILSCALE: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 100);
const FILE: &str = "tailscale-consent.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let text = r#"{"granted_at":"2026-01-02T03:04:05.678Z","granter_lenser_id":null,"fingerprints":["tailscale0:100.101.102.103/32"],"notes":"\"tablet\""}"#;
        let consent = state::parse::<Consent>(text.as_bytes()).unwrap();
        assert_eq!(json::to_string(&consent), text);
        let more = text.replace("null", "\"l-1\",\"version\":2");
        let more = state::parse::<Consent>(more.as_bytes()).unwrap();
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
            assert!(state::parse::<Consent>(text.as_bytes()).is_none(), "{text}");
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

//! Consent to Tailscale: through which interfaces of this machine full mode may be reached.
//!
//! `<root>/gateway/tailscale-consent.json` names them by their fingerprints. One that has another
//! name or address today is another one, and a consent that fits none that is live counts as none.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use miniserde::json::{self, Object, Value};

use super::interface::{self, Interface};
use crate::base::secret::shown;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Publish};

/// What was consented to, as it is on disk.
#[derive(Debug)]
pub struct Consent {
    /// When.
    pub granted_at: Timestamp,
    /// By whom, if that is known.
    pub granter_lenser_id: Option<String>,
    /// The interfaces that were live then: `name:address/prefix`.
    pub fingerprints: Vec<String>,
    /// What the granter had to say.
    pub notes: Option<String>,
}

impl Consent {
    /// Those of these interfaces that it covers.
    #[must_use]
    pub fn covered(&self, live: &[Interface]) -> Vec<Interface> {
        let is_covered = |interface: &&Interface| {
            let fingerprint = interface.to_string();
            self.fingerprints.contains(&fingerprint)
        };
        live.iter().filter(is_covered).cloned().collect()
    }

    /// One JSON object.
    #[must_use]
    pub fn print(&self) -> String {
        format!(
            "{{\"granted_at\":\"{}\",\"granter_lenser_id\":{},\"fingerprints\":{},\"notes\":{}}}",
            self.granted_at,
            json::to_string(&self.granter_lenser_id),
            json::to_string(&self.fingerprints),
            json::to_string(&self.notes)
        )
    }

    fn parse(text: &str) -> std::result::Result<Consent, &'static str> {
        let consent: Object = json::from_str(text).map_err(|_| "it is not a JSON object")?;
        let text = |name| match consent.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err("granter_lenser_id or notes is not text"),
        };
        let granted_at = match consent.get("granted_at") {
            Some(Value::String(text)) => Timestamp::parse(text),
            _ => None,
        };
        let fingerprint = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        let fingerprints = match consent.get("fingerprints") {
            Some(Value::Array(list)) => list.iter().map(fingerprint).collect(),
            _ => None,
        };
        Ok(Consent {
            granted_at: granted_at.ok_or("granted_at is not a time")?,
            granter_lenser_id: text("granter_lenser_id")?,
            fingerprints: fingerprints.ok_or("fingerprints is not a list of texts")?,
            notes: text("notes")?,
        })
    }
}

/// The consent in the gateway's directory; `None` if there is none.
///
/// # Errors
/// [`Error::CorruptConsent`], and what reading says.
pub fn read(dir: &Path) -> Result<Option<Consent>> {
    match Dir::open(dir)? {
        Some(dir) => read_in(&dir),
        None => Ok(None),
    }
}

fn read_in(dir: &Dir) -> Result<Option<Consent>> {
    let Some(bytes) = dir.read(FILE, MAX_FILE)? else {
        return Ok(None);
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) if bytes.len() <= MAX_FILE => Ok(text),
        Ok(_) => Err("it is larger than 64 KiB"),
        Err(_) => Err("it is not UTF-8 text"),
    };
    let consent = text.and_then(Consent::parse);
    consent.map(Some).map_err(|reason| Error::CorruptConsent {
        file: dir.path().join(FILE),
        reason,
    })
}

/// Records a consent in place of the one that is there.
///
/// # Errors
/// As [`read`]: what cannot be read is not overwritten.
pub fn grant(dir: &Path, consent: &Consent) -> Result<()> {
    let dir = Dir::create(dir)?.lock()?;
    read_in(&dir)?;
    let text = consent.print();
    dir.publish(FILE, text.as_bytes(), Publish::Replacement)
}

/// Removes the consent, whatever is in it; `false` if there was none.
///
/// # Errors
/// What the system says.
pub fn revoke(dir: &Path) -> Result<bool> {
    let Some(dir) = Dir::open(dir)? else {
        return Ok(false);
    };
    dir.lock()?.remove(FILE)
}

/// The live interfaces that are covered; one at least.
///
/// # Errors
/// [`Error::ConsentMissing`] if there is no consent, or none that fits; what [`read`] and
/// [`interface::live`] say.
pub fn covered(dir: &Path) -> Result<Vec<Interface>> {
    let Some(consent) = read(dir)? else {
        let sentence = "nobody has consented to full mode over Tailscale";
        return Err(Error::ConsentMissing(sentence.to_owned()));
    };
    let covered = consent.covered(&interface::live()?);
    if covered.is_empty() {
        return Err(Error::ConsentMissing(format!(
            "the consent to Tailscale counts as none: no live interface is {}",
            listed(&consent.fingerprints)
        )));
    }
    Ok(covered)
}

/// Fingerprints, for a person.
#[must_use]
pub fn listed(fingerprints: &[String]) -> String {
    let shown: Vec<String> = fingerprints.iter().map(|text| shown(text)).collect();
    shown.join(", ")
}

/// By what a running gateway listens beyond loopback.
#[derive(Debug)]
pub struct Permit {
    dir: PathBuf,
    fingerprint: String,
}

/// How that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The interface is live, and covered.
    Good,
    /// It is not live now, or that cannot be known.
    Away,
    /// There is no consent to it any more.
    Withdrawn,
}

impl Permit {
    /// For this address.
    ///
    /// # Errors
    /// As [`covered`]; [`Error::UnsafeBind`] if the address is not one of those.
    pub fn new(dir: &Path, address: IpAddr) -> Result<Permit> {
        let covered = covered(dir)?;
        let covering = covered
            .iter()
            .find(|interface| interface.address == address);
        let unsafe_bind = || Error::UnsafeBind(address.to_string());
        Ok(Permit {
            dir: dir.to_owned(),
            fingerprint: covering.ok_or_else(unsafe_bind)?.to_string(),
        })
    }

    /// Looks at both again.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match read(&self.dir) {
            Ok(Some(consent)) if consent.fingerprints.contains(&self.fingerprint) => {}
            Ok(_) | Err(Error::CorruptConsent { .. }) => return Standing::Withdrawn,
            // Out of descriptors, say: no reason to end, and none to answer.
            Err(_) => return Standing::Away,
        }
        let is_it = |interface: &Interface| interface.to_string() == self.fingerprint;
        match interface::live() {
            Ok(live) if live.iter().any(is_it) => Standing::Good,
            Ok(_) | Err(_) => Standing::Away,
        }
    }
}

const FILE: &str = "tailscale-consent.json";
const MAX_FILE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let consent = Consent {
            granted_at: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
            granter_lenser_id: None,
            fingerprints: vec!["tailscale0:100.101.102.103/32".to_owned()],
            notes: Some("\"tablet\"".to_owned()),
        };
        let text = r#"{"granted_at":"2026-01-02T03:04:05.678Z","granter_lenser_id":null,"fingerprints":["tailscale0:100.101.102.103/32"],"notes":"\"tablet\""}"#;
        assert_eq!(consent.print(), text);
        assert_eq!(Consent::parse(text).unwrap().print(), text);
        let more = text.replace("null", "\"l-1\",\"version\":2");
        let more = Consent::parse(&more).unwrap();
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
            assert!(Consent::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_name_address_or_prefix_is_another_interface() {
        let interface = |name: &str, address: &str, prefix| Interface {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            prefix,
        };
        let granted = interface("tailscale0", "100.101.102.103", 32);
        let consent = Consent {
            granted_at: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
            granter_lenser_id: None,
            fingerprints: vec![granted.to_string()],
            notes: None,
        };
        let live = [
            interface("tailscale1", "100.101.102.103", 32),
            interface("tailscale0", "100.101.102.104", 32),
            interface("tailscale0", "100.101.102.103", 10),
            granted.clone(),
        ];
        assert_eq!(consent.covered(&live), [granted]);
        assert_eq!(consent.covered(&live[..3]), []);
    }
}

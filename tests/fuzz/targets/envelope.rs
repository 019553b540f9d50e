//! The file of a key.

use crate::error::Error;
use crate::vault::envelope::Envelope;
use crate::vault::key::{KeyId, KeyMeta};

/// What `lf` would write in place of this file, if it is an envelope.
///
/// 1. What is printed is read back as the same envelope, and printed as the same text; but a time that is none
///    is left out.
/// 2. The file is a key's under its own id, and under no other.
pub fn envelope(bytes: &[u8]) -> Option<String> {
    let envelope = Envelope::parse_any(bytes).ok()?;
    let printed = envelope.print();
    let again = Envelope::parse_any(printed.as_bytes()).unwrap();
    let kept = KeyMeta { has_odd_times: false, ..envelope.meta.clone() };
    assert_eq!(again.meta, kept);
    assert_eq!(again.print(), printed);
    assert!(Envelope::parse(bytes, &envelope.meta.id).is_ok());
    let [one, two] = ["a", "b"].map(|digit| KeyId::parse(&digit.repeat(20)).unwrap());
    let other = if envelope.meta.id == one { two } else { one };
    assert!(matches!(Envelope::parse(bytes, &other), Err(Error::CorruptEnvelope { .. })));
    Some(printed)
}

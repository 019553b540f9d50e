//! The file of a key.

use crate::error::Error;
use crate::vault::envelope::Envelope;
use crate::vault::key::KeyId;

/// What `lf` would write in place of this file, if it is an envelope.
///
/// 1. What is printed is read back as the same envelope, and printed as the same text.
/// 2. The file is a key's under its own id, and under no other.
pub fn envelope(bytes: &[u8]) -> Option<String> {
    let envelope = Envelope::parse_any(bytes).ok()?;
    let printed = envelope.print();
    let again = Envelope::parse_any(printed.as_bytes()).unwrap();
    assert_eq!(again.meta, envelope.meta);
    assert_eq!(again.print(), printed);
    assert!(Envelope::parse(bytes, &envelope.meta.id).is_ok());
    let [one, two] = ["a", "b"].map(|digit| KeyId::parse(&digit.repeat(20)).unwrap());
    let other = if envelope.meta.id == one { two } else { one };
    assert!(matches!(Envelope::parse(bytes, &other), Err(Error::CorruptEnvelope { .. })));
    Some(printed)
}

//! The list of pairings.

use crate::gateway::pairing::List;

/// What `lf` would write in place of this list, if it is one.
///
/// 1. What is printed is read back as the same list.
pub fn pairings(bytes: &[u8]) -> Option<String> {
    let printed = List::parse(bytes)?.print();
    assert_eq!(List::parse(printed.as_bytes()).unwrap().print(), printed);
    Some(printed)
}

//! What the fuzzer and `cargo test` run on bytes from outside: one function for each parser. A function
//! panics if the parser does, or if it breaks one of the rules that its file states.

mod argv;
mod audit;
mod dbus;
mod dotenv;
mod envelope;
mod head;
mod origin;
mod pairings;
mod project;
mod sheet;

pub use self::argv::argv;
pub use self::audit::audit;
pub use self::dbus::dbus;
pub use self::dotenv::dotenv;
pub use self::envelope::envelope;
pub use self::head::head;
pub use self::origin::{Accepted, origin};
pub use self::pairings::pairings;
pub use self::project::project;
pub use self::sheet::sheet;

/// The cases of a file in `tests/fuzz/corpus`: each is its length in bytes, in two bytes with the lower
/// one first, and then itself.
pub fn cases(mut packed: &[u8]) -> Vec<&[u8]> {
    let mut cases = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length));
        assert!(length <= rest.len(), "the corpus ends within a case");
        let (case, rest) = rest.split_at(length);
        cases.push(case);
        packed = rest;
    }
    assert!(packed.is_empty(), "the corpus ends within a length");
    cases
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    /// Runs every case of a corpus; the case that a panic is about is printed.
    fn replay(packed: &[u8], target: fn(&[u8])) {
        let cases = cases(packed);
        assert!(cases.len() > 100, "only {} cases", cases.len());
        for case in cases {
            if panic::catch_unwind(|| target(case)).is_err() {
                panic!("on {:?}", String::from_utf8_lossy(case));
            }
        }
    }

    macro_rules! corpora {
        ($($test:ident $target:ident)*) => {$(
            #[test]
            fn $test() {
                let packed = include_bytes!(concat!("../corpus/", stringify!($target)));
                replay(packed, |case| {
                    $target(case);
                });
            }
        )*};
    }

    corpora! {
        envelopes_keep_their_rules envelope
        heads_keep_their_rules head
        dbus_messages_keep_their_rules dbus
        origins_and_hosts_keep_their_rules origin
        dotenv_files_keep_their_rules dotenv
        sheets_keep_their_rules sheet
        project_files_keep_their_rules project
        lists_of_pairings_keep_their_rules pairings
        audit_logs_keep_their_rules audit
        command_lines_keep_their_rules argv
    }
}

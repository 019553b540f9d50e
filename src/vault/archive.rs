//! A backup: plain tar (POSIX.1-1988, ustar) with the files as they are and a `SHA256SUMS`.
//!
//! Without `lf`: `tar xf FILE`, `sha256sum -c SHA256SUMS`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A file's name and content.
pub type Entry = (String, Vec<u8>);

/// The archive of these files. Names have at most 100 bytes.
#[must_use]
pub fn print(entries: &[Entry], seconds: u64) -> Vec<u8> {
    let mut sums = String::new();
    for (name, bytes) in entries {
        let _ = writeln!(sums, "{}  {name}", sum(bytes));
    }
    let mut archive = Vec::new();
    let all = entries
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    for (name, bytes) in all.chain([(SUMS, sums.as_bytes())]) {
        archive.extend(header(name, bytes.len(), seconds));
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The files of an archive, once every sum is right.
///
/// # Errors
/// What is wrong with it.
pub fn parse(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let (mut entries, mut rest, mut seconds) = (Vec::new(), archive, 0);
    loop {
        let (block, behind) = rest.split_first_chunk::<BLOCK>().ok_or(CUT_SHORT)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let (name, size);
        (name, size, seconds) = read_header(block).ok_or(FOREIGN)?;
        let bytes = behind.get(..size).ok_or(CUT_SHORT)?.to_vec();
        rest = behind
            .get(size.next_multiple_of(BLOCK)..)
            .ok_or(CUT_SHORT)?;
        entries.push((name, bytes));
    }
    let (_, sums) = entries
        .pop()
        .filter(|(name, _)| name == SUMS)
        .ok_or(FOREIGN)?;
    let sums = String::from_utf8_lossy(&sums);
    for (name, bytes) in &entries {
        if !sums.contains(&format!("{}  {name}\n", sum(bytes))) {
            return Err(format!("{name} in it was changed"));
        }
    }
    let exactly = print(&entries, seconds);
    match archive.len() < exactly.len() {
        true => Err(CUT_SHORT.to_owned()),
        false if archive == exactly => Ok(entries),
        false => Err(FOREIGN.to_owned()),
    }
}

fn header(name: &str, size: usize, seconds: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{seconds:011o}\0"));
    put(156, "0");
    put(257, "ustar\x0000");
    let sum = format!("{:06o}\0 ", header_sum(&header));
    header[CHECKSUM].copy_from_slice(sum.as_bytes());
    header
}

/// Name, size, and time; whether all else is as we write it shows in the end.
fn read_header(header: &[u8; BLOCK]) -> Option<(String, usize, u64)> {
    let text = |at: usize, length: usize| {
        let field = header[at..at + length].split(|byte| *byte == 0).next()?;
        std::str::from_utf8(field).ok()
    };
    let size = usize::from_str_radix(text(124, 12)?, 8).ok()?;
    let seconds = u64::from_str_radix(text(136, 12)?, 8).ok()?;
    Some((text(0, 100)?.to_owned(), size, seconds))
}

/// The sum of all bytes, with spaces for the sum itself.
fn header_sum(header: &[u8; BLOCK]) -> usize {
    let byte =
        |(at, byte): (usize, &u8)| usize::from(if CHECKSUM.contains(&at) { b' ' } else { *byte });
    header.iter().enumerate().map(byte).sum()
}

fn sum(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const SUMS: &str = "SHA256SUMS";
const CUT_SHORT: &str = "it is cut short";
const FOREIGN: &str = "it was not made by lf keys backup";

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            ("a.json".to_owned(), b"{}".to_vec()),
            ("b.json".to_owned(), vec![b'x'; 1024]),
            ("empty".to_owned(), Vec::new()),
        ]
    }

    #[test]
    fn what_is_put_in_comes_out() {
        assert_eq!(parse(&print(&entries(), 1_767_323_045)), Ok(entries()));
        assert_eq!(parse(&print(&[], 0)), Ok(Vec::new()));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let archive = print(&entries(), 0);
        for length in 0..archive.len() {
            assert!(parse(&archive[..length]).is_err(), "cut to {length}");
        }
        for at in 0..archive.len() {
            let mut changed = archive.clone();
            changed[at] ^= 1;
            // The rest of a block behind a file's content holds nothing.
            assert!(
                parse(&changed) != Ok(entries()) || archive[at] == 0,
                "byte {at}"
            );
        }
        for foreign in [&b""[..], b"PK\x03\x04", &[b'x'; 2048], &[0; 1024]] {
            assert!(parse(foreign).is_err());
        }
    }

    #[test]
    fn sizes_that_no_memory_has_are_refused() {
        let mut archive = print(&entries(), 0);
        archive[124..135].copy_from_slice(b"77777777777");
        assert_eq!(parse(&archive), Err(CUT_SHORT.to_owned()));
    }
}

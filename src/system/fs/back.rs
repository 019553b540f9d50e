//! Reads a file of lines from its end: what came last is what most ask for.

use std::io::{Read, Seek, SeekFrom};
use std::mem::swap;

use super::{Dir, Purpose};
use crate::error::Result;

impl Dir {
    /// The last `limit` bytes of a regular file, or all of it; nothing where there is none.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn read_end(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some((mut file, size)) = self.open_file(name, Purpose::Read)? {
            let read = file.seek(SeekFrom::Start(size.saturating_sub(limit)));
            read.and_then(|_| file.take(limit).read_to_end(&mut bytes))
                .map_err(|error| self.failed("read", name, error))?;
        }
        Ok(bytes)
    }

    /// Gives the lines in the last `limit` bytes of a regular file to `hear`, the last one first. It
    /// is read piece by piece: memory for all of it would cost more than reading it. Bytes that are
    /// not UTF-8 become U+FFFD. No file has no lines.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn read_back(&self, name: &str, limit: u64, hear: &mut dyn FnMut(&str)) -> Result<()> {
        let failed = |error| self.failed("read", name, error);
        let Some((mut file, mut end)) = self.open_file(name, Purpose::Read)? else {
            return Ok(());
        };
        let first = end.saturating_sub(limit);
        let (mut bytes, mut begun) = (Vec::new(), Vec::new());
        while end > first {
            let start = end.saturating_sub(PIECE).max(first);
            file.seek(SeekFrom::Start(start)).map_err(failed)?;
            bytes.clear();
            (&mut file)
                .take(end - start)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            // The end of a line whose start is in this piece, or before it.
            bytes.append(&mut begun);
            match newline.filter(|_| start > first) {
                Some(newline) => {
                    tell(&bytes[newline + 1..], hear);
                    bytes.truncate(newline);
                    swap(&mut begun, &mut bytes);
                }
                None if start > first => swap(&mut begun, &mut bytes),
                None => tell(&bytes, hear),
            }
            end = start;
        }
        Ok(())
    }
}

fn tell(bytes: &[u8], hear: &mut dyn FnMut(&str)) {
    String::from_utf8_lossy(bytes).rsplit('\n').for_each(hear);
}

/// Bytes that are read at once.
const PIECE: u64 = 64 * 1024;

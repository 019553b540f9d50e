//! A corpus as one file, and as a directory with a file for each case.
//!
//! `pack FILE DIR` writes the file, and `pack --out FILE DIR` the directory.

use std::fs;
use std::path::Path;

use libfuzzer_sys as _; // it has the functions that count edges, where no AddressSanitizer has them

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--out", file, dir] => unpack(file.as_ref(), dir.as_ref()),
        [file, dir] => pack(file.as_ref(), dir.as_ref()),
        _ => panic!("pack FILE DIR, or pack --out FILE DIR"),
    }
}

fn unpack(file: &Path, dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    for (number, case) in local_keys::fuzz::cases(&fs::read(file)?).into_iter().enumerate() {
        fs::write(dir.join(format!("{number:05}")), case)?;
    }
    Ok(())
}

/// The shortest first, then as bytes sort, so that the same cases are the same file.
fn pack(file: &Path, dir: &Path) -> std::io::Result<()> {
    let entries = fs::read_dir(dir)?;
    let cases = entries.map(|entry| fs::read(entry?.path())).collect::<Result<Vec<_>, _>>();
    let mut cases = cases?;
    cases.sort_by_key(|case| (case.len(), case.clone()));
    let mut packed = Vec::new();
    for case in cases {
        let length = u16::try_from(case.len()).expect("a case has at most 65,535 bytes");
        packed.extend(length.to_le_bytes());
        packed.extend(case);
    }
    fs::write(file, packed)
}

//! How much there is to read: lines of Rust below src/ that are neither empty, nor a comment, nor a test.

use std::collections::BTreeMap;
use std::path::Path;

/// All of src/.
pub const MOST: usize = 14_000;
/// What a key passes through in the clear, and what decides who gets it.
pub const MOST_TRUSTED: usize = 5_500;

const TRUSTED: &[&str] =
    &["vault/", "keychain/", "gateway/guard", "gateway/http", "base/secret.rs", "base/rng.rs"];

/// Lines by first folder, or by file for those directly in src/.
#[derive(Default)]
pub struct Count {
    folders: BTreeMap<String, usize>,
    pub trusted: usize,
}

impl Count {
    pub fn add(&mut self, path: &Path, text: &str) {
        let lines = code(text);
        let folder = path.iter().next().unwrap().to_str().unwrap();
        *self.folders.entry(folder.to_owned()).or_default() += lines;
        let path = path.to_str().unwrap();
        if TRUSTED.iter().any(|trusted| path.starts_with(trusted)) {
            self.trusted += lines;
        }
    }

    pub fn total(&self) -> usize {
        self.folders.values().sum()
    }

    /// A line each, and the sums with the most that they may be.
    pub fn table(&self) -> String {
        let mut text = format!("{:<12} {:>6}\n", "src/", "lines");
        for (folder, lines) in &self.folders {
            text += &format!("{folder:<12} {lines:>6}\n");
        }
        let sums = [("all", self.total(), MOST), ("trust core", self.trusted, MOST_TRUSTED)];
        for (name, lines, most) in sums {
            text += &format!("{name:<12} {lines:>6}  of {most} at most\n");
        }
        text
    }
}

/// Lines outside of items under `#[cfg(test)]`; the braces say where such an item ends.
fn code(text: &str) -> usize {
    let (mut count, mut depth, mut is_pending) = (0, 0_isize, false);
    let mut skipped_from = None;
    for line in text.lines() {
        let (content, inner) = (line.trim(), braces(line));
        if let Some(outer) = skipped_from {
            depth += inner;
            if depth <= outer && line.contains('}') {
                skipped_from = None;
            }
        } else if ["#[cfg(test)]", "#[cfg(all(test"]
            .iter()
            .any(|attribute| content.starts_with(attribute))
        {
            is_pending = true;
        } else if is_pending && !content.is_empty() && !content.starts_with("#[") {
            is_pending = false;
            if inner > 0 {
                skipped_from = Some(depth);
                depth += inner;
            }
        } else {
            depth += inner;
            count += usize::from(!content.is_empty() && !content.starts_with("//"));
        }
    }
    count
}

/// How many braces a line opens and does not close.
fn braces(line: &str) -> isize {
    let each = |c| match c {
        '{' => 1,
        '}' => -1,
        _ => 0,
    };
    line.chars().map(each).sum()
}

#[test]
fn comments_and_tests_are_no_lines_of_code() {
    let text = "//! A file.\n\nuse std::fs;\n\n/// One.\nfn one() {\n    // nothing\n    two(\"{}\");\n}\n\n\
                #[cfg(test)]\nuse std::io;\n#[cfg(all(test, unix))]\nmod tests {\n    fn a() {\n    }\n}\n\
                const N: u8 = 1;\n#[cfg(test)]\nmod tests;\n";
    assert_eq!(code(text), 5);
    let mut count = Count::default();
    for path in ["lib.rs", "base/rng.rs", "base/time.rs", "gateway/http/reply.rs"] {
        count.add(Path::new(path), text);
    }
    assert_eq!((count.total(), count.trusted), (20, 10));
    assert!(count.table().contains("base             10\n"));
}

//! Phrases that were weeded out of what users read, and what to say. They do not come back.

use std::fs;
use std::path::{Path, PathBuf};

/// A line each: the phrase, ` :: `, and what to say.
const WEEDED: &str = include_str!("phrases.txt");

/// What is wrong with a text: the phrases that it has, in small letters, over the ends of its lines.
fn weeds(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    WEEDED.lines().filter(|line| text.contains(line.split_once(" :: ").unwrap().0)).collect()
}

/// What users read that is no Rust: pages, the manual, tables of sentences.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["README.md", "tests/README.md", "CHANGELOG.md", "SECURITY.md"];
    let mut texts: Vec<PathBuf> = pages.iter().map(|page| root.join(page)).collect();
    let mut paths = vec![root.join("src")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "txt" || end == "html") {
            texts.push(path);
        }
    }
    texts
}

#[test]
fn no_phrase_that_was_weeded_out_is_back() {
    let mut found = Vec::new();
    for path in texts() {
        for weed in weeds(&fs::read_to_string(&path).unwrap()) {
            found.push(format!("{}: {weed}", path.display()));
        }
    }
    for (path, text) in super::sources() {
        // A line that ends in a backslash goes on without its blanks.
        let code = super::code(&text).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
        for weed in weeds(&code) {
            found.push(format!("src/{}: {weed}", path.display()));
        }
    }
    assert!(found.is_empty(), "say it in other words:\n{}", found.join("\n"));
}

#[test]
fn a_weed_is_found_in_any_case_and_over_the_end_of_a_line() {
    assert_eq!(weeds("It goes\n   on OPENING."), ["goes on opening :: still opens"]);
    assert_eq!(weeds("It still opens."), [""; 0]);
    assert!(WEEDED.lines().all(|line| line.split_once(" :: ").is_some_and(|(weed, say)| {
        weed == weed.to_lowercase() && !weed.is_empty() && !say.is_empty()
    })));
}

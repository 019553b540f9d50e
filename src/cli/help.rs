//! The help pages. They are data, in `help.txt`, and also say which flags a command has.
//!
//! A page there begins with `# lf NAME :: SYNOPSIS`. One line of summary follows, then a line for each
//! example and each flag (`WHAT :: WHAT IT DOES`), and whatever is left are notes.

use std::ffi::OsString;
use std::fmt::Write;
use std::sync::LazyLock;

use crate::base::width;

/// One page. The program's has no name; a group of commands has COMMAND in its synopsis.
#[derive(Default)]
pub(super) struct Page {
    /// The words that follow `lf`.
    pub(super) name: &'static str,
    /// What may follow the name.
    pub(super) synopsis: &'static str,
    /// One line for the group's page.
    pub(super) summary: &'static str,
    /// What to type, and what that does. They come first, because people look for them first.
    pub(super) examples: Vec<Row>,
    /// Flags as they are written, and what they do.
    pub(super) flags: Vec<Row>,
    /// What else there is to know.
    pub(super) notes: &'static str,
}

pub(super) type Row = (&'static str, &'static str);

/// Every page, the program's first.
pub(super) fn pages() -> &'static [Page] {
    static PAGES: LazyLock<Vec<Page>> =
        LazyLock::new(|| include_str!("help.txt").split("\n# lf").map(Page::parse).collect());
    &PAGES
}

/// The page with the longest name that the words begin with, and how many words that name has.
pub(super) fn page_of(argv: &[OsString]) -> (&'static Page, usize) {
    let words: Vec<&str> = argv.iter().map_while(|word| word.to_str()).take(3).collect();
    let named = |count: usize| {
        let name = words[..count].join(" ");
        let page = pages().iter().find(|page| page.name == name)?;
        Some((page, count))
    };
    (0..=words.len()).rev().find_map(named).unwrap_or((&pages()[0], 0))
}

impl Page {
    fn parse(text: &'static str) -> Page {
        let (heading, text) = text.split_once('\n').unwrap_or((text, ""));
        let (name, synopsis) = heading.split_once(" :: ").unwrap_or((heading, ""));
        let (summary, mut rest) = text.split_once('\n').unwrap_or((text, ""));
        let mut page = Page {
            name: name.trim_start_matches("# lf").trim_start(),
            synopsis,
            summary,
            ..Page::default()
        };
        while let Some((line, behind)) = rest.split_once('\n')
            && let Some(row) = line.split_once(" :: ")
        {
            if line.starts_with('-') {
                page.flags.push(row);
            } else {
                page.examples.push(row);
            }
            rest = behind;
        }
        page.notes = match rest.trim_end() {
            "ID" => ID,
            notes => notes,
        };
        page
    }

    /// The name with `lf` before it.
    pub(super) fn full_name(&self) -> String {
        format!("lf {}", self.name).trim_end().to_owned()
    }

    /// The last word of the name.
    pub(super) fn last_word(&self) -> &'static str {
        self.name.rsplit(' ').next().unwrap_or_default()
    }

    /// Is this a command, and not a group of them?
    pub(super) fn is_command(&self) -> bool {
        !self.synopsis.contains("COMMAND")
    }

    /// The names of the flags; for one that takes a value, also the placeholder for it, with dots if it
    /// may be given several times.
    pub(super) fn flags(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.flags.iter().map(|(flag, _)| flag.split_once(' ').unwrap_or((flag, "")))
    }

    /// The flag of this name, and its placeholder.
    pub(super) fn flag(&self, name: &str) -> Option<(&'static str, &'static str)> {
        self.flags().find(|(flag, _)| *flag == name)
    }

    /// Is everything after `--` another program's?
    pub(super) fn takes_program(&self) -> bool {
        self.synopsis.contains(" -- ")
    }

    /// The commands and groups right below a group.
    pub(super) fn members(&self) -> impl Iterator<Item = &'static Page> {
        pages().iter().filter(|page| self.has(page))
    }

    /// Is that page directly below this one?
    pub(super) fn has(&self, page: &Page) -> bool {
        let group = page.name.rsplit_once(' ').map_or("", |(group, _)| group);
        !page.name.is_empty() && group == self.name && !self.is_command()
    }

    #[cfg(test)]
    pub(super) fn example_arguments(&self) -> &'static str {
        let (line, _) = self.examples[0];
        let arguments = &line[line.find(self.name).unwrap() + self.name.len()..];
        arguments.split('|').next().unwrap()
    }
}

/// A page, for standard output.
pub(super) fn text(page: &Page) -> String {
    let mut text = String::new();
    for (line, what) in &page.examples {
        let _ = writeln!(text, "  {line}");
        fold(&mut text, "      ", 6, what);
    }
    let name = format!("\n{} ", page.full_name());
    fold(&mut text, &name, 6, page.synopsis);
    fold(&mut text, "  ", 2, page.summary);
    list(&mut text, "  ", &page.flags);
    let members: Vec<Row> = page.members().map(|member| (member.name, member.summary)).collect();
    if !members.is_empty() {
        text.push('\n');
    }
    list(&mut text, "  lf ", &members);
    if !page.notes.is_empty() {
        text.push('\n');
    }
    for line in page.notes.lines() {
        fold(&mut text, "", 0, line);
    }
    text
}

/// Names and descriptions in two columns.
fn list(text: &mut String, begin: &str, rows: &[Row]) {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, what) in rows {
        let name = format!("{begin}{name:width$}  ");
        fold(text, &name, name.len(), what);
    }
}

/// Wraps words into lines that fit a terminal. The first line begins with `first`, the others with
/// `indent` spaces.
pub(super) fn fold(text: &mut String, first: &str, indent: usize, words: &str) {
    text.push_str(first);
    let mut used = first.trim_start_matches('\n').len();
    for (at, word) in words.split(' ').enumerate() {
        let columns = width::of(word);
        if at > 0 && used + 1 + columns > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            used = indent;
        } else if at > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += columns;
    }
    text.push('\n');
}

/// The text that stands for notes that are only `ID` in the file.
const ID: &str = "ID is a key's id, 4 or more of its first characters, or a label, provider or alias that only one key has. An ID that begins with a dash goes after --.";
/// No line of help has more columns: a terminal's usual width.
const WIDTH: usize = 80;

//! The help pages. They are data, in `help.txt`, and also say which flags a command has.
//!
//! A page there begins with `# lf NAME :: SYNOPSIS`. One line of summary follows, then a line for each
//! example and each flag (`WHAT :: WHAT IT DOES`), and whatever is left are notes, in the markup of [`manual`].

use std::ffi::OsStr;
use std::fmt::Write;
use std::sync::LazyLock;

use crate::base::width;
use crate::system::term;

/// One page. The program's has no name; a group of commands has COMMAND in its synopsis.
#[derive(Default)]
pub(super) struct Page {
    /// The words that follow `lf`.
    pub(super) name: &'static str,
    /// What may follow the name.
    pub(super) synopsis: &'static str,
    /// One line for the group's page.
    pub(super) summary: &'static str,
    /// What to type, and what that does.
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
pub(super) fn page_of(argv: &[impl AsRef<OsStr>]) -> (&'static Page, usize) {
    let words: Vec<&str> = argv.iter().map_while(|word| word.as_ref().to_str()).take(3).collect();
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
        page.notes = rest.trim_end();
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

/// A page for standard output, in lines of at most so many columns.
pub(super) fn text(page: &Page, width: usize) -> String {
    let mut text = String::new();
    let usage = format!("{} {}", page.full_name(), page.synopsis);
    fold(&mut text, "Usage: ", 7, usage.trim_end(), width);
    fold(&mut text, "\n  ", 2, page.summary, width);
    let members: Vec<Row> = page.members().map(|member| (member.name, member.summary)).collect();
    list(&mut text, "\nOptions:\n", "  ", &page.flags, width);
    list(&mut text, "\nCommands:\n", "  lf ", &members, width);
    if !page.examples.is_empty() {
        text.push_str("\nExamples:\n");
    }
    for (line, what) in &page.examples {
        let _ = writeln!(text, "  {line}");
        fold(&mut text, "      ", 6, what, width);
    }
    if !page.notes.is_empty() {
        text.push('\n');
    }
    text + &manual(page.notes, width)
}

/// A text of the manual for standard output. A line of its source is a paragraph, one that begins with
/// four blanks stays as it is, `# ` makes a heading, and `TERM :: TEXT` explains a term.
pub(super) fn manual(source: &str, width: usize) -> String {
    let mut text = String::new();
    for line in lines(source) {
        if let Some(heading) = line.strip_prefix("# ") {
            let _ = writeln!(text, "{heading}");
        } else if line.is_empty() || line.starts_with(TYPED) {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        } else if let Some((term, what)) = line.split_once(" :: ") {
            let end = if term.len() < 6 { "" } else { "\n        " };
            fold(&mut text, &format!("  {term:<6}{end}"), 8, what, width);
        } else {
            fold(&mut text, "  ", 2, line, width);
        }
    }
    text
}

/// The lines of a text, with what those stand for that are only `ID`.
pub(super) fn lines(source: &str) -> impl Iterator<Item = &str> {
    source.lines().map(|line| if line == "ID" { ID } else { line })
}

/// Names and descriptions in two columns, if there are any, below a heading.
fn list(text: &mut String, heading: &str, begin: &str, rows: &[Row], width: usize) {
    let widest = rows.iter().map(|(name, _)| name.len()).max();
    text.push_str(widest.map_or("", |_| heading));
    for (name, what) in rows {
        let name = format!("{begin}{name:0$}  ", widest.unwrap_or(0));
        fold(text, &name, name.len(), what, width);
    }
}

/// Wraps words into lines of at most so many columns. The first line begins with `first`, the others
/// with `indent` spaces.
pub(super) fn fold(text: &mut String, first: &str, indent: usize, words: &str, width: usize) {
    text.push_str(first);
    let mut used = first.rsplit('\n').next().map_or(0, str::len);
    // A command stays in one line: its name may be another one.
    for (at, word) in words.replace("lf ", "lf\u{a0}").split(' ').enumerate() {
        let word = &word.replace('\u{a0}', " ");
        let columns = width::of(word);
        if at > 0 && used + 1 + columns > width {
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

/// The columns of help: those of the terminal within reason, or else a usual terminal's.
pub(super) fn columns() -> usize {
    term::columns().map_or(80, |columns| columns.clamp(60, 100))
}

/// What a line of the manual begins with that stays as it is, because somebody types it.
pub(super) const TYPED: &str = "    ";
const ID: &str = "ID is a key's id, 4 or more of its first characters, or its label or provider, if unique; an alias counts as its provider. An ID that begins with a dash goes after --.";

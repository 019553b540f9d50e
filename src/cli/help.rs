//! A help page: its text, and the flags that its command has.

use std::fmt::Write;

use crate::base::width;

use super::pages::pages;

/// One page; `""` is the program's, a page without a synopsis of its own flags names a group.
pub(super) struct Page {
    /// The words behind `lf`.
    pub(super) name: &'static str,
    /// One line for the group's page.
    pub(super) summary: &'static str,
    /// What may follow the name.
    pub(super) synopsis: &'static str,
    /// What to type, and what that does; the first thing that people look for.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// Flags and values (those have a word behind them, and dots where they may be given several
    /// times), and what they do.
    pub(super) flags: &'static [(&'static str, &'static str)],
    /// What else there is to know.
    pub(super) notes: &'static str,
}

impl Page {
    /// What to type for it.
    pub(super) fn full_name(&self) -> String {
        if self.name.is_empty() {
            "lf".to_owned()
        } else {
            format!("lf {}", self.name)
        }
    }

    /// Is this a command, and not a group of them?
    pub(super) fn is_command(&self) -> bool {
        !self.synopsis.contains("COMMAND")
    }

    /// The names of flags that take a value.
    pub(super) fn values(&self) -> impl Iterator<Item = &'static str> {
        self.flags
            .iter()
            .filter_map(|(flag, _)| flag.split_once(' ').map(|(name, _)| name))
    }

    /// May this value be given several times?
    pub(super) fn may_repeat(&self, name: &str) -> bool {
        let is_it = |flag: &str| flag.split(' ').next() == Some(name) && flag.ends_with("...");
        self.flags.iter().any(|(flag, _)| is_it(flag))
    }

    /// Is everything after `--` another program's?
    pub(super) fn takes_program(&self) -> bool {
        self.synopsis.contains(" -- ")
    }

    /// The names of flags that take none.
    pub(super) fn flags(&self) -> impl Iterator<Item = &'static str> {
        self.flags
            .iter()
            .map(|(flag, _)| *flag)
            .filter(|flag| !flag.contains(' '))
    }

    /// The commands and groups right below a group.
    pub(super) fn members(&self) -> impl Iterator<Item = &'static Page> {
        pages().filter(|page| self.has(page))
    }

    /// Is that page below this one, by one word?
    pub(super) fn has(&self, page: &Page) -> bool {
        let rest = match self.name {
            "" => Some(page.name),
            name => page
                .name
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(' ')),
        };
        !self.is_command() && rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(' '))
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
    for (line, what) in page.examples {
        let _ = writeln!(text, "  {line}");
        fold(&mut text, "      ", 6, what);
    }
    text.push('\n');
    fold(
        &mut text,
        &format!("{} ", page.full_name()),
        6,
        page.synopsis,
    );
    fold(&mut text, "  ", 2, page.summary);
    list(&mut text, "  ", page.flags);
    let members: Vec<(&str, &str)> = page
        .members()
        .map(|member| (member.name, member.summary))
        .collect();
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

/// Names and what they are, in two columns.
fn list(text: &mut String, begin: &str, rows: &[(&str, &str)]) {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, what) in rows {
        let name = format!("{begin}{name:width$}  ");
        fold(text, &name, name.len(), what);
    }
}

/// Words in lines that fit a terminal: behind `first`, and then behind as many spaces as `indent` says.
pub(super) fn fold(text: &mut String, first: &str, indent: usize, words: &str) {
    text.push_str(first);
    let mut used = first.len();
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

/// Name and version.
pub(super) fn version() -> String {
    concat!("lf ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

/// Columns that no line of help is longer than: those of a terminal that nobody has widened.
const WIDTH: usize = 80;

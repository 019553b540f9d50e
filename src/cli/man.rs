//! The man page: all help pages and all errors as one, in the macros of man(7).

use std::fmt::Write;

use crate::error::kinds;

use super::help::{Page, pages};

/// `lf.1`. It has no date, so that the same version always prints the same page.
pub(super) fn text() -> String {
    let (program, commands) = (&pages()[0], &pages()[1..]);
    let mut text = format!(
        ".TH LF 1 \"\" \"lf {}\" \"User Commands\"\n.SH NAME\nlf \\- {}\n.SH SYNOPSIS\n.B lf\n{}\n.SH DESCRIPTION\n",
        escaped(env!("CARGO_PKG_VERSION")),
        escaped(program.summary.trim_end_matches('.')),
        escaped(program.synopsis),
    );
    lines(&mut text, program.notes);
    list(&mut text, &program.flags);
    text.push_str(".SH EXAMPLES\n");
    list(&mut text, &program.examples);
    text.push_str(".SH COMMANDS\n");
    commands.iter().for_each(|page| section(&mut text, page));
    text.push_str(".SH ERRORS\nThe code stands behind lf: in a line of standard error.\n");
    for info in kinds() {
        let what = format!("{}. {}", info.hint(), info.more());
        list(&mut text, &[(info.code, what.as_str())]);
        let _ = writeln!(text, "{}", info.statuses());
    }
    text
}

fn section(text: &mut String, page: &Page) {
    let name = escaped(&page.full_name());
    let _ = writeln!(text, ".SS {name}\n\\fB{name}\\fR");
    lines(text, page.synopsis);
    text.push_str(".PP\n");
    lines(text, page.summary);
    list(text, &page.flags);
    if !page.notes.is_empty() {
        text.push_str(".PP\n");
        lines(text, page.notes);
    }
    // A group's examples are repeated by its commands.
    if page.is_command() {
        text.push_str(".PP\nExamples:\n");
        list(text, &page.examples);
    }
}

/// Names or lines to type, and their descriptions.
fn list(text: &mut String, rows: &[(&str, &str)]) {
    for (name, what) in rows {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR", escaped(name));
        lines(text, what);
    }
}

/// Sentences. A line that begins with a capital letter stays a line of its own.
fn lines(text: &mut String, sentences: &str) {
    for (at, line) in sentences.lines().enumerate() {
        if at > 0 && line.starts_with(|c: char| c.is_uppercase()) {
            text.push_str(".br\n");
        }
        let _ = writeln!(text, "{}", escaped(line));
    }
}

/// Escapes text for roff, so that quotes and dashes can be copied from the page as they were.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    if text.starts_with(['.', '\'']) {
        safe.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => safe.push_str("\\e"),
            '-' => safe.push_str("\\-"),
            '\'' => safe.push_str("\\(aq"),
            '`' => safe.push_str("\\(ga"),
            '^' => safe.push_str("\\(ha"),
            '~' => safe.push_str("\\(ti"),
            '"' => safe.push_str("\\(dq"),
            _ if c.is_ascii() => safe.push(c),
            _ => drop(write!(safe, "\\[u{:04X}]", u32::from(c))),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_macro_or_an_escape() {
        for (text, safe) in [
            ("--json", "\\-\\-json"),
            (".TH", "\\&.TH"),
            ("'x' `y`", "\\&\\(aqx\\(aq \\(gay\\(ga"),
            ("a\\fB", "a\\efB"),
            ("~/x \"$Y\"…", "\\(ti/x \\(dq$Y\\(dq\\[u2026]"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }

    #[test]
    fn the_man_page_has_every_page_flag_and_error() {
        let man = text();
        for page in pages() {
            assert!(man.contains(&escaped(page.summary.trim_end_matches('.'))), "{}", page.name);
            for (flag, _) in &page.flags {
                assert!(man.contains(&format!("\\fB{}\\fR", escaped(flag))), "{flag}");
            }
        }
        for info in kinds() {
            assert!(man.contains(&format!("\\fB{}\\fR", info.code)), "{}", info.code);
        }
    }
}

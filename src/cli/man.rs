//! The man page: all help pages and the whole manual as one, in the macros of man(7).

use std::fmt::Write;

use super::help::{self, Page, Row, TYPED, lines, pages};
use super::topic::{TOPICS, source};

/// `lf.1`. Its date is that of the version, so that the same version always prints the same page.
pub(super) fn text() -> String {
    let (program, commands) = (&pages()[0], &pages()[1..]);
    let mut text = format!(
        ".TH LF 1 {} \"lf {}\" \"User Commands\"\n.SH NAME\nlf \\- {}\n.SH SYNOPSIS\n.B lf\n{}\n",
        date(),
        escaped(env!("CARGO_PKG_VERSION")),
        escaped(program.summary.trim_end_matches('.')),
        escaped(program.synopsis),
    );
    let own = [
        ("description", program.notes.to_owned()),
        ("options", rows(&program.flags)),
        ("commands", commands.iter().map(section).collect()),
        ("examples", rows(&program.examples)),
    ];
    let topics = TOPICS.iter().map(|(name, body)| (*name, source(name, body)));
    for (name, source) in own.into_iter().chain(topics) {
        let _ = writeln!(text, ".SH {}", name.to_uppercase().replace('-', " "));
        manual(&mut text, &source);
    }
    text
}

/// A help page in the markup of [`help::manual`].
fn section(page: &Page) -> String {
    let (name, flags, examples) = (page.full_name(), rows(&page.flags), rows(&page.examples));
    let Page { synopsis, summary, notes, .. } = page;
    format!("# {name}\n{name} {synopsis}\n\n{summary}\n{flags}\nExamples:\n{examples}\n{notes}\n")
}

fn rows(rows: &[Row]) -> String {
    rows.iter().map(|(name, what)| format!("{name} :: {what}\n")).collect()
}

/// A text in the markup of [`help::manual`].
fn manual(text: &mut String, source: &str) {
    let (mut is_typed, mut blank) = (false, "");
    for line in lines(source) {
        if line.is_empty() {
            blank = "\n";
            continue;
        }
        let typed = line.strip_prefix(TYPED);
        text.push_str(match (is_typed, typed) {
            (false, Some(_)) => ".IP\n.nf\n",
            (true, None) => ".fi\n",
            (true, Some(_)) => blank,
            (false, None) => "",
        });
        let break_ = if blank.is_empty() { "" } else { ".PP\n" };
        (is_typed, blank) = (typed.is_some(), "");
        if let Some(typed) = typed {
            let _ = writeln!(text, "{}", escaped(typed));
        } else if let Some(heading) = line.strip_prefix("# ") {
            let _ = writeln!(text, ".SS {}", escaped(heading));
        } else if let Some((name, what)) = line.split_once(" :: ") {
            let _ = writeln!(text, ".TP\n\\fB{}\\fR", escaped(name));
            paragraph(text, what);
        } else {
            text.push_str(break_);
            paragraph(text, line);
        }
    }
    text.push_str(if is_typed { ".fi\n" } else { "" });
}

/// Words in lines of a length that mandoc likes.
fn paragraph(text: &mut String, words: &str) {
    let words: Vec<_> = words.split(' ').map(escaped).collect();
    help::fold(text, "", 0, words.join(" ").trim_end(), 80);
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

/// The day of the version, by the changelog.
fn date() -> &'static str {
    let released = |line: &'static str| line.strip_prefix("## [")?.split_once("] - ");
    include_str!("../../CHANGELOG.md").lines().find_map(released).map_or("", |(_, date)| date)
}

#[cfg(test)]
mod tests {
    use crate::error::kinds;

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
    fn the_man_page_has_the_day_of_this_version() {
        let version = env!("CARGO_PKG_VERSION");
        let released = format!("## [{version}] - {}\n", date());
        assert!(include_str!("../../CHANGELOG.md").contains(&released), "{released}");
        assert!(text().starts_with(&format!(".TH LF 1 {} \"lf {version}\"", date())));
    }

    #[test]
    fn the_man_page_has_every_page_flag_and_error() {
        let man = text();
        for page in pages() {
            let words: Vec<_> = page.summary.split(' ').map(escaped).collect();
            let summary = words.join(" ");
            assert!(man.contains(summary.trim_end_matches('.')), "{}", page.name);
            for (flag, _) in &page.flags {
                assert!(man.contains(&format!("\\fB{}\\fR", escaped(flag))), "{flag}");
            }
        }
        for info in kinds() {
            assert!(man.contains(&format!("\\fB{}\\fR", info.code)), "{}", info.code);
        }
        for (name, _) in TOPICS {
            let heading = format!(".SH {}\n", name.to_uppercase().replace('-', " "));
            assert!(man.contains(&heading), "{name}");
        }
    }
}

//! `lf help TOPIC`: a page, the recipes, the table of all errors, or what to do about one.

use std::fmt::Write;

use crate::base::secret::shown;
use crate::error::{Error, ErrorInfo, Result, kinds};

use super::help::{self, page_of, pages};
use super::{suggest, table};

/// The topic that has every error; no command has its name.
pub(super) const ERRORS: &str = "errors";
/// The topic that has the lines for other programs.
pub(super) const RECIPES: &str = "recipes";

/// The help on these words.
pub(super) fn text(words: &[String]) -> Result<String> {
    let (page, count) = page_of(&words.iter().map(Into::into).collect::<Vec<_>>());
    if count == words.len() {
        return Ok(help::text(page));
    }
    let name = words.join(" ");
    match kinds().find(|info| info.code == name) {
        Some(info) => Ok(one(info)),
        None if name == ERRORS => Ok(every_error()),
        None if name == RECIPES => Ok(include_str!("recipes.txt").to_owned()),
        None => Err(no_help(&name)),
    }
}

fn no_help(name: &str) -> Error {
    let codes = kinds().map(|info| info.code);
    let names = pages().iter().map(|page| page.name);
    let meant = suggest::word(name, codes.chain(names).chain([ERRORS, RECIPES]));
    // Else by its last word.
    let hint = meant.or_else(|| suggest::command(&pages()[0], name).map(|page| page.name));
    let hint = hint.map(|topic| format!("did you mean lf help {topic}? If not: lf --help"));
    let sentence = format!("there is no help on \"{}\"", shown(name));
    Error::Usage { sentence, hint }
}

/// Every error in one line.
fn every_error() -> String {
    let (answers, errors): (Vec<_>, Vec<_>) = kinds().partition(|info| info.exit == 0);
    format!(
        "{}\nThe gateway also answers, without any command that ends so:\n\n{}\nlf help CODE says more. A failed command's line begins with lf: and its code.\n",
        rows(&errors),
        rows(&answers)
    )
}

fn rows(kinds: &[&ErrorInfo]) -> String {
    let row = |info: &&ErrorInfo| {
        let exit = if info.exit == 0 { "-".to_owned() } else { info.exit.to_string() };
        let (code, http) = (info.code.to_owned(), info.http.to_string());
        vec![code, exit, http, info.hint().to_owned()]
    };
    let rows: Vec<_> = kinds.iter().map(row).collect();
    table::text(&["CODE", "EXIT", "HTTP", "WHAT TO DO"], &rows, None)
}

fn one(info: &ErrorInfo) -> String {
    let mut text = format!("{}: {}\n", info.code, info.hint());
    help::fold(&mut text, "  ", 2, info.more());
    let _ = writeln!(text, "  {}", info.statuses());
    text
}

//! `lf keys providers`: the table of providers that lf knows.

use crate::system::term;
use crate::vault::provider::{KNOWN, Known};

use super::{Format, format, table};

/// The table, for standard output.
pub(super) fn text(format: Format) -> String {
    let row = |known: &Known| {
        let words = [&known.variables, &known.prefixes, &known.aliases].map(|it| it.join(" "));
        [known.name, &known.what].map(str::to_owned).into_iter().chain(words).collect()
    };
    let rows: Vec<Vec<String>> = KNOWN.iter().map(row).collect();
    let titles = ["NAME", "WHAT IT IS", "VARIABLES", "PREFIXES", "ALIASES"];
    match format {
        Format::Json => format::json(&*KNOWN),
        Format::Text => table::text(&titles, &rows, term::columns()),
    }
}

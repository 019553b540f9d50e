//! A dotenv file.

use std::collections::BTreeMap;

use crate::vault::dotenv::parse;

/// The variables that have a value in this text, and those values, for a second reader to confirm.
///
/// 1. Lines come in order, and there are no more than an editor counts.
/// 2. What was read, written with quotes around it, is read as the same.
/// 3. Nothing of the text is repeated in the reason why a line is refused.
pub fn dotenv(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lines = parse(text);
    let count = text.replace("\r\n", "\n").matches('\n').count() + 1;
    assert!(lines.is_sorted_by_key(|line| line.number));
    assert!(lines.iter().all(|line| (1..=count).contains(&line.number)));
    let mut values = BTreeMap::new();
    let (mut printed, mut read) = (String::new(), Vec::new());
    for line in &lines {
        let name = line.name.as_deref().unwrap_or_default();
        values.remove(name);
        let Ok(value) = &line.value else { continue };
        let (name, value) = (name.to_owned(), value.expose().to_owned());
        printed += &print(&name, &value);
        read.push((name.clone(), value.clone()));
        if !value.is_empty() {
            values.insert(name, value);
        }
    }
    let again = parse(&printed).into_iter().map(|line| {
        let value = line.value.map(|value| value.expose().to_owned());
        (line.name.unwrap(), value.unwrap())
    });
    assert_eq!(again.collect::<Vec<_>>(), read, "{printed:?}");
    Some(values)
}

/// A line that sets the variable.
fn print(name: &str, value: &str) -> String {
    match value.contains('\'') {
        true => format!("export {name}=\"{value}\" # quoted\n"),
        false => format!("{name}='{value}'\n"),
    }
}

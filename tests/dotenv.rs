//! `lf keys import` against what bash, python-dotenv and Node's dotenv read from the same lines. What
//! they read is on record, which `make readings` makes from tests/dotenv/lines.txt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;

use miniserde::json::{self, Object, Value};
use support::{Home, PASSPHRASE, chmod};

/// One text, and the variables that each reader sets by it.
struct Row {
    text: String,
    bash: BTreeMap<String, String>,
    do_all_agree: bool,
}

/// The three keep this backslash; zsh at a prompt does not.
const BUT: &str = "K1_API_KEY=\"\\!\"\n";

/// The lines that stand alone. Whole files are in a unit test of src/vault/dotenv.rs.
fn lines() -> Vec<Row> {
    let rows: Vec<Object> = json::from_str(include_str!("dotenv/readings.json")).unwrap();
    let row = |row: &Object| {
        let Value::String(text) = &row["text"] else { panic!() };
        let [bash, python, node] = ["bash", "python", "node"].map(|reader| values(&row[reader]));
        let is_all = matches!(row["isAll"], Value::Bool(true));
        let do_all_agree = is_all && bash == python && bash == node && text != BUT;
        Row { text: text.clone(), bash, do_all_agree }
    };
    let is_alone = |row: &Row| row.text.matches('\n').count() == 1 && !row.text.contains('\r');
    rows.iter().map(row).filter(is_alone).collect()
}

/// The variables that have a value.
fn values(value: &Value) -> BTreeMap<String, String> {
    let Value::Object(values) = value else { panic!() };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let values = values.iter().map(|(name, value)| (name.clone(), text(value)));
    values.filter(|(_, value)| !value.is_empty()).collect()
}

fn import(home: &Home, text: &str) -> support::Outcome {
    let file = home.path().join(".env");
    fs::write(&file, text).unwrap();
    chmod(&file, 0o600);
    home.lf(&format!("keys import --yes --dotenv {}", file.display())).go()
}

#[test]
fn where_three_readers_agree_exactly_that_is_stored() {
    let home = Home::new();
    let (mut text, mut wanted) = (String::new(), BTreeMap::new());
    let agreed = lines().into_iter().filter(|row| row.do_all_agree && !row.bash.is_empty());
    // Some of them, because each takes two key derivations; all are read in the unit test.
    for (at, row) in agreed.enumerate().filter(|(at, _)| at % 6 == 0) {
        // A byte order mark is one only at the very beginning, where the other test has it.
        let own = |text: &str| text.replace("_API_KEY", &format!("N{at}_API_KEY"));
        text.push_str(&own(row.text.trim_start_matches('\u{feff}')));
        wanted.extend(row.bash.iter().map(|(name, value)| (own(name), own(value))));
    }
    assert!(wanted.len() > 20, "{}", wanted.len());
    let imported = import(&home, &text);
    let mut flags = Vec::new();
    for line in imported.out.lines() {
        let (name, id) = line.split_once('=').unwrap();
        flags.push(format!("--env={name}={id}"));
        assert!(wanted.contains_key(name), "{name}\n{imported}");
    }
    let mut words = vec!["keys", "run"];
    words.extend(flags.iter().map(String::as_str));
    words.extend(["--", "env", "-0"]);
    let run = home.words(&words).env("LENSERFIGHT_KEYS_PASSPHRASE", PASSPHRASE).ok();
    let pairs = run.out.split('\0').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let stored = pairs.filter(|(name, _)| name.ends_with("_API_KEY"));
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), wanted);
}

#[test]
fn where_they_differ_the_line_is_named_and_nothing_of_it_is_stored() {
    let home = Home::new();
    let mut count = 0;
    for row in lines().iter().filter(|row| !row.do_all_agree) {
        let text = format!("# one\n\n{}", row.text);
        let imported = import(&home, &text);
        assert!(imported.err.contains("line 3"), "{text:?}\n{imported}");
        assert_eq!((imported.status, imported.out.as_str()), (Some(1), ""), "{text:?}\n{imported}");
        let is_set = |name: &&String| row.text.contains(&format!("{name}="));
        for name in row.bash.keys().filter(is_set) {
            assert!(imported.err.contains(&format!("line 3, {name}: ")), "{text:?}\n{imported}");
        }
        count += 1;
    }
    assert!(count > 146, "{count}");
    assert!(!home.keys().exists());
}

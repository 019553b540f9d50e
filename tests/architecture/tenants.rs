//! The crates that get into a release: what they are, what there is to read in them, and which rules they keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use miniserde::json::{self, Object, Value};

pub struct Tenant {
    pub name: String,
    pub version: String,
    source: String,
    licence: String,
    /// Of Rust that are neither empty nor a comment, outside of tests, benches and examples.
    lines: usize,
    /// How often these say `unsafe`.
    unsafes: usize,
    /// What of it runs while lf is built.
    runs: Vec<&'static str>,
}

/// Whose terms anybody may live with; an exception is named with its licence.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "Unicode-3.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Normal and build dependencies on this system, ours left out; why not, if they are not here.
pub fn graph(target: &str) -> Result<Vec<Tenant>, String> {
    let edges = ["tree", "--edges=normal,build", "--prefix=none", "--format={p}"];
    let tree = cargo(&[&edges[..], &[&format!("--target={target}")]].concat())?;
    let platform = format!("--filter-platform={target}");
    let metadata = cargo(&["metadata", "--format-version=1", &platform])?;
    Ok(read(&tree, &metadata))
}

fn cargo(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// `cargo tree` knows which crates, `cargo metadata` what they are. The first line of the tree is lf.
fn read(tree: &str, metadata: &str) -> Vec<Tenant> {
    let key = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        (name, words.next().unwrap().trim_matches('v').to_owned())
    };
    let listed: BTreeSet<_> = tree.lines().skip(1).map(key).collect();
    let metadata: Object = json::from_str(metadata).unwrap();
    let mut tenants = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let tenant = Tenant::new(package);
        tenants.insert((tenant.name.clone(), tenant.version.clone()), tenant);
    }
    let take =
        |key| tenants.remove(&key).unwrap_or_else(|| panic!("cargo metadata has no {key:?}"));
    listed.into_iter().map(take).collect()
}

impl Tenant {
    fn new(package: &Value) -> Tenant {
        let Value::Object(package) = package else {
            panic!("a package is an object");
        };
        let kinds: Vec<&str> = list(&package["targets"])
            .iter()
            .flat_map(|target| match target {
                Value::Object(target) => list(&target["kind"]),
                _ => &[],
            })
            .map(text)
            .collect();
        let runs = [("custom-build", "build script"), ("proc-macro", "macro")];
        let runs = runs.iter().filter(|(kind, _)| kinds.contains(kind));
        let mut tenant = Tenant {
            name: text(&package["name"]).to_owned(),
            version: text(&package["version"]).to_owned(),
            source: text(&package["source"]).to_owned(),
            licence: text(&package["license"]).to_owned(),
            lines: 0,
            unsafes: 0,
            runs: runs.map(|(_, what)| *what).collect(),
        };
        let manifest = Path::new(text(&package["manifest_path"]));
        tenant.count(manifest.parent().unwrap());
        tenant
    }

    fn count(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !["tests", "benches", "examples", "target"].contains(&name.to_str().unwrap()) {
                    self.count(&path);
                }
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().map(str::trim_start);
                for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
                    self.lines += 1;
                    if line.contains("unsafe") {
                        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                        self.unsafes += words.filter(|word| *word == "unsafe").count();
                    }
                }
            }
        }
    }
}

/// A line each, and the sums.
pub fn register(tenants: &[Tenant]) -> String {
    let mut text = format!(
        "{:<24} {:<9} {:>6} {:>6}  {:<12}  {}\n",
        "crate", "version", "lines", "unsafe", "runs", "licence"
    );
    for tenant in tenants {
        text += &format!(
            "{:<24} {:<9} {:>6} {:>6}  {:<12}  {}\n",
            tenant.name,
            tenant.version,
            tenant.lines,
            tenant.unsafes,
            tenant.runs.join(", "),
            tenant.licence
        );
    }
    let sum = |count: fn(&Tenant) -> usize| tenants.iter().map(count).sum::<usize>();
    text + &format!(
        "{:<34} {:>6} {:>6}\n",
        format!("{} crates", tenants.len()),
        sum(|tenant| tenant.lines),
        sum(|tenant| tenant.unsafes)
    )
}

/// Which rules are broken, a sentence each.
pub fn faults(tenants: &[Tenant], most: usize) -> Vec<String> {
    let mut faults = Vec::new();
    if tenants.len() > most {
        faults.push(format!("{} crates; the most is {most}", tenants.len()));
    }
    for pair in tenants.windows(2) {
        if pair[0].name == pair[1].name {
            let versions = format!("{} and {}", pair[0].version, pair[1].version);
            faults.push(format!("{} is there twice: {versions}", pair[0].name));
        }
    }
    for tenant in tenants {
        let who = format!("{} {}", tenant.name, tenant.version);
        if tenant.source != CRATES_IO {
            faults.push(format!("{who} is not from crates.io: {:?}", tenant.source));
        }
        if !is_agreed(&tenant.licence) {
            faults.push(format!("{who} has a licence that nobody agreed to: {:?}", tenant.licence));
        }
    }
    faults
}

/// An SPDX expression, or the `MIT/Apache-2.0` of older crates: is it kept with licences of ours alone?
fn is_agreed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    either(&mut rest) == Some(true) && rest.is_empty()
}

fn either(words: &mut &[&str]) -> Option<bool> {
    let mut is_agreed = both(words)?;
    while eat(words, "OR") {
        is_agreed |= both(words)?;
    }
    Some(is_agreed)
}

/// AND binds tighter than OR.
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut is_agreed = one(words)?;
    while eat(words, "AND") {
        is_agreed &= one(words)?;
    }
    Some(is_agreed)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if eat(words, "(") {
        let is_agreed = either(words)?;
        return eat(words, ")").then_some(is_agreed);
    }
    let (name, rest) = words.split_first()?;
    *words = rest;
    let mut name = (*name).to_owned();
    if eat(words, "WITH") {
        let (exception, rest) = words.split_first()?;
        *words = rest;
        name = format!("{name} WITH {exception}");
    }
    Some(LICENCES.contains(&name.as_str()))
}

fn eat(words: &mut &[&str], word: &str) -> bool {
    let is_there = words.first() == Some(&word);
    if is_there {
        *words = &words[1..];
    }
    is_there
}

fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        _ => "",
    }
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        _ => &[],
    }
}

#[test]
fn a_tenant_that_breaks_a_rule_is_named() {
    let package = |name: &str, version: &str, source: &str, licence: &str| {
        format!(
            r#"{{"name":"{name}","version":"{version}","source":{source},"license":{licence},"targets":[],"manifest_path":"/nowhere/{name}/Cargo.toml"}}"#
        )
    };
    let (good, mit) = (format!("\"{CRATES_IO}\""), "\"MIT\"");
    let git = "\"git+https://example.org/one#0123\"";
    let found = |first: &str, second: &str, most| {
        let tree = "lf v0.1.0 (/nowhere)\none v1.0.0\none v1.0.0 (*)\ntwo v2.0.0 (proc-macro)\n";
        let unlisted = package("dev", "1.0.0", "null", "null");
        let metadata = format!("{{\"packages\":[{unlisted},{first},{second}]}}");
        let twice = second.contains("\"one\"").then(|| tree.replace("two", "one"));
        faults(&read(twice.as_deref().unwrap_or(tree), &metadata), most)
    };
    let first = package("one", "1.0.0", &good, mit);
    let second = package("two", "2.0.0", &good, mit);
    assert_eq!(found(&first, &second, 2), [""; 0]);
    let too_many = ["2 crates; the most is 1"];
    assert_eq!(found(&first, &second, 1), too_many);
    let again = package("one", "2.0.0", &good, mit);
    assert_eq!(found(&first, &again, 2), ["one is there twice: 1.0.0 and 2.0.0"]);
    for source in [git, "null", "\"registry+https://example.org/index\""] {
        let faults = found(&package("one", "1.0.0", source, mit), &second, 2);
        assert!(faults[0].starts_with("one 1.0.0 is not from crates.io"), "{faults:?}");
    }
    for licence in ["null", "\"GPL-3.0-only\"", "\"GPL-2.0-only AND MIT\""] {
        let faults = found(&first, &package("two", "2.0.0", &good, licence), 2);
        assert!(faults[0].starts_with("two 2.0.0 has a licence"), "{faults:?}");
    }
}

#[test]
fn a_licence_is_read_as_spdx_says() {
    for (expression, is_ours) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT OR GPL-3.0-only", true),
        ("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
        ("MIT OR GPL-3.0-only AND LGPL-2.1-only", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only AND MIT", false),
        ("MIT AND (Apache-2.0 AND GPL-3.0-only)", false),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("GPL-3.0-only WITH Classpath-exception-2.0", false),
        ("MIT WITH Something-exception", false),
        ("", false),
        ("OR", false),
        ("MIT OR", false),
        ("(MIT", false),
        ("MIT)", false),
        ("MIT Apache-2.0", false),
        ("mit", false),
    ] {
        assert_eq!(is_agreed(expression), is_ours, "{expression:?}");
    }
}

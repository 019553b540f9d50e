//! Which module uses which: the paths that begin with `crate`, `super` or `self`, or with a child module in
//! a `use`, each led back to the file that it ends in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module by its names from the root of the crate.
type Module = Vec<String>;

/// For every folder: which of its entries use which. An entry is a file, or a folder with all that is in
/// it. The folder's own file, `mod.rs`, is no entry: it is made of the entries, and what it declares is
/// theirs too.
pub struct Graph(BTreeMap<Module, BTreeSet<Module>>);

impl Graph {
    /// Of these files, by their paths below src/; each text without comments and tests.
    pub fn new(files: &[(&Path, String)]) -> Graph {
        let modules: BTreeSet<Module> = files.iter().map(|(path, _)| module_of(path)).collect();
        let mut entries: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (path, text) in files {
            let module = module_of(path);
            for path in paths(&module, text) {
                let used = file_of(path, &modules);
                let same = module.iter().zip(&used).take_while(|(a, b)| a == b);
                let entry = same.count() + 1;
                if entry <= module.len().min(used.len()) {
                    let users = entries.entry(module[..entry].to_vec()).or_default();
                    users.insert(used[..entry].to_vec());
                }
            }
        }
        Graph(entries)
    }

    /// The first circle, if there is one: from an entry over those it uses back to itself.
    pub fn circle(&self) -> Option<String> {
        let mut done = BTreeSet::new();
        let circle =
            self.0.keys().find_map(|module| self.walk(module, &mut Vec::new(), &mut done))?;
        let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        Some(names.join(" -> "))
    }

    fn walk<'a>(
        &'a self,
        module: &'a Module,
        way: &mut Vec<&'a Module>,
        done: &mut BTreeSet<&'a Module>,
    ) -> Option<Vec<&'a Module>> {
        if let Some(at) = way.iter().position(|passed| *passed == module) {
            return Some([&way[at..], &[module]].concat());
        }
        if done.contains(module) {
            return None;
        }
        way.push(module);
        for used in self.0.get(module).into_iter().flatten() {
            if let Some(circle) = self.walk(used, way, done) {
                return Some(circle);
            }
        }
        way.pop();
        done.insert(module);
        None
    }
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`; `lib.rs` is the root.
fn module_of(path: &Path) -> Module {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    let mut module: Module = names.collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// The longest beginning of a path that is a file.
fn file_of(mut path: Module, modules: &BTreeSet<Module>) -> Module {
    while !path.is_empty() && !modules.contains(&path) {
        path.pop();
    }
    path
}

/// Every path that a file names, from the root of the crate. The module that a `super` stands in may be
/// one in the file itself, between a `mod name {` and a `}` that are not indented.
fn paths(module: &Module, text: &str) -> Vec<Module> {
    let children: Vec<&str> = text.lines().filter_map(child).collect();
    let (mut inner, mut found) = (None, Vec::new());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = block(line) {
            inner = Some(name.to_owned());
        } else if line.starts_with('}') {
            inner = None;
        }
        let here: Module = module.iter().cloned().chain(inner.clone()).collect();
        for start in starts(line, &children) {
            let mut rest = &text[at + start..];
            for tree in tree(&mut rest) {
                found.push(from_root(&here, tree));
            }
        }
        at += line.len();
    }
    found
}

/// Where in a line a path of ours begins.
fn starts(line: &str, children: &[&str]) -> Vec<usize> {
    let mut starts = Vec::new();
    for root in ["crate", "super", "self"] {
        for (at, _) in line.match_indices(&format!("{root}::")) {
            let before = line[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                starts.push(at);
            }
        }
    }
    if let Some((_, path)) = line.split_once("use ")
        && children.iter().any(|child| {
            let rest = path.strip_prefix(child);
            rest.is_some_and(|rest| rest.starts_with("::"))
        })
    {
        starts.push(line.len() - path.len());
    }
    starts
}

/// The name in `mod name;`.
fn child(line: &str) -> Option<&str> {
    declared(line)?.strip_suffix(';')
}

/// The name in `mod name {` at the beginning of a line.
fn block(line: &str) -> Option<&str> {
    let is_indented = line.starts_with(' ');
    declared(line)?.strip_suffix(" {").filter(|_| !is_indented)
}

fn declared(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches("(crate)").trim_start_matches("(super)").trim_start(),
        None => line,
    };
    line.strip_prefix("mod ")
}

/// The paths that begin here, with the lists in braces taken apart.
fn tree(rest: &mut &str) -> Vec<Module> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    if let Some(list) = rest.strip_prefix('{') {
        *rest = list;
        let mut all = Vec::new();
        loop {
            *rest = rest.trim_start_matches([' ', ',', '\n']);
            if let Some(end) = rest.strip_prefix('}') {
                *rest = end;
                return all;
            }
            let before = rest.len();
            all.extend(tree(rest));
            if rest.len() == before {
                return all; // not a list of paths
            }
        }
    }
    let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(length);
    *rest = after;
    match after.strip_prefix("::") {
        Some(after) => {
            *rest = after;
            let below = tree(rest).into_iter();
            below.map(|path| [vec![name.to_owned()], path].concat()).collect()
        }
        None => {
            if let Some(alias) = after.strip_prefix(" as ") {
                *rest = alias.trim_start_matches(is_name);
            }
            vec![vec![name.to_owned()]]
        }
    }
}

fn from_root(here: &Module, path: Module) -> Module {
    let mut module = here.clone();
    for name in path {
        match name.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()),
            _ => module.push(name),
        }
    }
    module
}

#[test]
fn a_circle_is_named() {
    let circle = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (Path::new(*path), (*text).to_owned())).collect();
        Graph::new(&files).circle()
    };
    let line = [
        ("a.rs", "use crate::b::{self, c::{D, E as F}};\n"),
        ("b/mod.rs", "mod c;\nmod e;\nuse c::D;\nfn f() {\n    crate::h()\n}\n"),
        ("b/c.rs", "use super::e;\nmod inner {\n    use super::super::G;\n}\n"),
        ("b/e.rs", "use super::G;\n"),
        ("lib.rs", "pub mod b;\npub use a::H;\nmod a;\n"),
    ];
    assert_eq!(circle(&line), None);
    for (path, text, expected) in [
        ("b/c.rs", "use super::{\n    G,\n    super::a::H,\n};\n", "a -> b -> a"),
        ("b/e.rs", "fn f() {\n    crate::a::h(crate::b::g())\n}\n", "a -> b -> a"),
        ("b/mod.rs", "mod c;\nmod e;\nuse super::a;\n", "a -> b -> a"),
        ("b/e.rs", "use super::c;\n", "b::c -> b::e -> b::c"),
        ("b/e.rs", "mod inner {\n    use super::super::c;\n}\n", "b::c -> b::e -> b::c"),
    ] {
        let changed = line.map(|(known, old)| (known, if known == path { text } else { old }));
        assert_eq!(circle(&changed).as_deref(), Some(expected), "{path} {text:?}");
    }
}

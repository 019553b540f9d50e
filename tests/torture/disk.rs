//! A disk whose file system orders nothing by itself: what a power cut may leave of it.
//!
//! The rules are those of a journaling file system without any promise beyond POSIX:
//!
//! 1. What was written to a file is sure only when that file has been synced. Until then a cut leaves what was
//!    synced before, or that with zeros up to the new length, or a part of the new, or all of it.
//! 2. A name that was made, moved or removed is sure only when its directory has been synced; syncing the file does
//!    not do. Until then each of these operations is there or not, whatever came before or after it.
//! 3. One operation is one entry in the journal: a rename within a directory happens whole or not at all. One into
//!    another directory may leave the file under both names, but only a sync of the directory that it left, without
//!    one of that where it went, can leave it under none.
//! 4. The mode of a directory is sure when that has been synced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};

/// What a power cut leaves: by path below the home, a directory's mode, or a file's mode and content.
pub type Tree = BTreeMap<String, Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    Directory(u32),
    File(u32, Content),
}

/// The number of some bytes in [`Contents`].
pub type Content = usize;

/// Every content that there was, once.
#[derive(Default)]
pub struct Contents {
    known: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, Content>,
}

impl Contents {
    pub fn of(&mut self, bytes: Vec<u8>) -> Content {
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.known.push(bytes.clone());
            self.known.len() - 1
        })
    }

    pub fn bytes(&self, content: Content) -> &[u8] {
        &self.known[content]
    }
}

/// One call of a command that changed or synced something, by paths below the home.
#[derive(Clone, Debug)]
pub enum Call {
    MakeDirectory(String, u32),
    Make(String, u32),
    Write(String, Option<usize>, Vec<u8>),
    Truncate(String, usize),
    Mode(String, u32),
    Rename(String, String),
    Link(String, String),
    Remove(String),
    Sync(String),
}

/// The disk: what is sure, what every process sees, and what is in between.
#[derive(Clone)]
pub struct Disk {
    inodes: Vec<Inode>,
    sure: Entries,
    seen: Entries,
    pending: Vec<Operation>,
}

/// Names by directory.
type Entries = BTreeMap<(usize, String), usize>;

#[derive(Clone)]
struct Inode {
    sure: Node,
    seen: Node,
}

/// What an operation does to one directory after the other: two for a rename between directories.
#[derive(Clone)]
struct Operation(Vec<(usize, Vec<Change>)>);

/// A name, and what it leads to.
type Change = (String, Option<usize>);

impl Disk {
    /// A disk on which this is sure.
    pub fn of(tree: &Tree) -> Disk {
        let root = Node::Directory(0o700);
        let mut disk = Disk {
            inodes: vec![Inode { sure: root, seen: root }],
            sure: Entries::new(),
            seen: Entries::new(),
            pending: Vec::new(),
        };
        for (path, node) in tree {
            let (dir, name) = disk.place(path);
            let inode = disk.new_inode(*node);
            disk.inodes[inode].sure = *node;
            disk.seen.insert((dir, name), inode);
        }
        disk.sure = disk.seen.clone();
        disk
    }

    /// What every process sees.
    pub fn seen(&self) -> Tree {
        let node = |inode: usize| self.inodes[inode].seen;
        tree(&self.seen, &node)
    }

    pub fn play(&mut self, call: &Call, contents: &mut Contents) {
        match call {
            Call::MakeDirectory(path, mode) => self.make(path, Node::Directory(*mode)),
            Call::Make(path, _) if self.inode(path).is_some() => {}
            Call::Make(path, mode) => {
                let empty = contents.of(Vec::new());
                self.make(path, Node::File(*mode, empty));
            }
            Call::Write(path, at, new) => self.edit(path, contents, |bytes| {
                let at = at.unwrap_or(bytes.len());
                let end = at + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(new);
            }),
            Call::Truncate(path, length) => {
                self.edit(path, contents, |bytes| bytes.resize(*length, 0));
            }
            Call::Mode(path, mode) => {
                let inode = self.inode(path).unwrap();
                match &mut self.inodes[inode].seen {
                    Node::Directory(now) | Node::File(now, _) => *now = *mode,
                }
            }
            Call::Rename(from, to) => self.rename(from, to),
            Call::Link(from, to) => {
                let (inode, (dir, name)) = (self.inode(from), self.place(to));
                self.operate(vec![(dir, vec![(name, inode)])]);
            }
            Call::Remove(path) => {
                let (dir, name) = self.place(path);
                self.operate(vec![(dir, vec![(name, None)])]);
            }
            Call::Sync(path) => self.sync(path),
        }
    }

    /// Everything that a cut may leave now, the least first, and whether that is all: of more than `most`
    /// combinations it is those where all, none, one, all but one or the first few operations are there, and
    /// as many at random.
    pub fn cut(
        &self,
        contents: &mut Contents,
        random: &mut Random,
        most: usize,
    ) -> (Vec<Tree>, bool) {
        let unsure: Vec<(usize, Vec<Node>)> = self.unsure();
        let unsure: Vec<_> =
            unsure.into_iter().map(|(inode, ends)| (inode, remains(&ends, contents))).collect();
        let sizes = self.pending.iter().map(|it| it.0.len() + 1);
        let sizes: Vec<usize> = sizes.chain(unsure.iter().map(|it| it.1.len())).collect();
        let product = sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        let is_all = product.is_some_and(|product| product <= most);
        let choices =
            if is_all { every_choice(&sizes) } else { some_choices(&sizes, random, most) };
        let mut known = BTreeSet::new();
        let trees = choices.iter().map(|choice| self.after(choice, &unsure));
        let trees = trees.filter(|tree| known.insert(tree.clone())).collect();
        (trees, is_all)
    }

    fn after(&self, choice: &[usize], unsure: &[(usize, Vec<Node>)]) -> Tree {
        let mut entries = self.sure.clone();
        for (operation, chosen) in self.pending.iter().zip(choice) {
            operation.0[..*chosen].iter().for_each(|half| apply(&mut entries, half));
        }
        let chosen = unsure.iter().zip(&choice[self.pending.len()..]);
        let chosen: HashMap<usize, Node> =
            chosen.map(|((inode, remains), at)| (*inode, remains[*at])).collect();
        let node = |inode: usize| chosen.get(&inode).copied().unwrap_or(self.inodes[inode].sure);
        tree(&entries, &node)
    }

    /// The inodes that are otherwise than they surely are, with both, if a name may lead to them.
    fn unsure(&self) -> Vec<(usize, Vec<Node>)> {
        let changes = self.pending.iter().flat_map(|it| &it.0).flat_map(|half| &half.1);
        let named: BTreeSet<usize> =
            self.sure.values().copied().chain(changes.filter_map(|change| change.1)).collect();
        let named = named.into_iter().filter(|inode| {
            let Inode { sure, seen } = self.inodes[*inode];
            sure != seen
        });
        named.map(|inode| (inode, vec![self.inodes[inode].sure, self.inodes[inode].seen])).collect()
    }

    fn make(&mut self, path: &str, node: Node) {
        let (dir, name) = self.place(path);
        let inode = self.new_inode(node);
        self.operate(vec![(dir, vec![(name, Some(inode))])]);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let ((left, old), (dir, new)) = (self.place(from), self.place(to));
        let inode = self.inode(from);
        let (gone, there) = ((old, None), (new, inode));
        self.operate(match left == dir {
            true => vec![(dir, vec![gone, there])],
            false => vec![(dir, vec![there]), (left, vec![gone])],
        });
    }

    fn edit(&mut self, path: &str, contents: &mut Contents, edit: impl FnOnce(&mut Vec<u8>)) {
        let inode = self.inode(path).unwrap_or_else(|| panic!("no {path}"));
        let Node::File(_, content) = &mut self.inodes[inode].seen else { panic!("{path}") };
        let mut bytes = contents.bytes(*content).to_vec();
        edit(&mut bytes);
        *content = contents.of(bytes);
    }

    fn sync(&mut self, path: &str) {
        let synced = self.inode(path).unwrap_or_else(|| panic!("no {path}"));
        self.inodes[synced].sure = self.inodes[synced].seen;
        for operation in &mut self.pending {
            operation.0.retain(|half| {
                if half.0 == synced {
                    apply(&mut self.sure, half);
                }
                half.0 != synced
            });
        }
        self.pending.retain(|operation| !operation.0.is_empty());
    }

    fn operate(&mut self, halves: Vec<(usize, Vec<Change>)>) {
        halves.iter().for_each(|half| apply(&mut self.seen, half));
        self.pending.push(Operation(halves));
    }

    /// A file begins empty, and a directory with its mode.
    fn new_inode(&mut self, seen: Node) -> usize {
        self.inodes.push(Inode { sure: seen, seen });
        self.inodes.len() - 1
    }

    fn inode(&self, path: &str) -> Option<usize> {
        let mut inode = 0;
        for part in Path::new(path).components() {
            let Component::Normal(part) = part else { panic!("{path}") };
            inode = *self.seen.get(&(inode, part.to_str().unwrap().to_owned()))?;
        }
        Some(inode)
    }

    /// The directory and the name in it.
    fn place(&self, path: &str) -> (usize, String) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.inode(dir).unwrap_or_else(|| panic!("no {dir}")), name.to_owned())
    }
}

fn apply(entries: &mut Entries, (dir, changes): &(usize, Vec<Change>)) {
    for (name, inode) in changes {
        let place = (*dir, name.clone());
        match inode {
            Some(inode) => drop(entries.insert(place, *inode)),
            None => drop(entries.remove(&place)),
        }
    }
}

/// What can be reached from the top.
fn tree(entries: &Entries, node: &dyn Fn(usize) -> Node) -> Tree {
    let mut tree = Tree::new();
    let mut dirs = vec![(0, String::new())];
    while let Some((dir, path)) = dirs.pop() {
        for ((_, name), inode) in entries.range((dir, String::new())..(dir + 1, String::new())) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let node = node(*inode);
            if let Node::Directory(_) = node {
                dirs.push((*inode, path.clone()));
            }
            tree.insert(path, node);
        }
    }
    tree
}

/// What may be left of an inode that surely was the one and has become the other: by rule 1.
fn remains(ends: &[Node], contents: &mut Contents) -> Vec<Node> {
    let [Node::File(_, sure), Node::File(mode, seen)] = *ends else { return ends.to_vec() };
    let (old, new) = (contents.bytes(sure).to_vec(), contents.bytes(seen).to_vec());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let zeros = [&new[..same], &vec![0; new.len() - same]].concat();
    let middle = same + (new.len() - same) / 2;
    let part = [&new[..middle], old.get(middle..).unwrap_or_default()].concat();
    let mut nodes = ends.to_vec();
    for bytes in [zeros, part] {
        let node = Node::File(mode, contents.of(bytes));
        if !nodes.contains(&node) {
            nodes.insert(1, node);
        }
    }
    nodes
}

/// Every combination, the least first.
fn every_choice(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut choices = vec![Vec::new()];
    for size in sizes {
        let longer = |choice: &Vec<usize>| {
            (0..*size).map(|last| [&choice[..], &[last]].concat()).collect::<Vec<_>>()
        };
        choices = choices.iter().flat_map(longer).collect();
    }
    choices
}

fn some_choices(sizes: &[usize], random: &mut Random, most: usize) -> Vec<Vec<usize>> {
    let all: Vec<usize> = sizes.iter().map(|size| size - 1).collect();
    let none = vec![0; sizes.len()];
    let mut choices = vec![none.clone(), all.clone()];
    for at in 0..sizes.len() {
        for chosen in 0..sizes[at] {
            let (mut one, mut but_one) = (none.clone(), all.clone());
            (one[at], but_one[at]) = (chosen, chosen);
            choices.extend([one, but_one]);
        }
        choices.push([&all[..at], &none[at..]].concat());
        choices.push([&none[..at], &all[at..]].concat());
    }
    while choices.len() < most {
        choices.push(sizes.iter().map(|size| random.below(*size)).collect());
    }
    choices
}

/// Numbers that are the same in every run with the same seed (xorshift64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(2).wrapping_add(1))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn the_disk_keeps_what_was_synced_and_whatever_it_likes_of_the_rest_for_the_power_cut() {
    let write = |path: &str| Call::Write(path.to_owned(), None, b"new".to_vec());
    let sync = |path: &str| Call::Sync(path.to_owned());
    let make = |path: &str| Call::Make(path.to_owned(), 0o600);
    let rename = |from: &str, to: &str| Call::Rename(from.to_owned(), to.to_owned());
    // What each tree has: `name=content`, with a zero for each zero byte.
    let left = |calls: &[Call]| {
        let mut contents = Contents::default();
        let old = Node::File(0o600, contents.of(b"old".to_vec()));
        let dir = Node::Directory(0o700);
        let before = [("a", dir), ("a/x", old), ("b", dir)];
        let before = before.map(|(path, node)| (path.to_owned(), node)).into();
        let mut disk = Disk::of(&before);
        calls.iter().for_each(|call| disk.play(call, &mut contents));
        let (trees, is_all) = disk.cut(&mut contents, &mut Random::new(1), 64);
        assert!(is_all);
        let file = |(path, node): (&String, &Node)| match node {
            Node::Directory(_) => None,
            Node::File(_, content) => {
                let text = String::from_utf8(contents.bytes(*content).to_vec()).unwrap();
                Some(format!("{path}={}", text.replace('\0', "0")))
            }
        };
        let files = |tree: &Tree| tree.iter().filter_map(file).collect::<Vec<_>>().join(" ");
        trees.iter().map(files).collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>()
    };
    let published = [make("a/t"), write("a/t"), sync("a/t"), rename("a/t", "a/x"), sync("a")];
    let without = |sync: usize| {
        let mut calls = published.to_vec();
        calls.remove(sync);
        left(&calls)
    };
    assert_eq!(left(&published), ["a/x=new"]);
    assert_eq!(without(2), ["a/x=", "a/x=000", "a/x=n", "a/x=new"]);
    let both = ["a/t=new a/x=old", "a/x=new", "a/x=old"];
    assert_eq!(without(4), both);
    let moved = [rename("a/x", "b/x"), sync("a"), sync("b")];
    assert_eq!(left(&moved[..1]), ["a/x=old", "a/x=old b/x=old", "b/x=old"]);
    assert_eq!(left(&moved[..2]), ["", "b/x=old"]);
    assert_eq!(left(&moved), ["b/x=old"]);
    assert_eq!(left(&[Call::Remove("a/x".to_owned())]), ["", "a/x=old"]);
    assert_eq!(left(&[write("a/x")]), ["a/x=old", "a/x=old000", "a/x=oldn", "a/x=oldnew"]);
}

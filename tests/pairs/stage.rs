//! Where a pair of commands is run: a home, two directories of keys, and one keyring for both.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use local_keys::Secret;
use miniserde::{Deserialize, json};

use super::sweep::{MASTER, SERVICE, Stage, value_of};
use support::{Home, Outcome, PASSPHRASE, Run, copy, list};

/// The directory that a command works on. HOME is the same, because the keychain is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    First,
    /// A second directory of keys.
    Directory,
    /// A second root, with keys and everything else below it.
    Root,
}

/// A key as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Key {
    pub id: String,
    pub label: String,
}

/// What was prepared: put on a stage before every point.
pub struct Template {
    home: Home,
    kept: Vec<(String, Option<Secret>)>,
    /// The keys of the first and of the second side.
    pub keys: [Vec<Key>; 2],
}

impl Template {
    /// The master passphrase that the keychain has in it.
    pub fn master(&self) -> Option<String> {
        let (_, master) = self.kept.iter().find(|(name, _)| name == "master")?;
        master.as_ref().map(|secret| secret.expose().to_owned())
    }
}

/// The shapes of a pair that have been looked at to the end.
#[derive(Default)]
pub struct Memory(RefCell<HashSet<String>>);

impl Memory {
    /// Is it the first time that this is seen?
    pub fn is_new(&self, shape: String) -> bool {
        self.0.borrow_mut().insert(shape)
    }
}

impl Stage {
    /// A command on one of the sides, which finds its passphrase in the keychain.
    pub fn run(&self, side: Side, arguments: &str) -> Run {
        let run = self.bus.on(self.home.bare(arguments));
        let second = self.home.path().join("second");
        match side {
            Side::First => run,
            Side::Directory => run.env("LENSERFIGHT_KEYS_DIR", second),
            Side::Root => run.env("LENSERFIGHT_RUNTIME_DIR", second),
        }
    }

    /// The directory of keys of a side.
    pub fn dir(&self, side: Side) -> PathBuf {
        match side {
            Side::First => self.home.keys(),
            Side::Directory => self.home.path().join("second"),
            Side::Root => self.home.path().join("second/keys"),
        }
    }

    pub fn add(&self, side: Side, label: &str, passphrase: &str) {
        let arguments = format!("keys add --provider openai --label {label}");
        let run = self.run(side, &arguments).input(value_of(label));
        given(run, passphrase).ok();
    }

    pub fn keys(&self, side: Side) -> Vec<Key> {
        json::from_str(&self.run(side, "keys list --json").ok().out).unwrap()
    }

    /// The accounts of rekeys that the keychain has, whosesoever they are.
    pub fn accounts_of_rekeys(&self) -> Vec<String> {
        let search = ["search", "--all", "service", SERVICE];
        let found = self.bus.run("secret-tool", &search);
        let lines = found.out.lines().chain(found.err.lines());
        let accounts = lines.filter_map(|line| line.strip_prefix("attribute.account = "));
        let rekeys = accounts.filter(|account| account.starts_with("rekey."));
        rekeys.map(str::to_owned).collect()
    }

    fn roots(&self) -> [PathBuf; 2] {
        [".lenserfight", "second"].map(|root| self.home.path().join(root))
    }

    /// What lf may have in the keychain: the last are those of rekeys that are not over.
    fn accounts(&self) -> Vec<String> {
        let mut accounts: Vec<String> = ACCOUNTS.iter().map(|name| (*name).to_owned()).collect();
        for side in [Side::First, Side::Directory, Side::Root] {
            if let Ok(id) = fs::read_to_string(self.dir(side).join(".rekey/id")) {
                accounts.push(format!("rekey.{}", id.trim_end()));
            }
        }
        accounts
    }

    fn entries(&self) -> Vec<(String, Option<Secret>)> {
        let keychain = self.keychain();
        let entry = |account: String| {
            let secret = keychain.find(SERVICE, &account).unwrap();
            (account, secret)
        };
        self.accounts().into_iter().map(entry).collect()
    }

    /// Keeps a copy of what is there now.
    pub fn template(&self, second: Side) -> Template {
        let home = Home::new();
        for root in self.roots() {
            if root.exists() {
                copy(&root, &home.path().join(root.file_name().unwrap()));
            }
        }
        let keys = match second {
            Side::First => [self.keys(Side::First), Vec::new()],
            _ => [Side::First, second].map(|side| self.keys(side)),
        };
        Template { keys, kept: self.entries(), home }
    }

    /// Puts everything back as it was prepared.
    pub fn reset(&self, template: &Template) {
        self.clear();
        for root in self.roots() {
            let prepared = template.home.path().join(root.file_name().unwrap());
            if prepared.exists() {
                copy(&prepared, &root);
            }
        }
        for (account, secret) in &template.kept {
            if let Some(secret) = secret {
                self.keychain().store(SERVICE, account, secret).unwrap();
            }
        }
    }

    pub fn clear(&self) {
        for account in self.accounts() {
            self.drop_kept(&account);
        }
        for root in self.roots() {
            if root.exists() {
                fs::remove_dir_all(root).unwrap();
            }
        }
    }

    /// What there is, without what is random about it.
    pub fn shape(&self, template: &Template) -> String {
        let mut shape = String::new();
        let known = || template.keys.iter().flatten();
        let named = |name: &str| match name {
            _ if known().any(|key| name.contains(&key.id)) => name.to_owned(),
            _ if name.ends_with(".tmp") => "temporary".to_owned(),
            "keys" | "gateway" | "audit.log" | "ready" | "id" | ".rekey" => name.to_owned(),
            _ => "new".to_owned(),
        };
        let mut entries: Vec<PathBuf> = self.roots().into();
        while let Some(path) = entries.pop() {
            let Ok(stat) = fs::symlink_metadata(&path) else {
                continue;
            };
            if stat.is_dir() {
                entries.extend(list(&path));
            }
            let name = named(path.file_name().unwrap().to_str().unwrap());
            // A key that has been moved is another file than it was.
            let before = path.strip_prefix(self.home.path()).unwrap();
            let before = fs::read(template.home.path().join(before)).ok();
            let is_same = before.is_some() && before == fs::read(&path).ok();
            let _ = write!(shape, "{name} {:o} {is_same} ", stat.permissions().mode());
        }
        for (account, now) in self.entries() {
            let before = template.kept.iter().find(|(name, _)| *name == account);
            let before = before.and_then(|(_, secret)| secret.as_ref().map(Secret::expose));
            let is_same = before == now.as_ref().map(Secret::expose);
            let earlier = now.as_ref().map(|now| now.expose().matches("until").count());
            let account = account.split_once('.').map_or("master", |(first, _)| first);
            let _ = write!(shape, "{account} {earlier:?} {is_same} ");
        }
        shape
    }
}

/// A run that has this passphrase from the environment, whatever the keychain has.
pub fn given(run: Run, passphrase: &str) -> Run {
    run.env("LENSERFIGHT_KEYS_PASSPHRASE", passphrase)
        .env("LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV", "1")
}

/// Two keys here and one there, all under one passphrase, which the keychain has.
pub fn common(stage: &Stage, second: Side) {
    stage.keep("master", PASSPHRASE);
    for label in ["One", "Two"] {
        stage.add(Side::First, label, PASSPHRASE);
    }
    if second != Side::First {
        stage.add(second, "Three", PASSPHRASE);
    }
}

/// The command that a hint names, without `lf`.
pub fn hinted(told: &Outcome) -> Option<String> {
    let lines = told.out.lines().chain(told.err.lines());
    let mut hints = lines.filter_map(|line| line.split_once("hint: "));
    let command = hints.find_map(|(_, hint)| hint.split_once("lf "))?.1;
    let end = command.find([',', ';', '(']).unwrap_or(command.len());
    Some(command[..end].trim().to_owned())
}

const ACCOUNTS: &[&str] = &[MASTER, "master.earlier", "master.next", "master.previous"];

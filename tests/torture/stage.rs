//! What a scenario prepares on a stage, and the look at it afterwards.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use local_keys::{KeyId, Keychain, Patience, Secret, Store, find_passphrase};
use miniserde::{Deserialize, json};

use super::sweep::{MASTER, SERVICE, Stage, value_of};
use super::{NEXT, Scenario, Source};
use support::gateway::{Gateway, bearer};
use support::{Home, Outcome, PASSPHRASE, copy, list, with_passphrase};

/// A key as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    pub label: String,
    pub value: String,
}

/// What a scenario prepared: put on a stage before every point.
pub struct Template {
    home: Home,
    kept: Vec<Option<Secret>>,
    pub keys: Vec<Key>,
    pub token: Option<String>,
}

/// What has been seen before in this scenario, and need not be looked at twice.
#[derive(Default)]
pub struct Memory {
    /// Values by file and passphrase: the same bytes open as they did.
    opened: RefCell<HashMap<Question, Option<String>>>,
    /// Stores that differ in nothing but salts, IVs, random names and times.
    survived: RefCell<HashSet<String>>,
}

/// A key's file, and a passphrase.
type Question = (Vec<u8>, String);

/// What `lf keys list --json` says of a key.
#[derive(Deserialize)]
struct Listed {
    id: String,
    label: String,
}

impl Stage {
    /// The master passphrase that a command with this source finds.
    pub fn configured(&self, source: Source) -> Option<String> {
        match source {
            Source::Environment | Source::Forced => Some(PASSPHRASE.to_owned()),
            Source::Next => Some(NEXT.to_owned()),
            Source::Keychain => self.kept(MASTER),
            Source::Both => match self.kept(MASTER) {
                Some(_) => None, // lf does not choose between two
                None => Some(PASSPHRASE.to_owned()),
            },
        }
    }

    /// Whose token a gateway takes this for, by its line in the audit log.
    pub fn recognise(&self, scenario: &Scenario, token: &str) -> Option<String> {
        let serve = scenario.after.run(self, "gateway serve --keys-only --port 0");
        let gateway = Gateway::run(serve);
        let answer = gateway.ask("GET /keys", &[("Authorization", &bearer(token))], "");
        let ended = gateway.ends();
        assert_eq!(ended.status, Some(0), "{ended}");
        match answer.status {
            200 => {
                let log = self.home.audit();
                let (_, rest) = log.rsplit_once("\"pairing\":\"").expect("a line about it");
                Some(rest.split('"').next().unwrap().to_owned())
            }
            401 => None,
            _ => panic!("{answer:?}"),
        }
    }

    /// Each key opens with this passphrase, and nothing is changed by that.
    pub fn all_open_with(&self, passphrase: &str) {
        for Listed { id, .. } in listed(&self.home.bare("keys list --json").ok()) {
            assert!(self.open(&id, passphrase).is_some(), "{id}");
        }
    }

    /// The value of a key under exactly this passphrase, if it opens with it.
    fn open(&self, id: &str, passphrase: &str) -> Option<String> {
        let environment = with_passphrase(passphrase);
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let master = find_passphrase(&environment, &keychain).unwrap();
        let store = Store::at(self.home.keys());
        let value = store.resolve(&KeyId::parse(id).unwrap(), &master).ok()?;
        Some(value.expose().to_owned())
    }

    fn root(&self) -> PathBuf {
        self.home.path().join(".lenserfight")
    }

    /// Makes the scenario's store here, and keeps a copy of it.
    pub fn prepare(&self, scenario: &Scenario) -> Template {
        self.clear();
        let token = (scenario.prepare)(self);
        let home = Home::new();
        if self.root().exists() {
            copy(&self.root(), &home.path().join(".lenserfight"));
        }
        let key = |Listed { id, label }| Key { value: value_of(&label), id, label };
        let keys = listed(&home.bare("keys list --json").ok());
        Template { keys: keys.into_iter().map(key).collect(), kept: self.entries(), home, token }
    }

    /// Puts everything back as it was prepared.
    pub fn reset(&self, template: &Template) {
        self.clear();
        let prepared = template.home.path().join(".lenserfight");
        if prepared.exists() {
            copy(&prepared, &self.root());
        }
        for ((service, account), secret) in self.accounts().iter().zip(&template.kept) {
            if let Some(secret) = secret {
                self.keychain().store(service, account, secret).unwrap();
            }
        }
    }

    fn clear(&self) {
        for (service, account) in self.accounts() {
            self.keychain().delete(service, &account).unwrap();
        }
        if self.root().exists() {
            fs::remove_dir_all(self.root()).unwrap();
        }
    }

    /// What the accounts hold, in their order.
    fn entries(&self) -> Vec<Option<Secret>> {
        let keychain = self.keychain();
        let find = |(service, account): (_, String)| keychain.find(service, &account).unwrap();
        self.accounts().into_iter().map(find).collect()
    }

    /// What lf keeps in the keychain in these scenarios: the last is that of a rekey which is not over.
    pub fn accounts(&self) -> Vec<(&'static str, String)> {
        let fixed = ACCOUNTS.iter();
        let mut accounts: Vec<_> =
            fixed.map(|(service, account)| (*service, (*account).to_owned())).collect();
        if let Ok(id) = fs::read_to_string(self.home.keys().join(".rekey/id")) {
            accounts.push((SERVICE, format!("rekey.{}", id.trim_end())));
        }
        accounts
    }

    /// The look afterwards, without anything having been repaired: every key is there and opens, and
    /// no next command is kept from its work.
    pub fn survives(
        &self,
        scenario: &Scenario,
        template: &Template,
        memory: &Memory,
        outcome: &Outcome,
    ) {
        let keys = self.is_whole(scenario, template, memory, outcome);
        let shape = self.shape(template, &keys);
        if memory.survived.borrow().contains(&shape) {
            return;
        }
        self.goes_on(scenario, template, &keys);
        memory.survived.borrow_mut().insert(shape);
    }

    /// Every key is there and opens, with its old or its new value; the new one if the command was done.
    pub fn is_whole(
        &self,
        scenario: &Scenario,
        template: &Template,
        memory: &Memory,
        outcome: &Outcome,
    ) -> Vec<Key> {
        let after = |arguments: &str| scenario.after.run(self, arguments);
        let list = after("keys list --json").ok();
        let keys = self.open_all(scenario, memory, listed(&list));
        self.compare(scenario, template, &keys, outcome.status == Some(0));
        assert!(list.err.is_empty(), "{list}");
        if template.token.is_some() {
            let listed = after("gateway pairings").ok();
            assert!(listed.out.contains("first"), "{listed}");
        }
        if outcome.status == Some(0) {
            (scenario.done)(self, scenario, outcome);
        }
        keys
    }

    /// The next commands do their work, and the same one again does.
    pub fn goes_on(&self, scenario: &Scenario, template: &Template, keys: &[Key]) {
        let after = |arguments: &str| scenario.after.run(self, arguments);
        after(scenario.then).ok();
        if let Some(token) = &template.token {
            let first = self.recognise(scenario, token);
            assert_eq!(first.as_deref(), Some("first"), "an older pairing");
        }
        if let Some(code) = scenario.again {
            let again = scenario.start(self, template).go();
            let is_fine = again.status == Some(0) || again.err.starts_with(&format!("lf: {code}:"));
            assert!(is_fine, "the same command again: {again}");
            (scenario.done)(self, scenario, &again);
        }
        match keys.first() {
            Some(key) => after(&format!("keys rotate -- {}", key.id)).ok(),
            None => after("keys add --provider openai").input("v").ok(),
        };
        let mended = after("keys doctor --fix").ok();
        let names = self.home.names();
        let count = names.iter().filter(|name| name.ends_with(".json")).count();
        assert!(count >= keys.len().max(1), "{names:?}");
        assert!(mended.out.contains(&format!("decryption: {count} of {count} open")), "{mended}");
    }

    /// These keys, each opened through the library; there are no others in the directory.
    fn open_all(&self, scenario: &Scenario, memory: &Memory, listed: Vec<Listed>) -> Vec<Key> {
        let passphrases = (scenario.passphrases)(self, scenario);
        let open = |id: &str, passphrase: &String| {
            let waiting = self.home.keys().join(format!(".rekey/{id}.json"));
            let bytes =
                [fs::read(self.home.file(id)).unwrap(), fs::read(waiting).unwrap_or_default()];
            let question = (bytes.concat(), passphrase.clone());
            if let Some(known) = memory.opened.borrow().get(&question) {
                return known.clone();
            }
            let value = self.open(id, passphrase);
            memory.opened.borrow_mut().insert(question, value.clone());
            value
        };
        let is_key = |name: &&String| name.ends_with(".json") && !name.starts_with('.');
        let files = self.home.names().iter().filter(is_key).count();
        assert_eq!(files, listed.len(), "{:?}", self.home.names());
        let key = |Listed { id, label }| Key {
            value: passphrases
                .iter()
                .find_map(|passphrase| open(&id, passphrase))
                .unwrap_or_else(|| panic!("{id} ({label}) does not open")),
            id,
            label,
        };
        listed.into_iter().map(key).collect()
    }

    /// Old or new, and new if the command says that it is done; what it was not asked to touch is
    /// the same file.
    fn compare(&self, scenario: &Scenario, template: &Template, keys: &[Key], is_done: bool) {
        for old in &template.keys {
            let now = keys.iter().find(|key| key.id == old.id);
            let file = |home: &Home| fs::read(home.file(&old.id)).ok();
            let is_same = file(&self.home) == file(&template.home);
            if scenario.touches.contains(&old.label.as_str()) {
                let new = (scenario.becomes)(old.clone());
                let is_new = !is_same && now == new.as_ref();
                let is_old = now == Some(old);
                assert!(is_new || (is_old && !is_done), "{old:?} became {now:?}");
            } else {
                assert!(is_same, "{old:?} was not meant, and became {now:?}");
            }
        }
        if scenario.sets_aside {
            self.has_every_envelope(&template.home);
        }
        let is_old = |key: &Key| template.keys.iter().any(|old| old.id == key.id);
        let added: Vec<_> = keys.iter().filter(|key| !is_old(key)).collect();
        let wanted = usize::from(scenario.adds.is_some());
        assert!(added.len() <= wanted && (added.len() == wanted || !is_done), "{added:?}");
        for key in added {
            assert_eq!(Some((&*key.label, &*key.value)), scenario.adds, "{key:?}");
        }
    }

    /// Every envelope that was prepared is among the keys or put aside, as it was.
    fn has_every_envelope(&self, prepared: &Home) {
        let envelopes = |home: &Home| -> Vec<Vec<u8>> {
            let places = ["", "unreadable", "replaced"].map(|it| home.keys().join(it));
            let files = places.iter().filter(|place| place.is_dir()).flat_map(|place| list(place));
            let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
            files.map(|path| fs::read(path).unwrap()).collect()
        };
        let now = envelopes(&self.home);
        for envelope in envelopes(prepared) {
            assert!(now.contains(&envelope), "a key that was put aside is gone");
        }
    }

    /// What there is, without what is random about it.
    fn shape(&self, template: &Template, keys: &[Key]) -> String {
        let mut shape = String::new();
        let named = |name: &str| match name {
            _ if template.keys.iter().any(|key| name.contains(&key.id)) => name.to_owned(),
            _ if name.ends_with(".tmp") => "temporary".to_owned(),
            "keys" | "gateway" | "audit.log" | "pairings.json" | "unreadable" => name.to_owned(),
            _ => "new".to_owned(),
        };
        let mut entries = vec![self.root()];
        while let Some(path) = entries.pop() {
            let Ok(stat) = fs::symlink_metadata(&path) else {
                continue;
            };
            let length = if stat.is_dir() {
                entries.extend(list(&path));
                0
            } else {
                stat.len()
            };
            let name = named(path.file_name().unwrap().to_str().unwrap());
            let _ = write!(shape, "{name} {:o} {length} ", stat.permissions().mode());
        }
        let labelled = |key: &Key| format!("{}={} ", key.label, key.value);
        shape.extend(keys.iter().map(labelled));
        for (now, before) in self.entries().iter().zip(&template.kept) {
            let [now, before] = [now, before].map(|secret| secret.as_ref().map(Secret::expose));
            let _ = write!(shape, "{} {} ", now.is_some(), now == before);
        }
        shape
    }
}

/// The keys that `lf keys list --json` has printed.
fn listed(outcome: &Outcome) -> Vec<Listed> {
    json::from_str(&outcome.out).unwrap()
}

const ACCOUNTS: &[(&str, &str)] = &[
    (SERVICE, MASTER),
    (SERVICE, "master.earlier"),
    (SERVICE, "master.next"),
    (SERVICE, "master.previous"),
    ("lenserfight-gateway-bearer", "first"),
    ("lenserfight-gateway-bearer", "second"),
];

//! A directory for a test, with keys in it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use super::{Envelope, KeyMeta, Label, Master, Provider, envelope, master::source};
use crate::base::{lock::lock, secret::Secret, time::Timestamp};
use crate::keychain::{Keychain, Patience};
use crate::system::{environment::Environment, fs::Dir};

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
pub(crate) const OTHER: &str = "another passphrase than this";

/// Removed in the end.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lf-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = Place(env::temp_dir().join(name));
        place.make("");
        place
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn dir(&self) -> Dir {
        Dir::open(&self.0).unwrap().unwrap()
    }

    pub(crate) fn make(&self, name: &str) {
        fs::create_dir_all(self.at(name)).unwrap();
        self.chmod(name, 0o700);
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.at(name)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).unwrap();
        self.chmod(name, 0o600);
    }

    pub(crate) fn remove(&self, name: impl AsRef<Path>) {
        fs::remove_file(self.at(name)).unwrap();
    }

    pub(crate) fn names(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(below)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Adds a key of openai's with this label and the value `value`.
    pub(crate) fn add(&self, label: &str, passphrase: &str) -> KeyMeta {
        self.add_with(label, passphrase, |_| ())
    }

    pub(crate) fn add_with(
        &self,
        label: &str,
        passphrase: &str,
        amend: impl Fn(&mut KeyMeta),
    ) -> KeyMeta {
        let mut meta = meta(label);
        amend(&mut meta);
        self.write(&meta.id.file_name(), sealed(meta.clone(), passphrase).print());
        meta
    }
}

/// An envelope with the value `value`. It is sealed once for each passphrase: nothing in it depends on
/// the key's metadata.
pub(crate) fn sealed(meta: KeyMeta, passphrase: &str) -> Envelope {
    static SEALED: Mutex<BTreeMap<String, Envelope>> = Mutex::new(BTreeMap::new());
    let seal = || envelope::seal(&secret(passphrase), &secret("value"), meta.clone()).unwrap();
    let mut envelope = lock(&SEALED).entry(passphrase.to_owned()).or_insert_with(seal).clone();
    envelope.meta = meta;
    envelope
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// A new key's.
pub(crate) fn meta(label: &str) -> KeyMeta {
    let named = (Provider::parse("openai").unwrap(), Label::parse(label).unwrap());
    KeyMeta::mint(named, Timestamp::now()).unwrap()
}

/// This passphrase, from the environment of a host without a keychain.
pub(crate) fn given(passphrase: &'static str) -> Master {
    let environment = Environment::of(move |name| {
        (name == "LENSERFIGHT_KEYS_PASSPHRASE").then(|| passphrase.into())
    });
    let keychain = Keychain::new(&environment, Patience::SHORT);
    source::find(&environment.passphrase, &keychain).unwrap()
}

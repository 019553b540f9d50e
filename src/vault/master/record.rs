//! The user's record of master passphrases in the keychain, and the one way to change it.
//!
//! | account          | holds                                                                        |
//! |------------------|------------------------------------------------------------------------------|
//! | `master`         | the present passphrase, which seals                                          |
//! | `master.earlier` | the ones that it has replaced, newest first: JSON, `{"v":1,"earlier":[…]}`   |
//! | `rekey.<id>`     | the next passphrase of the one rekey whose id lies in its `.rekey/`          |
//!
//! All stores of a user share `master`, so replacing it must not close another store. [`replace`] is
//! therefore the only function that writes it:
//!
//! 1. take the user's lock, [`Keychain::lock`], through which all that follows goes;
//! 2. read `master` again, and let the caller object to what it is by now;
//! 3. put it into `master.earlier`, and read that back;
//! 4. write `master`, and read it back; a keychain that has forgotten the lock refuses both.
//!
//! Killed after any of these, every passphrase that has sealed something is in `master` or in
//! `master.earlier`. (tests/rekey.rs; the model in rekey/tests.rs walks all interleavings)

use miniserde::{Deserialize, Serialize, json};

use crate::base::{secret::Secret, time::Timestamp};
use crate::error::{Error, Result};
use crate::keychain::Keychain;

/// Every passphrase of this user that may have sealed something.
#[derive(Default)]
pub(crate) struct Record {
    /// What seals now.
    pub(crate) present: Option<Secret>,
    /// What has sealed before, newest first.
    pub(crate) earlier: Vec<Earlier>,
}

/// A passphrase that was replaced.
pub(crate) struct Earlier {
    pub(crate) passphrase: Secret,
    /// When it was replaced, as far as that was written down.
    pub(crate) until: Option<Timestamp>,
}

impl Record {
    /// What the keychain has.
    pub(crate) fn read(keychain: &Keychain) -> Result<Record> {
        Ok(Record { present: present(keychain)?, earlier: earlier(keychain)? })
    }

    /// All of them, the present one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Secret> {
        self.present.iter().chain(self.earlier.iter().map(|earlier| &earlier.passphrase))
    }

    pub(crate) fn has(&self, passphrase: &Secret) -> bool {
        self.all().any(|known| known.same(passphrase))
    }
}

/// The present master passphrase; `None` if the keychain works and has none.
pub(crate) fn present(keychain: &Keychain) -> Result<Option<Secret>> {
    keychain.find(SERVICE, MASTER)
}

/// Is this an entry that reading a store may take?
pub(crate) fn is_for_reading(service: &str, account: &str) -> bool {
    service == SERVICE && [MASTER, EARLIER, FORMER_PREVIOUS].contains(&account)
}

/// Makes `new` the master passphrase. `may` is asked under the lock whether what is there by now may
/// be replaced.
pub(crate) fn replace(
    keychain: &Keychain,
    new: &Secret,
    now: Timestamp,
    may: impl FnOnce(Option<&Secret>) -> Result<()>,
) -> Result<()> {
    let keychain = &keychain.lock()?;
    let old = present(keychain)?;
    may(old.as_ref())?;
    match old {
        Some(old) if old.same(new) => return Ok(()),
        Some(old) => put_on_record(keychain, old, now)?,
        None => {}
    }
    keep(keychain, MASTER, new)
}

/// Puts a passphrase on record as an earlier one: what it opens opens, and `master` stays.
pub(crate) fn remember(keychain: &Keychain, passphrase: Secret, now: Timestamp) -> Result<()> {
    let keychain = &keychain.lock()?;
    if present(keychain)?.is_some_and(|present| present.same(&passphrase)) {
        return Ok(());
    }
    put_on_record(keychain, passphrase, now)
}

/// Drops the earlier passphrases, if the record is still the one that was looked at; or, where `seen` is
/// `None`, the entry that is damaged.
pub(crate) fn forget(keychain: &Keychain, seen: Option<&Record>) -> Result<()> {
    let keychain = &keychain.lock()?;
    if let Some(seen) = seen {
        let now = Record::read(keychain)?;
        let same = |(now, seen): (&Secret, &Secret)| now.same(seen);
        let is_same = now.present.is_some() == seen.present.is_some()
            && now.earlier.len() == seen.earlier.len()
            && now.all().zip(seen.all()).all(same);
        if !is_same {
            return Err(changed("nothing was forgotten"));
        }
    }
    keychain.delete(SERVICE, EARLIER)?;
    if seen.is_some() {
        keychain.delete(SERVICE, FORMER_PREVIOUS)?;
    }
    Ok(())
}

/// What to say when the record is another one than that on which something was decided.
pub(crate) fn changed(so: &str) -> Error {
    let sentence = format!("the master passphrase or its record has changed in the meantime; {so}");
    Error::refused(sentence, "lf keys doctor; then run this command again")
}

/// Makes sure that another passphrase can be put on record, before work is done that needs it.
pub(crate) fn has_room(keychain: &Keychain) -> Result<()> {
    if earlier(keychain)?.len() < MOST {
        return Ok(());
    }
    let sentence = format!(
        "the keychain has {MOST} earlier master passphrases on record, which is the limit; nothing was changed"
    );
    Err(Error::refused(sentence, "lf keys recovery forget, which names what still needs them"))
}

fn put_on_record(keychain: &Keychain, passphrase: Secret, now: Timestamp) -> Result<()> {
    let mut list = earlier(keychain)?;
    if list.iter().any(|known| known.passphrase.same(&passphrase)) {
        return Ok(());
    }
    has_room(keychain)?;
    list.insert(0, Earlier { passphrase, until: Some(now) });
    keep(keychain, EARLIER, &print(&list))
}

/// The earlier ones, newest first, with the one that the first version of lf kept.
pub(super) fn earlier(keychain: &Keychain) -> Result<Vec<Earlier>> {
    let mut list = keychain.find(SERVICE, EARLIER)?.map_or(Ok(Vec::new()), |text| parse(&text))?;
    if let Some(passphrase) = keychain.find(SERVICE, FORMER_PREVIOUS)?
        && !list.iter().any(|known| known.passphrase.same(&passphrase))
    {
        list.push(Earlier { passphrase, until: None });
    }
    Ok(list)
}

/// The next passphrase of the rekey `id`, or of one of lf's first version, which shared one account.
pub(crate) fn next(keychain: &Keychain, id: Option<&str>) -> Result<Option<Secret>> {
    keychain.find(SERVICE, &next_account(id))
}

/// Drops the next passphrase of a rekey that has ended.
pub(crate) fn drop_next(keychain: &Keychain, id: Option<&str>) -> Result<()> {
    keychain.delete(SERVICE, &next_account(id)).map(drop)
}

pub(super) fn next_account(id: Option<&str>) -> String {
    id.map_or_else(|| FORMER_NEXT.to_owned(), |id| format!("rekey.{id}"))
}

pub(super) fn keep(keychain: &Keychain, account: &str, secret: &Secret) -> Result<()> {
    const UNCERTAIN: &str = "lf keys doctor tells whether the keychain has the passphrase";
    let uncertain = |error: Error| error.with(UNCERTAIN);
    keychain.store(SERVICE, account, secret).map_err(uncertain)?;
    let kept = keychain.find(SERVICE, account).map_err(uncertain)?;
    if kept.is_some_and(|kept| kept.same(secret)) {
        return Ok(());
    }
    let reason = "the keychain took the passphrase, but returns something else";
    Err(Error::KeychainUnavailable(reason.to_owned()))
}

fn print(list: &[Earlier]) -> Secret {
    let entry = |earlier: &Earlier| Entry {
        passphrase: earlier.passphrase.expose().to_owned(),
        until: earlier.until.map(|until| until.to_string()),
    };
    Secret::new(json::to_string(&List { v: VERSION, earlier: list.iter().map(entry).collect() }))
}

fn parse(text: &Secret) -> Result<Vec<Earlier>> {
    let refused = |what: &str, hint: &str| {
        let sentence = format!(
            "the keychain's entry {SERVICE}/{EARLIER}, the record of earlier master passphrases, is {what}; nothing was changed"
        );
        Error::refused(sentence, hint)
    };
    let list: List = json::from_str(text.expose()).map_err(|_| refused("damaged", FORGET))?;
    if list.v > VERSION {
        return Err(refused("of a later version of lf", "use that version here"));
    }
    let entry = |entry: Entry| Earlier {
        until: entry.until.as_deref().and_then(Timestamp::parse),
        passphrase: Secret::new(entry.passphrase),
    };
    Ok(list.earlier.into_iter().map(entry).collect())
}

/// The hint for a damaged record.
pub(crate) const FORGET: &str = "lf keys recovery forget drops it, if no key needs it";

#[derive(Serialize, Deserialize)]
struct List {
    v: u64,
    earlier: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    passphrase: String,
    until: Option<String>,
}

const SERVICE: &str = "lenserfight-keys";
const MASTER: &str = "master";
const EARLIER: &str = "master.earlier";
/// Where the first version of lf kept the one before, and the next one of any rekey.
const FORMER_PREVIOUS: &str = "master.previous";
const FORMER_NEXT: &str = "master.next";
const VERSION: u64 = 1;
/// A list of 64 fits the smallest keychain entries known but Windows's, which says so itself.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_refused() {
        let until = Timestamp::parse("2026-01-02T03:04:05.678Z");
        let list = [
            Earlier { passphrase: secret("one\"\n"), until },
            Earlier { passphrase: secret("two"), until: None },
        ];
        let read = parse(&print(&list)).unwrap();
        let plain = |list: &[Earlier]| -> Vec<(String, Option<Timestamp>)> {
            list.iter().map(|it| (it.passphrase.expose().to_owned(), it.until)).collect()
        };
        assert_eq!(plain(&read), plain(&list));
        for (text, what) in [
            ("", "is damaged"),
            ("{}", "is damaged"),
            (r#"{"v":1}"#, "is damaged"),
            (r#"{"v":2,"earlier":[]}"#, "of a later version"),
        ] {
            let refused = parse(&secret(text)).err().unwrap().to_string();
            assert!(refused.contains(what), "{text}: {refused}");
        }
        assert!(parse(&secret(r#"{"v":1,"earlier":[]}"#)).unwrap().is_empty());
        assert!(parse(&secret(r#"{"v":0,"earlier":[],"more":1}"#)).unwrap().is_empty());
    }

    #[test]
    fn a_record_has_the_present_one_first_and_all_that_it_names() {
        let earlier = ["b", "c"].map(|it| Earlier { passphrase: secret(it), until: None });
        let record = Record { present: Some(secret("a")), earlier: earlier.into() };
        assert_eq!(record.all().map(Secret::expose).collect::<Vec<_>>(), ["a", "b", "c"]);
        for (passphrase, has) in [("a", true), ("c", true), ("d", false), ("", false)] {
            assert_eq!(record.has(&secret(passphrase)), has, "{passphrase}");
        }
        assert!(!Record::default().has(&secret("a")));
    }

    #[test]
    fn accounts_are_those_of_the_table() {
        assert_eq!(next_account(Some("x")), "rekey.x");
        assert_eq!(next_account(None), "master.next");
        for (service, account, may) in [
            (SERVICE, "master", true),
            (SERVICE, "master.earlier", true),
            (SERVICE, "master.previous", true),
            (SERVICE, "master.next", false),
            (SERVICE, "rekey.x", false),
            ("other", "master", false),
        ] {
            assert_eq!(is_for_reading(service, account), may, "{service}/{account}");
        }
    }
}

//! `lf keys import --cloud`: brings the caller's keys home from LenserFight Cloud. The cloud's copies stay.

use crate::base::secret::{printable, shown};
use crate::cloud::{key, key::CloudKey, server::Server};
use crate::system::term;
use crate::vault::key::KeyMeta;

use super::import::{Found, Key, Options, master, store, twin};
use super::{Context, Error, Result, host};

/// Fetches the keys that are named, or all, or those that a person says; but none that is here already.
pub(super) fn import(context: &Context, mut options: Options) -> Result<()> {
    let is_asked = options.names.is_empty() && !options.all;
    if is_asked && !host::has_person() {
        return Err(Error::usage("name the cloud keys to import, or use --all"));
    }
    let server = Server::find(&context.environment)?;
    let keys = key::list(&server)?;
    if is_asked && !keys.is_empty() {
        options.names = ask(&keys)?;
    }
    let all = options.all || (is_asked && options.names == ["all"]);
    let chosen = if all { keys.iter().collect() } else { named(&keys, &options.names)? };
    let (mut found, mut known) = (Found::default(), None);
    if !chosen.is_empty() {
        let master = known.insert(master(context)?);
        let stored = context.store.list()?.keys;
        for key in chosen {
            let (provider, label) = key.named(&keys)?;
            if let Some(why) = twin(&stored, &provider, &label) {
                found.left.push(why);
                continue;
            }
            let value = key.value(&server);
            if let Err(error @ Error::CloudRefused(_)) = &value {
                found.bad.push(format!("{}: {error}", key.name()));
                continue;
            }
            // After any other error, the next one would fail in the same way.
            let value = value?;
            let has_it = |other: &&KeyMeta| {
                let resolve = || context.store.resolve(&other.id, master);
                other.provider == provider && resolve().is_ok_and(|other| other.same(&value))
            };
            match stored.iter().find(has_it) {
                Some(same) => found.left.push(format!("{}: {same} has this value", label.as_str())),
                None => found.keys.push(Key { provider, label, value }),
            }
        }
    }
    // They have been chosen; and with a name, a key that fails is a failure each time.
    (options.yes, options.names) = (true, vec![String::new()]);
    store(context, found, &options, (known, REVOKE))
}

/// Lists the keys, never a value, and asks which are meant.
fn ask(keys: &[CloudKey]) -> Result<Vec<String>> {
    for key in keys {
        let (provider, name, suffix) = (&key.provider, key.name(), &key.suffix);
        let line = format!("{}  {provider}  {name}  …{suffix}", key.id);
        host::eprint(&format!("  {}\n", printable(&line)));
    }
    let answer = term::ask_line("Which ones? Type the first 4 characters of their ids, or all: ")?;
    let words: Vec<String> = answer.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() { Err(Error::Aborted) } else { Ok(words) }
}

fn named<'a>(keys: &'a [CloudKey], words: &[String]) -> Result<Vec<&'a CloudKey>> {
    let key = |word: &String| {
        let found: Vec<_> = keys.iter().filter(|key| key.fits(word)).collect();
        let (word, count) = (shown(word), found.len());
        let sentence =
            format!("\"{word}\" names {count} of your active keys in the cloud, not one");
        if let [key] = found[..] { Ok(key) } else { Err(Error::usage(sentence)) }
    };
    words.iter().map(key).collect()
}

const REVOKE: &str = "lf: hint: the cloud still has its copies; revoke them there under Settings → API Keys, or in a database of your own as the first lines of lf cloud schema say\n";

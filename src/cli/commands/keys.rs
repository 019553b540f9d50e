//! `lf keys add`, `update`, `rotate`, `remove` and `export`, and the arguments of the commands
//! about the master passphrase. Arguments are parsed before anything is opened.

use std::collections::BTreeSet;

use crate::base::{Secret, Timestamp, paste, shell::quote, shell::quoted, shown, time::parse_age};
use crate::base::{distinct::distinct, time::parse_moment};
use crate::system::term;
use crate::vault::{KeyId, KeyMeta, Label, Provider, provider, provider::KNOWN};
use crate::vault::{Master, envelope, provider::Known};
use zeroize::Zeroizing;

use super::{Args, Context, Error, Format, Kind, Result, all_of, confirm, flags, format, host};
use super::{is_not, read_line, secret_in_argv, suggest};

/// The provider, the label if there is one, and the expiry.
pub(super) fn new_key(args: &mut Args) -> Result<(Provider, Option<Label>, Option<Expiry>)> {
    let (expiry, provider, label) = (expiry(args)?, args.value("--provider"), label(args)?);
    let words = args.operands("word").unwrap_or_default();
    match (provider, &label, words.first()) {
        (Some(provider), _, None) => Ok((provider::parse(&provider)?, label, expiry)),
        (_, Some(label), Some(_)) => {
            let label = format!("{} {}", label.as_str(), words.join(" "));
            Err(Error::Usage {
                sentence: "put a label with spaces into quotes".to_owned(),
                hint: Some(format!("--label {}", quoted(&shown(&label)))),
            })
        }
        // It may be a value.
        (Some(_), None, Some(_)) => Err(secret_in_argv()),
        (None, _, word) => {
            let known = word.filter(|word| *word != "help" && provider::parse(word).is_ok());
            let hint = known.map(|word| format!("lf keys add --provider {}", shown(word)));
            let sentence = "lf keys add needs --provider".to_owned();
            Err(Error::Usage { sentence, hint })
        }
    }
}

/// Stores a new key, with the value from standard input. Without a label, it gets the provider's name.
pub(super) fn add(
    context: &Context,
    (provider, label, expiry): (Provider, Option<Label>, Option<Expiry>),
) -> Result<()> {
    let add = || -> Result<KeyMeta> {
        check_name(context, provider.as_str())?;
        // First, so that nobody types a value that cannot be stored.
        let master = context.sealing_master()?;
        let value = read_value(context, &format!("value of the {provider} key"))?;
        let label = label.unwrap_or_else(|| provider.as_label());
        let mut meta = KeyMeta::mint((provider, label), Timestamp::now())?;
        meta.expires_at = expiry.flatten();
        let key = context.store.add(meta, &value, &master)?;
        check_value(context, "the value", &key.provider, &value);
        check_label(context, &key);
        Ok(key)
    };
    let key = add().inspect_err(|error| context.audit(Kind::Add, None, Some(error)))?;
    context.audit(Kind::Add, Some(&key.id), None);
    match context.format {
        Format::Text => {
            // Only the id goes to standard output, so that a script can keep it.
            host::eprint(&format!("added {key}{}\n", end(&key)));
            host::print(&format!("{}\n", key.id))
        }
        Format::Json => host::print(&format::json_line(&key.json())),
    }
}

/// The known provider whose name is close to this one.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let near = suggest::word(name, KNOWN.iter().flat_map(Known::names));
    near.filter(|near| near.starts_with(&name[..1]))
}

/// Says what there is to say of a provider before its key is read. A name that is nearly a known one may
/// be somebody's own.
fn check_name(context: &Context, name: &str) -> Result<()> {
    let warn = |sentence: &str| context.warn(sentence, &Error::InvalidProvider(String::new()));
    if name == "ollama" {
        warn("a local Ollama needs no key; ollama.com needs one");
    }
    if let Some(near) = nearest(name).filter(|near| *near != name) {
        warn(&format!("lf knows no provider {name}; did you mean {near}?"));
        if host::has_person() {
            term::confirm(&format!("Store a key of {name} anyway?"))?;
        }
    }
    Ok(())
}

/// What `update` changes of a key, and `rotate --new-value`: its label, its expiry, and its value or not.
type Changes = (String, Option<Label>, Option<Expiry>, bool);

pub(super) fn changes(args: &mut Args) -> Result<Changes> {
    let (label, expiry) = (label(args)?, expiry(args)?);
    let has_value = args.flag("--rotate") || args.flag("--new-value");
    if args.flag("--all") {
        let sentence = "--new-value gives one key a new value; it does not go with --all";
        return Err(Error::usage(sentence));
    }
    if label.is_none() && !has_value && expiry.is_none() {
        return Err(Error::usage(
            "lf keys update needs --label, --rotate or --expires, or several of them",
        ));
    }
    Ok((args.one_operand("ID")?, label, expiry, has_value))
}

pub(super) fn update(context: &Context, (key, label, expiry, has_value): Changes) -> Result<()> {
    let amend = |meta: &mut KeyMeta| {
        if let Some(label) = &label {
            meta.label = label.clone();
        }
        if let Some(expiry) = expiry {
            meta.expires_at = expiry;
        }
    };
    let update = |id: &KeyId| match has_value {
        true => replace_value(context, id, amend),
        false => context.store.amend(id, amend),
    };
    let key = context.on_key(Kind::Update, &key, update)?;
    if label.is_some() {
        check_label(context, &key);
    }
    let done = [
        label.as_ref().map(|_| "a new label"),
        has_value.then_some("a new value"),
        expiry.as_ref().map(|it| if it.is_some() { "a new expiry" } else { "no expiry" }),
    ];
    let done = done.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let stays = if has_value { "" } else { "; its value stays" };
    host::print(&format!("{key} has {done}{stays}{}\n", end(&key)))
}

/// When a key expires, as it was typed; `None` is never.
pub(super) type Expiry = Option<Timestamp>;

fn expiry(args: &Args) -> Result<Option<Expiry>> {
    let (given, now) = (args.value("--expires"), Timestamp::now());
    let read = |text: String| {
        let end = parse_age(&text).map(|span| now.after(span));
        match end.or_else(|| parse_moment(&text)).filter(|end| *end > now) {
            None if text != "never" => Err(is_not(&text, TIMES)),
            end => Ok(end),
        }
    };
    given.map(read).transpose()
}

/// Says when a key expires, if it does.
fn end(key: &KeyMeta) -> String {
    let verb = if key.expires_by(Timestamp::now()) { "expired" } else { "expires" };
    key.expires_at.map_or_else(String::new, |end| format!("; it {verb} on {}", end.day()))
}

/// The keys, none for all of them.
pub(super) fn which(args: &mut Args) -> Result<Vec<String>> {
    if args.flag("--all") {
        return args.no_operands().map(|()| Vec::new());
    }
    args.operands("ID")
}

/// Re-encrypts keys under fresh salts and IVs.
pub(super) fn rotate(context: &Context, selectors: &[String]) -> Result<()> {
    if host::input_has_data() {
        let sentence = "standard input has data, but rotate keeps the value; nothing was changed";
        let hint =
            "--new-value stores it as the new value; < /dev/null re-encrypts the present value";
        return Err(Error::refused(sentence, hint));
    }
    let done = "is re-encrypted under a fresh salt and IV; its value stays";
    let said = |key: &KeyMeta| format!("{key} {done}{}\n", end(key));
    if let [selector] = selectors {
        let rotate = |id: &KeyId| context.store.rotate(id, &context.sealing_master()?);
        return host::print(&said(&context.on_key(Kind::Update, selector, rotate)?));
    }
    let several = several(context, selectors);
    let (ids, failed, master) =
        several.inspect_err(|error| context.audit(Kind::Update, None, Some(error)))?;
    let Some(master) = master else {
        host::eprint("no keys to rotate\n");
        return all_of(failed, 0);
    };
    let rotated = context.on_each("rotating", &ids, KeyId::as_str, |id| {
        context.audited(Kind::Update, Some(id), context.store.rotate(id, &master))
    });
    host::print(&rotated.iter().map(said).collect::<String>())?;
    all_of(ids.len() + failed, rotated.len())
}

/// The keys to rotate, how many others cannot be read, and the passphrase if there is a key. All are
/// found before the first is changed.
fn several(context: &Context, selectors: &[String]) -> Result<(Vec<KeyId>, usize, Option<Master>)> {
    let found = selectors.iter().map(|key| context.store.select(key));
    let mut ids = found.collect::<Result<BTreeSet<_>>>()?;
    let mut failed = 0;
    if selectors.is_empty() {
        let listing = context.store.list()?;
        context.warn_unreadable(&listing.unreadable);
        failed = listing.unreadable.len();
        ids.extend(listing.keys.into_iter().map(|key| key.id));
    }
    let master = (!ids.is_empty()).then(|| context.sealing_master()).transpose()?;
    Ok((ids.into_iter().collect(), failed, master))
}

pub(super) fn ids_and_yes(args: &mut Args) -> Result<(Vec<String>, bool)> {
    Ok((args.operands("ID")?, args.flag("--yes")))
}

/// Removes keys, after all of them are found and one question is answered for all.
pub(super) fn remove(context: &Context, (selectors, yes): (Vec<String>, bool)) -> Result<()> {
    let audit = |id: Option<&KeyId>, error: Option<&Error>| context.audit(Kind::Remove, id, error);
    let find = |selector: &String| {
        let id = context.store.select(selector).inspect_err(|error| audit(None, Some(error)))?;
        // A damaged file has no name to show, but can be removed.
        let known = context.store.meta(&id);
        let name = known.map_or_else(|_| format!("{id} (unreadable)"), |key| key.to_string());
        Ok((id, name))
    };
    let found = distinct(selectors.iter().map(find).collect::<Result<Vec<_>>>()?);
    let shown = found.iter().map(|(id, name)| (id.as_str(), name.as_str()));
    let (ids, names): (Vec<_>, Vec<_>) = shown.unzip();
    let question = format!("{} will be removed for good.", names.join(", "));
    let hint = format!("lf keys remove --yes -- {}", ids.join(" "));
    confirm(&question, yes, &hint)
        .inspect_err(|error| found.iter().for_each(|(id, _)| audit(Some(id), Some(error))))?;
    for (id, name) in &found {
        context.audited(Kind::Remove, Some(id), context.store.remove(id))?;
        host::print(&format!("removed {name}\n"))?;
    }
    Ok(())
}

/// Writes the value of one key to standard output, and nothing else, for the program that asks; at a
/// terminal only if that was asked for.
pub(super) fn get(context: &Context, (selector, shows): (String, bool)) -> Result<()> {
    if host::output_is_terminal() && !shows {
        let sentence = "standard output is a terminal, and the value would stay in sight";
        let hint = format!("lf keys get --show -- {}", quote(&shown(&selector), None));
        return Err(Error::refused(sentence, hint));
    }
    let _ = context.program.set(host::parent_name().unwrap_or_default());
    // Logged before the first byte is written, as for export.
    let value = context.on_key(Kind::Export, &selector, |id| context.value(id))?;
    host::print(value.expose())?;
    if shows && host::output_is_terminal() {
        host::print("\n")?;
    }
    Ok(())
}

pub(super) fn id_in_the_clear(args: &mut Args) -> Result<String> {
    let key = args.one_operand("ID")?;
    let typed = quote(&shown(&key), None);
    let hint = format!("lf keys export --i-understand -- {typed}");
    understood(args, "the key's value", hint)?;
    Ok(key)
}

/// Writes one value to standard output, in the clear.
pub(super) fn export(context: &Context, selector: &str) -> Result<()> {
    // Logged before the first byte is written: the reader may kill lf at any moment.
    let value = |id: &KeyId| Ok((id.clone(), context.value(id)?));
    let (id, value) = context.on_key(Kind::Export, selector, value)?;
    host::eprint(&format!(
        "lf: warning: the value of {id} goes to standard output in the clear; keep it out of files and logs\n"
    ));
    host::print_exactly(&Zeroizing::new([value.expose(), "\n"].concat()))
}

/// Replaces a key's value by the one on standard input.
fn replace_value(context: &Context, id: &KeyId, amend: impl Fn(&mut KeyMeta)) -> Result<KeyMeta> {
    let master = context.sealing_master()?;
    let value = read_value(context, "new value of the key")?;
    let key = context.store.replace(id, &value, amend, &master, Timestamp::now())?;
    check_value(context, "the new value", &key.provider, &value);
    Ok(key)
}

/// Reads a key's value from standard input and checks its length.
fn read_value(context: &Context, what: &str) -> Result<Secret> {
    let mut value = read_line(what, term::Behind::Nothing)?;
    // Only what a person pasted is trimmed: from a pipe every byte counts.
    if host::input_is_terminal()
        && let (key, around) = paste::bare(value.expose())
        && !around.is_empty()
    {
        let around = around.join(", ");
        let sentence = format!(
            "removed surrounding {around}; pass the value through a pipe if that belongs to it"
        );
        context.warn(&sentence, &Error::InvalidKey);
        value = Secret::new(key.to_owned());
    }
    envelope::check_value(&value)?;
    Ok(value)
}

/// Warns when a value has what keys do not have, or begins like the keys of another provider than the one
/// that was named.
pub(super) fn check_value(context: &Context, what: &str, provider: &Provider, value: &Secret) {
    let odd = paste::oddities(value.expose());
    if !odd.is_empty() {
        let sentence = format!("lf stores {what} as it is, with {}", odd.join(", "));
        context.warn(&sentence, &Error::InvalidKey);
    }
    if let Some(known) = provider::contradicts(provider.as_str(), value.expose()) {
        let sentence = format!(
            "{what} begins like a key of {}, but lf stores it as one of {provider}",
            known.name
        );
        context.warn(&sentence, &Error::InvalidProvider(String::new()));
    }
}

/// Warns when another key has the same label, which then selects neither of them.
fn check_label(context: &Context, key: &KeyMeta) {
    let Ok(listing) = context.store.list() else { return };
    let mut others = listing.keys.iter().filter(|other| other.id != key.id);
    if let Some(other) = others.find(|other| other.label == key.label) {
        let sentence = format!("{other} also has this label, so the label selects neither key");
        context.warn(&sentence, &Error::DuplicateKey(String::new()));
    }
}

fn label(args: &mut Args) -> Result<Option<Label>> {
    let label = args.open_value("--label")?;
    label.map(|label| Label::parse(&label)).transpose()
}

pub(super) fn init(args: &mut Args) -> Result<Args> {
    let args = flags(args)?;
    let [force, has_file, is_given] =
        ["--force", "--passphrase-file", "--passphrase-stdin"].map(|name| args.flag(name));
    if has_file && (force || is_given) {
        return Err(Error::usage("--passphrase-file goes with no other flag of lf keys init"));
    }
    if args.flag("--yes") && !force {
        return Err(Error::usage("--yes goes only with --force"));
    }
    Ok(args)
}

pub(super) fn recovery_export(args: &mut Args) -> Result<()> {
    args.no_operands()?;
    let hint = "lf keys recovery export --i-understand | lpr".to_owned();
    understood(args, "the master passphrase", hint)
}

/// Refuses to print a secret unless `--i-understand` was given.
fn understood(args: &Args, what: &str, hint: String) -> Result<()> {
    if args.flag("--i-understand") {
        return Ok(());
    }
    let sentence = format!("this prints {what} in the clear; add --i-understand if you want that");
    Err(Error::refused(sentence, hint))
}

pub(super) fn rekey(args: &mut Args) -> Result<Args> {
    let args = flags(args)?;
    let ways = ["--passphrase-stdin", "--finish", "--undo"];
    if ways.iter().filter(|name| args.flag(name)).count() > 1 {
        return Err(Error::usage(
            "--passphrase-stdin begins a change, and --finish and --undo end one; use one of them",
        ));
    }
    Ok(args)
}

const TIMES: &str = "a time to come: a date such as 2027-03-01 (UTC), a span such as 90d, 12w, 6M or 1y (m is minutes), or never";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::run;
    use crate::cli::help::page_of;
    use std::ffi::OsString;

    fn read<T>(line: &str, read: fn(&mut Args) -> Result<T>) -> Result<T> {
        let mut argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (page, words) = page_of(&argv);
        read(&mut Args::take(page, argv.split_off(words))?.unwrap())
    }

    #[test]
    fn operands_after_two_dashes_are_never_flags() {
        let key = "-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
        assert_eq!(
            read(&format!("keys remove --yes -- {key}"), ids_and_yes).unwrap(),
            (vec![key.clone()], true)
        );
        assert_eq!(
            read("keys remove -- --yes", ids_and_yes).unwrap(),
            (vec!["--yes".into()], false)
        );
        assert_eq!(read("keys rotate -- --all", which).unwrap(), ["--all"]);
        let error = read(&format!("keys remove --yes {key}"), ids_and_yes).unwrap_err();
        assert_eq!(error.code(), "usage");
    }

    #[test]
    fn what_follows_two_dashes_is_the_programs_own() {
        let line = "keys run --key a --env=B=b --key=-c --stdin d --override -- llm --key sk-abcdefghijklmnop -- --help";
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let (mut args, variables) = read(line, run::options).unwrap();
        assert_eq!(args.all("--key"), ["a", "-c"]);
        assert_eq!(variables, [("B".to_owned(), "b".to_owned())]);
        assert_eq!(args.value("--stdin").as_deref(), Some("d"));
        assert!(args.flag("--override") && !args.flag("--env-file"));
        let arguments = words("--key sk-abcdefghijklmnop -- --help");
        assert_eq!(args.program(), ("llm".into(), arguments));
        for line in ["keys run --key a", "keys run --key a --", "keys run llm x"] {
            let error = read(line, run::options).err().unwrap();
            assert_eq!(error.code(), "usage", "{line}");
            assert!(error.hint().unwrap().contains(" -- "), "{line}");
        }
    }

    #[test]
    fn a_value_may_begin_with_a_dash_behind_an_equals_sign_only() {
        let label = |line| {
            let label = read(line, new_key).unwrap().1;
            label.map(|label| label.as_str().to_owned())
        };
        assert_eq!(label("keys add --provider openai --label=-x").as_deref(), Some("-x"));
        assert_eq!(label("keys add --label=a=b --provider=openai").as_deref(), Some("a=b"));
        let error = read("keys add --provider openai --label -x", new_key).unwrap_err();
        assert_eq!(error.code(), "usage");
    }
}

//! `lf keys list`: the keys, or those of one provider, of one label, or with an old value; and `lf keys
//! providers`: the providers that lf knows.

use std::time::Duration;

use crate::base::time::parse_age;
use crate::system::{kernel::clock, term};
use crate::vault::{KeyMeta, Provider, history, provider, store::WHOLE};

use super::table;
use super::{Args, Context, Error, Format, Kind, Result, Timestamp, format, host, is_not, keys};

/// The arguments, and whose keys to show and how old their values are at least, or all of them.
type Which = (Args, Option<Provider>, Option<Duration>);

pub(super) fn which(args: &mut Args) -> Result<Which> {
    let named = args.value("--provider");
    let provider = match named {
        None if args.has_operands() => Some(args.one_operand("PROVIDER")?),
        named => args.no_operands().map(|()| named)?,
    };
    let age = |text: &String| match text.as_str() {
        "" => Ok(STALE),
        text => parse_age(text).ok_or_else(|| is_not(text, AGES)),
    };
    let provider = provider.map(|name| provider::parse(&name)).transpose()?;
    let stale = args.value("--stale").as_ref().map(age).transpose()?;
    Ok((std::mem::take(args), provider, stale))
}

/// Lists the keys, which needs no passphrase.
pub(super) fn run(context: &Context, (args, provider, stale): Which) -> Result<()> {
    let listed = context.audited(Kind::List, None, context.store.list());
    let (mut listing, now) = (listed?, Timestamp::now());
    let (label, shows_use) = (args.value("--label"), args.flag("--last-used"));
    let is_of_provider = |key: &KeyMeta| {
        provider.as_ref().is_none_or(|it| provider::is_same(it.as_str(), key.provider.as_str()))
    };
    let is_wanted = |key: &KeyMeta| {
        is_of_provider(key)
            && label.as_ref().is_none_or(|label| key.label.as_str() == label)
            && stale.is_none_or(|age| key.is_older(age, now) || key.expires_by(now))
    };
    context.warn_unreadable(&listing.unreadable);
    // As many characters as select a key among all keys.
    let (prefix, total) = (listing.prefix(), listing.keys.len());
    if let Some(provider) = &provider
        && provider::by_name(provider.as_str()).is_none()
        && !listing.keys.iter().any(is_of_provider)
    {
        let hint = keys::nearest(provider.as_str()).map(|near| format!("; did you mean {near}?"));
        let sentence = format!("lf knows no provider {provider}, and no key has it");
        let sentence = sentence + &hint.unwrap_or_default();
        context.warn(&sentence, &Error::InvalidProvider(String::new()));
    }
    listing.keys.retain(is_wanted);
    // Plain --json does not have the last use, so the log is not read for it.
    let dir = context.store.dir()?.filter(|_| shows_use || context.format == Format::Text);
    let used = dir.map(|dir| history::last_used(&dir)).unwrap_or_default();
    let used = |key: &KeyMeta| used.of(&key.id);
    let keys = listing.keys.iter();
    host::show(&match context.format {
        Format::Json if shows_use => {
            format::json_array(keys.map(|key| key.json_with_use(used(key))))
        }
        Format::Json => format::json_array(keys.map(KeyMeta::json)),
        Format::Text if listing.keys.is_empty() => {
            if total > 0 {
                host::eprint("no key fits; lf keys list shows all of them\n");
            } else if listing.unreadable.is_empty() {
                host::eprint("no keys yet; lf keys add --help shows how to add one\n");
            }
            return Ok(());
        }
        Format::Text => {
            let columns = term::columns();
            // Through a pipe all is whole, in UTC, and in the same columns.
            let id = columns.map_or(WHOLE, |_| prefix);
            let time = |at: Timestamp| match columns {
                None => at.minute(),
                Some(..ROOMY) => format!("{:.10}", clock::local(at)),
                Some(_) => format!("{:.16}", clock::local(at)),
            };
            let expiry = |key: &KeyMeta| match key.expires_at {
                None => "-".to_owned(),
                Some(_) if key.expires_by(now) => "expired".to_owned(),
                Some(at) => at.day(),
            };
            let has_expiry = columns.is_none() || keys.clone().any(|key| key.expires_at.is_some());
            let row = |key: &KeyMeta| {
                let mut row = vec![
                    format!("{:.id$}", key.id),
                    key.provider.to_string(),
                    time(key.created_at),
                    format!("{}d", now.days_since(key.value_from())),
                ];
                row.extend(has_expiry.then(|| expiry(key)));
                row.push(used(key).map_or_else(|| "-".to_owned(), time));
                row.push(key.label.as_str().to_owned());
                row
            };
            let mut titles = vec!["ID", "PROVIDER", "CREATED", "AGE"];
            titles.extend(has_expiry.then_some("EXPIRES"));
            titles.extend(["LAST USED", "LABEL"]);
            table::text(&titles, keys.map(row).collect(), columns)
        }
    })
}

/// The table, for standard output.
pub(super) fn providers(format: Format) -> String {
    let row = |known: &provider::Known| {
        let words = [&known.variables, &known.prefixes, &known.aliases].map(|it| it.join(" "));
        [known.name, &known.what].map(str::to_owned).into_iter().chain(words).collect()
    };
    let titles = ["NAME", "WHAT IT IS", "VARIABLES", "PREFIXES", "ALIASES"];
    let rows = provider::KNOWN.iter().map(row).collect();
    match format {
        Format::Json => format::json_line(&miniserde::json::to_string(&*provider::KNOWN)),
        Format::Text => table::text(&titles, rows, term::columns()),
    }
}

/// With fewer columns, times are shown as days, to leave room for the label.
const ROOMY: usize = 100;
/// The age from which a value is called stale, unless another one is given.
const STALE: Duration = Duration::from_secs(90 * 24 * 3600);
const AGES: &str = "an age such as 90d, 12w, 6M or 1y, of an hour to ten years; m is minutes";

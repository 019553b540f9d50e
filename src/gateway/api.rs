//! What a route does, once the guard has let a request in. Replies carry codes, never a path or
//! what the system said.

use std::path::PathBuf;

use miniserde::{Deserialize, Serialize, json, json::Object, json::Value};

use super::{Pairing, guard::Answer, guard::Route, helper, http::Reply, http::Request, state};
use crate::base::{secret::Secret, time::Timestamp};
use crate::error::{Error, ErrorInfo, Result, refusal};
use crate::keychain::Keychain;
use crate::system::environment::Sources;
use crate::vault::{KeyId, KeyMeta, Kind, Label, Master, Provider, envelope, master::source};
use crate::vault::{Store, history, master::rekey};

/// What the routes work on.
pub(crate) struct Api {
    /// The keys.
    pub(crate) store: Store,
    /// `<root>/gateway`.
    pub(crate) state: PathBuf,
    /// Where the passphrase may come from; it is fetched for each request that needs it.
    pub(crate) sources: Sources,
    /// The keychain.
    pub(crate) keychain: Keychain,
}

/// What is known of why a request failed.
type Fault = &'static ErrorInfo;
type Outcome<T> = std::result::Result<T, Fault>;

impl Api {
    /// Carries out one request that the guard admitted, for this pairing where a token was needed.
    pub(crate) fn answer(
        &self,
        route: &Route,
        pairing: Option<&Pairing>,
        (request, body): (&Request, &[u8]),
        now: Timestamp,
    ) -> Answer {
        let members = |known: &[&str]| members(request, body, known);
        match route {
            Route::Health => (Reply::json(200, health(now)), None),
            Route::Identity => (self.identity().unwrap_or_else(Reply::error), None),
            Route::Page(file) => (file.reply(), None),
            Route::Pairing => {
                let view = pairing.map(|pairing| pairing.view(None)).unwrap_or_default();
                (Reply::json(200, view), None)
            }
            Route::List => told(Kind::List, None, self.list(&request.query, pairing)),
            Route::Add => {
                let members = members(&["provider", "label", "rawKey"]);
                let added = members.and_then(|members| self.add(members, now));
                let id = added.as_ref().ok().map(|key| key.id.clone());
                told(Kind::Add, id, added.map(|key| named(201, "key", &key.json())))
            }
            Route::Update(id) => on_key(Kind::Update, id, |id| {
                let key = self.update(id, members(&["label", "rawKey"])?, now)?;
                Ok(named(200, "key", &key.json()))
            }),
            Route::Remove(id) => on_key(Kind::Remove, id, |id| {
                self.store.remove(id)?;
                Ok(Reply::empty(204))
            }),
            Route::Rotate(id) => on_key(Kind::Update, id, |id| {
                let key = self.store.rotate(id, &self.master()?)?;
                Ok(named(200, "key", &key.json()))
            }),
            Route::Resolve(id) => on_key(Kind::Resolve, id, |id| self.resolve(id)),
        }
    }

    fn identity(&self) -> Outcome<Reply> {
        match state::read::<Identity>(&self.state, "identity.json")?.flatten() {
            Some(mut identity) if identity.public_key.is_some() => {
                identity.daemon_version = Some(DAEMON_VERSION.to_owned());
                Ok(Reply::json(200, json::to_string(&identity)))
            }
            _ => Err(&refusal::IDENTITY_MISSING),
        }
    }

    fn list(&self, query: &str, pairing: Option<&Pairing>) -> Outcome<Reply> {
        let mut listing = self.store.list()?;
        listing.keys.retain(|key| pairing.is_some_and(|pairing| pairing.has(key.id.as_str())));
        let keys: Vec<String> = if query.split('&').any(|pair| pair == "include=last_used") {
            let used = self.store.dir()?.map(|dir| history::last_used(&dir)).unwrap_or_default();
            listing.keys.iter().map(|key| key.json_with_use(used.of(&key.id))).collect()
        } else {
            listing.keys.iter().map(KeyMeta::json).collect()
        };
        Ok(named(200, "keys", &format!("[{}]", keys.join(","))))
    }

    fn add(&self, mut members: Object, now: Timestamp) -> Outcome<KeyMeta> {
        let mut take = |name| take(&mut members, name)?.ok_or(&refusal::INVALID_BODY);
        let (provider, label, value) = (take("provider")?, take("label")?, take("rawKey")?);
        let provider = Provider::parse(provider.expose())?;
        let label = Label::parse(label.expose())?;
        envelope::check_value(&value)?;
        Ok(self.store.add(KeyMeta::mint((provider, label), now)?, &value, &self.master()?)?)
    }

    fn update(&self, id: &KeyId, mut members: Object, now: Timestamp) -> Outcome<KeyMeta> {
        let label = take(&mut members, "label")?;
        let label = label.map(|label| Label::parse(label.expose())).transpose()?;
        let amend = |meta: &mut KeyMeta| {
            if let Some(label) = &label {
                meta.label = label.clone();
            }
        };
        Ok(match take(&mut members, "rawKey")? {
            None if label.is_none() => return Err(&refusal::INVALID_BODY),
            None => self.store.amend(id, amend)?,
            Some(value) => {
                envelope::check_value(&value)?;
                self.store.replace(id, &value, amend, &self.master()?, now)?
            }
        })
    }

    fn resolve(&self, id: &KeyId) -> Outcome<Reply> {
        // A change of the passphrase that waits is passed over: reading needs it neither way.
        let master = source::find(&self.sources, &self.keychain)?;
        let value = self.store.resolve(id, &master)?;
        Ok(named(200, "key", &json::to_string(value.expose())))
    }

    /// The passphrase, for encrypting. A change of it that was cut short is settled first, by the helper,
    /// because that writes to the keychain.
    fn master(&self) -> Result<Master> {
        if rekey::has_begun(self.store.path())? {
            self.keychain.delegate(helper::SETTLE).transpose()?;
        }
        source::find(&self.sources, &self.keychain)
    }
}

/// Name and version, as clients of the predecessor expect them.
pub(crate) const DAEMON_VERSION: &str = concat!("lf/", env!("CARGO_PKG_VERSION"));

/// A reply with one member, which is JSON.
fn named(status: u16, name: &str, value: &str) -> Reply {
    Reply::json(status, format!(r#"{{"{name}":{value}}}"#))
}

fn health(now: Timestamp) -> String {
    let version = DAEMON_VERSION;
    format!(r#"{{"status":"ok","device_id":null,"daemon_version":"{version}","time":"{now}"}}"#)
}

fn told(kind: Kind, id: Option<KeyId>, done: Outcome<Reply>) -> Answer {
    let reason = done.as_ref().err().map(|fault| fault.code);
    (done.unwrap_or_else(Reply::error), Some((kind, id, reason)))
}

fn on_key(kind: Kind, id: &str, work: impl FnOnce(&KeyId) -> Outcome<Reply>) -> Answer {
    match KeyId::parse(id) {
        Ok(id) => {
            let done = work(&id);
            told(kind, Some(id), done)
        }
        // Existing clients branch on that, and no key has such an id.
        Err(_) => told(kind, None, Err(Error::KeyNotFound(String::new()).into())),
    }
}

/// The members of a body, which is a JSON object; all of them must be known.
fn members(request: &Request, body: &[u8], known: &[&str]) -> Outcome<Object> {
    let content_type = request.header("content-type").ok().flatten();
    let media_type = content_type.and_then(|value| value.split(';').next());
    let is_json = |text: &str| text.trim().eq_ignore_ascii_case("application/json");
    if !media_type.is_some_and(is_json) {
        return Err(&refusal::UNSUPPORTED_MEDIA_TYPE);
    }
    let text = std::str::from_utf8(body).map_err(|_| &refusal::INVALID_JSON)?;
    match json::from_str(text).map_err(|_| &refusal::INVALID_JSON)? {
        Value::Object(members) if members.keys().all(|name| known.contains(&name.as_str())) => {
            Ok(members)
        }
        _ => Err(&refusal::INVALID_BODY),
    }
}

/// A member's text, as a secret: it may be one.
fn take(members: &mut Object, name: &str) -> Outcome<Option<Secret>> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Secret::new(text))),
        Some(_) => Err(&refusal::INVALID_BODY),
    }
}

/// An identity's file, and the answer that is made of it.
#[derive(Serialize, Deserialize)]
struct Identity {
    public_key: Option<String>,
    generated_at: Option<String>,
    daemon_version: Option<String>,
}

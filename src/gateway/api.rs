//! What a route does, once the guard has let a request in. Replies carry codes, never a path or what
//! the system said.

use std::path::PathBuf;

use miniserde::Serialize;
use miniserde::json::{self, Object, Value};

use super::guard::{Detail, Route};
use super::http::Reply;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::error::{Facts, Result, refusal};
use crate::keychain::Keychain;
use crate::system::environment::Sources;
use crate::system::fs::Dir;
use crate::vault::audit::Kind;
use crate::vault::envelope::{self, MetaView, UsedView};
use crate::vault::history;
use crate::vault::key::{KeyId, KeyMeta, Label, Provider};
use crate::vault::master::rekey::{self, For, Vault};
use crate::vault::master::source::{self, Master};
use crate::vault::store::Store;

/// What the routes work on.
#[derive(Debug)]
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

/// An answer, and what the audit log should have of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The reply, without CORS headers.
    pub(crate) reply: Reply,
    /// The kind, the key, and the error's code if it failed.
    pub(crate) event: Option<(Kind, Option<KeyId>, Option<&'static str>)>,
}

/// A body, and what it claims to be.
pub(crate) struct Body<'a> {
    /// The `Content-Type` header.
    pub(crate) content_type: Option<&'a str>,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
}

impl Api {
    /// Carries out one request.
    pub(crate) fn answer(&self, route: &Route, body: &Body<'_>, now: Timestamp) -> Answer {
        match route {
            Route::Health => quiet(Reply::of(
                200,
                &HealthView {
                    status: "ok",
                    device_id: None,
                    daemon_version: daemon_version(),
                    time: now.to_string(),
                },
            )),
            Route::Identity => {
                let reply = self.identity();
                quiet(reply.unwrap_or_else(|error| Reply::error(error.facts())))
            }
            Route::Page(file) => quiet(file.reply()),
            Route::List(detail) => told(Kind::List, None, self.list(*detail).map_err(Fault::from)),
            Route::Add => self.add(body, now),
            Route::Update(id) => on_key(Kind::Update, id, |id| self.update(id, body)),
            Route::Remove(id) => on_key(Kind::Remove, id, |id| {
                self.store.remove(id)?;
                Ok(Reply::empty(204))
            }),
            Route::Rotate(id) => on_key(Kind::Update, id, |id| {
                let key = self.store.rotate(id, &self.master()?)?;
                Ok(key_reply(200, &key))
            }),
            Route::Resolve(id) => on_key(Kind::Resolve, id, |id| Ok(self.resolve(id)?)),
        }
    }

    fn identity(&self) -> Result<Reply> {
        let missing = || Ok(Reply::error(&refusal::IDENTITY_MISSING));
        let Some(dir) = Dir::open(&self.state)? else {
            return missing();
        };
        let Some(bytes) = dir.read("identity.json", MAX_IDENTITY)? else {
            return missing();
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        match json::from_str::<IdentityFile>(text) {
            Ok(IdentityFile {
                public_key: Some(public_key),
                generated_at,
            }) => Ok(Reply::of(
                200,
                &IdentityView {
                    public_key,
                    generated_at,
                    daemon_version: daemon_version(),
                },
            )),
            _ => missing(),
        }
    }

    fn list(&self, detail: Detail) -> Result<Reply> {
        let listing = self.store.list()?;
        let keys = listing.keys.iter();
        match detail {
            Detail::Meta => {
                let keys = keys.map(MetaView::of).collect();
                Ok(Reply::of(200, &KeysView { keys }))
            }
            Detail::LastUse => {
                let used = self.store.dir()?.map(|dir| history::last_used(&dir));
                let used = used.unwrap_or_default();
                let view = |key| UsedView::of(key, used.of(&key.id));
                let keys = keys.map(view).collect();
                Ok(Reply::of(200, &KeysView { keys }))
            }
        }
    }

    fn add(&self, body: &Body<'_>, now: Timestamp) -> Answer {
        let added =
            Members::read(body, &["provider", "label", "rawKey"]).and_then(|mut members| {
                let mut take = |name| members.take(name)?.ok_or(&refusal::INVALID_BODY);
                let (provider, label, value) = (take("provider")?, take("label")?, take("rawKey")?);
                let provider = Provider::parse(provider.expose())?;
                let label = Label::parse(label.expose())?;
                envelope::check_value(&value)?;
                let named = (provider, label);
                Ok(self.store.add(named, &value, &self.master()?, now)?)
            });
        let id = added.as_ref().ok().map(|key| key.id.clone());
        told(Kind::Add, id, added.map(|key| key_reply(201, &key)))
    }

    fn update(&self, id: &KeyId, body: &Body<'_>) -> std::result::Result<Reply, Fault> {
        let mut members = Members::read(body, &["label", "rawKey"])?;
        let label = members
            .take("label")?
            .map(|label| Label::parse(label.expose()))
            .transpose()?;
        let key = match (label, members.take("rawKey")?) {
            (None, None) => return Err(&refusal::INVALID_BODY),
            (Some(label), None) => self.store.relabel(id, &label)?,
            (label, Some(value)) => {
                envelope::check_value(&value)?;
                self.store
                    .replace(id, &value, label.as_ref(), &self.master()?)?
            }
        };
        Ok(key_reply(200, &key))
    }

    fn resolve(&self, id: &KeyId) -> Result<Reply> {
        // A change of the passphrase that waits is passed over: reading needs it neither way.
        let master = source::find(&self.sources, &self.keychain)?;
        let value = self.store.resolve(id, &master)?;
        let key = value.expose();
        Ok(Reply::of(200, &KeyView { key }))
    }

    /// The passphrase, for encrypting.
    fn master(&self) -> Result<Master> {
        let vault = Vault {
            keys: self.store.path(),
            sources: &self.sources,
            keychain: &self.keychain,
        };
        let (master, settled) = rekey::master(&vault, For::Sealing, |_, _| {})?;
        settled.map(|_| master)
    }
}

/// Name and version, as clients of the predecessor expect them.
pub(crate) fn daemon_version() -> &'static str {
    concat!("lf/", env!("CARGO_PKG_VERSION"))
}

/// What is known of why a request came to nothing.
type Fault = &'static Facts;

fn quiet(reply: Reply) -> Answer {
    Answer { reply, event: None }
}

fn told(kind: Kind, id: Option<KeyId>, done: std::result::Result<Reply, Fault>) -> Answer {
    let reason = done.as_ref().err().map(|fault| fault.code);
    Answer {
        reply: done.unwrap_or_else(Reply::error),
        event: Some((kind, id, reason)),
    }
}

fn on_key(
    kind: Kind,
    id: &str,
    work: impl FnOnce(&KeyId) -> std::result::Result<Reply, Fault>,
) -> Answer {
    match KeyId::parse(id) {
        Ok(id) => {
            let done = work(&id);
            told(kind, Some(id), done)
        }
        Err(error) => told(kind, None, Err(error.into())),
    }
}

fn key_reply(status: u16, key: &KeyMeta) -> Reply {
    let key = MetaView::of(key);
    Reply::of(status, &KeyView { key })
}

/// The members of a JSON object, all of them strings and all of them known.
struct Members(Object);

impl Members {
    fn read(body: &Body<'_>, known: &[&str]) -> std::result::Result<Members, Fault> {
        let media_type = body
            .content_type
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case("application/json") {
            return Err(&refusal::UNSUPPORTED_MEDIA_TYPE);
        }
        let text = std::str::from_utf8(body.bytes).map_err(|_| &refusal::INVALID_JSON)?;
        match json::from_str(text) {
            Ok(Value::Object(members))
                if members.keys().all(|name| known.contains(&name.as_str())) =>
            {
                Ok(Members(members))
            }
            Ok(_) => Err(&refusal::INVALID_BODY),
            Err(_) => Err(&refusal::INVALID_JSON),
        }
    }

    /// A member's text, as a secret: it may be one.
    fn take(&mut self, name: &str) -> std::result::Result<Option<Secret>, Fault> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(Secret::new(text))),
            Some(_) => Err(&refusal::INVALID_BODY),
        }
    }
}

#[derive(Serialize)]
struct HealthView {
    status: &'static str,
    device_id: Option<String>,
    daemon_version: &'static str,
    time: String,
}

#[derive(miniserde::Deserialize)]
struct IdentityFile {
    public_key: Option<String>,
    generated_at: Option<String>,
}

#[derive(Serialize)]
struct IdentityView {
    public_key: String,
    generated_at: Option<String>,
    daemon_version: &'static str,
}

#[derive(Serialize)]
struct KeysView<V> {
    keys: Vec<V>,
}

#[derive(Serialize)]
struct KeyView<V> {
    key: V,
}

/// Bytes; an identity has a few hundred.
const MAX_IDENTITY: usize = 64 * 1024;

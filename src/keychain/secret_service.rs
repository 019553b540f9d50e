//! The Secret Service (freedesktop.org, version 0.2) as a `keyring-core` store.
//!
//! Entries are keytar's: attributes `service`, `account` and `xdg:schema`, so that tools built on
//! keytar or libsecret find ours and we find theirs. The session is `plain`: the socket never leaves
//! the machine's kernel, and whoever could read it could read this process too.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use keyring_core::api::{Credential, CredentialApi, CredentialStoreApi};
use keyring_core::{Entry, Error as Refusal, Result as Answer};

use super::Patience;
use super::dbus::{BUS, Connection, Failure, Result};
use super::wire::{Body, Message, Reader, Target};
use crate::base::time::Deadline;
use crate::system::host::Bus;

/// The Secret Service behind one bus.
#[derive(Clone, Debug)]
pub(super) struct Store {
    bus: Bus,
    patience: Patience,
}

/// One entry, there or not.
#[derive(Debug)]
struct Item {
    store: Store,
    service: String,
    account: String,
}

impl Store {
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(super) fn with(&self, patience: Patience) -> Store {
        Store {
            patience,
            ..self.clone()
        }
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(super) fn new(bus: Bus, patience: Patience) -> Store {
        Store { bus, patience }
    }

    /// Is there no bus, or nobody on it who provides a Secret Service? The bus itself answers that.
    pub(super) fn is_absent(&self) -> bool {
        let ask = || {
            let mut bus = Connection::open(&self.bus, Deadline::after(self.patience.service))?;
            let reply = bus.call(&BUS, "NameHasOwner", &Body::new("s").string(NAME))?;
            Ok(reply.body("b")?.boolean()?)
        };
        matches!(ask(), Ok(false) | Err(Failure::Unreachable(_)))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.bus.address, &self.bus.runtime_dir) {
            (Some(address), _) => write!(f, "the Secret Service at {address}"),
            (None, Some(dir)) => write!(
                f,
                "the Secret Service at unix:path={}",
                dir.join("bus").display()
            ),
            (None, None) => f.write_str("the Secret Service"),
        }
    }
}

impl CredentialStoreApi for Store {
    fn vendor(&self) -> String {
        "lf".to_owned()
    }

    fn id(&self) -> String {
        "Secret Service over D-Bus".to_owned()
    }

    fn build(
        &self,
        service: &str,
        account: &str,
        modifiers: Option<&HashMap<&str, &str>>,
    ) -> Answer<Entry> {
        if modifiers.is_some_and(|modifiers| !modifiers.is_empty()) {
            return Err(Refusal::NotSupportedByStore(
                "entries have no modifiers".to_owned(),
            ));
        }
        let item = Item {
            store: self.clone(),
            service: service.to_owned(),
            account: account.to_owned(),
        };
        Ok(Entry::new_with_credential(Arc::new(item)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl CredentialApi for Item {
    fn get_secret(&self) -> Answer<Vec<u8>> {
        // A daemon or bus that was restarted under us is worth one more try, within the same time.
        let deadline = Deadline::after(self.store.patience.service);
        let found = match self.find(deadline) {
            Err(failure) if is_gone(&failure) && deadline.left().is_some() => self.find(deadline),
            found => found,
        };
        found.map_err(refusal)?.ok_or(Refusal::NoEntry)
    }

    fn set_secret(&self, secret: &[u8]) -> Answer<()> {
        // Never twice: whether a broken connection did it or not, only a read can tell.
        self.replace(secret).map_err(refusal)
    }

    fn delete_credential(&self) -> Answer<()> {
        if self.delete().map_err(refusal)? {
            Ok(())
        } else {
            Err(Refusal::NoEntry)
        }
    }

    fn get_credential(&self) -> Answer<Option<Arc<Credential>>> {
        self.get_secret().map(|_| None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        Some((self.service.clone(), self.account.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Item {
    fn find(&self, deadline: Deadline) -> Result<Option<Vec<u8>>> {
        let mut session = Session::open(&self.store, deadline)?;
        match self.search(&mut session)? {
            Some(path) => session.secret(&path).map(Some),
            None => Ok(None),
        }
    }

    /// The path of the entry, unlocked. Of several the one that keytar wrote, or else the first.
    fn search(&self, session: &mut Session<'_>) -> Result<Option<String>> {
        let (mut unlocked, shut) = session.search(&self.key())?;
        if unlocked.is_empty() {
            let closed = if shut.is_empty() {
                // A locked collection may hide what it has, and a missing one has nothing to say:
                // neither must be mistaken for "there is no entry", or init would replace it.
                if !session.is_default_locked()? {
                    return Ok(None);
                }
                vec![session.default_collection()?]
            } else {
                shut
            };
            session.unlock(&closed)?;
            let still_shut;
            (unlocked, still_shut) = session.search(&self.key())?;
            if unlocked.is_empty() && (!still_shut.is_empty() || session.is_default_locked()?) {
                return Err(locked());
            }
        }
        // Nobody asks where there is no choice.
        if unlocked.len() > 1 {
            for path in &unlocked {
                if session.has_schema(path)? {
                    return Ok(Some(path.clone()));
                }
            }
        }
        Ok(unlocked.into_iter().next())
    }

    fn replace(&self, secret: &[u8]) -> Result<()> {
        let mut session = Session::open(&self.store, Deadline::after(self.store.patience.service))?;
        let collection = session.default_collection()?;
        if session.is_locked(&collection)? {
            session.unlock(std::slice::from_ref(&collection))?;
        }
        let [service, account] = self.key();
        let label = format!("{}/{}", self.service, self.account);
        let created = session.create(&collection, &label, &[service, account, SCHEMA], secret)?;
        // Entries of the same name without the schema, or in another collection, would still be
        // found by other tools, with the old secret.
        for path in session.search(&self.key())?.0 {
            if created.as_ref().is_some_and(|created| *created != path) {
                session.delete(&path)?;
            }
        }
        Ok(())
    }

    fn delete(&self) -> Result<bool> {
        let mut session = Session::open(&self.store, Deadline::after(self.store.patience.service))?;
        let found = self.search(&mut session)?.is_some();
        if found {
            for path in session.search(&self.key())?.0 {
                session.delete(&path)?;
            }
        }
        Ok(found)
    }

    fn key(&self) -> [(&str, &str); 2] {
        [("service", &self.service), ("account", &self.account)]
    }
}

/// An open `plain` session with the service.
struct Session<'a> {
    connection: Connection,
    path: String,
    patience: &'a Patience,
}

impl Session<'_> {
    fn open(store: &Store, deadline: Deadline) -> Result<Session<'_>> {
        let mut connection = Connection::open(&store.bus, deadline)?;
        let arguments = Body::new("sv").string("plain").string_variant("");
        let reply = connection.call(&SERVICE, "OpenSession", &arguments)?;
        let mut body = reply.body("vo")?;
        skip_string_variant(&mut body)?;
        let path = body.string()?.to_owned();
        Ok(Session {
            connection,
            path,
            patience: &store.patience,
        })
    }

    /// Items with these attributes: unlocked ones, locked ones.
    fn search(&mut self, attributes: &[(&str, &str)]) -> Result<(Vec<String>, Vec<String>)> {
        let arguments = Body::new("a{ss}").strings(attributes);
        let reply = self.connection.call(&SERVICE, "SearchItems", &arguments)?;
        let mut body = reply.body("aoao")?;
        Ok((body.paths()?, body.paths()?))
    }

    fn secret(&mut self, item: &str) -> Result<Vec<u8>> {
        let arguments = Body::new("o").string(&self.path);
        let reply = self.connection.call(
            &object(item, "org.freedesktop.Secret.Item"),
            "GetSecret",
            &arguments,
        )?;
        let mut body = reply.body("(oayays)")?;
        body.structure()?;
        body.string()?;
        body.byte_array()?;
        Ok(body.byte_array()?.to_vec())
    }

    /// The collection that the user's own entries go to.
    fn default_collection(&mut self) -> Result<String> {
        let reply =
            self.connection
                .call(&SERVICE, "ReadAlias", &Body::new("s").string("default"))?;
        match reply.body("o")?.string()? {
            NOTHING => Err(Failure::Unreachable(
                "it has no default collection; make one in its own program first".to_owned(),
            )),
            path => Ok(path.to_owned()),
        }
    }

    fn is_default_locked(&mut self) -> Result<bool> {
        let collection = self.default_collection()?;
        self.is_locked(&collection)
    }

    fn is_locked(&mut self, collection: &str) -> Result<bool> {
        let reply = self.property(collection, "org.freedesktop.Secret.Collection", "Locked")?;
        let mut body = reply.body("v")?;
        match body.signature()? {
            "b" => Ok(body.boolean()?),
            _ => Err(Failure::Malformed("a Locked property that is no boolean")),
        }
    }

    fn has_schema(&mut self, item: &str) -> Result<bool> {
        let reply = self.property(item, "org.freedesktop.Secret.Item", "Attributes")?;
        let mut body = reply.body("v")?;
        match body.signature()? {
            "a{ss}" => Ok(body.strings()?.contains(&SCHEMA)),
            _ => Err(Failure::Malformed(
                "an Attributes property that is no map of strings",
            )),
        }
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<Message> {
        let target = object(path, "org.freedesktop.DBus.Properties");
        let arguments = Body::new("ss").string(interface).string(name);
        self.connection.call(&target, "Get", &arguments)
    }

    /// Unlocks, which may take a person; one at a time, because some daemons mix up their dialogs.
    fn unlock(&mut self, objects: &[String]) -> Result<()> {
        if self.patience.person.is_zero() {
            return Err(locked());
        }
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = loop {
            match ONE_AT_A_TIME.try_lock() {
                Ok(turn) => break turn,
                Err(TryLockError::Poisoned(turn)) => break turn.into_inner(),
                Err(TryLockError::WouldBlock) if self.connection.deadline.left().is_none() => {
                    return Err(Failure::TimedOut);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(TURN_PAUSE),
            }
        };
        let reply = self
            .connection
            .call(&SERVICE, "Unlock", &Body::new("ao").paths(objects))?;
        let mut body = reply.body("aoo")?;
        let unlocked = body.paths()?;
        match body.string()? {
            NOTHING if unlocked.is_empty() => Err(locked()),
            NOTHING => Ok(()),
            dialog => self.await_person(dialog),
        }
    }

    /// Asks for the dialog and waits until it is done; what came of it is for the caller to look at.
    /// When the time is up the connection is dropped, which takes the dialog away: `Prompt.Dismiss`
    /// makes gnome-keyring 42.1 abort.
    fn await_person(&mut self, dialog: &str) -> Result<()> {
        let rule = format!(
            "type='signal',interface='org.freedesktop.Secret.Prompt',member='Completed',path='{dialog}'"
        );
        self.connection
            .call(&BUS, "AddMatch", &Body::new("s").string(&rule))?;
        let is_person_there = self.patience.person > self.patience.service;
        if is_person_there {
            self.connection.deadline = Deadline::after(self.patience.person);
        }
        self.connection.call(
            &object(dialog, "org.freedesktop.Secret.Prompt"),
            "Prompt",
            &Body::new("s").string(""),
        )?;
        (self.patience.on_dialog)();
        let answered = self.connection.wait_for(dialog, "Completed");
        if is_person_there {
            self.connection.deadline = Deadline::after(self.patience.service);
        }
        answered.map_err(|failure| match failure {
            Failure::TimedOut => {
                Failure::Unreachable("it is locked, and nobody answered its dialog".to_owned())
            }
            failure => failure,
        })
    }

    /// Stores a secret, in place of one with the same attributes; `None` if a dialog made it.
    fn create(
        &mut self,
        collection: &str,
        label: &str,
        attributes: &[(&str, &str)],
        secret: &[u8],
    ) -> Result<Option<String>> {
        let arguments = Body::new("a{sv}(oayays)b")
            .properties(
                ("org.freedesktop.Secret.Item.Label", label),
                ("org.freedesktop.Secret.Item.Attributes", attributes),
            )
            .secret(&self.path, secret, "text/plain")
            .boolean(true);
        let reply = self.connection.call(
            &object(collection, "org.freedesktop.Secret.Collection"),
            "CreateItem",
            &arguments,
        )?;
        let mut body = reply.body("oo")?;
        match (body.string()?, body.string()?) {
            (NOTHING, dialog) => self.await_person(dialog).map(|()| None),
            (item, _) => Ok(Some(item.to_owned())),
        }
    }

    fn delete(&mut self, item: &str) -> Result<()> {
        let reply = self.connection.call(
            &object(item, "org.freedesktop.Secret.Item"),
            "Delete",
            &Body::new(""),
        )?;
        match reply.body("o")?.string()? {
            NOTHING => Ok(()),
            dialog => self.await_person(dialog),
        }
    }
}

fn object<'a>(path: &'a str, interface: &'a str) -> Target<'a> {
    Target {
        destination: NAME,
        path,
        interface,
    }
}

fn skip_string_variant(body: &mut Reader<'_>) -> Result<()> {
    match body.signature()? {
        "s" => Ok(body.string().map(drop)?),
        _ => Err(Failure::Malformed("a plain session with parameters")),
    }
}

/// Did the daemon or the bus go away in the middle?
fn is_gone(failure: &Failure) -> bool {
    match failure {
        Failure::Broken(_) => true,
        Failure::Refused(name) => name.ends_with(".NoReply") || name.ends_with(".Disconnected"),
        Failure::Unreachable(_) | Failure::TimedOut | Failure::Malformed(_) => false,
    }
}

fn locked() -> Failure {
    Failure::Unreachable("it is locked".to_owned())
}

/// The names that D-Bus has for these, in words.
fn refusal(failure: Failure) -> Refusal {
    let failure = match &failure {
        Failure::Refused(name)
            if name.ends_with(".ServiceUnknown") || name.ends_with(".NameHasNoOwner") =>
        {
            Failure::Unreachable(
                "no program on this bus provides org.freedesktop.secrets".to_owned(),
            )
        }
        Failure::Refused(name) if name == "org.freedesktop.Secret.Error.IsLocked" => locked(),
        Failure::Refused(_) if is_gone(&failure) => {
            Failure::Unreachable("it ended before it answered".to_owned())
        }
        _ => failure,
    };
    Refusal::NoStorageAccess(Box::new(failure))
}

const TURN_PAUSE: Duration = Duration::from_millis(20);
const NAME: &str = "org.freedesktop.secrets";
const SERVICE: Target<'_> = Target {
    destination: NAME,
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.Secret.Service",
};
const NOTHING: &str = "/";
const SCHEMA: (&str, &str) = ("xdg:schema", "org.freedesktop.Secret.Generic");

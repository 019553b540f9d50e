//! The Secret Service (freedesktop.org, version 0.2) as a store of secrets.
//!
//! Entries are keytar's: attributes `service`, `account` and `xdg:schema`, so that tools built on
//! keytar or libsecret find ours and we find theirs. The session is `plain`: the socket never leaves
//! the machine's kernel, and whoever could read it could read this process too.

use std::any::Any;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use keyring_core::api::{Credential, CredentialApi};
use keyring_core::{Entry, Error as Refusal, Result as Answer};

use super::dbus::{BUS, Connection};
use super::wire::{Body, Failure, LOCKED, Message, Result, Target};
use super::{Keychain, LOCK_PAUSE, Patience};
use crate::base::time::Deadline;
use crate::error;

/// One entry, there or not.
#[derive(Debug)]
struct Item {
    keychain: Keychain,
    service: String,
    account: String,
}

/// What the act comes to on this entry.
pub(super) fn ask<T>(
    keychain: &Keychain,
    service: &str,
    account: &str,
    act: impl FnOnce(&Entry) -> Answer<T>,
) -> Answer<T> {
    let item = Item {
        keychain: keychain.clone(),
        service: service.to_owned(),
        account: account.to_owned(),
    };
    act(&Entry::new_with_credential(Arc::new(item)))
}

/// Is there no bus, or nobody on it who provides a Secret Service? The bus itself answers that.
pub(super) fn is_absent(keychain: &Keychain) -> bool {
    let ask = || {
        let mut bus = Connection::open(&keychain.bus, in_time(keychain))?;
        let reply = bus.call(&BUS, "NameHasOwner", &Body::new("s").string(NAME))?;
        reply.body("b")?.boolean()
    };
    matches!(ask(), Ok(false) | Err(Failure::Unreachable(_)))
}

pub(super) fn name(keychain: &Keychain) -> String {
    let place = match (&keychain.bus.address, &keychain.bus.runtime_dir) {
        (Some(address), _) => format!(" at {address}"),
        (None, Some(dir)) => format!(" at unix:path={}", dir.join("bus").display()),
        (None, None) => String::new(),
    };
    format!("the Secret Service{place}")
}

fn in_time(keychain: &Keychain) -> Deadline {
    Deadline::after(keychain.patience.service)
}

impl CredentialApi for Item {
    fn get_secret(&self) -> Answer<Vec<u8>> {
        // A daemon or bus that was restarted meanwhile is worth one more try, within the same time.
        let deadline = in_time(&self.keychain);
        let find = || {
            self.within(deadline, |session| {
                let found = session.find(&self.key())?;
                found.map(|path| session.secret(&path)).transpose()
            })
        };
        let found = match find() {
            Err(Failure::Broken(_)) if deadline.left().is_some() => find(),
            found => found,
        };
        found?.ok_or(Refusal::NoEntry)
    }

    /// Never tried twice: whether a broken connection did it or not, only a read can tell.
    fn set_secret(&self, secret: &[u8]) -> Answer<()> {
        let put = |session: &mut Session| self.put(session, secret);
        Ok(self.within(in_time(&self.keychain), put)?)
    }

    fn delete_credential(&self) -> Answer<()> {
        let delete = |session: &mut Session| {
            let found = session.find(&self.key())?;
            if found.is_some() {
                for path in session.search(&self.key())?.0 {
                    session.delete(&path)?;
                }
            }
            Ok(found)
        };
        let found = self.within(in_time(&self.keychain), delete)?;
        found.map(drop).ok_or(Refusal::NoEntry)
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
    fn key(&self) -> [(&str, &str); 2] {
        [("service", &self.service), ("account", &self.account)]
    }

    /// What the act comes to in a session over the connection that has the user's lock, or else over one
    /// of its own.
    fn within<T>(
        &self,
        deadline: Deadline,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        let (mut held, mut own);
        let connection = match &self.keychain.held {
            Some(lock) => {
                held = lock.0.lock().unwrap_or_else(PoisonError::into_inner);
                &mut *held
            }
            None => {
                own = Connection::open(&self.keychain.bus, deadline)?;
                &mut own
            }
        };
        connection.deadline = deadline;
        let arguments = Body::new("sv").string("plain").signature("s").string("");
        let reply = connection.call(&SERVICE, "OpenSession", &arguments)?;
        let mut body = reply.body("vo")?;
        body.variant("s")?;
        body.string()?;
        act(&mut Session {
            connection,
            path: body.string()?.to_owned(),
            patience: &self.keychain.patience,
        })
    }

    fn put(&self, session: &mut Session<'_>, secret: &[u8]) -> Result<()> {
        let (collection, is_locked) = session.default_collection()?;
        if is_locked {
            session.unlock(slice::from_ref(&collection))?;
        }
        let [service, account] = self.key();
        let label = format!("{}/{}", self.service, self.account);
        let item = Body::new("a{sv}(oayays)b")
            .properties(
                ("org.freedesktop.Secret.Item.Label", &label),
                ("org.freedesktop.Secret.Item.Attributes", &[service, account, SCHEMA]),
            )
            .secret(&session.path, secret, "text/plain")
            .uint32(1); // replaces an item with the same attributes
        let reply = session.call(&collection, COLLECTION, "CreateItem", &item)?;
        let mut body = reply.body("oo")?;
        let (created, dialog) = (body.string()?, body.string()?);
        if created == NOTHING {
            session.await_person(dialog)?;
            return Ok(());
        }
        // Entries of the same name without the schema, or in another collection, would still be
        // found by other tools, with the old secret.
        for path in session.search(&self.key())?.0 {
            if path != created {
                session.delete(&path)?;
            }
        }
        Ok(())
    }
}

/// The user's lock: the connection that owns a name on the bus, which one at a time can.
#[derive(Debug)]
pub(super) struct Held(Mutex<Connection>);

impl Held {
    /// `None` if another process has it until the deadline.
    pub(super) fn take(keychain: &Keychain, deadline: Deadline) -> error::Result<Option<Held>> {
        let take = || {
            let mut connection = Connection::open(&keychain.bus, in_time(keychain))?;
            let taken = deadline.poll(LOCK_PAUSE, || {
                connection.deadline = in_time(keychain);
                let arguments = Body::new("su").string(LOCK).uint32(DO_NOT_QUEUE);
                let reply = connection.call(&BUS, "RequestName", &arguments)?;
                Result::Ok((reply.body("u")?.uint32()? == PRIMARY_OWNER).then_some(()))
            })?;
            Ok(taken.map(|()| Held(Mutex::new(connection))))
        };
        take().map_err(|failure: Failure| keychain.unavailable(failure))
    }
}

/// An open `plain` session with the service.
struct Session<'a> {
    connection: &'a mut Connection,
    path: String,
    patience: &'a Patience,
}

impl Session<'_> {
    /// The path of the entry, unlocked. Of several the one that keytar wrote, or else the first.
    fn find(&mut self, key: &[(&str, &str)]) -> Result<Option<String>> {
        let (mut unlocked, mut closed) = self.search(key)?;
        if unlocked.is_empty() {
            if closed.is_empty() {
                // A locked collection may hide what it has, and a missing one has nothing to say:
                // neither must be mistaken for "there is no entry", or init would replace it.
                let (collection, is_locked) = self.default_collection()?;
                if !is_locked {
                    return Ok(None);
                }
                closed.push(collection);
            }
            self.unlock(&closed)?;
            (unlocked, closed) = self.search(key)?;
            if unlocked.is_empty() && (!closed.is_empty() || self.default_collection()?.1) {
                return Err(locked());
            }
        }
        // Where there is no choice, the service is not asked.
        if unlocked.len() > 1 {
            for path in &unlocked {
                if self.has_schema(path)? {
                    return Ok(Some(path.clone()));
                }
            }
        }
        Ok(unlocked.into_iter().next())
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
        let reply = self.call(item, ITEM, "GetSecret", &arguments)?;
        let mut body = reply.body("(oayays)")?;
        body.align(8)?;
        body.string()?;
        body.byte_array()?;
        Ok(body.byte_array()?.to_vec())
    }

    /// The collection that the user's own entries go to, and whether it is locked.
    fn default_collection(&mut self) -> Result<(String, bool)> {
        let arguments = Body::new("s").string("default");
        let reply = self.connection.call(&SERVICE, "ReadAlias", &arguments)?;
        let path = reply.body("o")?.string()?;
        if path == NOTHING {
            return Err(Failure::Unreachable(
                "it has no default collection; make one in its own program first".to_owned(),
            ));
        }
        let reply = self.property(path, COLLECTION, "Locked")?;
        let mut body = reply.body("v")?;
        body.variant("b")?;
        Ok((path.to_owned(), body.boolean()?))
    }

    fn has_schema(&mut self, item: &str) -> Result<bool> {
        let reply = self.property(item, ITEM, "Attributes")?;
        let mut body = reply.body("v")?;
        body.variant("a{ss}")?;
        Ok(body.strings()?.contains(&SCHEMA))
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<Message> {
        let arguments = Body::new("ss").string(interface).string(name);
        self.call(path, "org.freedesktop.DBus.Properties", "Get", &arguments)
    }

    /// Unlocks, which may take a person; one at a time, because some daemons mix up their dialogs.
    fn unlock(&mut self, objects: &[String]) -> Result<()> {
        if self.patience.person.is_zero() {
            return Err(locked());
        }
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let take_turn = || match ONE_AT_A_TIME.try_lock() {
            Err(TryLockError::WouldBlock) => Result::Ok(None),
            Err(TryLockError::Poisoned(turn)) => Ok(Some(turn.into_inner())),
            Ok(turn) => Ok(Some(turn)),
        };
        let turn = self.connection.deadline.poll(LOCK_PAUSE, take_turn)?;
        let _turn = turn.ok_or(Failure::TimedOut)?;
        let arguments = Body::new("ao").paths(objects);
        let reply = self.connection.call(&SERVICE, "Unlock", &arguments)?;
        let mut body = reply.body("aoo")?;
        let unlocked = body.paths()?;
        match body.string()? {
            NOTHING if unlocked.is_empty() => Err(locked()),
            dialog => self.await_person(dialog),
        }
    }

    fn delete(&mut self, item: &str) -> Result<()> {
        let reply = self.call(item, ITEM, "Delete", &Body::new(""))?;
        self.await_person(reply.body("o")?.string()?)
    }

    /// Asks for the dialog, if there is one, and waits until it is done; what came of it is for the
    /// caller to look at. When the time is up the connection is dropped, which takes the dialog away:
    /// `Prompt.Dismiss` makes gnome-keyring 42.1 abort.
    fn await_person(&mut self, dialog: &str) -> Result<()> {
        if dialog == NOTHING {
            return Ok(());
        }
        let rule = format!("type='signal',interface='{PROMPT}',member='Completed',path='{dialog}'");
        self.connection.call(&BUS, "AddMatch", &Body::new("s").string(&rule))?;
        let is_person_there = self.patience.person > self.patience.service;
        if is_person_there {
            self.connection.deadline = Deadline::after(self.patience.person);
        }
        self.call(dialog, PROMPT, "Prompt", &Body::new("s").string(""))?;
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

    fn call(&mut self, path: &str, interface: &str, name: &str, body: &Body) -> Result<Message> {
        let target = Target { path, interface, ..SERVICE };
        self.connection.call(&target, name, body)
    }
}

fn locked() -> Failure {
    Failure::Refused(LOCKED.to_owned())
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::NoStorageAccess(failure.to_string().into())
    }
}

const NAME: &str = "org.freedesktop.secrets";
/// The name that is the lock, and what `RequestName` takes and answers.
const LOCK: &str = "com.lenserfight.lf.Master";
const DO_NOT_QUEUE: u32 = 4;
const PRIMARY_OWNER: u32 = 1;
const SERVICE: Target<'_> = Target {
    destination: NAME,
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.Secret.Service",
};
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROMPT: &str = "org.freedesktop.Secret.Prompt";
/// The path that stands for no object.
const NOTHING: &str = "/";
const SCHEMA: (&str, &str) = ("xdg:schema", "org.freedesktop.Secret.Generic");

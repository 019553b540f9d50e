//! The Secret Service (freedesktop.org, version 0.2) as a store of secrets.
//!
//! Entries are keytar's: attributes `service`, `account` and `xdg:schema`, so that tools built on
//! keytar or libsecret find ours and we find theirs. The session is `plain`: the socket never leaves
//! the machine's kernel, and a process that can read it can read this process too.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyring_core::api::{Credential, CredentialApi};
use keyring_core::{Entry, Error as Refusal, Result as Answer};

use super::dbus::{BUS, Connection};
use super::wire::{Body, Failure, LOCKED, Message, Result, Target};
use super::{Keychain, LOCK_PAUSE, Patience};
use crate::base::time::Deadline;
use crate::error;

/// One entry, there or not.
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
    let bus = Connection::open(&keychain.bus, in_time(keychain));
    let is_there = bus.and_then(|mut bus| has_owner(&mut bus, NAME));
    matches!(is_there, Ok(false) | Err(Failure::Unreachable(_)))
}

fn has_owner(bus: &mut Connection, name: &str) -> Result<bool> {
    bus.call(&BUS, "NameHasOwner", &Body::new("s").string(name))?.body("b")?.boolean()
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
            let items = session.search(&self.key())?.0;
            items.iter().try_for_each(|item| session.delete(item))?;
            match session.search(&self.key())?.0[..] {
                [] => Ok(found),
                _ => Err(Failure::Refused("the entry was not deleted".to_owned())),
            }
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

    /// What the act comes to in a session over the one connection, which is opened where there is none.
    fn within<T>(
        &self,
        deadline: Deadline,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        let Keychain { bus, patience, line, held, .. } = &self.keychain;
        let mut line = turn(held.as_ref().map_or(line, |held| &held.connection), deadline)?;
        let open = |mut connection: Connection| {
            connection.stream.deadline = deadline;
            let arguments = Body::new("sv").string("plain").signature("s").string("");
            let reply = connection.call(&SERVICE, "OpenSession", &arguments)?;
            let mut body = reply.body("vo")?;
            body.empty_variant()?;
            Result::Ok((body.string()?.to_owned(), connection))
        };
        let (path, mut connection) = match line.take().map(open) {
            Some(Ok(opened)) => opened,
            // A bus that was restarted since has forgotten the lock.
            _ if held.is_some() => return Err(Failure::Broken("the connection broke".to_owned())),
            _ => open(Connection::open(bus, deadline)?)?,
        };
        let done = act(&mut Session { connection: &mut connection, path: &path, patience });
        // A connection is closed on which an answer is still due, or a dialog not answered. Sessions would
        // pile up in the daemon, because a gateway keeps its connection.
        let session = Target { path: &path, interface: SESSION, ..SERVICE };
        if matches!(done, Ok(_) | Err(Failure::Refused(_)))
            && connection.call(&session, "Close", &Body::new("")).is_ok()
        {
            *line = Some(connection);
        }
        done
    }

    fn put(&self, session: &mut Session<'_>, secret: &[u8]) -> Result<()> {
        session.find(&self.key())?;
        let [service, account] = self.key();
        let attributes = [service, account, SCHEMA];
        let mut stored = session.search(&attributes)?.0;
        if let Some(item) = stored.first() {
            // CreateItem could replace it, but KeePassXC would ask about that even a client that may read it.
            let secret = Body::new("(oayays)").secret(session.path, secret, "text/plain");
            session.call(item, ITEM, "SetSecret", &secret)?;
        } else {
            let label = format!("{}/{}", self.service, self.account);
            let item = Body::new("a{sv}(oayays)b")
                .properties(
                    ("org.freedesktop.Secret.Item.Label", &label),
                    ("org.freedesktop.Secret.Item.Attributes", &attributes),
                )
                .secret(session.path, secret, "text/plain")
                .uint32(1); // replaces an item with the same attributes
            let (collection, _) = session.default_collection()?;
            let reply = session.call(&collection, COLLECTION, "CreateItem", &item)?;
            let mut body = reply.body("oo")?;
            let (created, dialog) = (body.string()?, body.string()?);
            if created == NOTHING {
                return session.perform(dialog, || {});
            }
            stored.push(created.to_owned());
        }
        // Entries of the same name without the schema, or in another collection, would still be
        // found by other tools, with the old secret.
        let mut others = session.search(&self.key())?.0;
        others.retain(|item| *item != stored[0]);
        others.iter().try_for_each(|item| session.delete(item))
    }
}

/// The one connection of a keychain and its copies, if it is open: KeePassXC asks a person about each
/// connection. (tests/keychains.rs: `a_command_asks_keepassxc_once`)
pub(super) type Line = Mutex<Option<Connection>>;

/// Waits for the connection. There is one dialog at a time, because some daemons mix them up.
fn turn(line: &Line, deadline: Deadline) -> Result<MutexGuard<'_, Option<Connection>>> {
    let take = || {
        line.clear_poison(); // the connection that was in use has been taken out
        Result::Ok(line.try_lock().ok())
    };
    deadline.poll(LOCK_PAUSE, take)?.ok_or(Failure::TimedOut)
}

/// The user's lock: the connection that owns a name on the bus, which one at a time can.
pub(super) struct Held {
    connection: Line,
    line: Arc<Line>,
}

impl Held {
    /// `None` if another process has it until the deadline.
    pub(super) fn take(keychain: &Keychain, deadline: Deadline) -> error::Result<Option<Held>> {
        let take = || {
            let kept = turn(&keychain.line, in_time(keychain))?.take();
            let open = || Connection::open(&keychain.bus, in_time(keychain));
            let mut connection = kept.map_or_else(open, Ok)?;
            let taken = deadline.poll(LOCK_PAUSE, || {
                connection.stream.deadline = in_time(keychain);
                let arguments = Body::new("su").string(LOCK).uint32(DO_NOT_QUEUE);
                let reply = connection.call(&BUS, "RequestName", &arguments)?;
                Result::Ok((reply.body("u")?.uint32()? == PRIMARY_OWNER).then_some(()))
            })?;
            let held =
                |()| Held { connection: Some(connection).into(), line: keychain.line.clone() };
            Ok(taken.map(held))
        };
        take().map_err(|failure: Failure| keychain.unavailable(failure))
    }
}

impl Drop for Held {
    /// The connection goes back. One that cannot give the name back is closed, which does the same.
    fn drop(&mut self) {
        let kept = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(mut connection) = kept.take() else { return };
        connection.stream.deadline = Deadline::after(AFTERWARDS);
        let released = connection.call(&BUS, "ReleaseName", &Body::new("s").string(LOCK));
        if let (Ok(_), Ok(mut line)) = (released, self.line.lock()) {
            *line = Some(connection);
        }
    }
}

/// An open `plain` session with the service.
struct Session<'a> {
    connection: &'a mut Connection,
    path: &'a str,
    patience: &'a Patience,
}

impl Session<'_> {
    /// The path of the entry, unlocked. Of several the one that keytar wrote, or else the first.
    fn find(&mut self, key: &[(&str, &str)]) -> Result<Option<String>> {
        // While all its databases are locked, KeePassXC answers a search only after a dialog. That dialog is
        // ours to ask for, and not under a lock.
        if self.is_shut()? {
            let (collection, _) = self.default_collection()?;
            self.unlock(&[collection])?;
            if self.is_shut()? {
                return Err(locked());
            }
        }
        let (mut unlocked, mut closed) = self.search(key)?;
        if unlocked.is_empty() {
            // All entries of the service at once, because a command may need the others too.
            if !closed.is_empty() {
                closed = self.search(&key[..1])?.1;
            } else {
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
            let exact = self.search(&[key, &[SCHEMA]].concat())?.0;
            unlocked.splice(..0, exact);
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
        let reply = self.call(item, ITEM, "GetSecret", &Body::new("o").string(self.path))?;
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
            let none = "it has no default collection; make one in its own program first";
            return Err(Failure::Unreachable(none.to_owned()));
        }
        Ok((path.to_owned(), self.is_locked(path)?))
    }

    /// Is every collection locked?
    fn is_shut(&mut self) -> Result<bool> {
        let reply = self.property(SERVICE.path, SERVICE.interface, "Collections")?;
        let mut body = reply.body("v")?;
        body.variant("ao")?;
        let mut paths = body.paths()?.into_iter();
        paths.try_fold(true, |all, path| Ok(all && self.is_locked(&path)?))
    }

    fn is_locked(&mut self, collection: &str) -> Result<bool> {
        let reply = self.property(collection, COLLECTION, "Locked")?;
        let mut body = reply.body("v")?;
        body.variant("b")?;
        body.boolean()
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<Message> {
        let arguments = Body::new("ss").string(interface).string(name);
        self.call(path, "org.freedesktop.DBus.Properties", "Get", &arguments)
    }

    /// Unlocks, which may take a person.
    fn unlock(&mut self, objects: &[String]) -> Result<()> {
        if self.patience.person.is_zero() {
            return Err(locked());
        }
        let reply = self.connection.call(&SERVICE, "Unlock", &Body::new("ao").paths(objects))?;
        let mut body = reply.body("aoo")?;
        let unlocked = body.paths()?;
        match body.string()? {
            NOTHING if unlocked.is_empty() => Err(locked()),
            prompt => self.perform(prompt, self.patience.on_dialog),
        }
    }

    fn delete(&mut self, item: &str) -> Result<()> {
        let reply = self.call(item, ITEM, "Delete", &Body::new(""))?;
        self.perform(reply.body("o")?.string()?, self.patience.on_dialog)
    }

    /// Waits until a prompt is done, if there is one; what came of it is for the caller to look at. When the
    /// time is up it is dismissed, and the connection closed. gnome-keyring 42.1 would abort at `Dismiss`.
    /// (tests/keychains.rs: `a_dialog_that_nobody_needs_is_dismissed_where_that_is_safe`)
    fn perform(&mut self, prompt: &str, on_dialog: fn()) -> Result<()> {
        if prompt == NOTHING {
            return Ok(());
        }
        let rule = format!("type='signal',interface='{PROMPT}',member='Completed',path='{prompt}'");
        self.connection.call(&BUS, "AddMatch", &Body::new("s").string(&rule))?;
        let Patience { service, person, .. } = *self.patience;
        if person > service {
            self.connection.stream.deadline = Deadline::after(person);
        }
        on_dialog();
        let shown = self.call(prompt, PROMPT, "Prompt", &Body::new("s").string(""));
        let answered = shown.and_then(|_| self.connection.wait_for(prompt));
        if let Err(Failure::TimedOut) = answered {
            self.connection.stream.deadline = Deadline::after(AFTERWARDS);
            // Whatever comes of that, nobody has answered.
            if has_owner(self.connection, GNOME_KEYRING).is_ok_and(|is_gnome| !is_gnome) {
                let _ = self.call(prompt, PROMPT, "Dismiss", &Body::new(""));
            }
            let reason = "it is locked, and nobody answered its dialog";
            return Err(Failure::Unreachable(reason.to_owned()));
        }
        if person > service {
            self.connection.stream.deadline = Deadline::after(service);
        }
        answered
    }

    fn call(&mut self, path: &str, interface: &str, name: &str, body: &Body) -> Result<Message> {
        self.connection.call(&Target { path, interface, ..SERVICE }, name, body)
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
/// For what is done when the result is known.
const AFTERWARDS: Duration = Duration::from_millis(200);
/// Another name of the gnome-keyring daemon.
const GNOME_KEYRING: &str = "org.gnome.keyring";
const SERVICE: Target<'_> = Target {
    destination: NAME,
    path: "/org/freedesktop/secrets",
    interface: "org.freedesktop.Secret.Service",
};
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const SESSION: &str = "org.freedesktop.Secret.Session";
const PROMPT: &str = "org.freedesktop.Secret.Prompt";
/// The path that stands for no object.
const NOTHING: &str = "/";
const SCHEMA: (&str, &str) = ("xdg:schema", "org.freedesktop.Secret.Generic");

#[cfg(test)]
mod tests;

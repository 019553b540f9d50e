//! A Secret Service on a socket of its own that does what a test says.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{fs, thread};

use super::wire::{self, Body, FIELD_ERROR_NAME, FIELD_PATH, FIXED_HEADER, Message, Reader};
use super::*;
use crate::base::lock::lock;

/// The service, its bus and the person before it.
pub(crate) struct Service {
    place: PathBuf,
    world: Arc<Mutex<World>>,
}

/// What they have and do.
pub(crate) struct World {
    /// Of each collection: is it locked? The first one is the default.
    pub(crate) collections: Vec<bool>,
    pub(crate) entries: Vec<Entry>,
    /// What a person does with a dialog. Without one there is none, and what is asked for is done.
    pub(crate) person: Option<Person>,
    /// Does the person see a dialog at this call, too?
    pub(crate) asks_at: Option<&'static str>,
    /// What becomes of a call.
    pub(crate) fault: Box<dyn FnMut(&str) -> Fault + Send>,
    /// The members that were called, in order.
    pub(crate) calls: Vec<String>,
    pub(crate) has_default: bool,
    /// Does it store something else than it is given?
    pub(crate) is_broken: bool,
    pub(crate) is_gnome: bool,
    /// The connection that has the user's lock.
    owner: Option<usize>,
    /// What the dialog that is open is about.
    pending: Option<Pending>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) secret: Vec<u8>,
    pub(crate) collection: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    Confirms,
    Cancels,
    IsAway,
    /// Cannot be asked: no dialog can be shown.
    Unreachable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// An error of this name.
    Error(&'static str),
    /// The connection is closed.
    Close,
}

enum Pending {
    Unlock,
    Delete(String),
    Create(Entry),
}

static NEXT: AtomicUsize = AtomicUsize::new(1);

fn next() -> usize {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Service {
    pub(crate) fn start() -> Service {
        let place =
            std::env::temp_dir().join(format!("lf-test-bus-{}-{}", std::process::id(), next()));
        let listener = UnixListener::bind(&place).unwrap();
        let world = Arc::new(Mutex::new(World {
            collections: vec![false],
            entries: Vec::new(),
            person: None,
            asks_at: None,
            fault: Box::new(|_| Fault::None),
            calls: Vec::new(),
            has_default: true,
            is_broken: false,
            is_gnome: false,
            owner: None,
            pending: None,
        }));
        let shared = Arc::clone(&world);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, world) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || {
                    let id = next();
                    let _ = serve(stream, id, &world);
                    let mut world = lock(&world);
                    world.owner = world.owner.filter(|owner| *owner != id);
                });
            }
        });
        Service { place, world }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The variable that leads here, and these.
    pub(crate) fn environment(&self, variables: &[(&'static str, &str)]) -> Environment {
        let address = format!("unix:path={}", self.place.display());
        let mut all = vec![("DBUS_SESSION_BUS_ADDRESS", address)];
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Environment::of(move |wanted| {
            all.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into())
        })
    }

    pub(crate) fn keychain(&self) -> Keychain {
        Keychain::new(&self.environment(&[]), Patience::SHORT)
    }

    /// An entry as keytar makes it.
    pub(crate) fn has(&self, service: &str, account: &str, secret: &str) {
        self.world().add(0, &[("service", service), ("account", account), SCHEMA], secret);
    }

    pub(crate) fn secret(&self, service: &str, account: &str) -> Option<String> {
        let world = self.world();
        let key = [("service", service), ("account", account)];
        let found = world.matching(&key).next();
        found.map(|entry| String::from_utf8(entry.secret.clone()).unwrap())
    }

    /// How often this was called since calls were last counted.
    pub(crate) fn calls(&self, member: &str) -> usize {
        let mut world = self.world();
        let count = world.calls.iter().filter(|call| *call == member).count();
        world.calls.clear();
        count
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.place);
    }
}

impl World {
    fn matching(&self, attributes: &[(&str, &str)]) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| {
            let has = |(name, value): &(&str, &str)| {
                entry.attributes.iter().any(|(own, text)| own == name && text == value)
            };
            attributes.iter().all(has)
        })
    }

    pub(crate) fn add(&mut self, collection: usize, attributes: &[(&str, &str)], secret: &str) {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (path, secret) = (format!("/item/{}", next()), secret.as_bytes().to_vec());
        self.entries.push(Entry { path, attributes, secret, collection });
    }

    fn kept(&self, secret: &[u8]) -> Vec<u8> {
        if self.is_broken { b"something else".to_vec() } else { secret.to_vec() }
    }

    fn at(&mut self, path: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.path == path).unwrap()
    }

    /// Does this act, now or when the person says so: the path of the dialog.
    fn act(&mut self, at: &str, pending: Pending) -> String {
        let is_asked = self.person.is_some()
            && (matches!(pending, Pending::Unlock) || self.asks_at == Some(at));
        self.pending = Some(pending);
        if is_asked {
            return format!("/prompt/{}", next());
        }
        self.confirm();
        "/".to_owned()
    }

    fn confirm(&mut self) {
        match self.pending.take() {
            Some(Pending::Unlock) => self.collections.fill(false),
            Some(Pending::Delete(path)) => self.entries.retain(|entry| entry.path != path),
            Some(Pending::Create(entry)) => self.entries.push(entry),
            None => {}
        }
    }

    /// What the call is answered with.
    fn answer(&mut self, message: &Message, id: usize) -> wire::Result<Body> {
        let (member, path) = (message.text(wire::FIELD_MEMBER), message.text(FIELD_PATH));
        Ok(match member {
            "Hello" => Body::new("s").string(":1.1"),
            "NameHasOwner" => {
                let name = message.body("s")?.string()?.to_owned();
                let has = name == "org.freedesktop.secrets" || self.is_gnome;
                Body::new("b").uint32(has.into())
            }
            "RequestName" => {
                let is_free = self.owner.is_none_or(|owner| owner == id);
                if is_free {
                    self.owner = Some(id);
                }
                Body::new("u").uint32(if is_free { 1 } else { 3 })
            }
            "ReleaseName" => {
                self.owner = None;
                Body::new("u").uint32(1)
            }
            "OpenSession" => Body::new("vo").signature("s").string("").string("/session"),
            "SearchItems" => {
                let pairs = pairs(&mut message.body("a{ss}")?)?;
                let pairs: Vec<_> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                let found = self.matching(&pairs).map(|it| (it.path.clone(), it.collection));
                let (locked, open): (Vec<_>, Vec<_>) =
                    found.partition(|(_, at)| self.collections[*at]);
                let paths = |them: Vec<(String, usize)>| -> Vec<String> {
                    them.into_iter().map(|(path, _)| path).collect()
                };
                Body::new("aoao").paths(&paths(open)).paths(&paths(locked))
            }
            "ReadAlias" => {
                Body::new("o").string(if self.has_default { "/collection/0" } else { "/" })
            }
            "Get" => {
                let mut body = message.body("ss")?;
                let (_, name) = (body.string()?, body.string()?);
                if name == "Collections" {
                    let paths: Vec<_> =
                        (0..self.collections.len()).map(|at| format!("/collection/{at}")).collect();
                    Body::new("v").signature("ao").paths(&paths)
                } else {
                    let at: usize = path.trim_start_matches("/collection/").parse().unwrap();
                    Body::new("v").signature("b").uint32(self.collections[at].into())
                }
            }
            "Unlock" if self.person == Some(Person::Unreachable) => {
                Body::new("aoo").paths(&[]).string("/")
            }
            "Unlock" => {
                let objects = message.body("ao")?.paths()?;
                let prompt = self.act(member, Pending::Unlock);
                let unlocked = if prompt == "/" { objects } else { Vec::new() };
                Body::new("aoo").paths(&unlocked).string(&prompt)
            }
            "GetSecret" => {
                let secret = self.at(path).secret.clone();
                Body::new("(oayays)").secret("/session", &secret, "text/plain")
            }
            "SetSecret" => {
                self.at(path).secret = self.kept(sent(&mut message.body("(oayays)")?)?);
                Body::new("")
            }
            "CreateItem" => {
                let mut body = message.body("a{sv}(oayays)b")?;
                let mut attributes = Vec::new();
                body.array(8, |pair| {
                    pair.align(8)?;
                    pair.string()?;
                    if pair.signature()? == "s" {
                        return pair.string().map(drop);
                    }
                    pairs(pair).map(|read| attributes = read)
                })?;
                let (secret, path) = (self.kept(sent(&mut body)?), format!("/item/{}", next()));
                let entry = Entry { path: path.clone(), attributes, secret, collection: 0 };
                match self.act(member, Pending::Create(entry)).as_str() {
                    "/" => Body::new("oo").string(&path).string("/"),
                    prompt => Body::new("oo").string("/").string(prompt),
                }
            }
            "Delete" => Body::new("o").string(&self.act(member, Pending::Delete(path.to_owned()))),
            "AddMatch" | "Prompt" | "Dismiss" | "Close" => Body::new(""),
            _ => return Err(wire::Failure::Malformed("a call that the test does not know")),
        })
    }
}

/// `a{ss}`.
fn pairs(reader: &mut Reader<'_>) -> wire::Result<Vec<(String, String)>> {
    reader.array(8, |pair| {
        pair.align(8)?;
        Ok((pair.string()?.to_owned(), pair.string()?.to_owned()))
    })
}

/// The value in `(oayays)`.
fn sent<'a>(reader: &mut Reader<'a>) -> wire::Result<&'a [u8]> {
    reader.align(8)?;
    reader.string()?;
    reader.byte_array()?;
    reader.byte_array()
}

/// Answers on one connection until it is closed.
fn serve(mut stream: UnixStream, id: usize, world: &Mutex<World>) -> wire::Result<()> {
    let line = |stream: &mut UnixStream, answer: &[u8]| {
        let mut byte = [0];
        while byte != *b"\n" {
            stream.read_exact(&mut byte)?;
        }
        stream.write_all(answer).map_err(wire::Failure::from)
    };
    line(&mut stream, b"DATA\r\n")?;
    line(&mut stream, b"OK 0\r\n")?;
    line(&mut stream, b"")?;
    loop {
        let mut whole = Zeroizing::new(vec![0; FIXED_HEADER]);
        stream.read_exact(&mut whole)?;
        let length = wire::message_length(&whole)?;
        whole.resize(length, 0);
        stream.read_exact(&mut whole[FIXED_HEADER..])?;
        let serial = u32::from_ne_bytes(whole[8..12].try_into().unwrap());
        let message = Message::parse(whole)?;
        let member = message.text(wire::FIELD_MEMBER);
        let mut world = lock(world);
        world.calls.push(member.to_owned());
        let answered = match (world.fault)(member) {
            Fault::None => world.answer(&message, id)?,
            Fault::Error(name) => {
                stream.write_all(&said(
                    wire::ERROR,
                    serial,
                    (FIELD_ERROR_NAME, name),
                    &Body::new(""),
                ))?;
                continue;
            }
            Fault::Close => return Ok(()),
        };
        stream.write_all(&said(wire::METHOD_RETURN, serial, (7, ":1.0"), &answered))?;
        if member == "Prompt" && matches!(world.person, Some(Person::Confirms | Person::Cancels)) {
            if world.person == Some(Person::Confirms) {
                world.confirm();
            }
            let path = (FIELD_PATH, message.text(FIELD_PATH));
            stream.write_all(&said(wire::SIGNAL, 0, path, &Body::new("")))?;
        }
    }
}

/// A message in answer to this call, with one more field.
pub(super) fn said(kind: u8, reply_serial: u32, (code, text): (u8, &str), body: &Body) -> Vec<u8> {
    fn word(to: &mut Vec<u8>, value: usize) {
        to.extend(u32::try_from(value).unwrap().to_ne_bytes());
    }
    fn pad(to: &mut Vec<u8>, multiple: usize) {
        to.resize(to.len().next_multiple_of(multiple), 0);
    }
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(reply_serial.to_ne_bytes());
    fields.extend([code, 1, if code == FIELD_PATH { b'o' } else { b's' }, 0]);
    word(&mut fields, text.len());
    fields.extend(text.bytes().chain([0]));
    if !body.signature.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, u8::try_from(body.signature.len()).unwrap()]);
        fields.extend(body.signature.bytes().chain([0]));
    }
    let order = if cfg!(target_endian = "big") { b'B' } else { b'l' };
    let mut bytes = vec![order, kind, 0, 1];
    word(&mut bytes, body.bytes.len());
    word(&mut bytes, 1);
    word(&mut bytes, fields.len());
    bytes.extend(fields);
    pad(&mut bytes, 8);
    bytes.extend_from_slice(&body.bytes);
    bytes
}

pub(crate) const SCHEMA: (&str, &str) = ("xdg:schema", "org.freedesktop.Secret.Generic");

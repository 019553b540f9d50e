//! A Secret Service on a socket of its own that does what a test says, and what a client makes of it.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::{fs, thread};

use super::wire::{self, Body, FIXED_HEADER, Message};
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

    /// How often this was called, from here on once more from none.
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
        let (member, path) = (message.text(wire::FIELD_MEMBER), message.text(wire::FIELD_PATH));
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
                let mut body = message.body("a{ss}")?;
                let pairs = body.array(8, |pair| {
                    pair.align(8)?;
                    Ok((pair.string()?.to_owned(), pair.string()?.to_owned()))
                })?;
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
                let mut body = message.body("(oayays)")?;
                body.align(8)?;
                body.string()?;
                body.byte_array()?;
                self.at(path).secret = self.kept(body.byte_array()?);
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
                    attributes = pair.array(8, |pair| {
                        pair.align(8)?;
                        Ok((pair.string()?.to_owned(), pair.string()?.to_owned()))
                    })?;
                    Ok(())
                })?;
                body.align(8)?;
                body.string()?;
                body.byte_array()?;
                let (secret, path) = (self.kept(body.byte_array()?), format!("/item/{}", next()));
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
                stream.write_all(&said(wire::ERROR, serial, (4, name), &Body::new("")))?;
                continue;
            }
            Fault::Close => return Ok(()),
        };
        stream.write_all(&said(wire::METHOD_RETURN, serial, (7, ":1.0"), &answered))?;
        if member == "Prompt" && matches!(world.person, Some(Person::Confirms | Person::Cancels)) {
            if world.person == Some(Person::Confirms) {
                world.confirm();
            }
            let path = (1, message.text(wire::FIELD_PATH));
            stream.write_all(&said(wire::SIGNAL, 0, path, &Body::new("")))?;
        }
    }
}

/// A message in answer to this call, with one more field.
fn said(kind: u8, reply_serial: u32, (code, text): (u8, &str), body: &Body) -> Vec<u8> {
    fn word(to: &mut Vec<u8>, value: usize) {
        to.extend(u32::try_from(value).unwrap().to_ne_bytes());
    }
    fn pad(to: &mut Vec<u8>, multiple: usize) {
        to.resize(to.len().next_multiple_of(multiple), 0);
    }
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(reply_serial.to_ne_bytes());
    fields.extend([code, 1, if code == 1 { b'o' } else { b's' }, 0]);
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

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// What is found, or the end of the error.
fn found(keychain: &Keychain, account: &str) -> std::result::Result<Option<String>, String> {
    let found = keychain.find("s", account).map_err(|error| error.to_string())?;
    Ok(found.map(|secret| secret.expose().to_owned()))
}

#[test]
fn an_entry_is_stored_found_replaced_and_deleted() {
    let service = Service::start();
    let keychain = service.keychain();
    assert!(!keychain.is_absent());
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert!(!keychain.delete("s", "a").unwrap());
    keychain.store("s", "a", &secret("one")).unwrap();
    assert_eq!(found(&keychain, "a"), Ok(Some("one".to_owned())));
    assert_eq!(service.world().entries[0].attributes.len(), 3);
    service.world().calls.clear();
    keychain.store("s", "a", &secret("two")).unwrap();
    assert_eq!(service.calls("CreateItem"), 0, "it was there");
    assert_eq!(service.secret("s", "a").as_deref(), Some("two"));
    // One without the schema, and one in another collection, go: other tools would find the old secret.
    let pair = [("service", "s"), ("account", "a")];
    service.world().collections.push(false);
    service.world().add(1, &pair, "old");
    service.world().add(0, &pair, "older");
    assert_eq!(
        found(&keychain, "a"),
        Ok(Some("two".to_owned())),
        "of several the one with the schema"
    );
    keychain.store("s", "a", &secret("three")).unwrap();
    assert_eq!(service.world().entries.len(), 1);
    // The same if there is none with it.
    service.world().entries.clear();
    service.world().add(0, &pair, "old");
    keychain.store("s", "a", &secret("four")).unwrap();
    assert_eq!(service.world().entries.len(), 1);
    assert_eq!(service.secret("s", "a").as_deref(), Some("four"));
    service.has("s", "other", "x");
    service.world().add(0, &pair, "old");
    assert!(keychain.delete("s", "a").unwrap());
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert_eq!(service.world().entries.len(), 1);
}

#[test]
fn of_several_entries_the_one_with_the_schema_counts_and_of_one_nothing_more_is_asked() {
    let service = Service::start();
    let keychain = service.keychain();
    let pair = [("service", "s"), ("account", "a")];
    service.world().add(0, &pair, "first");
    assert_eq!(found(&keychain, "a"), Ok(Some("first".to_owned())));
    assert_eq!(service.calls("SearchItems"), 1);
    service.has("s", "a", "ours");
    assert_eq!(found(&keychain, "a"), Ok(Some("ours".to_owned())));
    assert_eq!(service.calls("SearchItems"), 2);
}

#[test]
fn a_locked_keychain_is_asked_for_once_and_says_what_came_of_it() {
    const LOCKED: &str = "it is locked";
    let looks = |person: Option<Person>, is_shut: bool, is_kept: bool| {
        let service = Service::start();
        if is_kept {
            service.has("s", "a", "kept");
        }
        service.world().collections = vec![true, is_shut];
        service.world().person = person;
        let patience = Patience { person: Duration::from_millis(300), ..Patience::SHORT };
        let keychain = Keychain::new(&service.environment(&[]), patience);
        let found = found(&keychain, "a");
        let (unlocks, dismisses) = {
            let world = service.world();
            let count = |member| world.calls.iter().filter(|call| *call == member).count();
            (count("Unlock"), count("Dismiss"))
        };
        (found.map_err(|error| error.rsplit(": ").next().unwrap().to_owned()), unlocks, dismisses)
    };
    let kept = || Ok(Some("kept".to_owned()));
    let locked = |more: &str| Err(format!("{LOCKED}{more}"));
    for is_shut in [false, true] {
        assert_eq!(looks(None, is_shut, true), (kept(), 1, 0));
        assert_eq!(looks(Some(Person::Confirms), is_shut, true), (kept(), 1, 0));
        assert_eq!(looks(Some(Person::Confirms), is_shut, false), (Ok(None), 1, 0));
        for is_kept in [false, true] {
            assert_eq!(looks(Some(Person::Cancels), is_shut, is_kept), (locked(""), 1, 0));
            assert_eq!(looks(Some(Person::Unreachable), is_shut, is_kept), (locked(""), 1, 0));
        }
    }
}

#[test]
fn a_dialog_that_nobody_answers_is_dismissed_but_never_gnome_keyrings() {
    for (is_gnome, dismissed) in [(false, 1), (true, 0)] {
        let service = Service::start();
        service.world().collections = vec![true];
        service.world().person = Some(Person::IsAway);
        service.world().is_gnome = is_gnome;
        let service_time = Duration::from_secs(1);
        for person in [Duration::from_millis(500), Duration::from_secs(2)] {
            let patience = Patience { person, service: service_time, ..Patience::SHORT };
            let keychain = Keychain::new(&service.environment(&[]), patience);
            let begun = std::time::Instant::now();
            let refused = found(&keychain, "a").unwrap_err();
            assert!(refused.ends_with("nobody answered its dialog"), "{refused}");
            assert!(begun.elapsed() >= service_time.max(person), "the longer of the two");
            assert_eq!(service.calls("Dismiss"), dismissed);
        }
    }
}

#[test]
fn under_a_lock_no_dialog_is_opened() {
    let service = Service::start();
    service.has("s", "a", "kept");
    service.world().collections = vec![true];
    let keychain = service.keychain();
    for quiet in [keychain.without_dialogs(), keychain.lock().unwrap()] {
        assert!(found(&quiet, "a").unwrap_err().ends_with("it is locked"));
        // KeePassXC would open one to answer a search.
        let world = service.world();
        assert!(!world.calls.iter().any(|call| call == "Unlock" || call == "SearchItems"));
    }
}

#[test]
fn one_process_has_the_lock_and_gives_it_and_its_connection_back() {
    let service = Service::start();
    service.has("s", "a", "kept");
    let (one, other) = (service.keychain(), service.keychain());
    assert!(found(&one, "a").is_ok());
    let held = one.lock().unwrap();
    assert!(found(&held, "a").is_ok());
    assert_eq!(service.calls("Hello"), 1, "it has the connection that was there");
    assert_eq!(other.lock().err().unwrap().code(), "refused");
    drop(held);
    let held = other.lock().unwrap();
    assert!(found(&one, "a").is_ok(), "reading needs no lock");
    service.world().calls.clear();
    // A bus that was restarted has forgotten the lock.
    service.world().fault = Box::new(|_| Fault::Close);
    assert!(held.store("s", "a", &secret("new")).is_err());
    service.world().fault = Box::new(|_| Fault::None);
    assert!(held.store("s", "a", &secret("new")).unwrap_err().to_string().contains("broke"));
    assert_eq!((service.calls("Hello"), service.secret("s", "a").as_deref()), (0, Some("kept")));
}

#[test]
fn a_read_is_tried_once_more_after_a_connection_that_broke_and_a_write_never() {
    let service = Service::start();
    service.has("s", "a", "kept");
    let breaks = |times: usize, member: &'static str| {
        let mut left = times;
        service.world().calls.clear();
        service.world().fault = Box::new(move |call| {
            if call != member || left == 0 {
                return Fault::None;
            }
            left -= 1;
            Fault::Close
        });
    };
    let keychain = service.keychain();
    breaks(1, "SearchItems");
    assert_eq!(found(&keychain, "a"), Ok(Some("kept".to_owned())));
    assert_eq!(service.calls("OpenSession"), 2);
    breaks(2, "SearchItems");
    assert!(found(&keychain, "a").is_err());
    breaks(1, "SetSecret");
    assert!(keychain.store("s", "a", &secret("new")).is_err());
    assert_eq!(service.calls("SetSecret"), 1);
    breaks(1, "Delete");
    assert!(keychain.delete("s", "a").is_err());
    assert_eq!(service.secret("s", "a").as_deref(), Some("kept"));
    // An error is no reason to try again, and none to open another connection.
    service.world().fault = Box::new(|call| match call {
        "GetSecret" => Fault::Error("org.freedesktop.Secret.Error.IsLocked"),
        _ => Fault::None,
    });
    service.world().calls.clear();
    let keychain = service.keychain();
    for _ in 0..2 {
        assert!(found(&keychain, "a").unwrap_err().ends_with("it is locked"));
    }
    assert_eq!(service.calls("Hello"), 1);
}

#[test]
fn a_time_that_is_up_is_not_tried_again() {
    let service = Service::start();
    service.world().fault = Box::new(|call| match call {
        "SearchItems" => {
            thread::sleep(Duration::from_secs(2));
            Fault::Close
        }
        _ => Fault::None,
    });
    let patience = Patience { service: Duration::from_secs(1), ..Patience::SHORT };
    let keychain = Keychain::new(&service.environment(&[]), patience);
    assert!(found(&keychain, "a").unwrap_err().ends_with("no answer in time"));
    assert_eq!(service.calls("SearchItems"), 1);
    // What comes too late would be taken for the answer to the next call.
    service.world().fault = Box::new(|_| Fault::None);
    assert_eq!(found(&keychain, "a"), Ok(None));
    assert_eq!(service.calls("Hello"), 1);
}

#[test]
fn a_connection_whose_session_does_not_close_is_not_used_again() {
    let service = Service::start();
    service.world().fault = Box::new(|call| match call {
        "Close" => Fault::Error("a.Failed"),
        _ => Fault::None,
    });
    let keychain = service.keychain();
    for connections in 1..=2 {
        assert_eq!(found(&keychain, "a"), Ok(None));
        assert_eq!(
            service.world().calls.iter().filter(|call| *call == "Hello").count(),
            connections
        );
    }
}

#[test]
fn only_a_person_who_has_more_time_than_the_service_stops_its_clock() {
    let milliseconds = Duration::from_millis;
    // How long they have, and how long the service takes to unlock and to search.
    for (service_has, person_has, unlocks, searches, is_found) in
        [(3000, 4000, 0, 0, true), (2000, 4000, 0, 3000, false), (2000, 2000, 1500, 1500, false)]
    {
        let service = Service::start();
        service.has("s", "a", "kept");
        service.world().collections = vec![true];
        service.world().person = Some(Person::Confirms);
        service.world().fault = Box::new(move |call| {
            thread::sleep(milliseconds(match call {
                "Unlock" => unlocks,
                "SearchItems" => searches,
                _ => 0,
            }));
            Fault::None
        });
        let (person, patience) = (milliseconds(person_has), milliseconds(service_has));
        let patience = Patience { person, service: patience, ..Patience::SHORT };
        let found = found(&Keychain::new(&service.environment(&[]), patience), "a");
        assert_eq!(found.is_ok(), is_found, "{found:?}");
        assert!(is_found || found.unwrap_err().ends_with("no answer in time"));
    }
}

#[test]
fn an_entry_tells_its_service_and_its_account() {
    let keychain = Service::start().keychain();
    let names = platform::ask(&keychain, "s", "a", |entry| Ok(entry.get_specifiers()));
    assert_eq!(names.unwrap(), Some(("s".to_owned(), "a".to_owned())));
}

#[test]
fn a_person_may_be_asked_before_an_entry_is_made_or_goes() {
    for (person, is_done) in [(Person::Confirms, true), (Person::Cancels, false)] {
        let service = Service::start();
        service.world().person = Some(person);
        let keychain = service.keychain();
        service.world().asks_at = Some("CreateItem");
        keychain.store("s", "a", &secret("new")).unwrap();
        assert_eq!(service.secret("s", "a").is_some(), is_done);
        service.world().asks_at = Some("Delete");
        service.has("s", "b", "old");
        let deleted = keychain.delete("s", "b");
        assert_eq!((deleted.is_ok(), service.secret("s", "b").is_none()), (is_done, is_done));
    }
}

#[test]
fn a_service_without_a_default_collection_says_so() {
    let service = Service::start();
    service.world().has_default = false;
    let keychain = service.keychain();
    assert!(found(&keychain, "a").unwrap_err().contains("no default collection"));
    assert!(keychain.store("s", "a", &secret("new")).is_err());
    assert_eq!(format!("{keychain:?}"), "Keychain(..)");
    service.has("s", "a", "kept");
    assert_eq!(found(&keychain, "a"), Ok(Some("kept".to_owned())), "what is there is found");
}

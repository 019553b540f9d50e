//! D-Bus messages as bytes: what the Secret Service's calls and answers are made of.
//!
//! Source: the D-Bus specification, "Type System" and "Message Protocol". Reading is checked against
//! bounds at every step: whatever the bytes are, the worst is an error (tests at the foot). Buffers
//! are wiped, because secrets pass through them.

use std::fmt;

use zeroize::Zeroizing;

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no bus to talk to, or no service on it that could answer.
    Unreachable(String),
    /// The connection broke, or the peer that should have answered is gone. A second try may succeed.
    Broken(String),
    /// The deadline has passed.
    TimedOut,
    /// The peer sent something that is not D-Bus, or not what was asked for.
    Malformed(&'static str),
    /// The peer answered with an error, in words.
    Refused(String),
}

impl Failure {
    /// What an error of this name says.
    pub(crate) fn named(name: &str) -> Failure {
        let refused = |sentence: &str| Failure::Refused(sentence.to_owned());
        match name.rsplit('.').next().unwrap_or_default() {
            "NoReply" | "Disconnected" => Failure::Broken("it ended before it answered".to_owned()),
            "ServiceUnknown" | "NameHasNoOwner" => {
                refused("no program on this bus provides org.freedesktop.secrets")
            }
            "IsLocked" => refused(LOCKED),
            _ => refused(&format!("it answered {name}")),
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(reason) | Failure::Broken(reason) | Failure::Refused(reason) => {
                f.write_str(reason)
            }
            Failure::TimedOut => f.write_str("no answer in time"),
            Failure::Malformed(what) => write!(f, "lf does not understand its answer ({what})"),
        }
    }
}

pub(crate) const LOCKED: &str = "it is locked";

/// Whom a call is for.
pub(crate) struct Target<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
}

/// A call's arguments, marshalled in this machine's byte order.
pub(crate) struct Body {
    pub(super) signature: &'static str,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Body {
    /// No arguments yet; `signature` says which will follow.
    pub(crate) fn new(signature: &'static str) -> Body {
        Body { signature, bytes: Zeroizing::new(Vec::with_capacity(ROOM)) }
    }

    pub(crate) fn uint32(self, value: u32) -> Body {
        self.align(4).raw(&value.to_ne_bytes())
    }

    /// A string or an object path.
    pub(crate) fn string(self, text: &str) -> Body {
        self.uint32(length(text.len())).raw(text.as_bytes()).raw(&[0])
    }

    /// `ao`.
    pub(crate) fn paths(self, paths: &[String]) -> Body {
        self.array(4, |body| paths.iter().fold(body, |body, path| body.string(path)))
    }

    /// `a{ss}`.
    pub(crate) fn strings(self, pairs: &[(&str, &str)]) -> Body {
        let pair =
            |body: Body, (name, value): &(&str, &str)| body.align(8).string(name).string(value);
        self.array(8, |body| pairs.iter().fold(body, pair))
    }

    /// `a{sv}` with a label and attributes, each under its property's name.
    pub(crate) fn properties(self, label: (&str, &str), pairs: (&str, &[(&str, &str)])) -> Body {
        self.array(8, |body| {
            let label = body.string(label.0).signature("s").string(label.1);
            let name = label.align(8).string(pairs.0);
            name.signature("a{ss}").strings(pairs.1)
        })
    }

    /// The Secret Service's `(oayays)`: session, no parameters, value, content type.
    pub(crate) fn secret(self, session: &str, value: &[u8], content_type: &str) -> Body {
        self.align(8)
            .string(session)
            .array(1, |nothing| nothing)
            .array(1, |body| body.raw(value))
            .string(content_type)
    }

    /// An array: its length in bytes, padding to the first element (not counted), the elements.
    fn array(self, element: usize, fill: impl FnOnce(Body) -> Body) -> Body {
        let body = self.uint32(0);
        let at = body.bytes.len() - 4;
        let body = body.align(element);
        let start = body.bytes.len();
        let mut body = fill(body);
        let size = length(body.bytes.len() - start);
        body.bytes[at..at + 4].copy_from_slice(&size.to_ne_bytes());
        body
    }

    /// A type: what a variant begins with.
    pub(crate) fn signature(self, text: &str) -> Body {
        let length = u8::try_from(text.len()).unwrap_or(0);
        self.raw(&[length]).raw(text.as_bytes()).raw(&[0])
    }

    fn align(mut self, to: usize) -> Body {
        let length = self.bytes.len().next_multiple_of(to);
        self.bytes.resize(length, 0);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Body {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// The message that calls a method.
pub(crate) fn call(serial: u32, to: &Target<'_>, member: &str, body: &Body) -> Zeroizing<Vec<u8>> {
    let field = |fields: Body, (code, kind, value): (u8, &str, &str)| {
        let field = fields.align(8).raw(&[code]).signature(kind);
        match kind {
            "g" => field.signature(value),
            _ => field.string(value),
        }
    };
    let fields = [
        (FIELD_PATH, "o", to.path),
        (FIELD_INTERFACE, "s", to.interface),
        (FIELD_MEMBER, "s", member),
        (FIELD_DESTINATION, "s", to.destination),
        (FIELD_SIGNATURE, "g", body.signature),
    ];
    // Without arguments there is no signature either.
    let fields = fields.into_iter().filter(|(_, _, value)| !value.is_empty());
    let message = Body::new("")
        .raw(&[ORDER, METHOD_CALL, 0, PROTOCOL])
        .uint32(length(body.bytes.len()))
        .uint32(serial)
        .array(8, |message| fields.fold(message, field));
    message.align(8).raw(&body.bytes).bytes
}

/// Nothing that we send comes near 4 GiB; a wrong length would be refused by the peer.
fn length(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A message from the bus, its header read.
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) reply_serial: u32,
    /// The header's texts, each at the place of its code.
    texts: [String; FIELDS],
    bytes: Zeroizing<Vec<u8>>,
    body_at: usize,
}

/// The length of the whole message, from the first 16 bytes of it.
pub(crate) fn message_length(head: &[u8]) -> Result<usize> {
    if head.first() != Some(&ORDER) {
        return Err(Failure::Malformed("not a D-Bus message of this machine"));
    }
    let word = |at| Reader { bytes: head, at }.uint32();
    let (body, fields) = (u64::from(word(4)?), u64::from(word(12)?));
    let length = (FIXED_HEADER as u64 + fields).next_multiple_of(8) + body;
    let length = usize::try_from(length).ok();
    let short = length.filter(|length| *length <= MAX_MESSAGE);
    short.ok_or(Failure::Malformed("a message over 1 MiB"))
}

impl Message {
    pub(crate) fn parse(bytes: Zeroizing<Vec<u8>>) -> Result<Message> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        let kind = *reader.take(4)?.get(1).ok_or(CUT)?;
        reader.take(8)?;
        let mut reply_serial = 0;
        let mut texts = [const { String::new() }; FIELDS];
        reader.array(8, |reader| {
            reader.align(8)?;
            let code = reader.byte()?;
            let text = match reader.signature()? {
                "s" | "o" => reader.string()?,
                "g" => reader.signature()?,
                "u" => {
                    let number = reader.uint32()?;
                    if code == FIELD_REPLY_SERIAL {
                        reply_serial = number;
                    }
                    return Ok(());
                }
                _ => return Err(Failure::Malformed("a header field of an unknown type")),
            };
            if let Some(place) = texts.get_mut(usize::from(code)) {
                text.clone_into(place);
            }
            Ok(())
        })?;
        reader.align(8)?;
        let body_at = reader.at;
        Ok(Message { kind, reply_serial, texts, body_at, bytes })
    }

    /// What the header has in the field of this code; empty if it has none.
    pub(crate) fn text(&self, code: u8) -> &str {
        &self.texts[usize::from(code)]
    }

    /// A reader of the body, which must be of this type.
    pub(crate) fn body(&self, signature: &str) -> Result<Reader<'_>> {
        if self.text(FIELD_SIGNATURE) != signature {
            return Err(Failure::Malformed("an answer of another type"));
        }
        // Offsets count from the body's start, which is a multiple of 8, the largest alignment.
        Ok(Reader { bytes: self.bytes.get(self.body_at..).unwrap_or_default(), at: 0 })
    }
}

/// Reads marshalled values; every step is checked against the end.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let value = self.uint32()?;
        (value < 2).then_some(value == 1).ok_or(Failure::Malformed("a boolean that is neither"))
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Result<&'a str> {
        let length = self.uint32()? as usize;
        self.text(length)
    }

    pub(super) fn signature(&mut self) -> Result<&'a str> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    /// The start of a variant, which must hold this type.
    pub(crate) fn variant(&mut self, signature: &str) -> Result<()> {
        let is_it = self.signature()? == signature;
        is_it.then_some(()).ok_or(Failure::Malformed("a variant of another type"))
    }

    /// A variant with nothing in it. For "no parameters" gnome-keyring and KeePassXC send an empty string,
    /// KWallet an empty array of bytes.
    pub(crate) fn empty_variant(&mut self) -> Result<()> {
        match self.signature()? {
            "s" if self.string()?.is_empty() => Ok(()),
            "ay" if self.byte_array()?.is_empty() => Ok(()),
            _ => Err(Failure::Malformed("a session that is not plain")),
        }
    }

    /// `ay`.
    pub(crate) fn byte_array(&mut self) -> Result<&'a [u8]> {
        let end = self.array_end(1)?;
        self.take(end - self.at)
    }

    /// `ao`.
    pub(crate) fn paths(&mut self) -> Result<Vec<String>> {
        self.array(4, |reader| reader.string().map(str::to_owned))
    }

    pub(super) fn array<T>(
        &mut self,
        element: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let end = self.array_end(element)?;
        let mut elements = Vec::new();
        while self.at < end {
            elements.push(read(self)?);
        }
        // The last element may not take what lies behind the array.
        if self.at == end { Ok(elements) } else { Err(CUT) }
    }

    pub(crate) fn uint32(&mut self) -> Result<u32> {
        self.align(4)?;
        Ok(u32::from_ne_bytes(self.take(4)?.try_into().map_err(|_| CUT)?))
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1)?.first().copied().ok_or(CUT)
    }

    fn text(&mut self, length: usize) -> Result<&'a str> {
        let bytes = self.take(length)?;
        if self.byte()? != 0 || bytes.contains(&0) {
            return Err(Failure::Malformed("a string whose end is elsewhere"));
        }
        std::str::from_utf8(bytes).map_err(|_| Failure::Malformed("a string that is not UTF-8"))
    }

    fn array_end(&mut self, element: usize) -> Result<usize> {
        let length = self.uint32()? as usize;
        self.align(element)?;
        let end = self.at.checked_add(length).ok_or(CUT)?;
        self.bytes.get(self.at..end).map(|_| end).ok_or(CUT)
    }

    /// Skips padding; a struct begins with it.
    pub(crate) fn align(&mut self, to: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }
}

const CUT: Failure = Failure::Malformed("a value that runs past its array or message");
const MAX_MESSAGE: usize = 1024 * 1024;
/// Enough that no secret outgrows it and leaves a copy: 64 KiB and the names around it.
const ROOM: usize = 80 * 1024;
/// The part of a header that comes before its fields.
pub(crate) const FIXED_HEADER: usize = 16;
/// A message's first byte says its byte order. All programs of a machine have the same, so another one is
/// neither written nor read.
const ORDER: u8 = if cfg!(target_endian = "big") { b'B' } else { b'l' };
const PROTOCOL: u8 = 1;
const METHOD_CALL: u8 = 1;
pub(crate) const METHOD_RETURN: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const SIGNAL: u8 = 4;
pub(crate) const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
pub(super) const FIELD_MEMBER: u8 = 3;
pub(crate) const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;
const FIELDS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> = Target {
        destination: "org.freedesktop.secrets",
        path: "/org/freedesktop/secrets",
        interface: "a.b",
    };

    fn calls() -> Vec<(&'static str, Vec<u8>)> {
        let attributes = [("service", "s"), ("account", "a")];
        [
            Body::new(""),
            Body::new("sv").string("plain").signature("s").string(""),
            Body::new("a{ss}").strings(&attributes),
            Body::new("aoao").paths(&["/a".into(), "/b/c".into()]).paths(&[]),
            Body::new("(oayays)").secret("/session", b"secret", "text/plain"),
            Body::new("a{sv}(oayays)b")
                .properties(("label", "l"), ("attributes", &attributes))
                .secret("/session", b"secret", "text/plain")
                .uint32(1),
        ]
        .into_iter()
        .map(|body| (body.signature, call(7, &TARGET, "Member", &body).to_vec()))
        .collect()
    }

    /// Reads everything that any answer may have, in every way; only panics matter.
    fn read_all(bytes: &[u8]) -> Result<()> {
        if let Ok(length) = message_length(&bytes[..FIXED_HEADER.min(bytes.len())]) {
            assert!(length <= MAX_MESSAGE);
        }
        let message = Message::parse(Zeroizing::new(bytes.to_vec()))?;
        let body = || message.body(message.text(FIELD_SIGNATURE));
        let _ = body()?.paths();
        let _ = body()?.byte_array();
        let _ = body()?.boolean();
        let mut variant = body()?;
        let _ = variant.empty_variant();
        let mut secret = body()?;
        secret.align(8)?;
        secret.string()?;
        secret.byte_array()?;
        secret.byte_array()?;
        secret.string().map(drop)
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (signature, bytes) in calls() {
            assert_eq!(message_length(&bytes[..FIXED_HEADER]).unwrap(), bytes.len());
            let message = Message::parse(Zeroizing::new(bytes)).unwrap();
            assert_eq!(
                (message.kind, message.text(FIELD_PATH), message.text(FIELD_MEMBER)),
                (METHOD_CALL, TARGET.path, "Member")
            );
            let mut body = message.body(signature).unwrap();
            match signature {
                "aoao" => {
                    assert_eq!(body.paths().unwrap(), ["/a", "/b/c"]);
                    assert!(body.paths().unwrap().is_empty());
                }
                "(oayays)" => {
                    body.align(8).unwrap();
                    assert_eq!(body.string().unwrap(), "/session");
                    assert_eq!(body.byte_array().unwrap(), b"");
                    assert_eq!(body.byte_array().unwrap(), b"secret");
                    assert_eq!(body.string().unwrap(), "text/plain");
                }
                _ => {}
            }
            assert!(message.body("x").is_err(), "an answer of another type is refused");
        }
    }

    #[test]
    fn a_message_has_a_mebibyte_at_most_and_a_secret_of_any_size_never_moves() {
        let head = |body: u32| {
            let mut head = calls()[0].1[..FIXED_HEADER].to_vec();
            head[4..8].copy_from_slice(&body.to_ne_bytes());
            head[12..].copy_from_slice(&[0; 4]);
            message_length(&head).ok()
        };
        assert_eq!(head(1024 * 1024 - 16), Some(1024 * 1024));
        assert_eq!(head(1024 * 1024 - 15), None);
        let body = Body::new("(oayays)");
        let place = body.bytes.as_ptr();
        let body = body.secret("/session", &[0; 64 * 1024], "text/plain");
        assert_eq!(body.bytes.as_ptr(), place);
    }

    #[test]
    fn another_byte_order_is_refused() {
        let mut head = calls()[0].1[..FIXED_HEADER].to_vec();
        assert!(message_length(&head).is_ok());
        for order in (0..=u8::MAX).filter(|order| *order != ORDER) {
            head[0] = order;
            assert!(message_length(&head).is_err(), "{order}");
        }
    }

    #[test]
    fn only_an_empty_variant_is_a_plain_session() {
        let message = |signature: &'static str, value: &[u8]| {
            let mut bytes = vec![u8::try_from(signature.len()).unwrap()];
            bytes.extend_from_slice(signature.as_bytes());
            bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
            bytes.extend_from_slice(value);
            Reader { bytes: &bytes.clone(), at: 0 }.empty_variant().is_ok()
        };
        assert!(message("s", &[0; 5]), "gnome-keyring, KeePassXC");
        assert!(message("ay", &[0; 4]), "KWallet");
        assert!(!message("s", b"\x01\0\0\0x\0"));
        assert!(!message("ay", b"\x01\0\0\0x"));
        assert!(!message("u", &[0; 4]));
        assert!(!message("s", &[0; 4]), "cut off");
    }

    #[test]
    fn an_error_says_what_its_name_means() {
        for (name, sentence) in [
            ("org.freedesktop.DBus.Error.NoReply", "it ended before it answered"),
            ("org.freedesktop.DBus.Error.Disconnected", "it ended before it answered"),
            ("a.ServiceUnknown", "no program on this bus provides org.freedesktop.secrets"),
            ("a.NameHasNoOwner", "no program on this bus provides org.freedesktop.secrets"),
            ("org.freedesktop.Secret.Error.IsLocked", LOCKED),
            ("a.Other", "it answered a.Other"),
        ] {
            let failure = Failure::named(name);
            assert_eq!(failure.to_string(), sentence);
            let is_broken = matches!(failure, Failure::Broken(_));
            assert_eq!(is_broken, sentence.starts_with("it ended"), "{name}");
        }
        assert_eq!(Failure::TimedOut.to_string(), "no answer in time");
        let malformed = Failure::Malformed("x").to_string();
        assert_eq!(malformed, "lf does not understand its answer (x)");
    }

    #[test]
    fn a_variant_holds_the_type_that_is_asked_for() {
        let read = |wanted| Reader { bytes: b"\x01s\0", at: 0 }.variant(wanted);
        assert!(read("s").is_ok());
        assert!(read("b").is_err() && read("").is_err());
    }

    #[test]
    fn what_runs_past_its_array_is_refused() {
        for (signature, bytes) in calls() {
            let fields = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
            // The same bytes, but the header's array ends within its last field.
            let mut short = bytes.clone();
            short[12..16].copy_from_slice(&(fields - 1).to_le_bytes());
            assert!(Message::parse(Zeroizing::new(short)).is_err(), "{signature}");
        }
        let read = |bytes: &[u8]| Reader { bytes, at: 0 }.paths();
        assert_eq!(read(b"\x07\0\0\0\x02\0\0\0/a\0").unwrap(), ["/a"]);
        assert!(read(b"\x06\0\0\0\x02\0\0\0/a\0").is_err());
        let boolean = |byte| Reader { bytes: &[byte, 0, 0, 0], at: 0 }.boolean();
        assert_eq!([boolean(0).unwrap(), boolean(1).unwrap()], [false, true]);
        assert!(boolean(2).is_err());
        let text = |bytes: &[u8]| Reader { bytes, at: 0 }.string().map(str::to_owned);
        assert_eq!(text(b"\x01\0\0\0a\0").unwrap(), "a");
        assert!(text(b"\x02\0\0\0a\0\0").is_err());
    }

    #[test]
    fn nothing_panics_on_any_bytes() {
        let mut refused = 0_u32;
        let mut check = |bytes: &[u8]| refused += u32::from(read_all(bytes).is_err());
        for (_, bytes) in calls() {
            for length in 0..bytes.len() {
                check(&bytes[..length]);
            }
            for at in 0..bytes.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    check(&changed);
                }
            }
            // Lengths at the edge of every integer, in every place where one can be.
            for at in (0..bytes.len().saturating_sub(4)).step_by(4) {
                for length in
                    [u32::MAX, u32::MAX - 3, i32::MAX as u32, 1 << 20, (1 << 20) + 1, 1 << 26]
                {
                    let mut changed = bytes.clone();
                    changed[at..at + 4].copy_from_slice(&length.to_le_bytes());
                    check(&changed);
                }
            }
        }
        // xorshift64 with a fixed seed, behind a head that gets past the first checks.
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..50_000 {
            let mut bytes =
                b"l\x02\x00\x01\x20\x00\x00\x00\x01\x00\x00\x00\x20\x00\x00\x00".to_vec();
            while bytes.len() < 80 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend(state.to_le_bytes().map(|byte| byte & 0x7F));
            }
            check(&bytes);
        }
        assert!(refused > 50_000);
    }
}

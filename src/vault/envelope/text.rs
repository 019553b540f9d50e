//! Envelopes as text: JSON in and out, and what of it can be shown.

use base64ct::{Base64, Encoding};
use miniserde::json::{self, Value};
use miniserde::ser::Fragment;
use miniserde::{Deserialize, Serialize};

use super::{ALG, Envelope, KDF, MAX_FILE, MAX_VALUE, VERSION};
use crate::base::time::Timestamp;
use crate::vault::key::{KeyId, KeyMeta, Label, Provider};

/// A key's metadata, and when it was last used.
pub(crate) struct UsedView<'a> {
    meta: &'a KeyMeta,
    last_used_at: Option<Timestamp>,
}

impl UsedView<'_> {
    pub(crate) fn of(meta: &KeyMeta, last_used_at: Option<Timestamp>) -> UsedView<'_> {
        UsedView { meta, last_used_at }
    }
}

impl Serialize for UsedView<'_> {
    fn begin(&self) -> Fragment<'_> {
        let mut members = self.meta.members();
        members.0.push_back(("lastUsedAt", &self.last_used_at));
        Fragment::Map(Box::new(members))
    }
}

// Every member is optional, so that the error can name the one that is missing.
#[derive(Serialize, Deserialize)]
struct File<M> {
    v: Option<u64>,
    alg: Option<String>,
    kdf: Option<String>,
    salt: Option<String>,
    iv: Option<String>,
    ciphertext: Option<String>,
    tag: Option<String>,
    meta: Option<M>,
}

#[derive(Deserialize)]
struct FileMeta {
    id: Option<String>,
    provider: Option<String>,
    label: Option<String>,
    #[serde(rename = "createdAt")]
    created_at: Option<String>,
    // A key is readable whatever they hold.
    #[serde(rename = "rotatedAt")]
    rotated_at: Option<Value>,
    #[serde(rename = "expiresAt")]
    expires_at: Option<Value>,
}

/// The file's content: one line of JSON.
pub(super) fn print(envelope: &Envelope) -> String {
    let mut text = json::to_string(&File {
        v: Some(VERSION),
        alg: Some(ALG.to_owned()),
        kdf: Some(KDF.to_owned()),
        salt: Some(Base64::encode_string(&envelope.salt)),
        iv: Some(Base64::encode_string(&envelope.iv)),
        ciphertext: Some(Base64::encode_string(&envelope.ciphertext)),
        tag: Some(Base64::encode_string(&envelope.tag)),
        meta: Some(&envelope.meta),
    });
    text.push('\n');
    text
}

/// Reads the file of a key; or the first thing that is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Envelope, &'static str> {
    if bytes.len() > MAX_FILE {
        return Err("it is larger than 256 KiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    let parsed = json::from_str(text).or_else(|_| json::from_str(&without_lone_surrogates(text)));
    let parsed: File<FileMeta> =
        parsed.map_err(|_| "it is not a JSON object of the expected shape")?;
    if parsed.v != Some(VERSION) {
        return Err("its version is not 1");
    }
    if parsed.alg.as_deref() != Some(ALG) || parsed.kdf.as_deref() != Some(KDF) {
        return Err("it does not use aes-256-gcm with scrypt");
    }
    let meta = parsed.meta.ok_or("it has no meta")?;
    let times = [&meta.rotated_at, &meta.expires_at].map(|it| it.as_ref().map(time));
    let [rotated_at, expires_at] = times.map(Option::flatten);
    Ok(Envelope {
        meta: KeyMeta {
            id: read(meta.id, |text| KeyId::parse(text).ok())
                .ok_or("its meta.id is not a key id")?,
            provider: read(meta.provider, |text| Provider::parse(text).ok())
                .ok_or("its meta.provider is not a provider name")?,
            label: read(meta.label, Label::stored).ok_or("its meta.label is not a label")?,
            created_at: read(meta.created_at, Timestamp::parse)
                .ok_or("its meta.createdAt is not a timestamp")?,
            rotated_at,
            expires_at,
            has_odd_times: times.contains(&Some(None)),
        },
        salt: read(parsed.salt, decode).ok_or("its salt is not 16 bytes of base64")?,
        iv: read(parsed.iv, decode).ok_or("its iv is not 12 bytes of base64")?,
        ciphertext: read(parsed.ciphertext, value)
            .ok_or("its ciphertext is not 1 byte to 64 KiB of base64")?,
        tag: read(parsed.tag, decode).ok_or("its tag is not 16 bytes of base64")?,
    })
}

/// JavaScript writes half of a surrogate pair in a label as an escape, which no JSON parser has to take
/// (RFC 8259, section 8.2). U+FFFD takes its place, as in a browser.
pub(super) fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut mended, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(c) = text[at..].chars().next() {
        let (taken, lone) = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, false),
            (Some(0xD800..=0xDFFF), _) => (6, true),
            // Whatever is escaped, such as a backslash, is no beginning of another escape.
            _ if c == '\\' => (1 + text[at + 1..].chars().next().map_or(0, char::len_utf8), false),
            _ => (c.len_utf8(), false),
        };
        mended.push_str(if lone { "\u{FFFD}" } else { &text[at..at + taken] });
        at += taken;
    }
    mended
}

fn read<T>(member: Option<String>, parse: fn(&str) -> Option<T>) -> Option<T> {
    parse(&member?)
}

fn time(member: &Value) -> Option<Timestamp> {
    let Value::String(text) = member else { return None };
    Timestamp::parse(text)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    Base64::decode_vec(text).ok()?.try_into().ok()
}

fn value(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (1..=MAX_VALUE).contains(&bytes.len()).then_some(bytes)
}

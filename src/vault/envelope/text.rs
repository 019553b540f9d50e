//! Envelopes as text: JSON in and out.

use base64ct::{Base64, Encoding};
use miniserde::json::{self, Number, Object, Value};

use super::{ALG, Envelope, KDF, MAX_FILE, MAX_VALUE, VERSION};
use crate::base::{json::text_of, time::Timestamp};
use crate::vault::key::{KeyId, KeyMeta, Label, Provider};

impl Envelope {
    /// The file's content: one line of JSON.
    pub(crate) fn print(&self) -> String {
        let Envelope { meta, salt, iv, ciphertext, tag } = self;
        let bytes = [&salt[..], iv, ciphertext, tag];
        let [salt, iv, ciphertext, tag] = bytes.map(Base64::encode_string);
        let meta = meta.json();
        format!(
            "{{\"v\":{VERSION},\"alg\":\"{ALG}\",\"kdf\":\"{KDF}\",\"salt\":\"{salt}\",\"iv\":\"{iv}\",\"ciphertext\":\"{ciphertext}\",\"tag\":\"{tag}\",\"meta\":{meta}}}\n"
        )
    }

    /// Reads a file under any name; or says the first thing that is wrong with it.
    pub(crate) fn parse_any(bytes: &[u8]) -> Result<Envelope, &'static str> {
        if bytes.len() > MAX_FILE {
            return Err("it is larger than 256 KiB");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
        let parsed =
            json::from_str(text).or_else(|_| json::from_str(&without_lone_surrogates(text)));
        let file: Object = parsed.map_err(|_| "it is not a JSON object")?;
        if !matches!(file.get("v"), Some(Value::Number(Number::U64(VERSION)))) {
            return Err("its version is not 1");
        }
        let own = |text: &str| Some(text.to_owned());
        if ["alg", "kdf"].map(|name| read(&file, name, own).unwrap_or_default()) != [ALG, KDF] {
            return Err("it does not use aes-256-gcm with scrypt");
        }
        let Some(Value::Object(meta)) = file.get("meta") else { return Err("it has no meta") };
        // A key is readable whatever they hold.
        let times = ["rotatedAt", "expiresAt"].map(|name| match meta.get(name) {
            None | Some(Value::Null) => None,
            Some(_) => Some(read(meta, name, Timestamp::parse)),
        });
        let [rotated_at, expires_at] = times.map(Option::flatten);
        Ok(Envelope {
            meta: KeyMeta {
                id: read(meta, "id", |text| KeyId::parse(text).ok())
                    .ok_or("its meta.id is not a key id")?,
                provider: read(meta, "provider", |text| Provider::parse(text).ok())
                    .ok_or("its meta.provider is not a provider name")?,
                label: read(meta, "label", Label::stored).ok_or("its meta.label is not a label")?,
                created_at: read(meta, "createdAt", Timestamp::parse)
                    .ok_or("its meta.createdAt is not a timestamp")?,
                rotated_at,
                expires_at,
                has_odd_times: times.contains(&Some(None)),
            },
            salt: read(&file, "salt", decode).ok_or("its salt is not 16 bytes of base64")?,
            iv: read(&file, "iv", decode).ok_or("its iv is not 12 bytes of base64")?,
            ciphertext: read(&file, "ciphertext", value)
                .ok_or("its ciphertext is not 1 byte to 64 KiB of base64")?,
            tag: read(&file, "tag", decode).ok_or("its tag is not 16 bytes of base64")?,
        })
    }
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

/// What the text of a member says; `None` if it is no text, or does not say that.
fn read<T>(object: &Object, name: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    text_of(object, name).and_then(parse)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    Base64::decode_vec(text).ok()?.try_into().ok()
}

fn value(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (1..=MAX_VALUE).contains(&bytes.len()).then_some(bytes)
}

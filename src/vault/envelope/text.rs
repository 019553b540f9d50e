//! Envelopes as text: JSON in and out, and what of it can be shown.

use base64ct::{Base64, Decoder, Encoding};
use miniserde::de::Visitor;
use miniserde::{Deserialize, Serialize, json, make_place};

use super::{ALG, Envelope, IV, KDF, MAX_FILE, MAX_VALUE, SALT, TAG, VERSION};
use crate::base::time::Timestamp;
use crate::vault::key::{KeyId, KeyMeta, Label, Provider};

/// A key's metadata as JSON has it, in files and in answers.
#[derive(Serialize)]
pub struct MetaView<'a> {
    id: &'a str,
    provider: &'a str,
    label: &'a str,
    #[serde(rename = "createdAt")]
    created_at: String,
}

impl MetaView<'_> {
    /// The view of one key.
    #[must_use]
    pub fn of(meta: &KeyMeta) -> MetaView<'_> {
        MetaView {
            id: meta.id.as_str(),
            provider: meta.provider.as_str(),
            label: meta.label.as_str(),
            created_at: meta.created_at.to_string(),
        }
    }
}

/// As [`MetaView`], and when the key was last used, for those who ask.
#[derive(Serialize)]
pub struct UsedView<'a> {
    id: &'a str,
    provider: &'a str,
    label: &'a str,
    #[serde(rename = "createdAt")]
    created_at: String,
    #[serde(rename = "lastUsedAt")]
    last_used_at: Option<String>,
}

impl UsedView<'_> {
    /// The view of one key.
    #[must_use]
    pub fn of(meta: &KeyMeta, last_used: Option<Timestamp>) -> UsedView<'_> {
        UsedView {
            id: meta.id.as_str(),
            provider: meta.provider.as_str(),
            label: meta.label.as_str(),
            created_at: meta.created_at.to_string(),
            last_used_at: last_used.as_ref().map(Timestamp::to_string),
        }
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    v: u64,
    alg: &'a str,
    kdf: &'a str,
    salt: String,
    iv: String,
    ciphertext: String,
    tag: String,
    meta: MetaView<'a>,
}

// Every member is optional here, so that the error can name the one that is missing.
#[derive(Deserialize)]
struct Parsed<C> {
    v: Option<u64>,
    alg: Option<Member<Alg>>,
    kdf: Option<Member<Kdf>>,
    salt: Option<Member<[u8; SALT]>>,
    iv: Option<Member<[u8; IV]>>,
    ciphertext: Option<C>,
    tag: Option<Member<[u8; TAG]>>,
    meta: Option<ParsedMeta>,
}

#[derive(Deserialize)]
struct ParsedMeta {
    id: Option<Member<KeyId>>,
    provider: Option<Member<Provider>>,
    label: Option<Member<Label>>,
    #[serde(rename = "createdAt")]
    created_at: Option<Member<Timestamp>>,
}

/// The file's content: one line of JSON.
pub(super) fn print(envelope: &Envelope) -> String {
    let mut text = json::to_string(&Printed {
        v: VERSION,
        alg: ALG,
        kdf: KDF,
        salt: Base64::encode_string(&envelope.salt),
        iv: Base64::encode_string(&envelope.iv),
        ciphertext: Base64::encode_string(&envelope.ciphertext),
        tag: Base64::encode_string(&envelope.tag),
        meta: MetaView::of(&envelope.meta),
    });
    text.push('\n');
    text
}

/// Reads the file of the key `id`; or the first thing that is wrong with it.
pub(super) fn parse(bytes: &[u8], id: &KeyId) -> Result<Envelope, &'static str> {
    let (meta, salt, iv, ciphertext, tag) = parse_as(bytes, id)?;
    Ok(Envelope {
        meta,
        salt,
        iv,
        ciphertext,
        tag,
    })
}

/// The same, of what can be known without the passphrase.
pub(super) fn peek(bytes: &[u8], id: &KeyId) -> Result<KeyMeta, &'static str> {
    parse_as::<Checked>(bytes, id).map(|(meta, ..)| meta)
}

type Parts<C> = (KeyMeta, [u8; SALT], [u8; IV], C, [u8; TAG]);

fn parse_as<C: Text>(bytes: &[u8], id: &KeyId) -> Result<Parts<C>, &'static str> {
    if bytes.len() > MAX_FILE {
        return Err("it is larger than 256 KiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    let parsed: Parsed<Member<C>> =
        json::from_str(text).map_err(|_| "it is not a JSON object of the expected shape")?;
    if parsed.v != Some(VERSION) {
        return Err("its version is not 1");
    }
    let (Some(Alg), Some(Kdf)) = (read(parsed.alg), read(parsed.kdf)) else {
        return Err("it does not use aes-256-gcm with scrypt");
    };
    let meta = parsed.meta.ok_or("it has no meta")?;
    let own = read(meta.id).filter(|given| given == id);
    let meta = KeyMeta {
        id: own.ok_or("its meta.id is not the file's name")?,
        provider: read(meta.provider).ok_or("its meta.provider is not a provider name")?,
        label: read(meta.label).ok_or("its meta.label is not a label")?,
        created_at: read(meta.created_at).ok_or("its meta.createdAt is not a timestamp")?,
    };
    Ok((
        meta,
        read(parsed.salt).ok_or("its salt is not 16 bytes of base64")?,
        read(parsed.iv).ok_or("its iv is not 12 bytes of base64")?,
        read(parsed.ciphertext).ok_or("its ciphertext is not 1 byte to 64 KiB of base64")?,
        read(parsed.tag).ok_or("its tag is not 16 bytes of base64")?,
    ))
}

/// A member that is made from the text where it stands, without a copy of the text; nothing, if that
/// is not what it should be.
struct Member<T>(Option<T>);

fn read<T>(member: Option<Member<T>>) -> Option<T> {
    member?.0
}

/// What a text may stand for.
trait Text: Sized {
    fn read(text: &str) -> Option<Self>;
}

make_place!(Place);

impl<T: Text> Visitor for Place<Member<T>> {
    fn string(&mut self, text: &str) -> miniserde::Result<()> {
        self.out = Some(Member(T::read(text)));
        Ok(())
    }
}

impl<T: Text> Deserialize for Member<T> {
    fn begin(out: &mut Option<Self>) -> &mut dyn Visitor {
        Place::new(out)
    }
}

struct Alg;

impl Text for Alg {
    fn read(text: &str) -> Option<Alg> {
        (text == ALG).then_some(Alg)
    }
}

struct Kdf;

impl Text for Kdf {
    fn read(text: &str) -> Option<Kdf> {
        (text == KDF).then_some(Kdf)
    }
}

impl<const N: usize> Text for [u8; N] {
    fn read(text: &str) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let count = Base64::decode(text, &mut bytes).ok()?.len();
        (count == N).then_some(bytes)
    }
}

/// A ciphertext that is kept.
impl Text for Vec<u8> {
    fn read(text: &str) -> Option<Vec<u8>> {
        let bytes = Base64::decode_vec(text).ok()?;
        (1..=MAX_VALUE).contains(&bytes.len()).then_some(bytes)
    }
}

/// A ciphertext that would do.
struct Checked;

impl Text for Checked {
    fn read(text: &str) -> Option<Checked> {
        let mut decoder = Decoder::<Base64>::new(text.as_bytes()).ok()?;
        let mut left = decoder.remaining_len();
        if !(1..=MAX_VALUE).contains(&left) {
            return None;
        }
        let mut chunk = [0; 192];
        while left > 0 {
            let count = left.min(chunk.len());
            decoder.decode(&mut chunk[..count]).ok()?;
            left -= count;
        }
        Some(Checked)
    }
}

impl Text for KeyId {
    fn read(text: &str) -> Option<KeyId> {
        KeyId::parse(text).ok()
    }
}

impl Text for Provider {
    fn read(text: &str) -> Option<Provider> {
        Provider::parse(text).ok()
    }
}

impl Text for Label {
    fn read(text: &str) -> Option<Label> {
        Label::parse(text).ok()
    }
}

impl Text for Timestamp {
    fn read(text: &str) -> Option<Timestamp> {
        Timestamp::parse(text)
    }
}

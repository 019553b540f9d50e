//! What names a key: [`KeyId`], [`Provider`], [`Label`], and the [`KeyMeta`] made of them.
//!
//! Each is checked once, when it is made, and is valid from then on.

use std::fmt;
use std::time::Duration;

use miniserde::json;

use crate::base::{
    Timestamp, json::text_in_json, printable, rng, secret::looks_like_secret, shown,
};
use crate::error::{Error, Result};

/// 20 to 40 characters of `A-Z a-z 0-9 _ -`. Safe as a file name: it has no dot and no slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Checks what somebody typed or a file says.
    pub fn parse(text: &str) -> Result<KeyId> {
        let well_formed = (20..=40).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        well_formed.then(|| KeyId(text.to_owned())).ok_or(Error::InvalidKeyId)
    }

    /// A new id: 24 random bytes in base64url. An id that a command line would take for a flag or for a
    /// secret is drawn again.
    pub(crate) fn mint() -> Result<KeyId> {
        loop {
            let id = rng::token::<24>()?;
            if is_fit(&id) {
                return Ok(KeyId(id));
            }
        }
    }

    /// The id in a file's name, if it is a key's file.
    pub(crate) fn from_file_name(name: &str) -> Option<KeyId> {
        KeyId::parse(name.strip_suffix(FILE_SUFFIX)?).ok()
    }

    /// `<id>.json`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}{FILE_SUFFIX}", self.0)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who a key is for: `^[a-z][a-z0-9_-]{1,31}$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider(String);

impl Provider {
    /// Checks what somebody typed or a file says.
    pub(crate) fn parse(text: &str) -> Result<Provider> {
        let rest = text.as_bytes().get(1..).unwrap_or_default();
        let well_formed = text.starts_with(|c: char| c.is_ascii_lowercase())
            && (1..=31).contains(&rest.len())
            && rest.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let provider = well_formed.then(|| Provider(text.to_owned()));
        provider.ok_or_else(|| Error::InvalidProvider(shown(text)))
    }

    /// The provider as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The label of a key that was given none.
    pub(crate) fn as_label(&self) -> Label {
        Label(self.0.clone())
    }
}

/// What a person calls a key: 1 to 64 characters (Unicode scalar values), no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

impl Label {
    /// Checks what somebody typed or a file says.
    pub(crate) fn parse(text: &str) -> Result<Label> {
        let reason = match text.chars().count() {
            0 => "this one is empty".to_owned(),
            1..=64 if text.chars().any(char::is_control) => {
                format!("this one has {}", shown(text))
            }
            1..=64 => return Ok(Label(text.to_owned())),
            count => format!("this one has {count}"),
        };
        Err(Error::InvalidLabel(reason))
    }

    /// With these characters at its end, and cut before them to fit.
    pub(crate) fn with_end(&self, end: &str) -> Label {
        Label(self.0.chars().take(64 - end.chars().count()).chain(end.chars()).collect())
    }

    /// What a file says. The predecessor stored control characters, too; they are escaped where a label
    /// is shown. (tests/keys.rs: `a_label_of_the_predecessor_with_control_characters_is_a_label`)
    pub(crate) fn stored(text: &str) -> Option<Label> {
        (1..=64).contains(&text.chars().count()).then(|| Label(text.to_owned()))
    }

    /// The label as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of a key without a passphrase. Envelope v1 does not authenticate it: a program that can
/// write the file can change the label. In JSON, in files and in answers, it looks like this: what a key
/// does not have is no member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyMeta {
    /// Also the file's name.
    pub(crate) id: KeyId,
    /// Who the key is for.
    pub(crate) provider: Provider,
    /// What a person calls it.
    pub(crate) label: Label,
    /// When it was added; re-encryption keeps it.
    pub(crate) created_at: Timestamp,
    /// When its value was last replaced, if it was.
    pub(crate) rotated_at: Option<Timestamp>,
    /// When its value expires, if its owner has said so.
    pub(crate) expires_at: Option<Timestamp>,
    /// Did the file have something else than a timestamp for one of these two?
    pub(crate) has_odd_times: bool,
}

impl KeyMeta {
    /// The metadata of a new key, with a new id.
    pub(crate) fn mint((provider, label): (Provider, Label), now: Timestamp) -> Result<KeyMeta> {
        let (id, created_at) = (KeyId::mint()?, now);
        let (rotated_at, expires_at, has_odd_times) = (None, None, false);
        Ok(KeyMeta { id, provider, label, created_at, rotated_at, expires_at, has_odd_times })
    }

    /// Notes that it has a new value. That one is not expired, even if the former one was.
    pub(crate) fn renew(&mut self, now: Timestamp) {
        self.rotated_at = Some(now);
        self.expires_at = self.expires_at.filter(|end| *end > now);
    }

    /// When its value was stored.
    pub(crate) fn value_from(&self) -> Timestamp {
        self.rotated_at.unwrap_or(self.created_at)
    }

    /// Has its value been there for longer than that?
    pub(crate) fn is_older(&self, age: Duration, now: Timestamp) -> bool {
        self.value_from() < now.before(age)
    }

    /// Does its value expire until then?
    pub(crate) fn expires_by(&self, then: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= then)
    }

    /// The object that it is in JSON.
    pub(crate) fn json(&self) -> String {
        format!("{{{}}}", self.members())
    }

    /// The same, with the time of its last use.
    pub(crate) fn json_with_use(&self, at: Option<Timestamp>) -> String {
        format!("{{{},\"lastUsedAt\":{}}}", self.members(), json::to_string(&at))
    }

    /// All of them are text, and only a label can have something in it that JSON escapes.
    fn members(&self) -> String {
        let mut members = vec![
            ("id", self.id.to_string()),
            ("provider", self.provider.to_string()),
            ("label", self.label.as_str().to_owned()),
            ("createdAt", self.created_at.to_string()),
        ];
        let times = [("rotatedAt", self.rotated_at), ("expiresAt", self.expires_at)];
        members.extend(times.into_iter().filter_map(|(name, at)| Some((name, at?.to_string()))));
        let member = |(name, text)| format!("\"{name}\":{}", json::to_string(&text));
        members.into_iter().map(member).collect::<Vec<_>>().join(",")
    }

    /// Does it have this provider and label?
    pub(crate) fn is_named(&self, provider: &Provider, label: &Label) -> bool {
        self.provider == *provider && self.label == *label
    }

    /// The sort key of listings: when the key was added, then its id.
    pub(crate) fn age(&self) -> (Timestamp, &KeyId) {
        (self.created_at, &self.id)
    }
}

/// One id in 30,000 begins like a provider's keys.
fn is_fit(id: &str) -> bool {
    !id.starts_with('-') && !looks_like_secret(id)
}

impl fmt::Display for KeyMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} \"{}\")", self.id, self.provider, printable(self.label.as_str()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_in_json!(Label, Label::as_str, |text: &str| Label::parse(text).ok());

const FILE_SUFFIX: &str = ".json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_20_to_40_of_64_characters() {
        for good in ["a".repeat(20), "_-".repeat(20), "mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-".into()] {
            assert!(KeyId::parse(&good).is_ok(), "{good}");
        }
        let traversals = [
            "../../../../etc/passwd0",
            "aaaaaaaaaaaaaaaaaaaa/b",
            "aaaaaaaaaaaaaaaaaaa.b",
            "aaaaaaaaaaaaaaaaaaaa\0",
            "ääääääääääääääääääää",
        ];
        for bad in traversals.map(str::to_owned).into_iter().chain([
            "a".repeat(19),
            "a".repeat(41),
            String::new(),
        ]) {
            assert!(KeyId::parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_new_id_has_32_characters_and_is_no_flag() {
        for _ in 0..200 {
            let id = KeyId::mint().unwrap();
            assert_eq!(id.as_str().len(), 32);
            assert!(!id.as_str().starts_with('-'));
            assert_eq!(KeyId::from_file_name(&id.file_name()), Some(id));
        }
    }

    #[test]
    fn an_id_that_looks_like_a_flag_or_a_secret_is_drawn_again() {
        let rest = "mhcH5ez4kSwWRlDoszXPnp95sOZ6-";
        for (begin, fits) in [("mRS", true), ("-RS", false), ("sk-", false), ("hf_", false)] {
            assert_eq!(is_fit(&format!("{begin}{rest}")), fits, "{begin}");
        }
    }

    #[test]
    fn providers_are_2_to_32_lower_case_characters() {
        for good in ["ab", "openai", "x-ai", "a_1", &"a".repeat(32)] {
            assert!(Provider::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "A1", "1a", "-a", "open ai", "openAI", "öpenai", "a\n", &"a".repeat(33)]
        {
            assert!(Provider::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_end_is_on_the_label_and_the_label_is_cut_for_it() {
        let with_end = |label: &str| Label::parse(label).unwrap().with_end(" ü2");
        assert_eq!(with_end("Prod").as_str(), "Prod ü2");
        for length in [60, 61, 62, 64] {
            let kept = "🔐".repeat(length.min(61));
            assert_eq!(with_end(&"🔐".repeat(length)).as_str(), format!("{kept} ü2"), "{length}");
        }
    }

    #[test]
    fn a_value_is_as_old_as_it_is_and_ends_when_it_ends() {
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let (hour, moment) = (Duration::from_secs(3600), Duration::from_millis(1));
        let named = (Provider::parse("openai").unwrap(), Label::stored("Prod").unwrap());
        let mut meta = KeyMeta::mint(named, now).unwrap();
        let later = now.after(hour);
        assert!(!meta.is_older(hour, later) && meta.is_older(hour, later.after(moment)));
        assert!(!meta.expires_by(later));
        meta.expires_at = Some(later);
        assert!(!meta.expires_by(later.before(moment)) && meta.expires_by(later));
        meta.renew(later.before(moment));
        assert_eq!(meta.expires_at, Some(later));
        meta.renew(later);
        assert_eq!((meta.expires_at, meta.value_from()), (None, later), "it was over");
    }

    #[test]
    fn a_key_is_named_by_its_provider_and_its_label() {
        let named =
            |text: (&str, &str)| (Provider::parse(text.0).unwrap(), Label::stored(text.1).unwrap());
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let meta = KeyMeta::mint(named(("openai", "Prod\u{1b}")), now).unwrap();
        assert_eq!(meta.to_string(), format!("{} (openai \"Prod\\u{{1b}}\")", meta.id));
        for (name, is_it) in [
            (("openai", "Prod\u{1b}"), true),
            (("openai", "Other"), false),
            (("groq", "Prod\u{1b}"), false),
            (("groq", "Other"), false),
        ] {
            let (provider, label) = named(name);
            assert_eq!(meta.is_named(&provider, &label), is_it, "{name:?}");
        }
    }

    #[test]
    fn labels_are_1_to_64_characters_without_control_characters() {
        for good in ["P", "Üretim anahtarı 🔐 本番", &"🔐".repeat(64), "<img onerror>", "a b"]
        {
            assert!(Label::parse(good).is_ok(), "{good}");
        }
        for bad in ["", &"🔐".repeat(65), "a\nb", "a\0", "\u{1b}[31m", "a\u{7f}", "a\u{85}"] {
            assert!(Label::parse(bad).is_err(), "{bad:?}");
        }
    }
}

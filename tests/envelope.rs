//! The on-disk format, against envelopes that an independent implementation made, and against
//! every kind of damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use local_keys::base::pool;
use local_keys::base::secret::Secret;
use local_keys::base::time::Timestamp;
use local_keys::error::Error;
use local_keys::vault::envelope::{self, Envelope};
use local_keys::vault::key::{KeyId, KeyMeta, Label, Provider};
use miniserde::{Deserialize, json};
use support::{Home, chmod};

#[derive(Deserialize)]
struct Vector {
    name: String,
    passphrase: String,
    plaintext: Option<String>,
    envelope: json::Object,
    expect: String,
}

fn vectors() -> Vec<Vector> {
    json::from_str(include_str!("vectors/envelopes.json")).unwrap()
}

fn id_of(envelope: &json::Object) -> KeyId {
    let Some(json::Value::Object(meta)) = envelope.get("meta") else {
        panic!("no meta")
    };
    let Some(json::Value::String(id)) = meta.get("id") else {
        panic!("no id")
    };
    KeyId::parse(id).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn sealed() -> (Envelope, KeyId) {
    let id = KeyId::parse("mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-").unwrap();
    let (provider, label) = (
        Provider::parse("openai").unwrap(),
        Label::parse("Prod").unwrap(),
    );
    let meta = KeyMeta {
        id: id.clone(),
        provider,
        label,
        created_at: Timestamp::now(),
    };
    (
        envelope::seal(&secret(support::PASSPHRASE), &secret(support::VALUE), meta).unwrap(),
        id,
    )
}

#[test]
fn every_vector_opens_or_fails_as_it_says() {
    assert_eq!(vectors().len(), 10);
    for vector in vectors() {
        let id = id_of(&vector.envelope);
        let opened = Envelope::parse(json::to_string(&vector.envelope).as_bytes(), &id)
            .and_then(|envelope| envelope.open(&secret(&vector.passphrase)));
        match opened {
            Ok(value) => {
                assert_eq!("ok", vector.expect, "{}", vector.name);
                assert_eq!(
                    Some(value.expose()),
                    vector.plaintext.as_deref(),
                    "{}",
                    vector.name
                );
            }
            Err(error) => assert_eq!(error.code(), vector.expect, "{}", vector.name),
        }
    }
}

#[test]
fn the_binary_exports_the_vectors_from_a_store_it_did_not_make() {
    for vector in vectors() {
        let home = Home::new();
        let id = id_of(&vector.envelope);
        fs::create_dir_all(home.keys()).unwrap();
        fs::write(home.file(id.as_str()), json::to_string(&vector.envelope)).unwrap();
        let run = home
            .words(&["keys", "export", "--i-understand", "--", id.as_str()])
            .env("LENSERFIGHT_KEYS_PASSPHRASE", vector.passphrase);
        match vector.expect.as_str() {
            "ok" => assert_eq!(
                run.ok().out.strip_suffix('\n'),
                vector.plaintext.as_deref(),
                "{}",
                vector.name
            ),
            code => assert_eq!(run.fails(1, code).out, "", "{}", vector.name),
        }
    }
}

#[test]
fn every_changed_bit_of_the_salt_is_refused() {
    // The other three are in the unit tests, with one derivation for all; here each bit costs one.
    let (envelope, id) = sealed();
    let text = envelope.print();
    let at = text.find(r#""salt":""#).unwrap() + 8;
    let salt = base64(&text[at..at + 24]);
    let bits: Vec<usize> = (0..128).collect();
    let opened = pool::each(
        &bits,
        |bit| {
            let mut changed = salt.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = text.replace(&text[at..at + 24], &unbase64(&changed));
            Envelope::parse(text.as_bytes(), &id)
                .unwrap()
                .open(&secret(support::PASSPHRASE))
                .map(drop)
        },
        |_| {},
    );
    for (bit, opened) in bits.iter().zip(opened) {
        assert_eq!(
            opened.map_err(|error| error.code()),
            Err("decryption_failed"),
            "bit {bit}"
        );
    }
    assert!(
        envelope.open(&secret(support::PASSPHRASE)).is_ok(),
        "unchanged, it opens"
    );
}

fn base64(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(text).unwrap()
}

fn unbase64(bytes: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(bytes)
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let (envelope, id) = sealed();
    let good = envelope.print();
    let reason = |text: &str| match Envelope::parse(text.as_bytes(), &id) {
        Err(Error::CorruptEnvelope { reason, .. }) => reason,
        other => panic!("{other:?} for {text}"),
    };
    let value_of = |member: &str| {
        let at = good.find(&format!(r#""{member}":""#)).unwrap() + member.len() + 4;
        good[at..at + good[at..].find('"').unwrap()].to_owned()
    };
    let with = |member: &str, value: &str| {
        good.replace(
            &format!(r#""{member}":"{}""#, value_of(member)),
            &format!(r#""{member}":"{value}""#),
        )
    };
    for (text, expected) in [
        (String::new(), "JSON object"),
        ("null".to_owned(), "JSON object"),
        ("[]".to_owned(), "JSON object"),
        ("{}".to_owned(), "version"),
        (good.replace(r#""v":1"#, r#""v":2"#), "version"),
        (good.replace(r#""v":1"#, r#""v":"1""#), "JSON object"),
        (good.replace(r#""v":1,"#, ""), "version"),
        (with("alg", "aes-128-gcm"), "aes-256-gcm"),
        (with("kdf", "argon2"), "scrypt"),
        (with("salt", "AAAA"), "salt"),
        (with("salt", &unbase64(&[0; 17])), "salt"),
        (with("iv", &unbase64(&[0; 16])), "iv"),
        (with("tag", &unbase64(&[0; 12])), "tag"),
        (with("tag", value_of("tag").trim_end_matches('=')), "tag"),
        (
            with(
                "tag",
                &value_of("tag")
                    .replace('/', "_")
                    .replace('+', "-")
                    .replacen(|c: char| c.is_ascii_alphanumeric(), "-", 1),
            ),
            "tag",
        ),
        (with("ciphertext", ""), "ciphertext"),
        (with("ciphertext", "!!!!"), "ciphertext"),
        (
            with("ciphertext", &unbase64(&vec![0; 65_537])),
            "ciphertext",
        ),
        (with("id", "aaaaaaaaaaaaaaaaaaaaaaaa"), "meta.id"),
        (with("id", "../../../../../etc/passwd"), "meta.id"),
        (with("provider", "OpenAI"), "provider"),
        (with("label", ""), "label"),
        (with("label", "a\\u001b[2J"), "label"),
        (with("label", &"x".repeat(65)), "label"),
        (with("createdAt", "2026-01-02"), "createdAt"),
        (good.replace("}}", "}}}"), "JSON object"),
        (good.replace(r#""meta""#, r#""mata""#), "meta"),
        (format!("{good}{}", " ".repeat(256 * 1024)), "256 KiB"),
        ("[".repeat(200_000), "JSON object"),
        ("{\"a\":".repeat(40_000), "JSON object"),
    ] {
        assert!(
            reason(&text).contains(expected),
            "{} for {}",
            reason(&text),
            &text[..text.len().min(300)]
        );
    }
}

#[test]
fn members_that_nobody_knows_are_ignored() {
    let (envelope, id) = sealed();
    let text = envelope
        .print()
        .replacen('{', r#"{"future":{"deep":[1,null,{"v":7}]},"#, 1)
        .replace(r#""meta":{"#, r#""meta":{"tags":["x"],"#);
    let opened = Envelope::parse(text.as_bytes(), &id)
        .unwrap()
        .open(&secret(support::PASSPHRASE))
        .unwrap();
    assert_eq!(opened.expose(), support::VALUE);
}

#[test]
fn whitespace_and_the_order_of_members_do_not_matter() {
    let (envelope, id) = sealed();
    let members: json::Object = json::from_str(&envelope.print()).unwrap();
    let sorted = json::to_string(&members).replace(',', " ,\r\n\t");
    assert_eq!(
        Envelope::parse(sorted.as_bytes(), &id).unwrap().print(),
        envelope.print()
    );
}

#[test]
fn nothing_panics_on_any_bytes_and_a_look_refuses_what_parsing_does() {
    let (envelope, id) = sealed();
    let good = envelope.print().into_bytes();
    let mut refused = 0;
    let mut check = |bytes: &[u8]| {
        let parsed = Envelope::parse(bytes, &id).map(|envelope| envelope.meta);
        // A listing shows what opens, and says of the rest what is wrong with it.
        let (full, peeked) = (format!("{parsed:?}"), Envelope::peek(bytes, &id));
        assert_eq!(format!("{peeked:?}"), full);
        match parsed {
            Ok(_) => {}
            Err(Error::CorruptEnvelope { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    };
    // Every truncation (the last leaves out only the newline), every byte with every value.
    for length in 0..good.len() {
        check(&good[..length]);
    }
    for at in 0..good.len() {
        for byte in 0..=u8::MAX {
            let mut changed = good.clone();
            changed[at] = byte;
            check(&changed);
        }
    }
    // Every file of up to two bytes, and of three from the characters that JSON knows.
    for first in 0..=u8::MAX {
        check(&[first]);
        for second in 0..=u8::MAX {
            check(&[first, second]);
        }
    }
    for first in b"{}[]\":,0-tfn\\ \x00\xff" {
        for second in b"{}[]\":,0-tfn\\ \x00\xff" {
            for third in b"{}[]\":,0-tfn\\ \x00\xff" {
                check(&[*first, *second, *third]);
            }
        }
    }
    // And a long run of pseudo-random splices of it (xorshift64, a fixed seed).
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    for _ in 0..20_000 {
        let mut changed = good.clone();
        for _ in 0..=random(4) {
            let (from, to, length) = (random(changed.len()), random(changed.len()), random(32));
            let piece: Vec<u8> = changed.iter().skip(from).take(length).copied().collect();
            changed.splice(to..(to + random(16)).min(changed.len()), piece);
            if changed.is_empty() {
                changed.push(b'{');
            }
        }
        check(&changed);
    }
    assert!(refused > 100_000, "{refused}");
}

#[test]
fn every_truncated_file_is_refused_by_the_binary_too() {
    let (home, id) = Home::with_key();
    let whole = fs::read(home.file(&id)).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 2] {
        fs::write(home.file(&id), &whole[..length]).unwrap();
        chmod(&home.file(&id), 0o600);
        home.lf(&format!("keys export --i-understand -- {id}"))
            .fails(1, "corrupt_envelope");
        home.lf(&format!("keys rotate -- {id}"))
            .fails(1, "corrupt_envelope");
        assert_eq!(
            fs::read(home.file(&id)).unwrap(),
            &whole[..length],
            "a file that cannot be parsed is not overwritten"
        );
    }
}

#[test]
fn two_swapped_files_are_refused() {
    let (home, one) = Home::with_key();
    let other = home.add("openai", "Other", "sk-other");
    fs::rename(home.file(&one), home.path().join("aside")).unwrap();
    fs::rename(home.file(&other), home.file(&one)).unwrap();
    fs::rename(home.path().join("aside"), home.file(&other)).unwrap();
    for id in [one, other] {
        home.lf(&format!("keys export --i-understand -- {id}"))
            .fails(1, "corrupt_envelope");
    }
}

//! The format against published vectors, against envelopes that an independent implementation made,
//! and against every kind of damage.

use base64ct::{Base64, Encoding};
use miniserde::{Deserialize, json};

use self::files::FileVector;
use super::*;
use crate::base::time::Timestamp;
use crate::vault::key::{Label, Provider};

#[path = "../../../tests/vectors/files.rs"]
mod files;

const PASSPHRASE: &str = "correct horse battery staple";
const VALUE: &str = "sk-test-0123456789abcdefghij";

#[derive(Deserialize)]
struct Vector {
    name: String,
    passphrase: String,
    plaintext: Option<String>,
    envelope: json::Object,
    expect: String,
}

fn vectors() -> Vec<Vector> {
    json::from_str(include_str!("../../../tests/vectors/envelopes.json")).unwrap()
}

fn id_of(envelope: &json::Object) -> KeyId {
    let Some(json::Value::Object(meta)) = envelope.get("meta") else { panic!("no meta") };
    let Some(json::Value::String(id)) = meta.get("id") else { panic!("no id") };
    KeyId::parse(id).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn meta() -> KeyMeta {
    KeyMeta {
        id: KeyId::parse("mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-").unwrap(),
        provider: Provider::parse("openai").unwrap(),
        label: Label::parse("Prod").unwrap(),
        created_at: Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap(),
        rotated_at: None,
        expires_at: None,
        has_odd_times: false,
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = if text == "-" { "" } else { text };
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn scrypt_gives_the_vectors_of_rfc_7914_section_12() {
    // The fourth wants 1 GiB of memory, more than the machines that lf is for have to spare.
    for (passphrase, salt, (log_n, r, p), key) in [
        (
            "",
            "",
            (4, 1, 1),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        ),
        (
            "password",
            "NaCl",
            (10, 8, 16),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
        (
            "pleaseletmein",
            "SodiumChloride",
            (14, 8, 1),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
    ] {
        let mut derived = [0; 64];
        stretch(passphrase.as_bytes(), salt.as_bytes(), (log_n, r, p), &mut derived);
        assert_eq!(derived.as_slice(), hex(key), "{passphrase:?}");
    }
}

#[test]
fn gcm_agrees_with_every_case_of_wycheproof_that_fits() {
    let cases = include_str!("../../../tests/vectors/aes-256-gcm.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let mut seen = 0;
    for case in cases {
        let [number, key, iv, message, ciphertext, tag, result] =
            case.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (key, iv): (Key, [u8; IV]) = (Zeroizing::new(hex(key)), hex(iv).try_into().unwrap());
        let (mut opened, tag) = (hex(ciphertext), hex(tag).try_into().unwrap());
        let valid = decrypt(&key, &iv, &mut opened, &tag);
        assert_eq!(valid, result == "valid", "case {number}");
        if valid {
            assert_eq!(opened, hex(message), "case {number}");
            let mut sealed = hex(message);
            assert_eq!(encrypt(&key, &iv, &mut sealed), tag, "case {number}");
            assert_eq!(sealed, hex(ciphertext), "case {number}");
        }
        seen += 1;
    }
    assert_eq!(seen, 48);
}

#[test]
fn every_changed_bit_of_iv_ciphertext_and_tag_is_refused() {
    let envelope = seal(&secret(PASSPHRASE), &secret("sk-value"), meta()).unwrap();
    let key = derive(&secret(PASSPHRASE), &envelope.salt).unwrap();
    let opens = |changed: &Envelope| {
        decrypt(&key, &changed.iv, &mut changed.ciphertext.clone(), &changed.tag)
    };
    assert!(opens(&envelope), "unchanged, it opens");
    for bit in 0..8 * IV {
        let mut changed = envelope.clone();
        changed.iv[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&changed), "iv bit {bit}");
    }
    for bit in 0..8 * envelope.ciphertext.len() {
        let mut changed = envelope.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&changed), "ciphertext bit {bit}");
    }
    for bit in 0..8 * TAG {
        let mut changed = envelope.clone();
        changed.tag[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&changed), "tag bit {bit}");
    }
    for length in 0..envelope.ciphertext.len() {
        let mut changed = envelope.clone();
        changed.ciphertext.truncate(length);
        assert!(!opens(&changed), "ciphertext cut to {length}");
    }
}

#[test]
fn two_encryptions_share_neither_salt_nor_iv() {
    let seal = || seal(&secret(PASSPHRASE), &secret("sk-value"), meta()).unwrap();
    let (one, two) = (seal(), seal());
    assert_ne!(one.salt, two.salt);
    assert_ne!(one.iv, two.iv);
    assert_ne!(one.ciphertext, two.ciphertext);
}

#[test]
fn sealing_wants_16_characters_of_passphrase_and_1_byte_to_64_kib_of_value() {
    let sealed = |passphrase: &str, value: &str| {
        seal(&secret(passphrase), &secret(value), meta()).map(|_| ()).map_err(|e| e.code())
    };
    assert_eq!(sealed("fifteen chars 1", "v"), Err("passphrase_invalid"));
    assert_eq!(sealed("sixteen chars 12", "v"), Ok(()));
    assert_eq!(
        sealed(&"🔐".repeat(15), "v"),
        Err("passphrase_invalid"),
        "characters count, not bytes"
    );
    assert_eq!(sealed("sixteen chars 12", ""), Err("empty_key"));
    assert_eq!(sealed("sixteen chars 12", &"v".repeat(MAX_VALUE)), Ok(()));
    assert_eq!(sealed("sixteen chars 12", &"v".repeat(MAX_VALUE + 1)), Err("key_too_large"));
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
                assert_eq!(Some(value.expose()), vector.plaintext.as_deref(), "{}", vector.name);
            }
            Err(error) => assert_eq!(error.code(), vector.expect, "{}", vector.name),
        }
    }
}

#[test]
fn every_file_is_read_as_its_vector_says() {
    let vectors = files::all();
    let read = |vector: &FileVector| {
        let envelope = Envelope::parse(&vector.bytes(), &KeyId::parse(&vector.id).unwrap())?;
        let value = envelope.open(&secret(&vector.passphrase))?.expose().to_owned();
        Ok((value, envelope.meta.label.as_str().to_owned()))
    };
    let found = pool::each(&vectors, read, &|_, _| {});
    for (vector, found) in vectors.iter().zip(found) {
        match found.map_err(|error: Error| error.code()) {
            Ok((value, label)) => {
                assert_eq!(vector.expect, "ok", "{}", vector.name);
                assert_eq!(Some(&value), vector.value.as_ref(), "{}", vector.name);
                assert_eq!(Some(&label), vector.label.as_ref(), "{}", vector.name);
            }
            Err(code) => assert_eq!(code, vector.expect, "{}", vector.name),
        }
    }
    assert_eq!(vectors.len(), 237);
}

#[test]
fn every_changed_bit_of_the_salt_is_refused() {
    // The other three are in the unit tests, with one derivation for all; here each bit costs one. So it is a bit or
    // two of each byte.
    let (envelope, id) = sealed();
    let text = envelope.print();
    let at = text.find(r#""salt":""#).unwrap() + 8;
    let salt = base64(&text[at..at + 24]);
    let bits: Vec<usize> = (0..128).step_by(5).collect();
    let opened = pool::each(
        &bits,
        |bit| {
            let mut changed = salt.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = text.replace(&text[at..at + 24], &unbase64(&changed));
            Envelope::parse(text.as_bytes(), &id).unwrap().open(&secret(PASSPHRASE)).map(drop)
        },
        &|_, _| {},
    );
    for (bit, opened) in bits.iter().zip(opened) {
        assert_eq!(opened.map_err(|error| error.code()), Err("decryption_failed"), "bit {bit}");
    }
    assert!(envelope.open(&secret(PASSPHRASE)).is_ok(), "unchanged, it opens");
}

fn base64(text: &str) -> Vec<u8> {
    Base64::decode_vec(text).unwrap()
}

fn unbase64(bytes: &[u8]) -> String {
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
        (good.replace(r#""v":1"#, r#""v":"1""#), "version"),
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
                &value_of("tag").replace('/', "_").replace('+', "-").replacen(
                    |c: char| c.is_ascii_alphanumeric(),
                    "-",
                    1,
                ),
            ),
            "tag",
        ),
        (with("ciphertext", ""), "ciphertext"),
        (with("ciphertext", "!!!!"), "ciphertext"),
        (with("ciphertext", &unbase64(&vec![0; 65_537])), "ciphertext"),
        (with("id", "aaaaaaaaaaaaaaaaaaaaaaaa"), "meta.id"),
        (with("id", "../../../../../etc/passwd"), "meta.id"),
        (with("provider", "OpenAI"), "provider"),
        (with("label", ""), "label"),
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
fn half_of_a_pair_is_replaced_and_a_whole_one_stays() {
    for (given, mended) in [
        (r"a\ud83d\ude00b", r"a\ud83d\ude00b"),
        (r"a\ud83db", "a\u{fffd}b"),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        (r"\ud83d\u0041\ud83d\ude00", "\u{fffd}\\u0041\\ud83d\\ude00"),
        (r"ü\\ud83d\\", r"ü\\ud83d\\"),
        (r#"\"\n\u00fc🔐"#, r#"\"\n\u00fc🔐"#),
        (r"\ud83", r"\ud83"),
        ("\\", "\\"),
        ("", ""),
    ] {
        assert_eq!(text::without_lone_surrogates(given), mended, "{given}");
    }
}

#[test]
fn a_file_has_at_most_256_kib() {
    let (envelope, id) = sealed();
    let mut bytes = envelope.print().into_bytes();
    bytes.resize(MAX_FILE, b' ');
    assert!(Envelope::parse(&bytes, &id).is_ok());
    bytes.push(b' ');
    assert!(Envelope::parse(&bytes, &id).is_err());
}

#[test]
fn members_that_nobody_knows_are_ignored() {
    let (envelope, id) = sealed();
    let text = envelope
        .print()
        .replacen('{', r#"{"future":{"deep":[1,null,{"v":7}]},"#, 1)
        .replace(r#""meta":{"#, r#""meta":{"tags":["x"],"#);
    let opened = Envelope::parse(text.as_bytes(), &id).unwrap().open(&secret(PASSPHRASE)).unwrap();
    assert_eq!(opened.expose(), VALUE);
}

#[test]
fn times_that_are_none_are_ignored_and_no_key_gets_lost_by_them() {
    const ROTATED: &str = "2026-02-03T04:05:06.007Z";
    const EXPIRES: &str = "2027-03-01T00:00:00.000Z";
    let (envelope, id) = sealed();
    let good = envelope.print();
    let with = |rotated: &str, expires: &str| {
        let text =
            good.replace("}}", &format!(",\"rotatedAt\":{rotated},\"expiresAt\":{expires}}}}}"));
        let parsed = Envelope::parse(text.as_bytes(), &id).unwrap();
        assert_eq!(parsed.open(&secret(PASSPHRASE)).unwrap().expose(), VALUE);
        (parsed, text)
    };
    let (parsed, text) = with(&format!("\"{ROTATED}\""), &format!("\"{EXPIRES}\""));
    let times = [parsed.meta.rotated_at, parsed.meta.expires_at];
    assert_eq!(times, [ROTATED, EXPIRES].map(Timestamp::parse));
    assert!(!parsed.meta.has_odd_times);
    assert_eq!(parsed.print(), text, "and they are written as they were read");
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    for odd in ["1", "true", "\"\"", "\"2027-03-01\"", "\"soon\"", "{\"a\":null}", "[]", &deep] {
        let (parsed, _) = with(odd, &format!("\"{EXPIRES}\""));
        let meta = &parsed.meta;
        assert_eq!((meta.rotated_at, meta.expires_at), (None, Timestamp::parse(EXPIRES)));
        assert!(meta.has_odd_times && with("null", odd).0.meta.has_odd_times, "{odd:.40}");
    }
    let (parsed, _) = with("null", "null");
    assert_eq!((parsed.meta.has_odd_times, parsed.print()), (false, good.clone()));
}

#[test]
fn whitespace_and_the_order_of_members_do_not_matter() {
    let (envelope, id) = sealed();
    let members: json::Object = json::from_str(&envelope.print()).unwrap();
    let sorted = json::to_string(&members).replace(',', " ,\r\n\t");
    assert_eq!(Envelope::parse(sorted.as_bytes(), &id).unwrap().print(), envelope.print());
}

#[test]
fn nothing_panics_on_any_bytes() {
    let (envelope, id) = sealed();
    let good = envelope.print().into_bytes();
    let mut refused = 0;
    let mut check = |bytes: &[u8]| match Envelope::parse(bytes, &id) {
        Ok(_) => {}
        Err(Error::CorruptEnvelope { .. }) => refused += 1,
        Err(other) => panic!("{other:?}"),
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

/// One that opens, and the id that it has.
fn sealed() -> (Envelope, KeyId) {
    let envelope = seal(&secret(PASSPHRASE), &secret(VALUE), meta()).unwrap();
    (envelope, meta().id)
}

//! The on-disk format as the binary keeps it: envelopes that an independent implementation made, and
//! damaged files. (src/vault/envelope/tests.rs has the rest, without files.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "vectors/files.rs"]
mod files;
use std::fs;

use local_keys::KeyId;
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

#[derive(Deserialize)]
struct Listed {
    label: String,
}

fn id_of(envelope: &json::Object) -> KeyId {
    let Some(json::Value::Object(meta)) = envelope.get("meta") else { panic!("no meta") };
    let Some(json::Value::String(id)) = meta.get("id") else { panic!("no id") };
    KeyId::parse(id).unwrap()
}

#[test]
fn the_binary_exports_the_vectors_from_a_store_it_did_not_make() {
    for vector in support::rows(vectors()) {
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

/// Every family of vectors that another implementation can prove itself with.
#[test]
fn the_binary_reads_every_file_as_its_vector_says() {
    let (vectors, home) = (files::all(), Home::new());
    for vector in support::rows(&vectors) {
        let name = &vector.name;
        let _ = fs::remove_dir_all(home.keys());
        fs::create_dir_all(home.keys()).unwrap();
        fs::write(home.file(&vector.id), vector.bytes()).unwrap();
        if vector.expect == "ok" {
            let listed = home.lf("keys list --json").ok().out;
            let keys: Vec<Listed> = json::from_str(&listed).unwrap();
            assert_eq!(Some(&keys[0].label), vector.label.as_ref(), "{name}");
        }
        // An empty variable counts as unset; the unit tests have these.
        if vector.passphrase.is_empty() {
            continue;
        }
        let run = home
            .words(&["keys", "export", "--i-understand", "--", &vector.id])
            .env("LENSERFIGHT_KEYS_PASSPHRASE", vector.passphrase.clone());
        match vector.expect.as_str() {
            "ok" => {
                let out = run.ok().out;
                assert_eq!(out.strip_suffix('\n'), vector.value.as_deref(), "{name}");
            }
            code => assert_eq!(run.fails(1, code).out, "", "{name}"),
        }
    }
    assert_eq!(vectors.len(), 237);
}

#[test]
fn every_truncated_file_is_refused_by_the_binary_too() {
    let (home, id) = Home::with_key();
    let whole = fs::read(home.file(&id)).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 2] {
        fs::write(home.file(&id), &whole[..length]).unwrap();
        chmod(&home.file(&id), 0o600);
        home.lf(&format!("keys export --i-understand -- {id}")).fails(1, "corrupt_envelope");
        home.lf(&format!("keys rotate -- {id}")).fails(1, "corrupt_envelope");
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
        home.lf(&format!("keys export --i-understand -- {id}")).fails(1, "corrupt_envelope");
    }
}

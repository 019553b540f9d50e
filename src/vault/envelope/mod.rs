//! The on-disk format, version 1: one JSON object a key.
//!
//! | member       | value                                                                   |
//! |--------------|-------------------------------------------------------------------------|
//! | `v`          | 1                                                                       |
//! | `alg`        | `aes-256-gcm` (NIST SP 800-38D, 96-bit IV, 128-bit tag, no AAD)         |
//! | `kdf`        | `scrypt` (RFC 7914, N = 2^15, r = 8, p = 1, 32 bytes)                   |
//! | `salt`       | 16 bytes \                                                              |
//! | `iv`         | 12 bytes  \ fresh at every encryption; standard base64 with padding     |
//! | `ciphertext` | 1 byte to 64 KiB; without the tag                                       |
//! | `tag`        | 16 bytes                                                                |
//! | `meta`       | `{id, provider, label, createdAt}`; **not** authenticated               |
//!
//! `meta` also has `rotatedAt` if the value was replaced, and `expiresAt` if it expires; what is no
//! timestamp there is taken for nothing. Members that are not listed are ignored on reading.

use std::sync::{PoisonError, RwLock};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use zeroize::Zeroizing;

use crate::base::{pool, rng, secret::Secret};
use crate::error::{Error, Result};
use crate::system::kernel::memory;
use crate::vault::key::{KeyId, KeyMeta};

mod text;

/// One sealed key.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// What can be known without the passphrase.
    pub(crate) meta: KeyMeta,
    salt: [u8; SALT],
    iv: [u8; IV],
    ciphertext: Vec<u8>,
    tag: [u8; TAG],
}

/// Encrypts a value under a fresh salt and IV. A caller cannot pass them in, so no pair is used twice.
pub(crate) fn seal(passphrase: &Secret, value: &Secret, meta: KeyMeta) -> Result<Envelope> {
    check_passphrase(passphrase)?;
    check_value(value)?;
    let (salt, iv) = (rng::bytes()?, rng::bytes()?);
    let mut buffer = Zeroizing::new(value.expose().as_bytes().to_vec());
    let tag = encrypt(&derive(passphrase, &salt)?, &iv, &mut buffer);
    Ok(Envelope { meta, salt, iv, ciphertext: buffer.to_vec(), tag })
}

/// Values are 1 byte to 64 KiB.
pub(crate) fn check_value(value: &Secret) -> Result<()> {
    match value.expose().len() {
        0 => Err(Error::EmptyKey),
        1..=MAX_VALUE => Ok(()),
        _ => Err(Error::KeyTooLarge),
    }
}

/// Nothing is encrypted under a passphrase of fewer than 16 characters. Decrypting takes any, so
/// that old stores open.
pub(crate) fn check_passphrase(passphrase: &Secret) -> Result<()> {
    let count = passphrase.expose().chars().count();
    if count >= MIN_PASSPHRASE {
        return Ok(());
    }
    Err(Error::PassphraseInvalid(format!(
        "the master passphrase has {count} characters; encrypting needs {MIN_PASSPHRASE} or more"
    )))
}

impl Envelope {
    /// Decrypts the value.
    pub(crate) fn open(&self, passphrase: &Secret) -> Result<Secret> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        if !decrypt(&derive(passphrase, &self.salt)?, &self.iv, &mut buffer, &self.tag) {
            return Err(Error::DecryptionFailed(self.meta.id.to_string()));
        }
        Secret::from_bytes(std::mem::take(&mut *buffer))
            .ok_or_else(|| corrupt(self.meta.id.file_name(), "its value is not UTF-8 text"))
    }

    /// Reads the file of the key `id`.
    pub(crate) fn parse(bytes: &[u8], id: &KeyId) -> Result<Envelope> {
        match Envelope::parse_any(bytes) {
            Ok(envelope) if envelope.meta.id == *id => Ok(envelope),
            parsed => Err(corrupt(id.file_name(), parsed.err().unwrap_or(OTHERS))),
        }
    }
}

/// Says that a file is no envelope, and why.
pub(crate) fn corrupt(file: String, reason: &str) -> Error {
    Error::CorruptEnvelope { file, reason: reason.to_owned() }
}

/// On the heap, where it is wiped; a moved array would leave copies on the stack.
type Key = Zeroizing<Vec<u8>>;

fn derive(passphrase: &Secret, salt: &[u8; SALT]) -> Result<Key> {
    let _turn = pool::turn();
    // If there is not enough memory for several derivations at once, they take turns.
    let with_others = MEMORY.read().unwrap_or_else(PoisonError::into_inner);
    let (_alone, _memory) = match memory::reserve(WORK) {
        Some(memory) => (Err(with_others), memory),
        None => {
            drop(with_others);
            let alone = MEMORY.write().unwrap_or_else(PoisonError::into_inner);
            let memory = memory::reserve(WORK).ok_or(Error::OutOfMemory)?;
            (Ok(alone), memory)
        }
    };
    let mut key = Zeroizing::new(vec![0; 32]);
    stretch(passphrase.expose().as_bytes(), salt, COST, &mut key);
    Ok(key)
}

/// Held for writing by a derivation that must be the only one, for reading by all others.
static MEMORY: RwLock<()> = RwLock::new(());

/// What scrypt costs: the binary logarithm of N, r and p.
type Cost = (u8, u32, u32);

#[allow(clippy::expect_used)] // these lengths and costs are constants, and the tests run them
fn stretch(passphrase: &[u8], salt: &[u8], (log_n, r, p): Cost, key: &mut [u8]) {
    let params = scrypt::Params::new(log_n, r, p).expect("RFC 7914 allows this cost");
    scrypt::scrypt(passphrase, salt, &params, key).expect("RFC 7914 allows a key of this length");
}

#[allow(clippy::expect_used)] // GCM refuses only more than 64 GiB
fn encrypt(key: &Key, iv: &[u8; IV], buffer: &mut [u8]) -> [u8; TAG] {
    let sealed = cipher(key).encrypt_inout_detached(&Nonce::from(*iv), b"", buffer.into());
    sealed.expect("a buffer within GCM's limit").into()
}

/// Decrypts in place; `false`, with the buffer as it was, if the tag does not fit.
fn decrypt(key: &Key, iv: &[u8; IV], buffer: &mut [u8], tag: &[u8; TAG]) -> bool {
    let (iv, tag) = (Nonce::from(*iv), Tag::from(*tag));
    cipher(key).decrypt_inout_detached(&iv, b"", buffer.into(), &tag).is_ok()
}

#[allow(clippy::expect_used)] // a Key has 32 bytes
fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(key).expect("32 bytes")
}

const OTHERS: &str = "its meta.id is not the file's name";
/// The largest file that is read at all, in bytes.
pub(crate) const MAX_FILE: usize = 256 * 1024;
/// The largest value, in bytes.
pub(crate) const MAX_VALUE: usize = 64 * 1024;
const MIN_PASSPHRASE: usize = 16;
const VERSION: u64 = 1;
const ALG: &str = "aes-256-gcm";
const KDF: &str = "scrypt";
const COST: Cost = (15, 8, 1);
/// Bytes that scrypt works in at that cost (RFC 7914, section 5: 128 * N * r).
const WORK: usize = (128 * COST.1 as usize) << COST.0;
const SALT: usize = 16;
const IV: usize = 12;
const TAG: usize = 16;

#[cfg(test)]
mod tests;

//! Randomness from the operating system, and base64url for names made of it.

use std::io;

use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// `N` fresh bytes from the system's CSPRNG.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        let error = io::Error::other(error.to_string());
        Error::Io("read randomness from", "the operating system".into(), error)
    })?;
    Ok(bytes)
}

/// `N` fresh bytes as base64url without padding (RFC 4648, section 5): 32 bytes are 43 characters.
pub(crate) fn token<const N: usize>() -> Result<String> {
    Ok(Base64UrlUnpadded::encode_string(Zeroizing::new(bytes::<N>()?).as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_tokens_are_fresh_and_of_their_length() {
        let (one, other) = (bytes::<32>().unwrap(), bytes::<32>().unwrap());
        assert!(one != other && one.iter().any(|byte| *byte != one[0]));
        let (one, other) = (token::<32>().unwrap(), token::<32>().unwrap());
        assert!(one != other && one.len() == 43 && Base64UrlUnpadded::decode_vec(&one).is_ok());
    }
}

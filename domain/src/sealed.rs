//! Secrets that must be read back, sealed with AES-256-GCM (NIST SP 800-38D) under one of the installation's keys.
//!
//! Stored: version, length of the key's id, the key's id, nonce (12 bytes), ciphertext with its tag (16 bytes). What
//! stands before the nonce and the context of the row are authenticated too, so a sealed value moved to another row
//! does not open. Keys are rotated by putting a new one first: the first seals, all open.

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use secrecy::{ExposeSecret, SecretSlice, SecretString, zeroize::Zeroizing};

use crate::chance::Chance;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The id of a key that is given without one.
const BARE_ID: &str = "1";
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of an installation. Cloning copies them; printing shows their ids only.
#[derive(Clone)]
pub struct SealingKeys(Vec<SealingKey>);

#[derive(Clone)]
struct SealingKey {
    id: String,
    cipher: Aes256Gcm,
}

/// Why a setting holds no keys. The text names the key, never its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// Nothing in it.
    #[error("holds no key: give 32 random bytes in base64, or id:base64 separated by commas")]
    Empty,
    /// An id that could not be stored or told apart.
    #[error("key {0}: an id is 1 to 32 letters, digits, '-' or '_'")]
    Id(usize),
    /// Twice the same id.
    #[error("the key id {0:?} occurs twice")]
    Twice(String),
    /// Not base64.
    #[error("the key {0:?} is not base64")]
    Encoding(String),
    /// Too short or too long.
    #[error("the key {id:?} has {bytes} bytes; 32 are needed")]
    Length {
        /// Which key.
        id: String,
        /// How long it is.
        bytes: usize,
    },
}

/// Why a sealed value does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not the form that `seal` writes.
    #[error("not a sealed value")]
    Malformed,
    /// Sealed under a key that this process was not given.
    #[error("sealed under the key {0:?}, which INKFLEET_SECRET_KEY does not hold")]
    UnknownKey(String),
    /// Changed, of another context, or sealed under another key of the same id.
    #[error("the sealed value does not belong here, or it was changed")]
    Refused,
    /// Opened, but wanted as text.
    #[error("the sealed value is not text")]
    NotText,
}

impl SealingKeys {
    /// Reads the setting: `id:base64` separated by commas, or one bare base64 key, whose id is `1`.
    pub fn parse(setting: &SecretString) -> Result<Self, InvalidKeys> {
        let mut keys: Vec<SealingKey> = Vec::new();
        let parts = setting.expose_secret().split(',').map(str::trim).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            let (id, encoded) = part.split_once(':').unwrap_or((BARE_ID, part));
            let id_fits =
                (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !id_fits {
                return Err(InvalidKeys::Id(index + 1));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(InvalidKeys::Twice(id.into()));
            }
            let bytes = LENIENT.decode(encoded).map(Zeroizing::new).map_err(|_| InvalidKeys::Encoding(id.into()))?;
            let cipher = Aes256Gcm::new_from_slice(&bytes)
                .map_err(|_| InvalidKeys::Length { id: id.into(), bytes: bytes.len() })?;
            keys.push(SealingKey { id: id.into(), cipher });
        }
        if keys.is_empty() { Err(InvalidKeys::Empty) } else { Ok(Self(keys)) }
    }

    /// A new key in the form that [`SealingKeys::parse`] reads, for a development installation or a rotation.
    pub fn generate(chance: &Chance) -> SecretString {
        STANDARD.encode(Zeroizing::new(chance.bytes::<KEY_BYTES>())).into()
    }

    /// Seals `plain` under the first key for one place, such as `endpoint:<uuid>`; it opens only there.
    pub fn seal(&self, plain: &[u8], context: &str, chance: &Chance) -> Vec<u8> {
        let key = &self.0[0];
        let nonce: [u8; NONCE_BYTES] = chance.bytes();
        let mut sealed = header(&key.id);
        let aad = [sealed.as_slice(), context.as_bytes()].concat();
        let ciphertext = key
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: &aad })
            .expect("AES-GCM takes up to 64 GiB");
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Opens what [`SealingKeys::seal`] wrote for the same `context`, under whichever key it was.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<SecretSlice<u8>, OpenError> {
        let (id, nonce, ciphertext) = split(sealed).ok_or(OpenError::Malformed)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| OpenError::UnknownKey(id.into()))?;
        let aad = [header(id).as_slice(), context.as_bytes()].concat();
        let plain = key
            .cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: ciphertext, aad: &aad })
            .map_err(|_| OpenError::Refused)?;
        Ok(plain.into())
    }

    /// Like [`SealingKeys::open`], for secrets that are text.
    pub fn open_text(&self, sealed: &[u8], context: &str) -> Result<SecretString, OpenError> {
        let plain = self.open(sealed, context)?;
        let text = std::str::from_utf8(plain.expose_secret()).map_err(|_| OpenError::NotText)?;
        Ok(text.into())
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKeys").field(&self.0.iter().map(|key| &key.id).collect::<Vec<_>>()).finish()
    }
}

fn header(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("ids have at most 32 bytes");
    [&[VERSION, length], id.as_bytes()].concat()
}

/// The key's id, the nonce and the ciphertext of a sealed value.
fn split(sealed: &[u8]) -> Option<(&str, [u8; NONCE_BYTES], &[u8])> {
    let [VERSION, length @ 1..=32, rest @ ..] = sealed else { return None };
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(id).ok()?, *nonce, ciphertext))
}

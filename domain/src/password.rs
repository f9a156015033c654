//! Passwords of links and codes: argon2id (RFC 9106) with the parameters of the crate that does it, as PHC strings.

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};

use crate::chance::Chance;

/// The longest password, in characters.
pub const PASSWORD_MAX: usize = 200;

/// The hash of a password. Takes some ten milliseconds of a processor, which is its purpose.
pub fn hash(password: &str, chance: &Chance) -> String {
    let salt = SaltString::encode_b64(&chance.bytes::<16>()).expect("sixteen bytes are a salt");
    Argon2::default().hash_password(password.as_bytes(), &salt).expect("any bytes have a hash").to_string()
}

/// Whether a password is the one behind a hash. Takes as long as [`hash`].
pub fn is_right(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

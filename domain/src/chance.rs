//! The one source of randomness: the operating system's in production, a seed in tests.

use std::sync::{Arc, Mutex};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// Randomness fit for keys and secrets. Cheap to clone; clones share one stream.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// Seeded by the operating system.
    #[expect(clippy::disallowed_methods, reason = "the one home of the operating system's randomness")]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// The same stream for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A random text of `length` letters and digits (5.95 bits each).
    pub fn alphanumeric(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut rng = self.rng();
        (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..62)])).collect()
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&self) -> f64 {
        self.rng().random_range(0.0..1.0)
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().expect("no panic while the stream is held")
    }
}

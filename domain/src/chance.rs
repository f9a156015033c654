//! The one source of randomness: the operating system's in production, a seed in tests.

use std::sync::{Arc, Mutex};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// Randomness fit for keys and secrets. Cheap to clone; clones of a seeded one share its stream.
#[derive(Debug, Clone)]
pub struct Chance(Option<Arc<Mutex<StdRng>>>);

impl Chance {
    /// Seeded by the operating system; every thread has a stream of its own, so that none waits for another.
    pub fn system() -> Self {
        Self(None)
    }

    /// The same stream for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.draw(|rng| rng.fill_bytes(&mut bytes));
        bytes
    }

    /// A random text of `length` letters and digits (5.95 bits each).
    pub fn alphanumeric(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        self.draw(|rng| (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..62)])).collect())
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&self) -> f64 {
        self.draw(|rng| rng.random_range(0.0..1.0))
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the operating system's randomness")]
    fn draw<T>(&self, from: impl FnOnce(&mut dyn Rng) -> T) -> T {
        match &self.0 {
            Some(stream) => from(&mut *stream.lock().expect("no panic while the stream is held")),
            None => from(&mut rand::rng()),
        }
    }
}

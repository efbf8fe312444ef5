//! Random numbers from the system, several for each system call.

/// Random bytes that are not used yet.
#[derive(Default)]
pub(super) struct Random {
    unused: Vec<u8>,
}

impl Random {
    /// Draws a number.
    pub(super) fn draw(&mut self) -> u64 {
        if self.unused.len() < 8 {
            self.unused.resize(RANDOM_BLOCK, 0);
            let filled = rustix::rand::getrandom(&mut self.unused, rustix::rand::GetRandomFlags::empty());
            if filled != Ok(RANDOM_BLOCK) {
                // The kernel's pool is not initialised yet, or the call is missing. std seeds its
                // hasher keys from the best source that it has.
                self.unused.fill_with(|| {
                    use std::hash::{BuildHasher, Hasher};
                    let seed = std::hash::RandomState::new().build_hasher().finish();
                    seed.to_le_bytes()[0]
                });
            }
        }
        let rest = self.unused.len().saturating_sub(8);
        let mut bytes = [0; 8];
        for (byte, random) in bytes.iter_mut().zip(self.unused.drain(rest..)) {
            *byte = random;
        }
        u64::from_le_bytes(bytes)
    }
}

/// Random bytes per system call: enough for 32 numbers.
const RANDOM_BLOCK: usize = 256;

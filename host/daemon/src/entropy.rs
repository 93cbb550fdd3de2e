//! The kernel's random octets.

use std::fmt;

use homeward_model::Entropy;
use zeroize::Zeroize;

/// Octets fetched from the kernel at a time.
const REFILL: usize = 4096;

/// The kernel's random octets, fetched 4 KiB at a time, so that a key or a nonce costs no system
/// call. Octets are wiped here as they are handed out.
///
/// Not `Clone`, because two copies would give the same octets. The same holds for `fork(2)`
/// without `exec`: a process that forks makes a new `SystemEntropy` in the child. Homeward never
/// does; it starts programs, which replaces memory.
pub struct SystemEntropy {
    pool: Box<[u8; REFILL]>,
    /// Octets before this one are used up, and zero.
    used: usize,
}

impl SystemEntropy {
    /// An empty pool; the first use fills it.
    pub fn new() -> Self {
        Self { pool: Box::new([0; REFILL]), used: REFILL }
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    ///
    /// If the kernel gives no random octets, which it documents not to happen; to go on without
    /// would mean keys that can be guessed.
    fn fill(&mut self, room: &mut [u8]) {
        if room.len() > REFILL {
            return kernel(room);
        }
        let mut rest = room;
        while !rest.is_empty() {
            if self.used == REFILL {
                kernel(self.pool.as_mut_slice());
                self.used = 0;
            }
            let fresh = self.pool.get_mut(self.used..).unwrap_or_default();
            let n = fresh.len().min(rest.len());
            let (from, _) = fresh.split_at_mut(n);
            let (to, later) = rest.split_at_mut(n);
            to.copy_from_slice(from);
            from.zeroize();
            self.used += n;
            rest = later;
        }
    }
}

impl Drop for SystemEntropy {
    fn drop(&mut self) {
        self.pool.zeroize();
    }
}

impl fmt::Debug for SystemEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemEntropy({} octets ready)", REFILL - self.used)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the entropy that others are handed")]
fn kernel(room: &mut [u8]) {
    if let Err(error) = getrandom::fill(room) {
        panic!("the kernel gives no random octets: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_used_once_and_wiped() {
        let mut entropy = SystemEntropy::new();
        let first: [u8; 32] = entropy.octets();
        assert_eq!(entropy.used, 32);
        assert!(entropy.pool[..32].iter().all(|o| *o == 0));
        assert!(entropy.pool[32..].iter().any(|o| *o != 0));
        assert_ne!(first, entropy.octets::<32>());
    }

    #[test]
    fn a_request_runs_over_the_end_of_the_pool() {
        let mut entropy = SystemEntropy::new();
        entropy.octets::<4090>();
        let across: [u8; 64] = entropy.octets();
        assert_eq!(entropy.used, 58);
        // 2^-256 each that 32 octets are zero by chance.
        assert!(across[..6] != [0; 6] && across[32..] != [0; 32], "{across:?}");
    }

    #[test]
    fn a_request_larger_than_the_pool_is_filled_whole() {
        let mut room = vec![0; 3 * REFILL];
        SystemEntropy::new().fill(&mut room);
        for page in room.chunks(64) {
            assert!(page.iter().any(|o| *o != 0));
        }
    }

    #[test]
    fn debug_shows_no_octets() {
        let mut entropy = SystemEntropy::new();
        entropy.octets::<96>();
        assert_eq!(format!("{entropy:?}"), "SystemEntropy(4000 octets ready)");
    }
}

//! What a lane knows users by: hashes of their identities, with a key.
//!
//! Guarantees that nobody can choose users whose hashes collide without the key, which the process draws at random
//! ([`crate::pipeline::Parts`]) and never shows; and that the same key makes the same hashes in any process, so that the
//! core can be run again from a seed.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Hashes users' identities.
#[derive(Clone)]
pub struct UserHash {
    key: u64,
    /// Made of the key as well; what is mixed in byte by byte.
    shared: Arc<SharedSeed>,
}

impl UserHash {
    /// Hashes with this key.
    #[must_use]
    pub fn new(key: u64) -> Self {
        Self { key, shared: Arc::new(SharedSeed::from_u64(key)) }
    }

    /// The hash of an identity within an account.
    #[must_use]
    pub fn of(&self, identity: &str) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.key, &self.shared);
        hasher.write(identity.as_bytes());
        hasher.finish()
    }
}

impl fmt::Debug for UserHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserHash").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::UserHash;

    #[test]
    fn hashes_are_the_key_s_own() {
        let identities: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
        let hashes = |key| {
            let users = UserHash::new(key);
            identities.iter().map(|identity| users.of(identity)).collect::<Vec<_>>()
        };
        assert_eq!(hashes(7), hashes(7));
        // Users who share one of four shards by one key do not by another.
        let together = |key| hashes(key).windows(2).map(|pair| pair[0] % 4 == pair[1] % 4).collect::<Vec<_>>();
        let same = together(7).iter().zip(together(8)).filter(|(one, other)| *one == other).count();
        assert!((80..180).contains(&same), "{same} of 199");
        assert_eq!(format!("{:?}", UserHash::new(7)), "UserHash { .. }");
    }
}

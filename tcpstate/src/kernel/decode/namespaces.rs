//! What tells a namespace from another one that had the same inode number.

use std::hash::{BuildHasher as _, RandomState};

/// How namespaces are told apart.
#[derive(Clone, Debug, Default)]
pub(super) enum Namespaces {
    /// By their cookies.
    #[default]
    WithCookies,
    /// By a random number that the kernel mixes into its hashes: whoever knows it
    /// can make it slow. So it is hashed with what is drawn for this run.
    WithSecrets(RandomState),
}

impl Namespaces {
    pub(super) fn of(has_cookies: bool) -> Self {
        if has_cookies {
            Self::WithCookies
        } else {
            Self::WithSecrets(RandomState::new())
        }
    }

    /// What may be told; `None`: nothing is known.
    pub(super) fn mark(&self, number: u32) -> Option<u32> {
        match self {
            _ if number == 0 => None,
            Self::WithCookies => Some(number),
            Self::WithSecrets(drawn) => u32::try_from(drawn.hash_one(number) >> 32).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_as_another_number_that_is_the_same_all_run_long() {
        let namespaces = Namespaces::of(false);

        let told: Vec<_> = [7, 8, 7].map(|secret| namespaces.mark(secret)).into();

        assert_eq!(told[0], told[2]);
        assert_ne!(told[0], told[1]);
        assert_ne!(told[..2], [Some(7), Some(8)]);
        assert_ne!(told[0], Namespaces::of(false).mark(7), "not in another run");
        assert_eq!(namespaces.mark(0), None);
        assert_eq!(Namespaces::of(true).mark(7), Some(7));
    }
}

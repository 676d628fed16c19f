//! What distinguishes a namespace from another one that had the same inode number.

use std::hash::{BuildHasher as _, RandomState};

/// How namespaces are distinguished.
#[derive(Clone, Debug, Default)]
pub(super) enum NetnsIds {
    /// By their cookies.
    #[default]
    WithCookies,
    /// By a random number that the kernel mixes into its hashes: whoever knows it
    /// can make it slow. So it is hashed with what is drawn for this run.
    WithSecrets(RandomState),
}

impl NetnsIds {
    pub(super) fn of(has_cookies: bool) -> Self {
        if has_cookies {
            Self::WithCookies
        } else {
            Self::WithSecrets(RandomState::new())
        }
    }

    /// What may be reported; `None`: nothing is known.
    pub(super) fn identity(&self, number: u32) -> Option<u32> {
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
    fn a_secret_is_reported_as_another_number_that_is_the_same_all_run_long() {
        let namespaces = NetnsIds::of(false);

        let reported: Vec<_> = [7, 8, 7].map(|secret| namespaces.identity(secret)).into();

        assert_eq!(reported[0], reported[2]);
        assert_ne!(reported[0], reported[1]);
        assert_ne!(reported[..2], [Some(7), Some(8)]);
        assert_ne!(
            reported[0],
            NetnsIds::of(false).identity(7),
            "not in another run"
        );
        assert_eq!(namespaces.identity(0), None);
        assert_eq!(NetnsIds::of(true).identity(7), Some(7));
    }
}

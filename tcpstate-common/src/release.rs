//! Releases of the kernel, as `uname -r` gives them.

/// Major and minor number: (6, 12) of `6.12.117+deb13-cloud-amd64`.
#[must_use]
pub fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(numbers("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(numbers("6.18.44"), Some((6, 18)));
        assert_eq!(numbers("7.3-rc7-amd64"), Some((7, 3)));
        assert_eq!(numbers("6.12-arm64"), Some((6, 12)));
        assert_eq!(numbers("weird"), None);
    }
}

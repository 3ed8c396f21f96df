//! Names of copies: a copy of a resource must not collide with one of the same name from elsewhere,
//! so it is stored under its name and a hash of where it comes from.
//!
//! The hash is Kuma's, because the names show in stores, in identifiers and in statuses.

/// Longest name, in bytes.
const NAME_LEN_MAX: usize = 253;
/// Length of the hash and the dash before it.
const SUFFIX_LEN: usize = 17;
/// Letters that form no word; a hexadecimal digit's byte selects one.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The name of a copy. `origin` is the zone and then the namespace it comes from, as far as it has
/// them.
pub fn hashed_name<'a>(mesh: &'a str, name: &'a str, origin: impl IntoIterator<Item = &'a str>) -> String {
    let parts = [mesh, name].into_iter().chain(origin);
    let digest = format!("{:016x}", parts.flat_map(str::bytes).fold(FNV_OFFSET, fnv1a));
    let suffix: String = digest.bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect();
    let end = (0..=NAME_LEN_MAX - SUFFIX_LEN).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{suffix}", &name[..end])
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// One step of the 64-bit FNV-1a hash.
fn fnv1a(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_from_elsewhere_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = [
            hashed_name("", "cart", []),
            hashed_name("shop", "cart", []),
            hashed_name("shop", "cart", ["east"]),
            hashed_name("shop", "cart", ["east", "demo"]),
        ]
        .into();
        assert_eq!(names.len(), 4);
        assert!(names.iter().all(|name| name.starts_with("cart-") && name.len() == "cart-".len() + 16));
    }

    #[test]
    fn the_hash_is_that_of_kuma() {
        assert_eq!(hashed_name("shop", "cart", ["east"]), "cart-8z4fb498cz944fvb");
    }

    #[test]
    fn long_names_are_cut_and_still_differ() {
        let (one, other) = (format!("{}1", "a".repeat(252)), format!("{}2", "a".repeat(252)));
        let (one, other) = (hashed_name("m", &one, []), hashed_name("m", &other, []));
        assert_eq!((one.len(), other.len()), (NAME_LEN_MAX, NAME_LEN_MAX));
        assert_ne!(one, other);
    }
}

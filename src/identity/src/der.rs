//! The few DER structures that have to be opened by hand.

/// Takes one element with this tag off the front: its contents, and what follows it.
fn take(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let (octets, rest) = rest.split_at_checked(octets)?;
        (octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)), rest)
    };
    (found == tag).then(|| rest.split_at_checked(len)).flatten()
}

/// The algorithm's own private key inside a PKCS#8 envelope (for RSA that is the PKCS#1 form).
pub(crate) fn pkcs1_of_pkcs8(pkcs8: &[u8]) -> Option<&[u8]> {
    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;
    let (envelope, _) = take(SEQUENCE, pkcs8)?;
    let (_version, envelope) = take(INTEGER, envelope)?;
    let (_algorithm, envelope) = take(SEQUENCE, envelope)?;
    take(OCTET_STRING, envelope).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_input_is_none() {
        let envelope = [0x30, 0x0a, 0x02, 0x01, 0x00, 0x30, 0x00, 0x04, 0x03, 1, 2, 3];
        assert_eq!(pkcs1_of_pkcs8(&envelope), Some(&[1, 2, 3][..]));
        for len in 0..envelope.len() {
            assert_eq!(pkcs1_of_pkcs8(&envelope[..len]), None, "{len}");
        }
    }
}

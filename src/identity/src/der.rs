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
    let (envelope, _) = take(SEQUENCE, pkcs8)?;
    let (_version, envelope) = take(INTEGER, envelope)?;
    let (_algorithm, envelope) = take(SEQUENCE, envelope)?;
    take(OCTET_STRING, envelope).map(|(key, _)| key)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The public half of an RSA key, both in their PKCS#1 form: modulus and exponent stand at its front.
pub(crate) fn public_of_pkcs1(private: &[u8]) -> Option<Vec<u8>> {
    let (fields, _) = take(SEQUENCE, private)?;
    let (_version, from_modulus) = take(INTEGER, fields)?;
    let (_modulus, from_exponent) = take(INTEGER, from_modulus)?;
    let (_exponent, rest) = take(INTEGER, from_exponent)?;
    let both = from_modulus.get(..from_modulus.len() - rest.len())?;
    let mut public = vec![SEQUENCE];
    let octets: Vec<u8> = both.len().to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
    if both.len() >= 0x80 {
        public.push(0x80 | u8::try_from(octets.len()).ok()?);
    }
    public.extend(octets);
    public.extend(both);
    Some(public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_half_is_modulus_and_exponent() {
        let private = [0x30, 0x0c, 0x02, 0x01, 0, 0x02, 0x02, 7, 9, 0x02, 0x01, 3, 0x02, 0x00];
        assert_eq!(public_of_pkcs1(&private), Some(vec![0x30, 7, 0x02, 0x02, 7, 9, 0x02, 0x01, 3]));
        for len in 0..private.len() - 2 {
            assert_eq!(public_of_pkcs1(&private[..len]), None, "{len}");
        }
    }

    #[test]
    fn truncated_input_is_none() {
        let envelope = [0x30, 0x0a, 0x02, 0x01, 0x00, 0x30, 0x00, 0x04, 0x03, 1, 2, 3];
        assert_eq!(pkcs1_of_pkcs8(&envelope), Some(&[1, 2, 3][..]));
        for len in 0..envelope.len() {
            assert_eq!(pkcs1_of_pkcs8(&envelope[..len]), None, "{len}");
        }
    }
}

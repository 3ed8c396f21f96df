//! RSA keys of tokens, in the forms in which Kuma stores them: PKCS#1 PEM, raw PKCS#1 DER from
//! early releases, and SPKI for public halves.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};

use crate::der;

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor DER of a key.
    #[error("failed to parse PEM encoded key")]
    NotPem,
    /// A PEM block of another type.
    #[error("invalid key encoding \"{0}\"")]
    Encoding(String),
    /// The bytes are no key, or the key is too short.
    #[error("could not parse key: {0}")]
    Rejected(String),
    /// The generator or the signer failed.
    #[error("cryptography failed: {0}")]
    Crypto(&'static str),
}

const PRIVATE_PKCS1: &str = "RSA PRIVATE KEY";
const PRIVATE_PKCS8: &str = "PRIVATE KEY";
const PUBLIC_PKCS1: &str = "RSA PUBLIC KEY";
const PUBLIC_SPKI: &str = "PUBLIC KEY";

/// A private key that signs tokens.
pub struct RsaPrivateKey {
    pair: KeyPair,
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPrivateKey")
    }
}

impl RsaPrivateKey {
    /// A new key of 2048 bits. Takes tens of milliseconds: call it off the actors.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Crypto("RSA key generation"))?;
        Ok(Self { pair })
    }

    /// Reads the bytes of a signing-key secret: PEM (PKCS#1 or PKCS#8), or raw PKCS#1 DER.
    ///
    /// # Errors
    /// When the bytes are no RSA private key.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let rejected = |e: aws_lc_rs::error::KeyRejected| KeyError::Rejected(e.to_string());
        let pair = match pem_block(bytes) {
            None => KeyPair::from_der(bytes).map_err(|_| KeyError::NotPem)?,
            Some(block) if block.tag() == PRIVATE_PKCS1 => KeyPair::from_der(block.contents()).map_err(rejected)?,
            Some(block) if block.tag() == PRIVATE_PKCS8 => KeyPair::from_pkcs8(block.contents()).map_err(rejected)?,
            Some(block) => return Err(KeyError::Encoding(block.tag().to_owned())),
        };
        Ok(Self { pair })
    }

    /// The key as PKCS#1 PEM, as it is stored.
    ///
    /// # Errors
    /// When the key cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pkcs8 = self.pair.as_der().map_err(|_| KeyError::Crypto("key encoding"))?;
        let pkcs1 = der::pkcs1_of_pkcs8(pkcs8.as_ref()).ok_or(KeyError::Crypto("key encoding"))?;
        Ok(encode_pem(PRIVATE_PKCS1, pkcs1))
    }

    /// The public half.
    pub fn public_key(&self) -> RsaPublicKey {
        RsaPublicKey { pkcs1: self.pair.public_key().as_ref().to_vec() }
    }

    /// The RS256 signature of a message.
    ///
    /// # Errors
    /// When the signer fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::Crypto("signing"))?;
        Ok(signature)
    }
}

/// A public key that validates tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPublicKey {
    pkcs1: Vec<u8>,
}

impl RsaPublicKey {
    /// Reads PEM: `RSA PUBLIC KEY` (PKCS#1) or `PUBLIC KEY` (SPKI).
    ///
    /// # Errors
    /// When the bytes are no RSA public key.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let block = pem_block(bytes).ok_or(KeyError::NotPem)?;
        if block.tag() != PUBLIC_PKCS1 && block.tag() != PUBLIC_SPKI {
            return Err(KeyError::Encoding(block.tag().to_owned()));
        }
        let key = PublicKey::from_der(block.contents()).map_err(|e| KeyError::Rejected(e.to_string()))?;
        Ok(Self { pkcs1: key.as_ref().to_vec() })
    }

    /// The public half of what a signing-key secret holds, for validating alone: reading the private key
    /// checks it, which costs as much as signing.
    ///
    /// # Errors
    /// When the bytes are no RSA private key.
    pub fn of_private(bytes: &[u8]) -> Result<Self, KeyError> {
        let contents = pem_block(bytes);
        let pkcs1 = match &contents {
            None => der::public_of_pkcs1(bytes),
            Some(block) if block.tag() == PRIVATE_PKCS1 => der::public_of_pkcs1(block.contents()),
            Some(_) => None,
        };
        match pkcs1 {
            Some(pkcs1) => Ok(Self { pkcs1 }),
            None => Ok(RsaPrivateKey::parse(bytes)?.public_key()),
        }
    }

    /// The key as PKCS#1 PEM.
    pub fn to_pem(&self) -> String {
        encode_pem(PUBLIC_PKCS1, &self.pkcs1)
    }

    /// Whether `signature` is this key's RS256 signature of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.pkcs1).verify(message, signature).is_ok()
    }
}

fn pem_block(bytes: &[u8]) -> Option<pem::Pem> {
    pem::parse(bytes).ok()
}

fn encode_pem(tag: &str, contents: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, contents), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_every_form() {
        let key = RsaPrivateKey::generate().unwrap();
        let text = key.to_pem().unwrap();
        assert!(text.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        let signature = key.sign(b"message").unwrap();
        let public = key.public_key();
        assert!(public.verifies(b"message", &signature) && !public.verifies(b"massage", &signature));

        let raw = pem::parse(&text).unwrap().into_contents();
        for form in [text.as_bytes(), &raw] {
            assert_eq!(RsaPrivateKey::parse(form).unwrap().public_key(), public);
            assert_eq!(RsaPublicKey::of_private(form).unwrap(), public);
        }
        assert_eq!(RsaPublicKey::parse(public.to_pem().as_bytes()).unwrap(), public);
        let spki: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
            PublicKey::from_der(&public.pkcs1).unwrap().as_der().unwrap();
        let spki = encode_pem("PUBLIC KEY", spki.as_ref());
        assert_eq!(RsaPublicKey::parse(spki.as_bytes()).unwrap(), public);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(RsaPrivateKey::parse(b"hello").unwrap_err(), KeyError::NotPem);
        assert_eq!(RsaPublicKey::parse(b"hello").unwrap_err(), KeyError::NotPem);
        assert_eq!(RsaPublicKey::of_private(b"hello").unwrap_err(), KeyError::NotPem);
        let certificate = encode_pem("CERTIFICATE", b"x");
        assert_eq!(
            RsaPublicKey::parse(certificate.as_bytes()).unwrap_err().to_string(),
            "invalid key encoding \"CERTIFICATE\""
        );
        assert!(RsaPublicKey::parse(encode_pem("PUBLIC KEY", b"x").as_bytes()).is_err());
    }
}

//! Tokens from issue to refusal.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use model::registry::{GLOBAL_SECRET, SECRET};
use model::{Key, Labels, Meta, Resource, Spec, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rsa::RsaPrivateKey;

static PEM: LazyLock<String> = LazyLock::new(|| RsaPrivateKey::generate().unwrap().to_pem().unwrap());

fn now() -> Timestamp {
    "2026-05-01T10:00:00Z".parse().unwrap()
}

fn signing_key(id: &str) -> SigningKey {
    SigningKey { id: id.to_owned(), key: RsaPrivateKey::parse(PEM.as_bytes()).unwrap() }
}

fn secret(key: Key, data: &[u8]) -> Resource {
    Resource { key, meta: Meta::new(now()), spec: Spec::of(secret_spec(data)).unwrap(), status: None }
}

fn validator(ring: KeyRing) -> Validator<'static> {
    Validator { ring, public_keys: &[], use_secrets: true, in_memory: false }
}

fn user() -> UserClaims {
    UserClaims { name: "john".to_owned(), groups: Some(vec!["team-a".to_owned()]) }
}

fn stored<'a>(secrets: &'a BTreeMap<Key, Vec<u8>>) -> impl Fn(&Key) -> Option<Vec<u8>> + 'a {
    |key| secrets.get(key).cloned()
}

fn user_keys() -> BTreeMap<Key, Vec<u8>> {
    BTreeMap::from([(KeyRing::User.secret("1"), PEM.as_bytes().to_vec())])
}

fn segments(token: &str) -> (Value, Value) {
    let part =
        |n: usize| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap();
    (part(0), part(1))
}

#[test]
fn issued_tokens_have_the_form_of_kuma() {
    let token = issue(&user(), SignedDuration::from_hours(24), &signing_key("1"), now()).unwrap();
    let (header, claims) = segments(&token);
    assert_eq!(header, json!({"alg": "RS256", "kid": "1", "typ": "JWT"}));
    let at = now().as_second();
    assert_eq!(
        (&claims["Name"], &claims["Groups"], &claims["exp"], &claims["nbf"], &claims["iat"]),
        (&json!("john"), &json!(["team-a"]), &json!(at + 86_400), &json!(at - 5), &json!(at - 5))
    );
    assert!(uuid::Uuid::parse_str(claims["jti"].as_str().unwrap()).is_ok());

    let dataplane = issue(&DataplaneClaims::default(), SignedDuration::ZERO, &signing_key("1"), now()).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(dataplane.split('.').nth(1).unwrap()).unwrap();
    let text = String::from_utf8(payload).unwrap();
    assert!(text.starts_with(r#"{"Name":"","Mesh":"","Tags":{},"Type":"","Workload":"","exp":"#), "{text}");
    let zone = issue(&ZoneClaims::default(), SignedDuration::ZERO, &signing_key("1"), now()).unwrap();
    assert_eq!(segments(&zone).1["Scope"], Value::Null);
}

#[test]
fn a_valid_token_gives_its_claims() {
    let secrets = user_keys();
    let token = issue(&user(), SignedDuration::from_hours(1), &signing_key("1"), now()).unwrap();
    assert_eq!(validator(KeyRing::User).validate(&token, &stored(&secrets), now()), Ok(user()));
}

fn refusal(token: &str, at: Timestamp) -> String {
    let secrets = user_keys();
    validator(KeyRing::User).validate::<UserClaims>(token, &stored(&secrets), at).unwrap_err().to_string()
}

fn raw_token(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = signing_key("1").key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn of_other_signature(token: &str) -> String {
    let other = issue(&user(), SignedDuration::from_hours(2), &signing_key("1"), now()).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

#[test]
fn refusals_are_told_in_words_of_kuma() {
    let keyfunc = "could not parse token: token is unverifiable: error while executing keyfunc: ";
    let hour = SignedDuration::from_hours(1);
    let token = issue(&user(), hour, &signing_key("1"), now()).unwrap();
    let other = of_other_signature(&token);
    let of_key = |id: &str| issue(&user(), hour, &signing_key(id), now()).unwrap();
    for (token, at, message) in [
        (String::new(), now(), "could not parse token: token is malformed: token contains an invalid number of segments".to_owned()),
        (raw_token(&json!({"alg": "RS256"}), &json!({})), now(), format!("{keyfunc}JWT token must have kid header")),
        (raw_token(&json!({"alg": "RS256", "kid": 1}), &json!({})), now(), format!("{keyfunc}JWT token kid header must be a string")),
        (raw_token(&json!({"alg": "HS256", "kid": "1"}), &json!({})), now(), format!("{keyfunc}unsupported token alg HS256. Allowed algorithm is RS256")),
        (of_key("7"), now(), "there is no signing key with KID 7. GlobalSecret of name \"user-token-signing-key-7\" is not found. If signing key was rotated, regenerate the token".to_owned()),
        (of_key("0"), now(), "there is no signing key with KID 0. GlobalSecret of name \"user-token-signing-key\" is not found. If signing key was rotated, regenerate the token".to_owned()),
        (token.clone(), now() + SignedDuration::from_secs(3600), "could not parse token: token has invalid claims: token is expired".to_owned()),
        (token.clone(), now() - SignedDuration::from_secs(6), "token is not yet valid: 'valid_from' date is in the future. Check if the system clock on the instance that issued the token is set correctly: token has invalid claims: token is not valid yet".to_owned()),
        (other, now(), "could not parse token: token signature is invalid: crypto/rsa: verification error".to_owned()),
    ] {
        assert_eq!(refusal(&token, at), message);
    }
}

#[test]
fn the_last_second_is_valid_and_the_next_is_not() {
    let secrets = user_keys();
    let token = issue(&user(), SignedDuration::from_secs(10), &signing_key("1"), now()).unwrap();
    let at = |s| now() + SignedDuration::from_secs(s);
    let ok = |t| validator(KeyRing::User).validate::<UserClaims>(&token, &stored(&secrets), t).is_ok();
    assert!(ok(at(-5)) && ok(at(9)) && !ok(at(10)) && !ok(at(-6)));
}

#[test]
fn claims_are_read_in_any_case_and_may_be_missing() {
    let secrets = user_keys();
    let validate = |claims: Value| {
        let token = raw_token(&json!({"alg": "RS256", "kid": "1"}), &claims);
        validator(KeyRing::User).validate::<UserClaims>(&token, &stored(&secrets), now())
    };
    assert_eq!(validate(json!({"name": "john", "GROUPS": ["team-a"], "other": 1})), Ok(user()));
    assert_eq!(validate(json!({"Groups": null})), Ok(UserClaims::default()));
    assert!(validate(json!({"Name": 1})).is_err());
    assert!(validate(json!({"exp": "soon"})).is_err());
}

#[test]
fn revoked_tokens_are_refused_from_both_lists() {
    let header = json!({"alg": "RS256", "kid": "1"});
    let token = raw_token(&header, &json!({"jti": "b"}));
    let without_id = raw_token(&header, &json!({}));
    let ring = KeyRing::dataplane("default");
    let name = "dataplane-token-revocations-default";
    for list in [Key::global(GLOBAL_SECRET, name), Key::new(SECRET, "default", name)] {
        let secrets = BTreeMap::from([(ring.secret("1"), PEM.as_bytes().to_vec()), (list, b"a,b\n".to_vec())]);
        let validate = |t: &str| validator(ring.clone()).validate::<DataplaneClaims>(t, &stored(&secrets), now());
        assert_eq!(validate(&token), Err(TokenError::Revoked));
        assert!(validate(&without_id).is_ok());
    }
}

#[test]
fn configured_keys_come_before_secrets() {
    let entry = |kid: &str, mesh: &str| PublicKeyEntry {
        key_id: kid.to_owned(),
        mesh: mesh.to_owned(),
        key: signing_key("1").key.public_key(),
    };
    let keys = [entry("offline", "east")];
    let token =
        issue(&DataplaneClaims::default(), SignedDuration::from_hours(1), &signing_key("offline"), now()).unwrap();
    let validate = |mesh: &str| {
        let validator =
            Validator { ring: KeyRing::dataplane(mesh), public_keys: &keys, use_secrets: false, in_memory: false };
        validator.validate::<DataplaneClaims>(&token, &|_| None, now())
    };
    assert!(validate("east").is_ok());
    assert_eq!(
        validate("west").unwrap_err().to_string(),
        "there is no signing key with KID offline. GlobalSecret of name \"-offline\" is not found. If signing key was rotated, regenerate the token"
    );
}

#[test]
fn the_newest_key_signs() {
    let ring = KeyRing::dataplane("default");
    let key = |name: &str| secret(Key::new(SECRET, "default", name), PEM.as_bytes());
    let prefix = "dataplane-token-signing-key-default";
    let names = [
        prefix.to_owned(),
        format!("{prefix}-9"),
        format!("{prefix}-10"),
        format!("{prefix}-x"),
        "other-99".to_owned(),
    ];
    let secrets: Vec<_> = names.iter().map(|name| key(name)).collect();
    assert_eq!(latest_signing_key(&ring, &secrets).unwrap().id, "10");
    assert_eq!(latest_signing_key(&ring, &secrets[..1]).unwrap().id, "0");
    assert_eq!(
        latest_signing_key(&KeyRing::dataplane("nope"), &secrets).unwrap_err().to_string(),
        "there is no signing key with KID 1. Secret of name \"dataplane-token-signing-key-nope-1\" in mesh \"nope\" is not found. If signing key was rotated, regenerate the token"
    );
}

#[test]
fn a_dataplane_is_admitted_by_what_its_token_binds() {
    let labels =
        Labels::from([("app".to_owned(), "web".to_owned()), ("kuma.io/workload".to_owned(), "web".to_owned())]);
    let claims = |edit: fn(&mut DataplaneClaims)| {
        let mut claims = DataplaneClaims::default();
        edit(&mut claims);
        claims
    };
    let subject = |labels, identity_from_workload| DataplaneSubject {
        name: "dp-1",
        mesh: "default",
        labels,
        identity_from_workload,
    };
    let none = Labels::new();
    for (claims, subject, refusal) in [
        (claims(|_| ()), subject(&none, true), None),
        (claims(|_| ()), subject(&labels, false), None),
        (
            claims(|c| c.name = "dp-2".into()),
            subject(&labels, false),
            Some("proxy name from requestor: dp-1 is different than in token: dp-2"),
        ),
        (
            claims(|c| c.mesh = "demo".into()),
            subject(&labels, false),
            Some("proxy mesh from requestor: default is different than in token: demo"),
        ),
        (claims(|c| c.tags = [("app".into(), vec!["web".into()])].into()), subject(&labels, false), None),
        (
            claims(|c| c.tags = [("app".into(), vec!["b".into(), "a".into()])].into()),
            subject(&labels, false),
            Some(
                "dataplane contains tag \"app\" with value \"web\" which is not allowed with this token. Allowed values in token are [\"a\" \"b\"]",
            ),
        ),
        (
            claims(|c| c.tags = [("zone".into(), vec!["a".into()])].into()),
            subject(&labels, false),
            Some("dataplane has no tag \"zone\" required by the token"),
        ),
        (claims(|c| c.workload = "web".into()), subject(&labels, true), None),
        (
            claims(|c| c.workload = "web".into()),
            subject(&none, true),
            Some("dataplane has no workload label required by the token"),
        ),
        (
            claims(|c| c.workload = "db".into()),
            subject(&labels, true),
            Some("dataplane workload \"web\" is not allowed with this token. Allowed workload in token is \"db\""),
        ),
        (
            claims(|_| ()),
            subject(&labels, true),
            Some(
                "dataplane with \"kuma.io/workload\" label \"web\" derives its identity from the workload, so it requires a workload-bound token",
            ),
        ),
    ] {
        assert_eq!(claims.admit(&subject).err().map(|e| e.to_string()).as_deref(), refusal);
    }
}

proptest! {
    #[test]
    fn no_text_makes_validation_panic(token in "[ -~]{0,80}|[A-Za-z0-9_.-]{0,200}", kid in ".{0,40}") {
        let validator = validator(KeyRing::User);
        prop_assert!(validator.validate::<UserClaims>(&token, &|_| None, now()).is_err());
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": kid}).to_string());
        let crafted = format!("{header}.e30.AAAA");
        prop_assert!(validator.validate::<UserClaims>(&crafted, &|_| None, now()).is_err());
    }
}

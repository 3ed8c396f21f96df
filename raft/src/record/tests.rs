//! Tests of the module `record`.

use super::*;
use crate::codec::{decode, encode};

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 5).unwrap()
}

fn spec(value: serde_json::Value) -> Spec {
    model::codec::decode::<serde_json::Value>(value).unwrap()
}

fn every_kind_of_op() -> Txn {
    let mesh = Key::global(registry::MESH, "default");
    let secret = Key::new(registry::SECRET, "default", "s");
    let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    Txn::new()
        .require_absent(mesh.clone())
        .require_present(secret.clone())
        .require_version(mesh.clone(), 3)
        .require_term(4)
        .put_with(Put {
            key: mesh.clone(),
            labels,
            spec: spec(serde_json::json!({})),
            status: StatusChange::Set(spec(serde_json::json!({"y": null}))),
            owner: Some(secret.clone()),
            times: Some((at(1), at(2))),
        })
        .put(secret.clone(), Labels::new(), spec(serde_json::json!({"data": "c2VjcmV0"})))
        .put_status(mesh.clone(), spec(serde_json::json!({})))
        .delete(mesh)
}

#[test]
fn a_transaction_comes_back_as_it_was() {
    let keys = Keyring::generate();
    let txn = every_kind_of_op();
    let bytes = encode(&TxnRecord::of(&txn, &keys).unwrap()).unwrap();
    let again = decode::<TxnRecord>(&bytes).unwrap().txn(&keys).unwrap();
    // Kinds without a status of their own keep it undecoded, so the texts are equal all the same.
    assert_eq!(again, txn);
}

#[test]
fn a_secret_never_shows_in_a_record() {
    let keys = Keyring::generate();
    let bytes = encode(&TxnRecord::of(&every_kind_of_op(), &keys).unwrap()).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"c2VjcmV0"));
}

#[test]
fn an_unknown_kind_means_a_newer_version() {
    let record = TxnRecord {
        guards: Vec::new(),
        ops: vec![OpRecord::Delete(KeyRecord { kind: "MeshTeleport".into(), mesh: "m".into(), name: "n".into() })],
    };
    let error = record.txn(&Keyring::default()).unwrap_err();
    assert_eq!(error.to_string(), "written by a newer version (unknown resource kind MeshTeleport)");
}

/// The disk format: these bytes were written by format 1 and must be readable for ever.
#[test]
fn golden_bytes_of_a_delete() {
    let txn = Txn::new().require_version(Key::global(registry::MESH, "m"), 9).delete(Key::global(registry::MESH, "m"));
    let bytes = encode(&TxnRecord::of(&txn, &Keyring::default()).unwrap()).unwrap();
    let key =
        [[4, 0, 0, 0, 0, 0, 0, 0].as_slice(), b"Mesh", &[0, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0], b"m"]
            .concat();
    let body = [
        [1, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &[2, 0, 0, 0],
        &key,
        &[9, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0],
        &key,
    ]
    .concat();
    assert_eq!(&bytes[9..], body);
}

#[test]
fn golden_bytes_of_a_log_entry() {
    let entry = EntryRecord {
        log_id: LogIdRecord { term: 1, replica: 2, index: 3 },
        payload: PayloadRecord::Membership(MembershipRecord {
            log_id: None,
            voters: vec![vec![2]],
            replicas: vec![(2, "h:1".to_owned())],
        }),
    };
    let bytes = encode(&entry).unwrap();
    let body: &[u8] = &[
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, // log id
        2, 0, 0, 0, 0, // membership, no log id
        1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, // voters
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, b'h', b':', b'1',
    ];
    assert_eq!(&bytes[9..], body);
}

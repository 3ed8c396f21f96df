//! What a new mesh comes with: a key that signs dataplane tokens, and the default policies.

use identity::RsaPrivateKey;
use identity::token::{KeyRing, secret_spec};
use model::defaults::mesh_policies;
use model::kinds::mesh::Mesh;
use model::labels::{self, Site, Subject};
use model::{Key, Labels, Spec};
use store::{Put, StatusChange};

/// The default resources of the mesh at `mesh`, in the order in which they are written.
pub(crate) async fn of(mesh: &Key, spec: &Spec, site: &Site) -> Result<Vec<Put>, String> {
    // Making an RSA key takes a good part of a second.
    let key = tokio::task::spawn_blocking(RsaPrivateKey::generate).await.map_err(|e| e.to_string())?;
    let pem = key.and_then(|key| key.to_pem()).map_err(|e| e.to_string())?;
    let secret = KeyRing::dataplane(&mesh.name).secret("1");
    let spec_of_secret = secret.kind.codec.admit(secret_spec(pem.as_bytes())).map_err(|e| e.to_string())?;
    let mut puts = vec![put(mesh, secret, Labels::new(), spec_of_secret)];
    let skipped = spec.get::<Mesh>().map_or(&[][..], |mesh| mesh.skip_creating_initial_policies.as_slice());
    for (kind, name, spec) in mesh_policies(&mesh.name, skipped) {
        let key = Key::new(kind, &mesh.name, &name);
        let subject = Subject::new(kind, &spec, &key.mesh, &key.name);
        let labels = labels::compute(&Labels::new(), &subject, site).map_err(|e| e.to_string())?;
        puts.push(put(mesh, key, labels, spec));
    }
    Ok(puts)
}

fn put(mesh: &Key, key: Key, labels: Labels, spec: Spec) -> Put {
    Put { key, labels, spec, status: StatusChange::Keep, owner: Some(mesh.clone()), times: None }
}

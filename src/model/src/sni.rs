//! Server names of destinations: `sni.<short>.<mesh>[.<zone>[.<namespace>]].<name>.<section>`.

use crate::codec::Document;
use crate::descriptor::Kind;
use crate::key::Key;
use crate::kinds::mesh_external_service::MeshExternalService;
use crate::kinds::mesh_multi_zone_service::MeshMultiZoneService;
use crate::kinds::mesh_service::MeshService;
use crate::kri::Kri;
use crate::names::{DNS_NAME_LEN_MAX, dns_1123_label};
use crate::resource::{Resource, Spec};

/// The server name of a destination's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSni {
    /// Number of the port.
    pub port: u32,
    /// Its section: name, else number.
    pub section: String,
    /// The server name, or what is wrong with it.
    pub sni: Result<String, Vec<String>>,
}

/// The server name of a section, well-formed or not. Without a zone the namespace is left out too.
pub fn server_name(kri: &Kri) -> String {
    let mut parts = vec!["sni", kri.kind.short, &kri.mesh];
    if !kri.zone.is_empty() {
        parts.push(&kri.zone);
        if !kri.namespace.is_empty() {
            parts.push(&kri.namespace);
        }
    }
    parts.extend([&*kri.name, &*kri.section]);
    parts.join(".")
}

/// The server name of a section.
///
/// # Errors
/// Why TLS cannot carry it: a part that is no DNS label, or too long a name.
pub fn checked_server_name(kri: &Kri) -> Result<String, Vec<String>> {
    if kri.mesh.is_empty() || kri.name.is_empty() || kri.section.is_empty() {
        return Err(vec!["mesh, name and sectionName must be non-empty".to_owned()]);
    }
    let mut problems = Vec::new();
    let mut check = |field: &str, value: &str| {
        let messages = dns_1123_label(value);
        if !messages.is_empty() {
            problems.push(format!("{field} {value:?} does not conform to RFC 1123: {}", messages.join(", ")));
        }
    };
    check("mesh", &kri.mesh);
    check("name", &kri.name);
    if !kri.zone.is_empty() {
        check("zone", &kri.zone);
        if !kri.namespace.is_empty() {
            check("namespace", &kri.namespace);
        }
    }
    let section = dns_1123_label(&kri.section);
    if !section.is_empty() {
        problems.push(section.join(", "));
    }
    let name = server_name(kri);
    if name.len() > DNS_NAME_LEN_MAX {
        problems.push(format!("computed SNI is {} characters which exceeds the DNS hostname limit (253)", name.len()));
    }
    if problems.is_empty() { Ok(name) } else { Err(problems) }
}

/// The ports of a destination: number and section. Empty for other kinds.
pub fn sections(spec: &Spec) -> Vec<(u32, String)> {
    if let Some(service) = spec.get::<MeshService>() {
        service.ports.iter().map(|port| (port.number(), port.section_name())).collect()
    } else if let Some(service) = spec.get::<MeshMultiZoneService>() {
        service.ports.iter().map(|port| (port.number(), port.section_name())).collect()
    } else if let Some(service) = spec.get::<MeshExternalService>() {
        vec![(service.matched.number(), service.section_name())]
    } else {
        Vec::new()
    }
}

/// The server names of a destination by port. Empty for other kinds.
pub fn of_resource(resource: &Resource) -> Vec<PortSni> {
    if !resource.key.kind.is_destination {
        return Vec::new();
    }
    of_sections(&Kri::of(resource), &resource.spec)
}

fn of_sections(kri: &Kri, spec: &Spec) -> Vec<PortSni> {
    let mut names: Vec<_> = sections(spec)
        .into_iter()
        .map(|(port, section)| {
            let sni = checked_server_name(&kri.with_section(&section));
            PortSni { port, section, sni }
        })
        .collect();
    names.sort_by_key(|name| name.port);
    names
}

/// The warnings that a write of a destination with bad server names returns.
pub fn warnings(kind: Kind, document: &Document<'_>) -> Vec<String> {
    let kri = Kri::new(&Key::new(kind, document.mesh, document.name), document.labels);
    let mut warnings = Vec::new();
    for PortSni { section, sni, .. } in of_sections(&kri, document.spec) {
        for problem in sni.err().into_iter().flatten() {
            warnings.push(format!("Invalid {kind} SNI (port {section:?}): {problem}. This is deprecated."));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::meta::Labels;
    use crate::registry;

    fn kri(text: &str) -> Kri {
        text.parse().expect("an identifier")
    }

    #[test]
    fn server_names_follow_identifiers() {
        for (identifier, expected) in [
            ("kri_msvc_default_east_demo_backend_http", "sni.msvc.default.east.demo.backend.http"),
            ("kri_msvc_default_east__backend_80", "sni.msvc.default.east.backend.80"),
            ("kri_mzsvc_default___backend_80", "sni.mzsvc.default.backend.80"),
            ("kri_extsvc_default__demo_httpbin_443", "sni.extsvc.default.httpbin.443"),
        ] {
            assert_eq!(checked_server_name(&kri(identifier)), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn writes_of_bad_names_are_warned_of() {
        let kind = registry::MESH_EXTERNAL_SERVICE;
        let spec = kind.codec.admit(json!({"match": {"port": 80}})).expect("admitted");
        let labels = Labels::from([("kuma.io/display-name".to_owned(), "a.b".to_owned())]);
        let document = Document { mesh: "default", name: "a.b", labels: &labels, spec: &spec };
        let warnings = (kind.codec.warn)(&document);
        assert_eq!(warnings.len(), 1);
        let expected = "Invalid MeshExternalService SNI (port \"80\"): name \"a.b\" does not conform to RFC 1123: ";
        assert!(warnings[0].starts_with(expected) && warnings[0].ends_with(". This is deprecated."), "{warnings:?}");
    }

    #[test]
    fn names_that_tls_cannot_carry_are_explained() {
        assert_eq!(
            checked_server_name(&kri("kri_msvc____backend_80")),
            Err(vec!["mesh, name and sectionName must be non-empty".to_owned()])
        );
        let problems = checked_server_name(&kri("kri_msvc_default___back.end_HTTP")).expect_err("two bad parts");
        assert!(problems[0].starts_with(r#"name "back.end" does not conform to RFC 1123: "#), "{problems:?}");
        assert_eq!(problems.len(), 2);
    }
}

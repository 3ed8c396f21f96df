//! Schema and rules of MeshTrace.

use std::sync::LazyLock;

use super::{Backend, BackendType, MeshTrace, Tag};
use crate::kinds::otel_backend_ref;
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{MUST_BE_DEFINED, MUST_NOT_BE_EMPTY, PORT, is_port, is_url, split_port};
use crate::kinds::target_ref;
use crate::schema::{self, Schema};
use crate::violation::Violations;

impl SpecType for MeshTrace {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let header = schema::object([("name", schema::string()), ("default", schema::string())]);
            let tag = schema::object([
                ("name", schema::string()),
                ("literal", schema::string()),
                ("header", header.required(&["name"])),
            ]);
            let sampling = schema::object([
                ("overall", schema::int_or_string()),
                ("client", schema::int_or_string()),
                ("random", schema::int_or_string()),
            ]);
            let conf = schema::object([
                ("backends", schema::array(backend_schema()).max_items(1)),
                ("sampling", sampling),
                ("tags", schema::array(tag.required(&["name"]))),
            ]);
            schema::object([("targetRef", target_ref::top_schema()), ("default", conf)])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        match self.default.backends.as_deref() {
            None => faults.add("spec.default.backends", MUST_BE_DEFINED),
            Some([]) => {}
            Some([backend]) => faults.nest("spec.default.backends[0]", backend.faults()),
            Some(_) => faults.add("spec.default.backends", "must have zero or one backend defined"),
        }
        for (i, tag) in self.default.tags.iter().flatten().enumerate() {
            faults.nest(&format!("spec.default.tags[{i}]"), tag.faults());
        }
        if let Some(sampling) = &self.default.sampling {
            for (field, share) in
                [("client", &sampling.client), ("random", &sampling.random), ("overall", &sampling.overall)]
            {
                let path = format!("spec.default.sampling.{field}");
                match share.as_ref().map(|share| share.as_decimal()) {
                    Some(None) => faults.add(path, "string is not a number"),
                    Some(Some(share)) if !(0.0..=100.0).contains(&share) => {
                        faults.add(path, "must be between 0 and 100");
                    }
                    None | Some(Some(_)) => {}
                }
            }
        }
    }
}

fn backend_schema() -> Schema {
    let zipkin = schema::object([
        ("url", schema::string()),
        ("traceId128bit", schema::boolean().default_to(false)),
        ("apiVersion", schema::choice(&["httpJson", "httpProto"]).default_to("httpJson")),
        ("sharedSpanContext", schema::boolean().default_to(true)),
    ]);
    let datadog = schema::object([("url", schema::string()), ("splitService", schema::boolean().default_to(false))]);
    schema::object([
        ("type", schema::choice(BackendType::TEXTS)),
        ("zipkin", zipkin.required(&["url"])),
        ("datadog", datadog.required(&["url"])),
        ("openTelemetry", schema::object([("backendRef", otel_backend_ref::schema())])),
    ])
    .required(&["type"])
}

impl Backend {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            BackendType::Zipkin => match &self.zipkin {
                None => faults.add("zipkin", MUST_BE_DEFINED),
                Some(zipkin) if zipkin.url.is_empty() => faults.add("zipkin.url", MUST_NOT_BE_EMPTY),
                Some(zipkin) if !is_url(&zipkin.url) => faults.add("zipkin.url", "must be a valid url"),
                Some(_) => {}
            },
            BackendType::Datadog => match &self.datadog {
                None => faults.add("datadog", MUST_BE_DEFINED),
                Some(datadog) => {
                    for message in datadog_url_faults(&datadog.url) {
                        faults.add("datadog.url", message);
                    }
                }
            },
            BackendType::OpenTelemetry => match &self.open_telemetry {
                None => faults.add("openTelemetry", MUST_BE_DEFINED),
                Some(backend) => {
                    let mut inner = Violations::new();
                    otel_backend_ref::check(&mut inner, backend.backend_ref.as_ref());
                    faults.nest("openTelemetry", inner);
                }
            },
            BackendType::Unknown(_) => faults.add("type", "unrecognized type"),
        }
        faults
    }
}

/// Only `http://host:port` will do.
fn datadog_url_faults(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once(':') else { return vec!["must be a valid url".to_owned()] };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !scheme_fits || url.contains(char::is_whitespace) {
        return vec!["must be a valid url".to_owned()];
    }
    let mut messages = Vec::new();
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (opaque, authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (None, authority, path)
        }
        None => (Some(rest), "", ""),
    };
    let (user, endpoint) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if scheme != "http" {
        messages.push("scheme must be http".to_owned());
    }
    match split_port(endpoint).and_then(|(_, port)| port) {
        None | Some("") => messages.push("port must be defined".to_owned()),
        Some(port) if !port.parse().is_ok_and(is_port) => messages.push(PORT.to_owned()),
        Some(_) => {}
    }
    let parts = [("opaque", opaque), ("user", user), ("path", Some(path)), ("query", query), ("fragment", fragment)];
    for (name, part) in parts {
        if part.is_some_and(|part| !part.is_empty()) {
            messages.push(format!("{name} must not be defined"));
        }
    }
    messages
}

impl Tag {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.name.is_empty() {
            faults.add("name", MUST_NOT_BE_EMPTY);
        }
        if self.header.is_some() == self.literal.is_some() {
            faults.add("", "tag must have only one type defined: header, literal");
        }
        faults
    }
}

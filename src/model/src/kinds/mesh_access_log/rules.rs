//! Schema and rules of MeshAccessLog.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Backend, BackendType, Conf, Format, FormatType, KeyValue, MeshAccessLog, OtelBackend};
use crate::kinds::otel_backend_ref;
use crate::kinds::policy_parts;
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{MUST_BE_DEFINED, MUST_NOT_BE_EMPTY, TO_OR_RULES, is_file_path, is_url};
use crate::kinds::target_ref;
use crate::schema::{self, Schema};
use crate::violation::Violations;

impl SpecType for MeshAccessLog {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let conf = schema::object([("backends", schema::array(backend_schema()))]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf.clone(), &["default", "targetRef"])),
                ("rules", policy_parts::rules_schema(conf, &["default"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), !self.rules.is_empty());
        match (self.to.is_empty(), self.rules.is_empty()) {
            (false, false) => faults.add("spec", "'to' must be empty when 'rules' is defined"),
            (true, true) => faults.add("spec", TO_OR_RULES),
            (true, false) | (false, true) => {}
        }
        policy_parts::check_to(faults, &self.to, target_ref::ALL_TO, |to| to.default.faults());
        for (i, rule) in self.rules.iter().enumerate() {
            for (j, one) in rule.matches.iter().enumerate() {
                faults.nest(&format!("spec.rules[{i}].matches[{j}]"), one.faults());
            }
            faults.nest(&format!("spec.rules[{i}].default"), rule.default.faults());
        }
    }
}

fn backend_schema() -> Schema {
    let key_value =
        |key: Schema| schema::object([("key", key), ("value", schema::string())]).required(&["key", "value"]);
    let format = || {
        schema::object([
            ("type", schema::choice(FormatType::TEXTS)),
            ("plain", schema::string()),
            ("json", schema::array(key_value(schema::string()))),
            ("omitEmptyValues", schema::boolean().default_to(false)),
        ])
        .required(&["type"])
    };
    let tcp = schema::object([("address", schema::string().min_len(1)), ("format", format())]);
    let file = schema::object([("path", schema::string().min_len(1)), ("format", format())]);
    let attribute = key_value(schema::string().pattern(r"^[a-z]([a-z0-9]|[._][a-z0-9])*$"));
    let open_telemetry = schema::object([
        ("attributes", schema::array(attribute)),
        ("body", schema::any()),
        ("backendRef", otel_backend_ref::schema()),
    ]);
    schema::object([
        ("type", schema::choice(BackendType::TEXTS)),
        ("tcp", tcp.required(&["address"])),
        ("file", file.required(&["path"])),
        ("openTelemetry", open_telemetry),
    ])
    .required(&["type"])
}

impl Conf {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.backends {
            None => faults.add("backends", MUST_BE_DEFINED),
            Some(backends) => {
                for (k, backend) in backends.iter().enumerate() {
                    faults.nest(&format!("backends[{k}]"), backend.faults());
                }
            }
        }
        faults
    }
}

impl Backend {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            BackendType::File => match &self.file {
                None => faults.add("file", MUST_BE_DEFINED),
                Some(file) => {
                    if !is_file_path(&file.path) {
                        faults.add("file.path", "file backend requires a valid path");
                    }
                    nest_format(&mut faults, "file.format", file.format.as_ref());
                }
            },
            BackendType::Tcp => match &self.tcp {
                None => faults.add("tcp", MUST_BE_DEFINED),
                Some(tcp) => {
                    if !is_url(&tcp.address) {
                        faults.add("tcp.address", "tcp backend requires valid address");
                    }
                    nest_format(&mut faults, "tcp.format", tcp.format.as_ref());
                }
            },
            BackendType::OpenTelemetry => match &self.open_telemetry {
                None => faults.add("openTelemetry", MUST_BE_DEFINED),
                Some(backend) => faults.nest("openTelemetry", backend.faults()),
            },
            BackendType::Unknown(_) => faults.add("type", "unrecognized type"),
        }
        faults
    }
}

fn nest_format(faults: &mut Violations, path: &str, format: Option<&Format>) {
    if let Some(format) = format {
        faults.nest(path, format.faults());
    }
}

impl Format {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            FormatType::Plain => match self.plain.as_deref() {
                None => faults.add("plain", MUST_BE_DEFINED),
                Some("") => faults.add("plain", MUST_NOT_BE_EMPTY),
                Some(_) => {}
            },
            FormatType::Json => match &self.json {
                None => faults.add("json", MUST_BE_DEFINED),
                Some(fields) if fields.is_empty() => faults.add("json", MUST_NOT_BE_EMPTY),
                Some(fields) => {
                    for (n, field) in fields.iter().enumerate() {
                        faults.nest(&format!("json[{n}]"), field.faults());
                    }
                }
            },
            FormatType::Unknown(_) => faults.add("type", "unrecognized type"),
        }
        faults
    }
}

impl KeyValue {
    fn faults(&self) -> Violations {
        let Self { key, value } = self;
        let mut faults = Violations::new();
        if key.is_empty() {
            faults.add("key", "key cannot be empty");
        }
        if value.is_empty() {
            faults.add("value", "value cannot be empty");
        }
        // Both are spliced into the format as they are.
        let spliced = format!("{{\"{key}\": \"{value}\"}}");
        if serde_json::from_str::<Value>(&spliced).is_err() {
            faults.add("", "is not a valid JSON object");
        }
        faults
    }
}

impl OtelBackend {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        otel_backend_ref::check(&mut faults, self.backend_ref.as_ref());
        for (n, attribute) in self.attributes.iter().flatten().enumerate() {
            if let Some(message) = attribute_key_fault(&attribute.key) {
                faults.add(format!("attributes[{n}].key"), message);
            }
        }
        faults
    }
}

fn attribute_key_fault(key: &str) -> Option<&'static str> {
    let starts_well = key.starts_with(|c: char| c.is_ascii_lowercase());
    let words_fit = key
        .split(['.', '_'])
        .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if key.is_empty() {
        Some(MUST_BE_DEFINED)
    } else if key.contains('%') {
        Some("must be a static OpenTelemetry attribute name; placeholders are only supported in values")
    } else if key.starts_with("otel.") {
        Some("must not use the reserved OpenTelemetry prefix 'otel.'")
    } else if !starts_well || !words_fit {
        Some(
            "must start with a lowercase letter, use only lowercase letters, digits, '.' or '_', avoid consecutive delimiters, and end with a letter or digit",
        )
    } else {
        None
    }
}

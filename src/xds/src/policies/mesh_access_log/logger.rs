//! From a backend of a conf to an access logger of Envoy.

use serde_json::Value as Json;

use super::super::ProxyTraits;
use super::super::otel::{Collector, clean_name, is_piped};
use super::conf::{Backend, Conf, Format, KeyValue, OpenTelemetry};
use super::format::Operators;
use crate::envoy::accesslog::{AccessLog, AccessLogFilter, access_log};
use crate::envoy::core::data_source::Specifier;
use crate::envoy::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use crate::envoy::core::substitution_format_string::Format as Layout;
use crate::envoy::core::{DataSource, GrpcService, SubstitutionFormatString};
use crate::envoy::{Struct, Value, pack, value};
use crate::resource_set::{ClusterResource, Origin};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat};
use envoy_types::pb::envoy::extensions::access_loggers::open_telemetry::v3::OpenTelemetryAccessLogConfig;
use envoy_types::pb::opentelemetry::proto::common::v1::{
    AnyValue, ArrayValue, KeyValue as OtlpKeyValue, KeyValueList, any_value,
};

/// Loggers, and the clusters that they need.
#[derive(Default)]
pub(super) struct Loggers {
    pub(super) loggers: Vec<AccessLog>,
    pub(super) clusters: Vec<ClusterResource>,
}

impl Loggers {
    /// The loggers of a conf. A collector that does not exist is left out.
    pub(super) fn of(conf: &Conf, operators: &Operators, proxy: &ProxyTraits<'_>) -> Self {
        let mut loggers = Self::default();
        for backend in conf.backends.iter().flatten() {
            loggers.add(backend, operators, proxy);
        }
        loggers
    }

    /// All of them with this filter.
    pub(super) fn filtered(&self, filter: Option<&AccessLogFilter>) -> impl Iterator<Item = AccessLog> {
        self.loggers.iter().map(move |logger| AccessLog { filter: filter.cloned(), ..logger.clone() })
    }

    fn add(&mut self, backend: &Backend, operators: &Operators, proxy: &ProxyTraits<'_>) {
        match (backend.kind.as_str(), &backend.file, &backend.tcp, &backend.open_telemetry) {
            ("File", Some(file), _, _) => {
                let layout = match json_fields(file.format.as_ref()) {
                    Some(fields) => Layout::JsonFormat(json_struct(fields, operators)),
                    None => text_layout(&(line(file.format.as_ref(), operators) + "\n")),
                };
                self.loggers.push(file_logger(&file.path, layout, file.format.as_ref()));
            }
            ("Tcp", _, Some(tcp), _) => {
                let message = match json_fields(tcp.format.as_ref()) {
                    Some(fields) => value::Kind::StructValue(json_struct(fields, operators)),
                    None => value::Kind::StringValue(line(tcp.format.as_ref(), operators) + "\n"),
                };
                let address = value::Kind::StringValue(tcp.address.clone());
                let fields = [("address", address), ("message", message)];
                let fields = fields.map(|(key, kind)| (key.to_owned(), Value { kind: Some(kind) }));
                let pipe = proxy.socket(&format!("kuma-al-{}-{}", proxy.name, proxy.mesh));
                let layout = Layout::JsonFormat(Struct { fields: fields.into() });
                self.loggers.push(file_logger(&pipe, layout, tcp.format.as_ref()));
            }
            ("OpenTelemetry", _, _, Some(conf)) => self.add_collector(conf, operators, proxy),
            _ => {}
        }
    }

    fn add_collector(&mut self, conf: &OpenTelemetry, operators: &Operators, proxy: &ProxyTraits<'_>) {
        let Some(collector) = conf.backend_ref.as_ref().and_then(|reference| Collector::find(proxy, reference)) else {
            return;
        };
        let cluster = if is_piped(proxy) {
            format!("system_meshaccesslog_otel_{}", clean_name(&collector.name))
        } else {
            format!("system_meshaccesslog_{}", clean_name(&format!("{}-{}", collector.address, collector.port)))
        };
        self.clusters.push(collector.cluster(&cluster, Origin::MeshAccessLog, proxy));
        let attribute = |KeyValue { key, value }: &KeyValue| string_pair(key, &operators.replace(value));
        let resource = [
            ("kuma.mesh", operators.value("%KUMA_MESH%")),
            ("kuma.zone", operators.value("%KUMA_ZONE%")),
            ("kuma.workload", operators.value("%KUMA_WORKLOAD%")),
        ];
        let resource = resource.iter().filter(|(_, value)| !value.is_empty());
        let config = OpenTelemetryAccessLogConfig {
            log_name: "MeshAccessLog".to_owned(),
            grpc_service: Some(GrpcService {
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                    cluster_name: cluster,
                    ..Default::default()
                })),
                ..Default::default()
            }),
            body: Some(body(conf.body.as_ref(), operators)),
            attributes: Some(KeyValueList { values: conf.attributes.iter().map(attribute).collect() }),
            resource_attributes: Some(KeyValueList {
                values: resource.map(|(key, value)| string_pair(key, value)).collect(),
            }),
            ..Default::default()
        };
        self.loggers.push(logger("envoy.access_loggers.open_telemetry", pack(&config)));
    }
}

fn logger(name: &str, config: crate::envoy::Any) -> AccessLog {
    AccessLog { name: name.to_owned(), config_type: Some(access_log::ConfigType::TypedConfig(config)), filter: None }
}

fn file_logger(path: &str, layout: Layout, format: Option<&Format>) -> AccessLog {
    let log_format = SubstitutionFormatString {
        omit_empty_values: format.and_then(|format| format.omit_empty_values).unwrap_or_default(),
        format: Some(layout),
        ..Default::default()
    };
    let config =
        FileAccessLog { path: path.to_owned(), access_log_format: Some(AccessLogFormat::LogFormat(log_format)) };
    logger("envoy.access_loggers.file", pack(&config))
}

fn text_layout(text: &str) -> Layout {
    Layout::TextFormatSource(DataSource {
        specifier: Some(Specifier::InlineString(text.to_owned())),
        ..Default::default()
    })
}

/// The fields of a JSON format; a plain format takes precedence.
fn json_fields(format: Option<&Format>) -> Option<&[KeyValue]> {
    let format = format.filter(|format| format.plain.is_none())?;
    format.json.as_deref()
}

fn line(format: Option<&Format>, operators: &Operators) -> String {
    match format.and_then(|format| format.plain.as_ref()) {
        Some(plain) => operators.replace(plain),
        None => operators.default_line(),
    }
}

fn json_struct(fields: &[KeyValue], operators: &Operators) -> Struct {
    let field = |KeyValue { key, value }: &KeyValue| {
        (key.clone(), Value { kind: Some(value::Kind::StringValue(operators.replace(value))) })
    };
    Struct { fields: fields.iter().map(field).collect() }
}

fn string_value(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

fn string_pair(key: &str, value: &str) -> OtlpKeyValue {
    OtlpKeyValue { key: key.to_owned(), value: Some(string_value(value)), ..Default::default() }
}

/// What is logged: a value of OTLP's JSON form, or any other JSON as its text.
fn body(body: Option<&Json>, operators: &Operators) -> AnyValue {
    match body {
        None => string_value(&operators.default_line()),
        Some(json) => any_of(json, operators).unwrap_or_else(|| string_value(&operators.replace(&json.to_string()))),
    }
}

/// A value from OTLP's JSON form.
fn any_of(json: &Json, operators: &Operators) -> Option<AnyValue> {
    let fields = json.as_object().filter(|fields| fields.len() == 1)?;
    let (kind, inner) = fields.iter().next()?;
    let number = |json: &Json| json.as_i64().or_else(|| json.as_str()?.parse().ok());
    let value = match kind.as_str() {
        "stringValue" => any_value::Value::StringValue(operators.replace(inner.as_str()?)),
        "boolValue" => any_value::Value::BoolValue(inner.as_bool()?),
        "intValue" => any_value::Value::IntValue(number(inner)?),
        "doubleValue" => any_value::Value::DoubleValue(inner.as_f64()?),
        "arrayValue" => {
            let values = inner.get("values").and_then(Json::as_array)?.iter().map(|json| any_of(json, operators));
            any_value::Value::ArrayValue(ArrayValue { values: values.collect::<Option<_>>()? })
        }
        "kvlistValue" => {
            let pair = |json: &Json| {
                let key = operators.replace(json.get("key")?.as_str()?);
                Some(OtlpKeyValue { key, value: Some(any_of(json.get("value")?, operators)?), ..Default::default() })
            };
            let values = inner.get("values").and_then(Json::as_array)?.iter().map(pair);
            any_value::Value::KvlistValue(KeyValueList { values: values.collect::<Option<_>>()? })
        }
        _ => return None,
    };
    Some(AnyValue { value: Some(value) })
}

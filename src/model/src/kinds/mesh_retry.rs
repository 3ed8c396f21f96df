//! MeshRetry: which failed calls are tried again, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::headers::HeaderMatch;
use super::policy_parts::To;
use super::registered::plain;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshRetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshRetry {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Confs by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
}

/// Retries by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// Of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// Of HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Of gRPC requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
}

/// Retries of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tcp {
    /// Attempts to connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connect_attempt: Option<u32>,
}

/// Retries of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// How many; 0 configures none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_retries: Option<u32>,
    /// Timeout of each attempt; 0 means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<GoDuration>,
    /// Time between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_off: Option<BackOff>,
    /// Time between attempts when the server names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// What counts as a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<Vec<String>>,
    /// Responses that count as failures by their headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retriable_response_headers: Option<Vec<HeaderMatch>>,
    /// Requests that may be tried again by their headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retriable_request_headers: Option<Vec<HeaderMatch>>,
    /// Endpoints that are not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_selection: Option<Vec<HostSelection>>,
    /// Attempts to find an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_selection_max_attempts: Option<i64>,
}

/// Retries of gRPC requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grpc {
    /// How many; 0 configures none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_retries: Option<u32>,
    /// Timeout of each attempt; 0 means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<GoDuration>,
    /// Time between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_off: Option<BackOff>,
    /// Time between attempts when the server names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// What counts as a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<Vec<GrpcRetryOn>>,
}

text_enum! {
    /// Results of gRPC calls that count as failures.
    pub enum GrpcRetryOn {
        /// CANCELLED.
        Canceled = "Canceled",
        /// DEADLINE_EXCEEDED.
        DeadlineExceeded = "DeadlineExceeded",
        /// INTERNAL.
        Internal = "Internal",
        /// RESOURCE_EXHAUSTED.
        ResourceExhausted = "ResourceExhausted",
        /// UNAVAILABLE.
        Unavailable = "Unavailable",
    }
}

/// Time between attempts: grows from attempt to attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackOff {
    /// The first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_interval: Option<GoDuration>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<GoDuration>,
}

/// Time between attempts when the server names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimitedBackOff {
    /// Headers in which the server names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_headers: Option<Vec<ResetHeader>>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<GoDuration>,
}

text_enum! {
    /// How a header names a time.
    pub enum ResetFormat {
        /// Seconds from now.
        Seconds = "Seconds",
        /// Seconds since 1970.
        UnixTimestamp = "UnixTimestamp",
    }
}

/// A header in which the server names a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetHeader {
    /// Its name.
    pub name: String,
    /// How it names it.
    pub format: ResetFormat,
}

text_enum! {
    /// Which endpoints are not tried again.
    pub enum HostPredicate {
        /// Those that were tried.
        OmitPreviousHosts = "OmitPreviousHosts",
        /// Those with tags.
        OmitHostsWithTags = "OmitHostsWithTags",
        /// Those of priorities that were tried.
        OmitPreviousPriorities = "OmitPreviousPriorities",
    }
}

/// Endpoints that are not tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSelection {
    /// Which.
    pub predicate: HostPredicate,
    /// For `OmitHostsWithTags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// For `OmitPreviousPriorities`: after how many attempts priorities are weighed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_frequency: Option<i32>,
}

pub(crate) const CODEC: Codec = plain::<MeshRetry>();

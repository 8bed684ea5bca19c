//! Spans of time as text with units, such as `12s 345ms`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&spell(*span).map_err(S::Error::custom)?)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let span: SignedDuration = text.parse().map_err(D::Error::custom)?;
    Duration::try_from(span).map_err(D::Error::custom)
}

/// The text of a span.
fn spell(span: Duration) -> Result<String, jiff::Error> {
    Ok(format!("{:#}", SignedDuration::try_from(span)?))
}

/// The text of a span for people, to microseconds.
pub(crate) fn short(span: Duration) -> String {
    format!("{}.{:06} s", span.as_secs(), span.subsec_micros())
}

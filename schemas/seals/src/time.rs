//! Times as documents have them: RFC 3339 in UTC with six digits of a second and `Z`.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const FORM: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// A time of microseconds. It is written in one form alone, and no other is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(DateTime<Utc>);

impl Time {
    /// The time of that many microseconds since 1970, cut to what is told: the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        let least = DateTime::<Utc>::from_timestamp_micros(-62_135_596_800_000_000).expect("the year 1");
        let most = DateTime::<Utc>::from_timestamp_micros(253_402_300_799_999_999).expect("the year 9999");
        let time = DateTime::from_timestamp_micros(micros).unwrap_or(if micros < 0 { least } else { most });
        Self(time.clamp(least, most))
    }

    /// The time so many seconds later, cut to what the form can say.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self::from_micros(self.micros().saturating_add(micros_of(seconds)))
    }

    /// The microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }
}

/// Seconds as microseconds, cut to what fits.
pub fn micros_of(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl From<Time> for DateTime<Utc> {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = NaiveDateTime::parse_from_str(&text, FORM).map(|time| Self(time.and_utc())).ok();
        // A second that is put in between has no number of microseconds of its own.
        time.filter(|time| Self::from_micros(time.micros()) == *time && time.to_string() == text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no time such as 2026-11-23T10:00:00.000000Z")))
    }
}

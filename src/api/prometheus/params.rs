//! Parameters, from the URL and from a form: times, durations, selectors, limits.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;

use super::answer::{ApiError, pack};
use crate::api::gzip;
use crate::model::Matcher;
use crate::model::duration::parse_duration;
use crate::query;
use crate::query::ast::Node;

/// What a client sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    /// Whether the answer may be compressed.
    pub(super) gzip: bool,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (url, headers) = (request.uri().query().unwrap_or_default().to_string(), request.headers().clone());
        let gzip = gzip::wanted(&headers);
        let form = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default();
            kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        // A form comes before the URL, as in Go.
        let bytes = [if form { &body[..] } else { &[] }, url.as_bytes()];
        let pairs = bytes.into_iter().flat_map(url::form_urlencoded::parse);
        let params = Params { pairs: pairs.map(|(name, value)| (name.into(), value.into())).collect(), gzip };
        match params.pairs.len() {
            0..=MOST_PARAMETERS => Ok(params),
            _ => Err(pack(Err(ApiError::bad("too many parameters")), gzip).into_response()),
        }
    }
}

/// Parameters of one request: a dashboard sends some ten, and a rule view a hundred names.
const MOST_PARAMETERS: usize = 10_000;

impl Params {
    /// The first value of a name; empty where there is none, as Prometheus takes it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A time in milliseconds; `None` where it is not given.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => time(text).map(Some).ok_or_else(|| no_time(name, text)),
        }
    }

    /// A time that must be given.
    pub(super) fn needed_time(&self, name: &str) -> Result<i64, ApiError> {
        self.time(name)?.ok_or_else(|| no_time(name, ""))
    }

    /// A duration in milliseconds: seconds as a number, or in Prometheus' notation.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => match duration(text) {
                Some(millis) => Ok(Some(millis)),
                None => Err(no_duration(name, text)),
            },
        }
    }

    pub(super) fn needed_duration(&self, name: &str) -> Result<i64, ApiError> {
        self.duration(name)?.ok_or_else(|| no_duration(name, ""))
    }

    /// How many results are wanted; `usize::MAX` without a limit or with 0.
    pub(super) fn limit(&self, name: &str) -> Result<usize, ApiError> {
        match self.get(name) {
            "" => Ok(usize::MAX),
            text => match text.parse::<usize>() {
                Ok(0) => Ok(usize::MAX),
                Ok(limit) => Ok(limit),
                Err(_) => Err(ApiError::parameter(name, format_args!("{text:?} is not a number from 0 on"))),
            },
        }
    }

    /// The selectors of `match[]`, each a list of matchers.
    pub(super) fn matchers(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        self.all("match[]").map(selector).collect()
    }

    /// The time between `start` and `end` in milliseconds, which may be open at both ends.
    pub(super) fn span(&self) -> Result<(i64, i64), ApiError> {
        let (start, end) = (self.time("start")?.unwrap_or(i64::MIN), self.time("end")?.unwrap_or(i64::MAX));
        if end < start {
            return Err(ApiError::parameter("end", "end timestamp must not be before start timestamp"));
        }
        Ok((start, end))
    }
}

fn no_time(name: &str, text: &str) -> ApiError {
    ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
}

fn no_duration(name: &str, text: &str) -> ApiError {
    ApiError::parameter(name, format_args!("cannot parse {text:?} to a valid duration"))
}

fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    let expr = query::parse(text).map_err(|error| ApiError::parse("match[]", text, &error))?;
    match &expr.bare().node {
        Node::Vector(selector) if selector.shift.offset.is_none() && selector.shift.at.is_none() => {
            Ok(selector.matchers.clone())
        }
        _ => Err(ApiError::parameter("match[]", format_args!("{text:?} is not a series selector"))),
    }
}

/// Times as clients send them for "from the beginning" and "to the end": Go's least and greatest.
const LEAST: &str = "-292273086-05-16T16:47:06Z";
const GREATEST: &str = "292277025-08-18T07:12:54.999999999Z";

/// Seconds since the epoch with a fraction, or RFC 3339; in milliseconds.
pub(super) fn time(text: &str) -> Option<i64> {
    if let Some(millis) = text.parse::<f64>().ok().and_then(|seconds| whole(seconds * 1000.0)) {
        return Some(millis);
    }
    match text {
        LEAST => Some(i64::MIN),
        GREATEST => Some(i64::MAX),
        text => DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis()),
    }
}

/// Seconds as a number, or Prometheus' notation; in milliseconds.
fn duration(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => whole(seconds * 1000.0),
        Err(_) => parse_duration(text).ok().map(|span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
    }
}

/// Rounded, where it fits.
fn whole(millis: f64) -> Option<i64> {
    // 2^63 is a float, and the first that does not fit.
    let fits = millis.is_finite() && millis.abs() < 9_223_372_036_854_775_808.0;
    fits.then(|| millis.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_as_prometheus_takes_them() {
        assert_eq!(time("1435781430.781"), Some(1_435_781_430_781));
        assert_eq!(time("2015-07-01T20:10:30.781Z"), Some(1_435_781_430_781));
        assert_eq!(time("2015-07-01T22:10:30.781+02:00"), Some(1_435_781_430_781));
        assert_eq!((time(LEAST), time(GREATEST)), (Some(i64::MIN), Some(i64::MAX)));
        for wrong in ["", "now", "NaN", "Inf", "1e300", "2015-07-01"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
        assert_eq!((duration("1m30s"), duration("0.5"), duration("15")), (Some(90_000), Some(500), Some(15_000)));
        assert_eq!((duration("x"), duration("NaN"), duration("1e30")), (None, None, None));
    }

    #[test]
    fn selectors_are_selectors() {
        assert_eq!(selector("up{job=\"a\"}").unwrap().len(), 2);
        for wrong in ["up[5m]", "up + 1", "sum(up)", "up offset 5m", "{}", "1", ""] {
            assert!(selector(wrong).is_err(), "{wrong}");
        }
    }
}

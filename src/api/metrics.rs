//! `/metrics`: which format, which compression.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::base::Base;
use super::gzip;
use super::problem::Problem;
use crate::store::Format;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the page. `?kind=axeos` narrows it to targets of one kind: vmagent refuses bodies over 16 MiB by default.
pub(super) async fn metrics(
    State(base): State<Base>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let accept = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = negotiate(accept(header::ACCEPT));
    let gzip = gzip::wanted(&headers);
    let work = move || {
        let page = base.page(format, query.get("kind").map(String::as_str));
        if gzip { gzip::compress(&page).map(|packed| (packed, true)) } else { Ok((page, false)) }
    };
    // Rendering and compressing a large page takes milliseconds of CPU: not on a thread that others wait for.
    let (body, packed) = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let kind = match format {
        Format::Text => TEXT,
        Format::OpenMetrics => OPEN_METRICS,
    };
    let mut response =
        ([(header::CONTENT_TYPE, kind), (header::VARY, "accept, accept-encoding")], body).into_response();
    if packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    response
}

/// The format with the highest quality value; Prometheus text where nothing else is asked for.
fn negotiate(accept: &str) -> Format {
    let quality = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next()?;
            let q = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f64>().ok())?;
            (name == wanted).then_some(q)
        });
        ranges.fold(0.0, f64::max)
    };
    let open_metrics = quality("application/openmetrics-text");
    if open_metrics > 0.0 && open_metrics >= quality("text/plain") { Format::OpenMetrics } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates_as_prometheus_asks() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(prometheus), Format::OpenMetrics);
        let text_first = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.6";
        for accept in ["", "*/*", "text/html", "text/plain", text_first, "application/openmetrics-text;q=0"] {
            assert_eq!(negotiate(accept), Format::Text, "{accept}");
        }
    }
}

//! `/api/v1/read`: Prometheus remote read. Raw samples, stale markers and native histograms included: for a Prometheus that
//! looks into our history, and for `davylamp rules replay`.

use axum::body::Bytes;
use axum::extract::State;

use super::Backend;
use super::answer::{ApiError, ErrorType, Packed};
use super::params::Params;
use super::work::{self, Job};
use crate::model::{Series, Source, SourceError};
use crate::wire;

/// Samples of one answer; each takes some 16 bytes in it. Whoever wants more asks for a shorter time.
const MOST_SAMPLES: usize = 1_000_000;

pub(super) async fn read(State(backend): State<Backend>, body: Bytes) -> Packed {
    let caps =
        wire::Caps { compressed: wire::MOST_READ_BYTES, decompressed: wire::MOST_READ_BYTES, ..wire::Caps::STANDARD };
    let queries = match wire::decompress(&body, &caps).and_then(|body| wire::read_queries(&body)) {
        Ok(queries) => queries,
        Err(error) => return Packed::from(ApiError::bad(error.to_string())),
    };
    work::run_bytes(&backend, Params::default(), move |job| results(job, &queries)).await
}

fn results(job: &Job, queries: &[wire::ReadQuery]) -> Result<Vec<u8>, ApiError> {
    let mut results: Vec<Vec<Series>> = Vec::new();
    for query in queries {
        let found = job.source.select(&query.matchers, query.start, query.end);
        results.push(found.map_err(|error| ApiError::new(ErrorType::Execution, error.to_string()))?);
        if job.source.loaded() > MOST_SAMPLES {
            let error = SourceError::TooManySamples { limit: MOST_SAMPLES };
            return Err(ApiError::new(ErrorType::Execution, error.to_string()));
        }
    }
    wire::compress(&wire::write_read_results(&results))
        .map_err(|error| ApiError::new(ErrorType::Execution, error.to_string()))
}

//! Remote read: raw samples asked for and given (`ReadRequest` and `ReadResponse` of `prometheus/prompb/remote.proto`,
//! <https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/>). Queries over HTTP do not show stale markers
//! and the exact form of histograms; this does. Of the two forms of a response only samples are spoken, which every
//! client accepts.

use bytes::Bytes;
use prost::Message as _;

use super::fields::{Field, Fields};
use super::write::v1;
use super::{Caps, Message, WireError, read};
use crate::model::{MatchOp, Matcher, Series};

/// Queries of one request: Prometheus sends one.
const MOST_QUERIES: usize = 16;
/// Matchers of one query.
const MOST_MATCHERS: usize = 64;
/// Bytes of a request after decompression.
pub const MOST_BYTES: usize = 64 << 10;

/// A request for samples.
#[derive(Clone, Debug)]
pub struct ReadQuery {
    /// First time, milliseconds since the epoch.
    pub start: i64,
    /// Last time, milliseconds since the epoch.
    pub end: i64,
    /// All must match.
    pub matchers: Vec<Matcher>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<QueryMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct QueryMessage {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<MatcherMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MatcherMessage {
    #[prost(int32, tag = "1")]
    op: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<super::message::SeriesV1>,
}

const REQUEST: &str = "prometheus.ReadRequest";
const RESPONSE: &str = "prometheus.ReadResponse";

/// The operators in the order of their numbers.
const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

fn bad(message: &'static str, reason: &'static str) -> WireError {
    WireError::Protobuf { message, reason }
}

/// Writes a request of one query, not compressed.
pub fn write_read_query(query: &ReadQuery) -> Vec<u8> {
    let matcher = |matcher: &Matcher| MatcherMessage {
        op: OPS.iter().position(|op| *op == matcher.op).map_or(0, |op| op as i32),
        name: matcher.name.clone(),
        value: matcher.value.clone(),
    };
    let matchers = query.matchers.iter().map(matcher).collect();
    ReadRequest { queries: vec![QueryMessage { start: query.start, end: query.end, matchers }] }.encode_to_vec()
}

/// Reads a decompressed request; at most [`MOST_BYTES`] of it.
///
/// # Errors
/// [`WireError`] when it is no such message, or more than one may ask for.
pub fn read_queries(body: &Bytes) -> Result<Vec<ReadQuery>, WireError> {
    if body.len() > MOST_BYTES {
        return Err(WireError::TooMuch { what: "bytes after decompression", limit: MOST_BYTES });
    }
    let request = ReadRequest::decode(body.clone()).map_err(|_| bad(REQUEST, "it does not decode"))?;
    if request.queries.len() > MOST_QUERIES {
        return Err(WireError::TooMuch { what: "queries", limit: MOST_QUERIES });
    }
    let query = |query: QueryMessage| {
        if query.matchers.len() > MOST_MATCHERS {
            return Err(WireError::TooMuch { what: "matchers", limit: MOST_MATCHERS });
        }
        let matcher = |matcher: MatcherMessage| {
            let op = usize::try_from(matcher.op).ok().and_then(|op| OPS.get(op));
            let op = *op.ok_or_else(|| bad(REQUEST, "a matcher has an unknown type"))?;
            Matcher::new(matcher.name, op, matcher.value)
                .map_err(|_| bad(REQUEST, "a matcher is no regular expression"))
        };
        let matchers = query.matchers.into_iter().map(matcher).collect::<Result<_, _>>()?;
        Ok(ReadQuery { start: query.start, end: query.end, matchers })
    };
    request.queries.into_iter().map(query).collect()
}

/// Writes a response, one list of series for each query, not compressed.
pub fn write_read_results(results: &[Vec<Series>]) -> Vec<u8> {
    let result = |all: &Vec<Series>| QueryResult {
        series: all.iter().map(|series| v1(&series.labels, &series.points, &series.histograms)).collect(),
    };
    ReadResponse { results: results.iter().map(result).collect() }.encode_to_vec()
}

/// Reads the response to a request of one query, decompressed. Nothing is built before it is counted.
///
/// # Errors
/// [`WireError`] when it is no such message, more than the caps allow, or holds a series that cannot be taken.
pub fn read_result(body: &Bytes, caps: &Caps) -> Result<Vec<Series>, WireError> {
    let mut all = Vec::new();
    for field in Fields::of(body, RESPONSE) {
        // A result is laid out like a write request that holds nothing but series.
        let (1, Field::Bytes(begin, result)) = field? else { continue };
        let result = body.slice(begin..begin + result.len());
        for series in read(&result, Message::V1, caps)?.series {
            let labels = series.labels.map_err(|_| bad(RESPONSE, "a series has labels that none may have"))?;
            let histograms = series.histograms.into_iter().map(|(t, histogram)| Some((t, histogram.ok()?)));
            let histograms: Option<Vec<_>> = histograms.collect();
            let histograms = histograms.ok_or_else(|| bad(RESPONSE, "a histogram cannot be read"))?;
            all.push(Series { labels, points: series.samples, histograms, starts: series.starts });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::{is_stale, stale_nan};
    use crate::model::{FloatHistogram, Labels, Point};

    #[test]
    fn questions_come_back_as_they_went() {
        let matchers = ["a=\"b\"", "c!=\"d\"", "e=~\"f.*\"", "g!~\"h\""].map(|text| Matcher::parse(text).unwrap());
        let sent = ReadQuery { start: -5, end: 1_700_000_000_000, matchers: matchers.to_vec() };
        let back = read_queries(&write_read_query(&sent).into()).unwrap().remove(0);
        assert_eq!((back.start, back.end), (sent.start, sent.end));
        let text = |query: &ReadQuery| query.matchers.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&back), text(&sent));
    }

    #[test]
    fn samples_come_back_with_stale_markers_and_histograms() {
        let labels = |name: &'static str| Labels::new([("__name__", name)]);
        let points = vec![Point { t: 1, v: 1.5 }, Point { t: 2, v: stale_nan() }];
        let native = FloatHistogram { count: 2.0, sum: 3.0, zero_count: 2.0, ..FloatHistogram::default() };
        let histogram = Series { histograms: vec![(3, native.into())], ..Series::floats(labels("h"), vec![]) };
        let body = write_read_results(&[vec![Series::floats(labels("a"), points), histogram.clone()]]);
        let back = read_result(&body.into(), &Caps::STANDARD).unwrap();
        assert_eq!(back.len(), 2);
        assert!(back[0].points[0].v == 1.5 && is_stale(back[0].points[1].v));
        assert_eq!(back[1], histogram);
    }

    #[test]
    fn hostile_questions_are_refused() {
        let many = ReadRequest { queries: vec![QueryMessage::default(); MOST_QUERIES + 1] };
        let wide = QueryMessage { matchers: vec![MatcherMessage::default(); MOST_MATCHERS + 1], ..Default::default() };
        let strange = MatcherMessage { op: 7, ..Default::default() };
        let broken = MatcherMessage { op: 2, value: "(".into(), ..Default::default() };
        let one = |matcher| QueryMessage { matchers: vec![matcher], ..Default::default() };
        let mut bodies = vec![many.encode_to_vec(), vec![0xff; 9], vec![0; MOST_BYTES + 1]];
        bodies.extend(
            [wide, one(strange), one(broken)].map(|query| ReadRequest { queries: vec![query] }.encode_to_vec()),
        );
        for body in bodies {
            assert!(read_queries(&body.into()).is_err());
        }
    }
}

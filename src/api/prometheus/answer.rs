//! The envelope of every answer: `status`, `data`, `errorType`, `error`, `warnings`, `infos`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::json;
use crate::api::gzip;
use crate::query::{Annotation, QueryError, QueryErrorKind, Severity};

/// What Prometheus calls the sort of an error, with its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorType {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Internal,
}

impl ErrorType {
    fn words(self) -> (&'static str, StatusCode) {
        match self {
            ErrorType::BadData => ("bad_data", StatusCode::BAD_REQUEST),
            ErrorType::Execution => ("execution", StatusCode::UNPROCESSABLE_ENTITY),
            ErrorType::Timeout => ("timeout", StatusCode::SERVICE_UNAVAILABLE),
            ErrorType::Canceled => ("canceled", StatusCode::SERVICE_UNAVAILABLE),
            ErrorType::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ApiError {
    pub(super) sort: ErrorType,
    pub(super) text: String,
}

impl ApiError {
    pub(super) fn new(sort: ErrorType, text: impl Into<String>) -> Self {
        ApiError { sort, text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        ApiError::new(ErrorType::BadData, text)
    }

    /// In Prometheus' words.
    pub(super) fn parameter(name: &str, text: impl std::fmt::Display) -> Self {
        ApiError::bad(format!("invalid parameter {name:?}: {text}"))
    }

    /// A text that is no PromQL, with the place as Prometheus writes it.
    pub(super) fn parse(parameter: &str, text: &str, error: &QueryError) -> Self {
        let place = error.span.map(|span| span.line_column(text)).unwrap_or((1, 1));
        ApiError::parameter(parameter, format_args!("{}:{}: parse error: {error}", place.0, place.1))
    }

    /// A query that cannot be answered.
    pub(super) fn execution(text: &str, error: &QueryError) -> Self {
        match (&error.kind, error.span) {
            // Prometheus finds these before it evaluates.
            (QueryErrorKind::Type(_), Some(_)) => ApiError::parse("query", text, error),
            (QueryErrorKind::TooSlow { .. }, _) => ApiError::new(ErrorType::Timeout, error.to_string()),
            _ => ApiError::new(ErrorType::Execution, error.to_string()),
        }
    }
}

/// A good answer.
#[derive(Debug, Default)]
pub(super) struct Good {
    /// JSON.
    pub(super) data: String,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

impl From<Value> for Good {
    fn from(data: Value) -> Self {
        Good { data: data.to_string(), ..Good::default() }
    }
}

impl Good {
    /// Says what there is to say of the query `text`.
    pub(super) fn annotate(&mut self, annotations: &[Annotation], text: &str) {
        for annotation in annotations {
            let list = match annotation.severity {
                Severity::Warning => &mut self.warnings,
                Severity::Info => &mut self.infos,
            };
            list.push(annotation.render(text));
        }
    }

    /// Says that not all is there.
    pub(super) fn truncated(&mut self) {
        self.warnings.push("results truncated due to limit".to_string());
    }

    fn body(self) -> String {
        let mut body = String::with_capacity(self.data.len() + 64);
        body.push_str("{\"status\":\"success\",\"data\":");
        body.push_str(&self.data);
        for (key, list) in [("warnings", self.warnings), ("infos", self.infos)] {
            if !list.is_empty() {
                body.push_str(&format!(",\"{key}\":{}", Value::from(list)));
            }
        }
        body.push('}');
        body
    }
}

/// A finished answer: bytes, and whether they are compressed.
pub(super) struct Packed {
    status: StatusCode,
    body: Vec<u8>,
    form: Form,
}

/// What the bytes are.
enum Form {
    Json,
    Gzip,
    /// Protobuf in snappy.
    Snappy,
}

impl Packed {
    /// A message of protobuf, packed with snappy.
    pub(super) fn snappy(body: Vec<u8>) -> Self {
        Packed { status: StatusCode::OK, body, form: Form::Snappy }
    }
}

impl From<ApiError> for Packed {
    fn from(error: ApiError) -> Self {
        pack(Err(error), false)
    }
}

/// Writes an answer out; takes as long as it is large.
pub(super) fn pack(outcome: Result<Good, ApiError>, gzip: bool) -> Packed {
    let (status, body) = match outcome {
        Ok(good) => (StatusCode::OK, good.body()),
        Err(ApiError { sort, text }) => {
            let (word, status) = sort.words();
            let mut body = format!("{{\"status\":\"error\",\"errorType\":\"{word}\",\"error\":");
            json::text(&mut body, &text);
            body.push('}');
            (status, body)
        }
    };
    match gzip.then(|| gzip::compress_if_large(body.as_bytes())).flatten() {
        Some(body) => Packed { status, body, form: Form::Gzip },
        None => Packed { status, body: body.into_bytes(), form: Form::Json },
    }
}

impl IntoResponse for Packed {
    fn into_response(self) -> Response {
        let (media, encoding) = match self.form {
            Form::Json => ("application/json", None),
            Form::Gzip => ("application/json", Some("gzip")),
            Form::Snappy => ("application/x-protobuf", Some("snappy")),
        };
        let head = [(header::CONTENT_TYPE, media), (header::VARY, "accept-encoding")];
        let mut response = (self.status, head, self.body).into_response();
        if let Some(encoding) = encoding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

//! Kind `http_json`: any HTTP API that answers with JSON; the configuration declares what its values mean.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::declare;
use super::document;
use super::mapping::{Mapping, MappingError};
use crate::collect::http::{CREDENTIAL_DOC, GZIP_DOC, KEEP_ALIVE_DOC, NETWORK_DOC, TLS_DOC};
use crate::collect::http::{Credential, Endpoint, Keep, Network, Settings, TlsOptions, checked_url};
use crate::collect::{Collector, Kind, Opened, OptionDoc, OptionError, ParseError, Reply, Support, read_options};
use crate::model::{PollFailure, Reading, Target};

/// The row of this kind in the table of kinds.
pub const KIND: Kind = Kind {
    name: "http_json",
    summary: "any HTTP API that answers with JSON; its values are declared in the configuration",
    subject: SUBJECT,
    support: Support::Recorded,
    default_address: "the URL",
    min_interval: std::time::Duration::from_secs(1),
    families: &[],
    options: OPTIONS,
    commands: &[],
    open,
};

const SUBJECT: &str = "target";

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "url", help: "the URL, if it does not stand under `address`" },
    OptionDoc { name: "method", help: "GET (default), POST or PUT; POST is the default with a body" },
    OptionDoc { name: "headers", help: "map of headers without secrets; Accept is application/json by default" },
    OptionDoc { name: "body", help: "text, or a mapping that is sent as JSON" },
    CREDENTIAL_DOC,
    TLS_DOC,
    NETWORK_DOC,
    GZIP_DOC,
    KEEP_ALIVE_DOC,
    OptionDoc { name: "max_body", help: "largest answer in bytes, before and after decompression; default 2097152" },
    OptionDoc {
        name: "max_series",
        help: "most series that the document may become; more fail the poll; default 1000",
    },
    OptionDoc {
        name: "values",
        help: "list of {name, type: gauge|counter|info|unknown, help, path: JSONPath (RFC 9535), each: JSONPath to the \
               elements that become label sets, labels: {name: constant | {path: …} | {key: true}}, convert: \
               number|si|bool|iso_time|epoch_ms|duration|length, scale: factor to the base unit, states: {label, map: \
               {word: state}, other: state}}; within `each`, `$` is the element",
    },
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    url: Option<String>,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    credential: Option<Credential>,
    tls: Option<TlsOptions>,
    network: Option<Network>,
    #[serde(default = "yes")]
    gzip: bool,
    #[serde(default = "yes")]
    keep_alive: bool,
    #[serde(default = "max_body")]
    max_body: usize,
    #[serde(default = "max_series")]
    max_series: usize,
    values: Vec<declare::ValueOptions>,
}

fn yes() -> bool {
    true
}

fn max_body() -> usize {
    crate::collect::http::DEFAULT_MAX_BODY
}

fn max_series() -> usize {
    1000
}

struct HttpJson {
    endpoint: Endpoint,
    mapping: Mapping,
    max_series: usize,
}

fn open(target: &Target) -> Opened {
    let options: Options = read_options(target)?;
    let url = match (target.address.as_str(), &options.url) {
        ("", Some(url)) => checked_url(url, "options.url")?,
        ("", None) => {
            return Err(OptionError::new("address", "is missing: write the URL here or under options.url").into());
        }
        (address, None) => checked_url(address, "address")?,
        (_, Some(_)) => return Err(OptionError::new("options.url", "the URL stands under `address` already").into()),
    };
    let mut headers: BTreeMap<String, String> =
        options.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    headers.entry("accept".into()).or_insert_with(|| "application/json".into());
    let body = options.body.map(|body| match body {
        Value::String(text) => text,
        json => {
            headers.entry("content-type".into()).or_insert_with(|| "application/json".into());
            json.to_string()
        }
    });
    let method = options.method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_string());
    if method.eq_ignore_ascii_case("HEAD") {
        return Err(OptionError::new("options.method", "HEAD brings no document").into());
    }
    let mapping = declare::check(options.values, SUBJECT)?;
    let endpoint = Endpoint::open(
        url,
        Settings {
            method,
            headers,
            body,
            credential: options.credential,
            tls: options.tls,
            network: options.network,
            keep: if options.keep_alive { Keep::Alive } else { Keep::Close },
            gzip: options.gzip,
            max_body: options.max_body,
            timeout: target.timeout,
        },
    )?;
    Ok(Box::new(HttpJson { endpoint, mapping, max_series: options.max_series }))
}

impl Collector for HttpJson {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async { Ok(vec![self.endpoint.ask().await?]) })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        let [reply] = replies else {
            let reason = format!("exactly one document is expected, here are {}", replies.len());
            return Err(ParseError::Malformed { request: "document".to_string(), reason });
        };
        let malformed = |reason: String| ParseError::Malformed { request: reply.request.clone(), reason };
        let too_large = |reason: String| ParseError::TooLarge { request: reply.request.clone(), reason };
        let document = document(reply)?;
        self.mapping.read(&document, self.max_series).map_err(|error| match error {
            MappingError::TooManySeries { .. } => too_large(error.to_string()),
            _ => malformed(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use serde_json::json;
    use std::time::Duration;

    fn open_with(address: &str, options: Value) -> Result<Box<dyn Collector>, String> {
        let target = Target {
            id: "t".into(),
            kind: "http_json".into(),
            address: address.into(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            cron: None,
            labels: Labels::empty(),
            options,
        };
        open(&target).map_err(|errors| errors[0].to_string())
    }

    /// The options of one good value, with `changes` on top.
    fn value(changes: Value) -> Value {
        let mut value = json!({"name": "a", "help": "h", "path": "$.a"});
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        json!({"values": [value]})
    }

    #[test]
    fn mistakes_in_values_are_named() {
        for (changes, expected) in [
            (json!({"path": "a.b"}), "path: \"a.b\" is not a JSONPath (RFC 9535): it begins with $, as in $.a.b"),
            (json!({"path": "$.a["}), "path: \"$.a[\" is not a JSONPath (RFC 9535): cannot read \"[\" at column 4"),
            (
                json!({"path": "$[99999999999999999999]"}),
                "path: \"$[99999999999999999999]\" is not a JSONPath (RFC 9535): cannot read ",
            ),
            (json!({"path": null}), "path: is missing: where in the document is the value?"),
            (json!({"each": "$.["}), "each: \"$.[\" is not a JSONPath"),
            (json!({"pth": "$"}), "pth: unknown key \"pth\"; did you mean \"path\"?"),
            (json!({"name": "a-b"}), "name: \"a-b\" is not a metric name: letters, digits and _, no digit first"),
            (json!({"name": "up"}), "name: up is reserved: davylamp writes it itself"),
            (json!({"name": "a_total"}), "name: a_total ends in _total, so write `type: counter`, or rename it"),
            (json!({"type": "counter"}), "name: a is a counter and has to end in _total: a_total"),
            (json!({"type": "info"}), "name: a is an info metric and has to end in _info: a_info"),
            (json!({"type": "summary"}), "type: cannot be declared: write gauge, counter, info or unknown"),
            (json!({"type": "gaug"}), "type: unknown word \"gaug\"; did you mean \"gauge\"?"),
            (json!({"help": " "}), "help: is missing: say in one sentence what the value is"),
            (json!({"scale": 0}), "scale: 0 makes every value meaningless"),
            (json!({"labels": {"a b": "x"}}), "labels.a b: \"a b\" is not a label name"),
            (
                json!({"labels": {"target": "x"}}),
                "labels.target: target is the label that carries the id of the target",
            ),
            (json!({"labels": {"le": "x"}}), "labels.le: le is reserved by Prometheus"),
            (json!({"labels": {"__x": "x"}}), "labels.__x: __x is reserved by Prometheus"),
            (json!({"labels": {"x": {"pth": "$"}}}), "labels.x: is none of a constant, {path: $.…} or {key: true}"),
            (json!({"labels": {"x": {"path": "y"}}}), "labels.x.path: \"y\" is not a JSONPath"),
            (
                json!({"name": "a_info", "type": "info", "path": null, "labels": {"x": {"key": true}}}),
                "labels: {key: true} needs `each` or `path`: there is no key otherwise",
            ),
            (json!({"states": {"label": "s", "map": {}}}), "states.map: is empty"),
            (
                json!({"states": {"label": "s", "map": {"a": "b"}}, "scale": 2}),
                "states: is 0 or 1 already: leave out convert and scale",
            ),
        ] {
            let error = open_with("http://x/", value(changes.clone())).err().unwrap_or_default();
            let expected = format!("options.values[0].{expected}");
            assert!(error.starts_with(&expected), "{changes}: {error}\n  not: {expected}");
        }
    }

    #[test]
    fn a_name_means_one_thing() {
        let error = |second: Value| {
            open_with("http://x/", json!({"values": [{"name": "a", "help": "h", "path": "$.a"}, second]})).err()
        };
        assert_eq!(error(json!({"name": "a", "path": "$.b"})), None);
        assert_eq!(
            error(json!({"name": "a", "help": "other", "path": "$.b"})).unwrap(),
            "options.values[1].help: is not the one that options.values[0] gives this name"
        );
        assert_eq!(
            error(json!({"name": "a", "type": "unknown", "path": "$.b"})).unwrap(),
            "options.values[1].type: is not the one that options.values[0] gives this name"
        );
    }

    #[test]
    fn mistakes_in_the_request_are_named() {
        for (address, changes, expected) in [
            ("", json!({}), "address: is missing: write the URL here or under options.url"),
            ("http://x/", json!({"url": "http://y/"}), "options.url: the URL stands under `address` already"),
            ("x/y", json!({}), "address: not a URL (relative URL without a base): write http://host:port/path"),
            ("http://x/", json!({"method": "DELETE"}), "options.method: \"DELETE\" is not GET, HEAD, POST or PUT"),
            ("http://x/", json!({"method": "get", "body": "x"}), "options.body: GET has no body: use POST"),
            (
                "http://x/",
                json!({"headers": {"Authorization": "Bearer x"}}),
                "options.headers.authorization: may hold a secret: write it under options.credential, by reference",
            ),
            ("http://x/", json!({"headers": {"Host": "y"}}), "options.headers.host: is set by davylamp itself"),
            ("http://x/", json!({"values": []}), "options.values: is empty: declare at least one value"),
            (
                "http://x/",
                json!({"credential": {"header": {"name": "a b", "value": {"env": "X"}}}}),
                "options.credential.header.name: \"a b\" is not a header name",
            ),
        ] {
            let mut options = value(json!({}));
            for (key, change) in changes.as_object().unwrap() {
                options[key] = change.clone();
            }
            assert_eq!(open_with(address, options).err().as_deref(), Some(expected));
        }
        assert!(open_with("http://x/", json!({})).err().unwrap_or_default().contains("\"values\" is missing"));
    }

    #[test]
    fn hostile_documents_fail_with_a_reason() {
        let collector = open_with("http://x/", value(json!({}))).unwrap();
        let failure = |body: String| collector.parse(&[Reply::new("GET /", body)]).unwrap_err();
        for (body, expected) in [
            (String::new(), "GET /: not JSON: EOF while parsing a value at line 1 column 0"),
            (
                " <html>".into(),
                "GET /: not JSON: expected value at line 1 column 2; this is HTML or XML, check the URL",
            ),
            ("{\"a\": 1".into(), "GET /: not JSON: EOF while parsing an object at line 1 column 7"),
            (
                "{}".into(),
                "GET /: nothing of what is declared is in the document; the first path that matched nothing is $.a",
            ),
        ] {
            assert_eq!(failure(body).to_string(), expected);
        }
        assert!(matches!(failure("[".repeat(1000)), ParseError::Malformed { .. }), "nesting");
        assert!(matches!(failure("[".repeat(200_000)), ParseError::TooLarge { .. }), "nesting");
        assert!(matches!(failure(format!("[{}0]", "{\"\":0},".repeat(40_000))), ParseError::TooLarge { .. }));
        let braces_in_a_string = format!("{{\"a\": 1, \"b\": \"\\\"{}\"}}", "{,".repeat(300_000));
        assert_eq!(collector.parse(&[Reply::new("GET /", braces_in_a_string)]).unwrap().samples.len(), 1);
    }
}

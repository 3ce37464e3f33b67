//! Kind `prometheus`: polls a metrics page and carries its families on, within limits.

use futures_util::future::BoxFuture;
use regex::Regex;

use super::http::{CREDENTIAL_DOC, GZIP_DOC, KEEP_ALIVE_DOC, NETWORK_DOC, TLS_DOC};
use super::http::{Credential, Endpoint, Keep, Network, Settings, TlsOptions, checked_url};
use super::{Collector, Kind, Opened, OptionDoc, OptionError, ParseError, Reply, Support, read_options};
use crate::model::matcher::anchored;
use crate::model::{PollFailure, Reading, Target};

mod created;
mod line;
pub mod text;

use text::TextLimits;

/// The row of this kind in the table of kinds.
pub const KIND: Kind = Kind {
    name: "prometheus",
    summary: "any page in Prometheus text or OpenMetrics format; its families are carried on",
    subject: "target",
    support: Support::Recorded,
    default_address: "host:9100, or a whole URL",
    min_interval: std::time::Duration::from_secs(1),
    families: &[],
    options: OPTIONS,
    commands: &[],
    open,
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "path", help: "path of the page, with its query if it needs one; default /metrics" },
    OptionDoc { name: "scheme", help: "http (default) or https" },
    CREDENTIAL_DOC,
    TLS_DOC,
    NETWORK_DOC,
    GZIP_DOC,
    KEEP_ALIVE_DOC,
    OptionDoc {
        name: "allow",
        help: "list of regular expressions on whole series names (x_bucket, x_total); only what one matches is kept; \
               default: everything",
    },
    OptionDoc { name: "deny", help: "list of regular expressions; what one matches is left out, even if allowed" },
    OptionDoc { name: "max_body", help: "largest page in bytes, before and after decompression; default 4194304" },
    OptionDoc { name: "max_samples", help: "most samples that are kept; more fail the poll; default 10000" },
    OptionDoc { name: "max_labels", help: "most labels of one sample; default 30" },
    OptionDoc { name: "max_name", help: "longest metric or label name in bytes; default 200" },
    OptionDoc { name: "max_value", help: "longest label value in bytes; default 1024" },
];

/// OpenMetrics first, as Prometheus asks, so that the names are those which Prometheus would see.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    path: Option<String>,
    scheme: Option<String>,
    credential: Option<Credential>,
    tls: Option<TlsOptions>,
    network: Option<Network>,
    gzip: bool,
    keep_alive: bool,
    allow: Vec<String>,
    deny: Vec<String>,
    max_body: usize,
    max_samples: usize,
    max_labels: usize,
    max_name: usize,
    max_value: usize,
}

impl Default for Options {
    fn default() -> Self {
        let TextLimits { max_samples, max_labels, max_name, max_value } = TextLimits::default();
        Options {
            path: None,
            scheme: None,
            credential: None,
            tls: None,
            network: None,
            gzip: true,
            keep_alive: true,
            allow: Vec::new(),
            deny: Vec::new(),
            max_body: 4 << 20,
            max_samples,
            max_labels,
            max_name,
            max_value,
        }
    }
}

struct Scraper {
    endpoint: Endpoint,
    limits: TextLimits,
    allow: Vec<Regex>,
    deny: Vec<Regex>,
}

fn open(target: &Target) -> Opened {
    let options: Options = read_options(target)?;
    let url = page_url(&target.address, options.scheme.as_deref(), options.path.as_deref())?;
    let Options { max_samples, max_labels, max_name, max_value, .. } = options;
    let (allow, deny) = (patterns("allow", &options.allow)?, patterns("deny", &options.deny)?);
    let endpoint = Endpoint::open(
        url,
        Settings {
            method: "GET".to_string(),
            headers: [("accept".to_string(), ACCEPT.to_string())].into(),
            body: None,
            credential: options.credential,
            tls: options.tls,
            network: options.network,
            keep: if options.keep_alive { Keep::Alive } else { Keep::Close },
            gzip: options.gzip,
            max_body: options.max_body,
            timeout: target.timeout,
        },
    )?;
    let limits = TextLimits { max_samples, max_labels, max_name, max_value };
    Ok(Box::new(Scraper { endpoint, limits, allow, deny }))
}

/// Puts the URL together from an address that is `host`, `host:port` or a whole URL.
fn page_url(address: &str, scheme: Option<&str>, path: Option<&str>) -> Result<url::Url, OptionError> {
    if let Some(scheme) = scheme
        && !matches!(scheme, "http" | "https")
    {
        return Err(OptionError::new("options.scheme", format!("{scheme:?} is not http or https")));
    }
    if let Some(path) = path
        && !path.starts_with('/')
    {
        return Err(OptionError::new("options.path", format!("{path:?} does not begin with a slash")));
    }
    if !address.contains("://") {
        if address.is_empty() || address.contains(['/', '\\', '?', '#']) {
            let text = "is no host or host:port: write the path under options.path, or write a whole URL";
            return Err(OptionError::new("address", text));
        }
        let text = format!("{}://{address}{}", scheme.unwrap_or("http"), path.unwrap_or("/metrics"));
        return checked_url(&text, "address");
    }
    let url = checked_url(address, "address")?;
    if scheme.is_some() {
        return Err(OptionError::new("options.scheme", "the address is a whole URL and says it already"));
    }
    match (url.path(), path) {
        ("/", path) => {
            let root = &url[..url::Position::BeforePath];
            checked_url(&format!("{root}{}", path.unwrap_or("/metrics")), "address")
        }
        (_, None) => Ok(url),
        (_, Some(_)) => Err(OptionError::new("options.path", "the address is a whole URL and says it already")),
    }
}

fn patterns(option: &str, list: &[String]) -> Result<Vec<Regex>, OptionError> {
    let compile = |(index, pattern): (usize, &String)| {
        anchored(pattern).map_err(|error| OptionError::new(format!("options.{option}[{index}]"), error.to_string()))
    };
    list.iter().enumerate().map(compile).collect()
}

impl Scraper {
    fn selects(&self, name: &str) -> bool {
        let any = |list: &[Regex]| list.iter().any(|pattern| pattern.is_match(name));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }
}

impl Collector for Scraper {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<Reply>, PollFailure>> {
        Box::pin(async { Ok(vec![self.endpoint.ask().await?]) })
    }

    fn parse(&self, replies: &[Reply]) -> Result<Reading, ParseError> {
        let [reply] = replies else {
            let reason = format!("exactly one is expected, here are {}", replies.len());
            return Err(ParseError::Malformed { request: "metrics page".to_string(), reason });
        };
        text::read_selected(&reply.body, &self.limits, |name| self.selects(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use serde_json::json;
    use std::time::Duration;

    fn open_with(address: &str, options: serde_json::Value) -> Result<Box<dyn Collector>, String> {
        let target = Target {
            id: "t".into(),
            kind: "prometheus".into(),
            address: address.into(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
            cron: None,
            labels: Labels::empty(),
            options,
        };
        open(&target).map_err(|errors| errors[0].to_string())
    }

    const NO_HOST: &str = "address: is no host or host:port: write the path under options.path, or write a whole URL";

    #[test]
    fn an_address_is_a_host_or_a_url() {
        let url = |address, scheme, path| page_url(address, scheme, path).map(|url| url.to_string());
        assert_eq!(url("db:9100", None, None).unwrap(), "http://db:9100/metrics");
        assert_eq!(url("[::1]:1", Some("https"), Some("/x?a=b")).unwrap(), "https://[::1]:1/x?a=b");
        assert_eq!(url("https://db", None, None).unwrap(), "https://db/metrics");
        assert_eq!(url("https://db/x", None, None).unwrap(), "https://db/x");
        for (address, scheme, path, expected) in [
            ("db/metrics", None, None, NO_HOST),
            ("db", None, Some("metrics"), "options.path: \"metrics\" does not begin with a slash"),
            ("db", Some("ftp"), None, "options.scheme: \"ftp\" is not http or https"),
            ("unix:///run/x", None, None, "address: \"unix\" is not http or https"),
            ("http://db/x", None, Some("/y"), "options.path: the address is a whole URL and says it already"),
            (
                "http://a:b@db",
                None,
                None,
                "address: holds a user or password: write them under options.credential, the password by reference",
            ),
            ("", None, None, NO_HOST),
            ("db:x", None, None, "address: not a URL (invalid port number): write http://host:port/path"),
        ] {
            assert_eq!(url(address, scheme, path).unwrap_err().to_string(), expected, "{address}");
        }
    }

    #[test]
    fn mistakes_in_options_are_named() {
        for (options, expected) in [
            (json!({"allow": ["a", "("]}), "options.allow[1]: bad regular expression \"(\": error: unclosed group"),
            (json!({"tls": {"ca_file": "x"}}), "options.tls: the URL is http: write https"),
            (
                json!({"scheme": "https", "tls": {"cert_file": "x"}}),
                "options.tls.key_file: is missing: cert_file needs its key",
            ),
            (
                json!({"network": "public", "credential": {"bearer": {"env": "X"}}}),
                "options.credential: would cross the internet in clear: write https, or `network: lan` for a machine of your own",
            ),
            (json!({"max_body": 0}), "options.max_body: is 0 bytes: no answer would fit"),
        ] {
            assert_eq!(open_with("db", options).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn only_selected_series_are_kept() {
        let scraper = open_with("db", json!({"allow": ["go_.*", "up"], "deny": [".*_bytes"]})).unwrap();
        let page = "go_threads 1\ngo_memory_bytes 2\nup 3\nprocess_up 4\n";
        let reading = scraper.parse(&[Reply::new("GET /metrics", page)]).unwrap();
        let names: Vec<&str> = reading.samples.iter().map(|sample| &*sample.family.name).collect();
        assert_eq!(names, ["go_threads", "up"]);
        assert!(scraper.parse(&[]).is_err());
    }
}

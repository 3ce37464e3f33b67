//! Logging to standard error: how loud, and in which form.

use tracing_subscriber::EnvFilter;

use crate::model::words;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: `key=value`, one line an event.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Words for how much is logged, from least to most.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads `log.level`: a word, which is meant for davylamp itself while the libraries below it may only warn, or a
/// filter as `RUST_LOG` takes it.
///
/// # Errors
/// What is wrong and what to write.
pub fn log_filter(level: &str) -> Result<EnvFilter, String> {
    let word = level.trim().to_ascii_lowercase();
    if LEVELS[..3].contains(&word.as_str()) {
        return Ok(EnvFilter::new(word));
    }
    if LEVELS.contains(&word.as_str()) {
        return Ok(EnvFilter::new(format!("warn,davylamp={word}")));
    }
    if !level.contains(['=', ',']) {
        return Err(format!(
            "{level:?} is not a level; {} (or a filter: davylamp=debug,warn)",
            words::hint(&word, LEVELS)
        ));
    }
    EnvFilter::try_new(level).map_err(|error| format!("{level:?} is not a filter: {error}"))
}

/// Starts logging to standard error at a level as [`log_filter`] reads it; what cannot be read falls back to `info`.
/// A second call in the same process changes nothing.
pub fn start_logging(level: &str, format: LogFormat) {
    let filter = log_filter(level).or_else(|_| log_filter("info")).unwrap_or_default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_keeps_libraries_quiet() {
        assert_eq!(log_filter("INFO").unwrap().to_string(), "davylamp=info,warn");
        assert_eq!(log_filter("error").unwrap().to_string(), "error");
        assert_eq!(log_filter("davylamp::act=trace,info").unwrap().to_string(), "davylamp::act=trace,info");
        assert!(log_filter("inof").unwrap_err().contains("did you mean \"info\"?"));
        assert!(log_filter("davylamp=loud").is_err());
    }
}

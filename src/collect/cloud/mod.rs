//! HTTP APIs: the kind whose values the configuration declares, and what every provider shares.

pub mod convert;
pub mod declare;
pub mod http_json;
pub mod mapping;

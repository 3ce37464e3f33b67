//! The way to an AWX or automation controller over HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use url::Url;

use crate::act::executor::ExecutorError;
use crate::act::executor::awx::{Http, Reply};
use crate::act::settings::AwxSettings;
use crate::collect::http::{Call, Caller, Credential, Network, TlsOptions};

/// How long an answer may take: a launch waits for the controller's database.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Controller {
    url: String,
    caller: Caller,
}

/// A client of the controller that the settings name.
pub fn controller(settings: &AwxSettings) -> Arc<dyn Http> {
    let tls = settings.ca_file.clone().map(|path| TlsOptions { ca_file: Some(path), ..TlsOptions::default() });
    let credential = Credential::Bearer(settings.token.clone());
    let caller = Caller::new(Some(credential), tls, Network::Lan, TIMEOUT);
    Arc::new(Controller { url: settings.url.trim_end_matches('/').to_string(), caller })
}

impl Http for Controller {
    fn call(&self, path: String, body: Option<String>) -> BoxFuture<'_, Result<Reply, ExecutorError>> {
        async move {
            let away = |what: &dyn std::fmt::Display| ExecutorError::Away(format!("{}: {what}", self.url));
            let url = Url::parse(&format!("{}{path}", self.url)).map_err(|error| away(&error))?;
            let headers =
                [("accept", "application/json".to_string()), ("content-type", "application/json".to_string())];
            let call = Call {
                method: if body.is_some() { "POST" } else { "GET" },
                url: &url,
                headers: if body.is_some() { &headers } else { &headers[..1] },
                body: body.map(String::into_bytes),
            };
            let answer = self.caller.call(call).await.map_err(|failure| away(&failure))?;
            Ok(Reply { status: answer.status, body: answer.body.to_vec() })
        }
        .boxed()
    }
}

//! The way to an AWX or automation controller over HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use url::Url;

use crate::act::executor::awx::{Http, Reply, Settings};
use crate::collect::http::{Credential, Keep, Request, send};

/// How long an answer may take, and how large it may be.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 16 << 20;

struct Controller {
    url: String,
    credential: Credential,
}

/// A client of the controller that the settings name. Its certificate must be known to the system.
pub fn controller(settings: &Settings) -> Arc<dyn Http> {
    let url = settings.url.trim_end_matches('/').to_string();
    Arc::new(Controller { url, credential: Credential::Bearer(settings.token.clone()) })
}

impl Http for Controller {
    fn call(&self, path: String, body: Option<String>) -> BoxFuture<'_, Result<Reply, String>> {
        async move {
            let url = Url::parse(&format!("{}{path}", self.url)).map_err(|error| format!("ansible.awx.url: {error}"))?;
            let json = [("content-type", "application/json")].map(|(name, value)| (name.parse(), value.parse()));
            let headers: Vec<_> = json.into_iter().filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect();
            let request = match body {
                Some(body) => Request::post(&url, body.into_bytes(), TIMEOUT),
                None => Request::get(&url, TIMEOUT),
            };
            let (credential, headers) = (Some(&self.credential), headers.as_slice());
            let request = Request { credential, headers, max_body: MAX_ANSWER, keep: Keep::Alive, ..request };
            let answer = send(request).await.map_err(|failure| format!("{}: {failure}", self.url))?;
            Ok(Reply { status: answer.status, body: answer.body.to_vec() })
        }
        .boxed()
    }
}

//! Saved replies: masked, and named so that each can be read back as the reply that it was.

use std::path::Path;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

use super::Reply;
use crate::secret::{Secret, SecretRef};

/// Text values behind keys that name a secret or a person: pass words, tokens, Wi-Fi names, wallet addresses. Works on
/// bytes, because a reply need not be valid JSON.
static MASKED_KEYS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)("[^"\n]*(?:pass|pwd|secret|token|ssid|api_?key|user|wallet|credential|authorization)[^"\n]*"\s*:\s*)"(?:[^"\\]|\\.)*""#)
        .ok()
});

/// Wallets, whatever their key: a coinbase tells who is paid.
static WALLETS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\b(?:bc|tb|ltc)1[02-9a-z]{25,87}\b|"[13][1-9A-HJ-NP-Za-km-z]{25,34}""#).ok());

/// Environment variables of a container, in an engine's answer.
static MASKED_LISTS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"("Env"\s*:\s*)\[[^\]]*\]"#).ok());

/// Shorter than this is no secret, and masking it would spoil every other number.
const LEAST_SECRET: usize = 4;

/// The secrets that a target's options refer to, as far as they can be read: whoever is asked may send back what it was
/// asked with.
pub fn secrets_in(options: &serde_json::Value) -> Vec<Secret> {
    match options {
        serde_json::Value::Object(map) => match serde_json::from_value::<SecretRef>(options.clone()) {
            Ok(reference) => reference.read().into_iter().collect(),
            Err(_) => map.values().flat_map(secrets_in).collect(),
        },
        serde_json::Value::Array(list) => list.iter().flat_map(secrets_in).collect(),
        _ => Vec::new(),
    }
}

/// The body with secrets masked: these, and whatever stands behind a key that names one.
pub fn masked(body: &[u8], secrets: &[Secret]) -> Vec<u8> {
    let hide = |with: &'static [u8]| move |found: &Captures<'_>| [&found[1], with].concat();
    let mut masked = body.to_vec();
    for (pattern, with) in [(&MASKED_KEYS, &b"\"*****\""[..]), (&MASKED_LISTS, &b"[]"[..])] {
        if let Some(pattern) = &**pattern {
            masked = pattern.replace_all(&masked, hide(with)).into_owned();
        }
    }
    if let Some(pattern) = &*WALLETS {
        let hide = |found: &Captures<'_>| if found[0].starts_with(b"\"") { &b"\"*****\""[..] } else { &b"*****"[..] };
        masked = pattern.replace_all(&masked, hide).into_owned();
    }
    for secret in secrets.iter().map(Secret::expose).filter(|secret| secret.len() >= LEAST_SECRET) {
        if let Ok(pattern) = Regex::new(&regex::escape(secret)) {
            masked = pattern.replace_all(&masked, &b"*****"[..]).into_owned();
        }
    }
    masked
}

/// The file name of the reply at `index`: its request, with every character that a path could trip over written `%XX`.
pub fn file_name(index: usize, reply: &Reply) -> String {
    let mut name = format!("{index:02}_");
    for byte in reply.request.bytes().take(180) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+' | b'=' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    match reply.status {
        Some(status) => name + &format!(".{status}.raw"),
        None => name + ".raw",
    }
}

/// The reply that a file holds: what was asked and the status come from its name. A file that was not named by
/// [`file_name`] is taken as the answer to a request of the file's name.
pub fn read_back(path: &Path, body: Vec<u8>) -> Reply {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = || Reply::new(path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(), body.clone());
    let Some(rest) = name.strip_suffix(".raw") else { return plain() };
    let Some((number, rest)) = rest.split_once('_') else { return plain() };
    if number.parse::<usize>().is_err() {
        return plain();
    }
    let (request, status) = match rest.rsplit_once('.') {
        Some((request, status)) if status.len() == 3 && status.parse::<u16>().is_ok() => (request, status.parse().ok()),
        _ => (rest, None),
    };
    Reply { request: unescape(request), status, body: body.into() }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_persons_are_masked_in_broken_json_too() {
        let body = br#"{"ssid":"home","stratumUser": "bc1q.w","hashRate":5,"wifiPass":"a\"b","Env": ["A=b","C=d"]}{"User":"x""#;
        let masked = String::from_utf8(masked(body, &[])).unwrap();
        let want =
            r#"{"ssid":"*****","stratumUser": "*****","hashRate":5,"wifiPass":"*****","Env": []}{"User":"*****""#;
        assert_eq!(masked, want);
    }

    #[test]
    fn who_is_paid_is_masked() {
        let body = br#"{"coinbaseOutputs":[{"value":1,"address":"bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"},
            {"value":2,"address":"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"}],"address":"192.0.2.1:80","serial":"1A1zP1eP5"}"#;
        let want = r#"{"coinbaseOutputs":[{"value":1,"address":"*****"},
            {"value":2,"address":"*****"}],"address":"192.0.2.1:80","serial":"1A1zP1eP5"}"#;
        assert_eq!(String::from_utf8(masked(body, &[])).unwrap(), want);
    }

    #[test]
    fn a_secret_that_comes_back_is_masked_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "a+b.c\n").unwrap();
        let options = serde_json::json!({
            "credential": {"header": {"name": "X-Key", "value": {"file": folder.path().join("key")}}},
            "values": [{"path": "$.a", "labels": {"file": "/nowhere"}}],
        });
        let secrets = secrets_in(&options);
        assert_eq!(secrets.len(), 1);
        let body = br#"{"you_sent":"Bearer a+b.c","near":"aab.c"}"#;
        assert_eq!(masked(body, &secrets), br#"{"you_sent":"Bearer *****","near":"aab.c"}"#);
        assert_eq!(masked(b"a: 1", &[Secret::new("a"), Secret::new("")]), b"a: 1");
    }

    #[test]
    fn a_saved_reply_reads_back_as_itself() {
        for (request, status) in
            [("GET /api/system/info?a=b", Some(200)), ("summary+pools+devs", None), ("../../etc/passwd", None)]
        {
            let reply = Reply { request: request.into(), status, body: b"x".to_vec().into() };
            let name = file_name(3, &reply);
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
            assert_eq!(read_back(Path::new(&name), b"x".to_vec()), reply);
        }
        assert_eq!(read_back(Path::new("/tmp/system_info.json"), vec![]).request, "system_info");
    }
}

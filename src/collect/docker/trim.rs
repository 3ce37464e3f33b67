//! Cuts the engine's replies down to what is read. An inspected container carries its whole environment (passwords,
//! tokens), command lines and the output of its health checks: none of it may be kept in memory or saved to a file.

use serde_json::Value;

use crate::collect::Reply;
use crate::model::{FailureReason, PollFailure};

/// What is kept of a value; arrays are looked through.
pub(super) enum Keep {
    /// All of it.
    All,
    /// Only these keys of an object.
    Only(&'static [(&'static str, Keep)]),
}

use Keep::{All, Only};

/// `GET /info`: it also names proxies and registries.
pub(super) static INFO: Keep = Only(&[
    ("ID", All),
    ("Name", All),
    ("ServerVersion", All),
    ("OperatingSystem", All),
    ("Architecture", All),
    ("CgroupVersion", All),
    ("Images", All),
    ("SystemTime", All),
]);

/// `GET /containers/json`.
pub(super) static LIST: Keep = Only(&[
    ("Id", All),
    ("Names", All),
    ("Image", All),
    ("ImageID", All),
    ("Created", All),
    ("State", All),
    ("Status", All),
    ("Labels", Only(&[("com.docker.compose.project", All), ("com.docker.compose.service", All)])),
]);

/// `GET /containers/<id>/json`.
pub(super) static INSPECTED: Keep = Only(&[
    ("RestartCount", All),
    (
        "State",
        Only(&[
            ("Status", All),
            ("OOMKilled", All),
            ("ExitCode", All),
            ("StartedAt", All),
            ("FinishedAt", All),
            ("Health", Only(&[("Status", All)])),
        ]),
    ),
    ("HostConfig", Only(&[("Memory", All), ("NanoCpus", All), ("CpuQuota", All), ("CpuPeriod", All)])),
]);

/// `GET /system/df`.
pub(super) static DISK_USAGE: Keep = Only(&[
    ("LayersSize", All),
    ("Containers", Only(&[("SizeRw", All)])),
    ("Volumes", Only(&[("Name", All), ("UsageData", Only(&[("Size", All)]))])),
    ("BuildCache", Only(&[("Size", All), ("Shared", All)])),
]);

/// The same reply with nothing but what `keep` names.
///
/// # Errors
/// `Malformed` where it is no JSON.
pub(super) fn trimmed(reply: Reply, keep: &Keep) -> Result<Reply, PollFailure> {
    let mut value = serde_json::from_slice::<Value>(&reply.body)
        .map_err(|error| PollFailure::new(FailureReason::Malformed, format!("{}: {error}", reply.request)))?;
    cut(&mut value, keep);
    Ok(Reply { body: value.to_string().into(), ..reply })
}

fn cut(value: &mut Value, keep: &Keep) {
    let Only(fields) = keep else { return };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| cut(item, keep)),
        Value::Object(map) => map.retain(|key, value| {
            let field = fields.iter().find(|(name, _)| name == key);
            field.inspect(|(_, keep)| cut(value, keep)).is_some()
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_command_lines_and_check_outputs_are_cut() {
        let body = serde_json::json!({
            "RestartCount": 1,
            "Args": ["--password=hunter2"],
            "Config": { "Env": ["TOKEN=hunter2"] },
            "State": { "ExitCode": 3, "Health": { "Status": "healthy", "Log": [{ "Output": "hunter2" }] } },
        });
        let reply = trimmed(Reply::new("GET /containers/a/json", body.to_string()), &INSPECTED).unwrap();
        let expected = serde_json::json!({
            "RestartCount": 1,
            "State": { "ExitCode": 3, "Health": { "Status": "healthy" } },
        });
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), expected);
        let body = r#"[{"Id":"a","Command":"hunter2","Labels":{"auth":"hunter2"}},5]"#;
        assert_eq!(trimmed(Reply::new("", body), &LIST).unwrap().body, r#"[{"Id":"a","Labels":{}},5]"#);
        let failure = trimmed(Reply::new("GET /info", "{hunter2"), &INFO).unwrap_err();
        assert_eq!(failure.detail, "GET /info: key must be a string at line 1 column 2");
    }
}

//! The sockets of the simulated devices.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::device::{Device, Door};
use super::family::Wire;
use super::fault::{Fault, Hostile};
use super::talk::{Answer, Request};
use super::{axeos, cgminer, hostile, kept, obey};

/// Longest exchange with one caller: an idle connection blocks the device, as it does the real ones, but not for ever.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(60);

/// Serves one door of a device, one connection at a time, until it is dropped.
pub async fn serve(device: Arc<Device>, door: Door, listener: TcpListener) {
    let mut listener = Some(listener);
    let mut changes = device.changes();
    loop {
        // It has moved.
        listener = device.arrival(door).or(listener);
        if matches!(device.fault(), Some((Fault::Dead, _))) {
            listener = None;
            device.change(&mut changes).await;
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => reopen(&device, door).await,
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                // What goes wrong on a connection is the caller's to see.
                let _ = tokio::time::timeout(LONGEST_EXCHANGE, answer(&device, door, stream)).await;
            },
            () = device.change(&mut changes) => {}
        }
        listener = Some(open);
    }
}

/// The port of a device that comes back may still be in use by a passing connection.
async fn reopen(device: &Device, door: Door) -> TcpListener {
    loop {
        match TcpListener::bind(device.address(door)).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(device: &Device, door: Door, mut stream: TcpStream) -> std::io::Result<()> {
    device.asked();
    let wire = device.wire(door);
    let request = Request::read(&mut stream, wire).await?;
    let whole = || reply(device, door, &request);
    let answer = match device.fault() {
        Some((Fault::Hostile(Hostile::Half), _)) => {
            let mut answer = whole();
            answer.body.truncate(answer.body.len() / 2);
            answer
        }
        Some((Fault::Hostile(Hostile::WrongType), _)) => Answer { body: confused(&whole().body), ..whole() },
        Some((Fault::Hostile(Hostile::Unauthorized), _)) => unauthorized(wire),
        Some((Fault::AnswerLost, _)) if request.changes() => {
            whole();
            return stream.shutdown().await;
        }
        Some((Fault::Hostile(mode), _)) => return hostile::answer(mode, wire, device.seed(), stream).await,
        _ => whole(),
    };
    if answer.is_refusal {
        device.refused();
    }
    answer.write(&mut stream, wire).await?;
    stream.shutdown().await
}

fn reply(device: &Device, door: Door, request: &Request) -> Answer {
    let Some(family) = device.model().family() else {
        if let Some(answer) = kept::told(device, request) {
            return answer;
        }
        return match device.wire(door) {
            Wire::Http => axeos::reply(device, request),
            _ => Answer::new(200, &cgminer::reply(device, request.body.as_bytes())),
        };
    };
    let stopped = (device.wire(door) == Wire::Http).then(|| family.gate.stops(device, request)).flatten();
    let told = || kept::told(device, request);
    let obeyed = || obey::obey(family, device, device.wire(door), request);
    stopped.or_else(told).or_else(obeyed).unwrap_or_else(|| {
        match (family.reply(device, &request.name(), &request.body), device.wire(door)) {
            (Some(body), _) => Answer::new(200, &body),
            (None, Wire::Http) => Answer::new(404, "<h1>404 Not Found</h1>"),
            (None, Wire::Framed) => Answer::new(200, r#"{"code":-2,"msg":"invalid command","desc":""}"#),
            (None, Wire::Rpc) => Answer::new(200, &rpc_error(14, "Invalid command")),
        }
    })
}

fn rpc_error(code: u32, message: &str) -> String {
    json!({"STATUS": [{"STATUS": "E", "When": 0, "Code": code, "Msg": message, "Description": "sim"}], "id": 1})
        .to_string()
}

fn unauthorized(wire: Wire) -> Answer {
    match wire {
        Wire::Http => Answer { is_refusal: true, ..Answer::new(401, "<h1>401 Unauthorized</h1>") },
        Wire::Framed => Answer::new(200, r#"{"code":-4,"msg":"permission denied","desc":""}"#),
        Wire::Rpc => Answer::new(200, &rpc_error(45, "Access denied to 'summary' command")),
    }
}

/// Every number has become an object, every text a number: what a changed firmware might send.
fn confused(body: &[u8]) -> Vec<u8> {
    fn twist(value: &mut Value) {
        match value {
            Value::Object(map) => map.values_mut().for_each(twist),
            Value::Array(list) => list.iter_mut().for_each(twist),
            Value::Number(number) => *value = json!({"was": number.to_string()}),
            Value::String(_) => *value = json!(-7),
            Value::Bool(_) | Value::Null => *value = json!([[]]),
        }
    }
    let text = String::from_utf8_lossy(body).replace("}{", "},{").replace('\n', " ").replace(":nan", ":0");
    match serde_json::from_str::<Value>(&text.replace("\\'", "'")) {
        Ok(mut value) => {
            twist(&mut value);
            value.to_string().into_bytes()
        }
        Err(_) => b"{}".to_vec(),
    }
}

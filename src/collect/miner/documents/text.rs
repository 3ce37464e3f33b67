//! The API's old text form (`STATUS=S,When=…|SUMMARY,Elapsed=195,…|`), turned into the shape of its JSON form. It is
//! what a program answers to a request that it did not take for JSON.

use serde_json::{Map, Value};

/// Most sections of one reply; more is not what any program sends.
const MAX_SECTIONS: usize = 1024;

/// Reads a text reply; `None` when it is not one.
pub fn read(body: &[u8]) -> Option<Value> {
    if !body.trim_ascii_start().starts_with(b"STATUS=") {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_matches(['\0', '\n', '\r', ' ']);
    let mut document = Map::new();
    for section in text.split('|').filter(|section| !section.is_empty()).take(MAX_SECTIONS) {
        let (name, fields) = read_section(section);
        let list = document.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::Object(fields));
        }
    }
    Some(Value::Object(document))
}

/// A section begins with its bare name (`SUMMARY`) or with an index (`POOL=0`).
fn read_section(section: &str) -> (&'static str, Map<String, Value>) {
    let mut fields = Map::new();
    for field in section.split(',') {
        if let Some((key, value)) = field.split_once('=') {
            fields.insert(key.to_string(), Value::from(value));
        }
    }
    let first = section.split([',', '=']).next().unwrap_or_default();
    let name = match first {
        "STATUS" => "STATUS",
        "SUMMARY" => "SUMMARY",
        "VERSION" => "VERSION",
        "COIN" => "COIN",
        "POOL" => "POOLS",
        "ASC" | "PGA" | "GPU" | "CPU" => "DEVS",
        _ => "OTHER",
    };
    (name, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_become_lists() {
        let text =
            b"STATUS=S,When=17,Code=7,Msg=2 Pool(s)|POOL=0,URL=stratum+tcp://a:1?x=1,Status=Alive|POOL=1,URL=b|\0";
        let expected = json!({
            "STATUS": [{"STATUS": "S", "When": "17", "Code": "7", "Msg": "2 Pool(s)"}],
            "POOLS": [
                {"POOL": "0", "URL": "stratum+tcp://a:1?x=1", "Status": "Alive"},
                {"POOL": "1", "URL": "b"},
            ],
        });
        assert_eq!(read(text), Some(expected));
        assert_eq!(read(b"{\"STATUS\":1}"), None);
        assert_eq!(read(b""), None);
    }
}

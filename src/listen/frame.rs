//! From a message to lines: log text as it is, a state as what changes of it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// Longest line, in characters; the rest is cut.
const MOST_CHARACTERS: usize = 512;
/// Most lines of one message.
const MOST_LINES: usize = 200;
/// Most fields of a state that are remembered.
const MOST_FIELDS: usize = 256;

/// Numbers that say that something happened; all others change with every frame and are in the metrics.
const TELLING: [&str; 6] =
    ["isUsingFallbackStratum", "overheat_mode", "blockFound", "miningPaused", "frequency", "coreVoltage"];

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Reader {
    state: BTreeMap<String, String>,
}

impl Reader {
    /// The lines of a message.
    pub fn read(&mut self, message: &str) -> Vec<String> {
        let text = message.trim_start();
        if text.starts_with('{')
            && let Ok(Value::Object(frame)) = serde_json::from_str(text)
        {
            // A difference stands in `data`; the first frame is the state itself, or has it there too.
            let fields = frame.get("data").and_then(Value::as_object).unwrap_or(&frame);
            return fields.iter().filter_map(|(key, value)| self.changed(key, value)).take(MOST_LINES).collect();
        }
        let lines = message.split(['\n', '\r']).map(clean).filter(|line| !line.is_empty());
        lines.take(MOST_LINES).collect()
    }

    /// A line for a field that says something new. What it was at first is in the metrics.
    fn changed(&mut self, key: &str, value: &Value) -> Option<String> {
        let now = match value {
            Value::Bool(flag) => flag.to_string(),
            Value::String(text) => clean(text),
            Value::Number(number) if TELLING.contains(&key) => number.to_string(),
            _ => return None,
        };
        let room = self.state.len() < MOST_FIELDS;
        match self.state.get_mut(key) {
            Some(before) if *before == now => None,
            Some(before) => {
                let line = clean(&format!("{key}: {before} → {now}"));
                *before = now;
                Some(line)
            }
            None if room => {
                self.state.insert(key.to_string(), now);
                None
            }
            None => None,
        }
    }
}

/// Text without control characters and terminal sequences, cut.
fn clean(text: &str) -> String {
    let mut letters = text.chars().peekable();
    let mut line = String::new();
    let mut count = 0;
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' && letters.next_if_eq(&'[').is_some() {
            // Up to the letter that ends it.
            while letters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            letters.next();
        } else if letter == '\t' || !letter.is_control() {
            if count == MOST_CHARACTERS {
                line.push('…');
                break;
            }
            line.push(if letter == '\t' { ' ' } else { letter });
            count += 1;
        }
    }
    line.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_text_becomes_lines_without_colours_and_control_characters() {
        let mut reader = Reader::default();
        let lines = reader.read("\u{1b}[0;32mI (1234) stratum: share\u{7} accepted\u{1b}[0m\r\n\u{0}\n  W next\n");
        assert_eq!(lines, ["I (1234) stratum: share accepted", "  W next"]);
        let long = reader.read(&"ä".repeat(100_000));
        assert_eq!((long.len(), long[0].chars().count()), (1, MOST_CHARACTERS + 1));
        assert_eq!(reader.read(&"x\n".repeat(1000)).len(), MOST_LINES);
        assert_eq!(reader.read("{not json"), ["{not json"]);
        assert_eq!(reader.read("\u{1b}[31"), Vec::<String>::new());
    }

    #[test]
    fn a_state_says_what_changes_of_it() {
        let mut reader = Reader::default();
        let first = r#"{"hashRate": 1200.5, "overheat_mode": 0, "wifiStatus": "Connected!", "pools": [1]}"#;
        assert_eq!(reader.read(first), Vec::<String>::new());
        let diff = r#"{"event":"update","data":{"hashRate":1300,"overheat_mode":1,"wifiStatus":"Lost\u001b[2J"}}"#;
        assert_eq!(reader.read(diff), ["overheat_mode: 0 → 1", "wifiStatus: Connected! → Lost"]);
        assert_eq!(reader.read(diff), Vec::<String>::new());
        let flood: String = (0..10_000).map(|n| format!("\"k{n}\":\"a\",")).collect();
        reader.read(&format!("{{{}\"z\":\"\"}}", flood));
        assert!(reader.state.len() <= MOST_FIELDS);
    }
}

//! From a message to lines: log text as it is, a state as what changes of it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::collect::miner::mask_user;

/// Longest line, in characters; the rest is cut.
const MOST_CHARACTERS: usize = 512;
/// Most lines of one message.
const MOST_LINES: usize = 200;
/// Most fields of a state that are remembered.
const MOST_FIELDS: usize = 256;

/// Numbers that say that something happened; all others change with every frame and are in the metrics.
const TELLING: [&str; 6] =
    ["isUsingFallbackStratum", "overheat_mode", "blockFound", "miningPaused", "frequency", "coreVoltage"];

/// Shortest run of letters and digits that may be a wallet; workers and models are shorter.
const WALLET: usize = 25;

/// Parts of names, in small letters, of what is never shown.
const SECRET: [&str; 5] = ["pass", "pwd", "secret", "token", "ssid"];

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Reader {
    state: BTreeMap<String, String>,
    /// Pool users as they are.
    show_users: bool,
}

impl Reader {
    /// A reader that shows the users of pools, which are often wallets, or hides them.
    pub fn new(show_users: bool) -> Reader {
        Reader { show_users, ..Reader::default() }
    }

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
        let lines = message.split(['\n', '\r']).map(clean).filter(|line| !line.is_empty()).take(MOST_LINES);
        lines.map(|line| if self.show_users { line } else { without_wallets(&line) }).collect()
    }

    /// A line for a field that says something new. What it was at first is in the metrics.
    fn changed(&mut self, key: &str, value: &Value) -> Option<String> {
        let word = key.to_ascii_lowercase();
        if SECRET.iter().any(|part| word.contains(part)) {
            return None;
        }
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
                let shown = |text: &str| match word.ends_with("user") && !self.show_users {
                    true => mask_user(text),
                    false => text.to_string(),
                };
                let line = clean(&format!("{key}: {} → {}", shown(before), shown(&now)));
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

/// A line in which nobody's wallet stands, nor what a pool is logged in with. Numbers of jobs and hashes are hexadecimal,
/// wallets are not, or begin with `0x`.
fn without_wallets(line: &str) -> String {
    let (line, cut) = match line.find("mining.authorize").map(|at| at + "mining.authorize".len()) {
        Some(end) => (&line[..end], " …"),
        None => (line, ""),
    };
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(if run == 0 { first.len_utf8() } else { run });
        let wallet = run >= WALLET && !word.bytes().all(|byte| byte.is_ascii_hexdigit());
        shown.push_str(if wallet { "***" } else { word });
        rest = after;
    }
    shown + cut
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
    use serde_json::json;

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
    fn wallets_and_logins_stand_in_no_line() {
        for wallet in ["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"] {
            let line = format!("I (9) stratum: tx for {wallet}.rig-1, ok");
            assert_eq!(Reader::default().read(&line), ["I (9) stratum: tx for ***.rig-1, ok"]);
            assert_eq!(Reader::new(true).read(&line), [line]);
        }
        let login = r#"tx: {"id": 3, "method": "mining.authorize", "params": ["kontö.rig", "hunter2"]}"#;
        assert_eq!(Reader::default().read(login), [r#"tx: {"id": 3, "method": "mining.authorize …"#]);
        let hash = "I (9) asic: job 00000000000000000002a23d6df20eecec15b21d32c75833cce28f113de888b7 ä done";
        assert_eq!(Reader::default().read(hash), [hash]);
    }

    #[test]
    fn a_state_says_what_changes_of_it() {
        let mut reader = Reader::default();
        let first = r#"{"hashRate": 1200.5, "overheat_mode": 0, "wifiStatus": "Connected!", "pools": [1]}"#;
        assert_eq!(reader.read(first), Vec::<String>::new());
        let diff = r#"{"event":"update","data":{"hashRate":1300,"overheat_mode":1,"wifiStatus":"Lost\u001b[2J"}}"#;
        assert_eq!(reader.read(diff), ["overheat_mode: 0 → 1", "wifiStatus: Connected! → Lost"]);
        assert_eq!(reader.read(diff), Vec::<String>::new());
        let wallet = "bc1q0exampleexampleexampleexample00000000";
        let users = |reader: &mut Reader| {
            reader.read(r#"{"stratumUser":"old.rig-1","stratumPassword":"x","wifiPass":"a"}"#);
            let diff = json!({"data": {"stratumUser": format!("{wallet}.rig-1"), "stratumPassword": "hunter2", "wifiPass": "b"}});
            reader.read(&diff.to_string())
        };
        assert_eq!(users(&mut reader), ["stratumUser: ***.rig-1 → ***.rig-1"], "that it changed is told");
        assert_eq!(users(&mut Reader::new(true)), [format!("stratumUser: old.rig-1 → {wallet}.rig-1")]);
        let flood: String = (0..10_000).map(|n| format!("\"k{n}\":\"a\",")).collect();
        reader.read(&format!("{{{}\"z\":\"\"}}", flood));
        assert!(reader.state.len() <= MOST_FIELDS);
    }
}

//! Device JSON read leniently: numbers as strings, booleans as 0 and 1, difficulties with a suffix. Nothing is invented:
//! what cannot be read is absent, and what can be read but cannot be true is left to the bounds of the families.

use serde_json::{Map, Value};

/// Longest label value that is made from a device's text, in characters.
const MAX_TEXT: usize = 128;

/// A JSON object of a device.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The object in `value`, if it is one.
    pub fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Fields)
    }

    /// The first of `keys` that is there and not null.
    pub fn get(self, keys: &[&str]) -> Option<&'a Value> {
        keys.iter().find_map(|key| self.0.get(*key).filter(|value| !value.is_null()))
    }

    /// A number.
    pub fn number(self, key: &str) -> Option<f64> {
        number(self.get(&[key])?)
    }

    /// A number from the first of several names that holds one.
    pub fn number_of(self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| self.number(key))
    }

    /// A number for which zero means "no reading".
    pub fn nonzero(self, key: &str) -> Option<f64> {
        self.number(key).filter(|value| *value != 0.0)
    }

    /// A temperature; 0 and −1 are what firmware says without a sensor.
    pub fn temperature(self, key: &str) -> Option<f64> {
        self.number(key).filter(|value| *value != 0.0 && *value != -1.0)
    }

    /// A difficulty: a number or `"115M"`.
    pub fn difficulty(self, key: &str) -> Option<f64> {
        difficulty(self.get(&[key])?)
    }

    /// A hash rate as text or number, in hashes per second: `"102.61G"`, `"4.2 TH/s"`, `510.3`. Where it says no unit of
    /// its own, `unit` (`"G"`, `"MH/s"`) is its unit.
    pub fn rate(self, key: &str, unit: &str) -> Option<f64> {
        let value = self.get(&[key])?;
        if let Some(number) = number(value) {
            return Some(number * rate_unit(unit)?);
        }
        let text = value.as_str()?.trim();
        let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
        let number: f64 = text[..end].parse().ok()?;
        Some(number * rate_unit(&text[end..])?)
    }

    /// A boolean.
    pub fn flag(self, key: &str) -> Option<bool> {
        flag(self.get(&[key])?)
    }

    /// Text that is not empty, cleaned for a label.
    pub fn text(self, key: &str) -> Option<String> {
        let text = match self.get(&[key])? {
            Value::String(text) => clean(text),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// Text from the first of several names that holds some.
    pub fn text_of(self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    /// The objects of an array; empty where there is none.
    pub fn objects(self, key: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let items = self.0.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Fields::of)
    }

    /// The object under `key`.
    pub fn object(self, key: &str) -> Option<Fields<'a>> {
        Fields::of(self.0.get(key)?)
    }
}

/// A number, sent as number, numeric text (`"  6.0000"`) or boolean.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

/// A difficulty: a number, or a number with a decimal suffix (`"65.5K"`, `"115M"`, `"1.2 G"`).
pub fn difficulty(value: &Value) -> Option<f64> {
    if let Some(number) = number(value) {
        return Some(number);
    }
    let text = value.as_str()?.trim();
    let unit = text.chars().next_back()?;
    let scale = match unit {
        'k' | 'K' => 1e3,
        'M' => 1e6,
        'G' | 'B' => 1e9,
        'T' => 1e12,
        'P' => 1e15,
        'E' => 1e18,
        _ => return None,
    };
    let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    // Rounded, because 65.5 × 1000 must not show as 65499.99999.
    number.is_finite().then(|| (number * scale).round())
}

/// Hashes (or solutions, or graphs) per second in a unit: `G`, `GH/s`, `gh/s`, `KSol/s`; without a prefix 1.
pub fn rate_unit(unit: &str) -> Option<f64> {
    let unit = unit.trim().to_ascii_uppercase();
    let name = unit.trim_end_matches("/S").trim_end_matches("SOL").trim_end_matches('H');
    match name {
        "" => Some(1.0),
        "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        "T" => Some(1e12),
        "P" => Some(1e15),
        "E" => Some(1e18),
        _ => None,
    }
}

/// A boolean sent as boolean, number (not zero) or word.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" | "1" => Some(true),
            "false" | "n" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Device text made fit for a label: no control characters, no blanks around it, of bounded length.
pub fn clean(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().chars().take(MAX_TEXT).collect()
}

/// A count of shares, or NaN (which is counted as an impossible value) where no device could have found so many in the
/// time: that is memory which the program never initialised.
pub fn plausible(count: f64, elapsed: Option<f64>) -> f64 {
    let most = elapsed.map_or(f64::INFINITY, |elapsed| 1_000.0 + 100.0 * elapsed);
    if count > most { f64::NAN } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_in_many_clothes() {
        for (value, expected) in [
            (json!(5.5), Some(5.5)),
            (json!("  6.0000"), Some(6.0)),
            (json!(true), Some(1.0)),
            (json!("nan"), None),
            (json!("inf"), None),
            (json!("-"), None),
            (json!(""), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
    }

    #[test]
    fn difficulties_may_have_a_suffix() {
        for (value, expected) in [
            (json!("115M"), Some(115e6)),
            (json!("483k"), Some(483e3)),
            (json!("65.5K"), Some(65_500.0)),
            (json!("1.2 G"), Some(1.2e9)),
            (json!("0"), Some(0.0)),
            (json!(36_603_151_167_u64), Some(36_603_151_167.0)),
            (json!("M"), None),
            (json!("12%"), None),
            (json!("１M"), None),
            (json!("5ü"), None),
        ] {
            assert_eq!(difficulty(&value), expected, "{value}");
        }
    }

    #[test]
    fn hash_rates_say_their_unit() {
        let value =
            json!({"a": "102.61G", "b": "4.2 TH/s", "c": 510.3, "d": "15.8", "e": "1 parsec", "f": "1.5 KSol/s"});
        let fields = Fields::of(&value).unwrap();
        for (key, unit, expected) in [
            ("a", "M", Some(102.61e9)),
            ("b", "", Some(4.2e12)),
            ("c", "MH/s", Some(510.3e6)),
            ("d", "gh/s", Some(15.8e9)),
            ("e", "G", None),
            ("f", "G", Some(1500.0)),
            ("c", "N/A", None),
        ] {
            assert_eq!(fields.rate(key, unit), expected, "{key} {unit}");
        }
    }

    #[test]
    fn text_is_fit_for_a_label() {
        assert_eq!(clean(" a\nb\u{0}c \r\n"), "a b c");
        assert_eq!(clean(&"ä".repeat(1000)).chars().count(), MAX_TEXT);
    }
}

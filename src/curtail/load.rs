//! Whether a setting draws less than another one, as far as their words say: a curtailment must not raise a load.

/// Words of firmware for modes, by what they draw.
const LADDER: [&[&str]; 3] =
    [&["eco", "low", "efficiency", "power_save"], &["normal", "standard", "balanced"], &["high", "hashrate", "turbo"]];

/// Whether `wanted` draws less than `before`, both in the words of one command; `None` where nobody can tell.
pub fn draws_less(before: &str, wanted: &str) -> Option<bool> {
    let rung = |word: &str| LADDER.iter().position(|words| words.contains(&&*word.to_ascii_lowercase()));
    if let (Some(before), Some(wanted)) = (rung(before), rung(wanted)) {
        return Some(wanted < before);
    }
    // Watts, megahertz: `3120`, `290MHz`, `3120W`.
    let ((before, unit), (wanted, same)) = (measure(before)?, measure(wanted)?);
    (unit == same).then_some(wanted < before)
}

fn measure(word: &str) -> Option<(f64, String)> {
    let end = word.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(word.len());
    Some((word[..end].parse().ok()?, word[end..].trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::draws_less;

    #[test]
    fn words_and_measures_have_an_order_and_names_have_none() {
        for (before, wanted, expected) in [
            ("Normal", "low", Some(true)),
            ("low", "normal", Some(false)),
            ("low", "low", Some(false)),
            ("eco", "high", Some(false)),
            ("3120", "2800", Some(true)),
            ("2800", "3120.5", Some(false)),
            ("310MHz", "290MHz", Some(true)),
            ("290MHz", "310mhz", Some(false)),
            ("290MHz", "3120", None),
            ("default", "290MHz", None),
            ("summer", "winter", None),
            ("", "low", None),
        ] {
            assert_eq!(draws_less(before, wanted), expected, "{before} → {wanted}");
        }
    }
}

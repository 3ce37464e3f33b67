//! The nearest right word for a wrong one.

/// Likeness (Jaro-Winkler, 0 to 1) below which a word is no help.
const LEAST: f64 = 0.75;

/// The word of `known` that is nearest to `word`, if any is near. Upper and lower case are the same.
pub fn nearest<S: AsRef<str>>(word: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let word = word.to_lowercase();
    let likeness = |candidate: &S| strsim::jaro_winkler(&word, &candidate.as_ref().to_lowercase());
    let scored = known.into_iter().map(|candidate| (likeness(&candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > LEAST).then_some(best.1)
}

/// What to write instead of a wrong word: `did you mean "x"?`, or all words there are.
pub fn hint<S: AsRef<str>>(word: &str, known: impl IntoIterator<Item = S>) -> String {
    let known: Vec<S> = known.into_iter().collect();
    let names = known.iter().map(AsRef::as_ref);
    match nearest(word, names.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "none is known".to_string(),
        None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered() {
        assert_eq!(hint("intervall", ["timeout", "interval"]), "did you mean \"interval\"?");
        assert_eq!(hint("zzz", ["interval", "timeout"]), "known are interval, timeout");
        assert_eq!(nearest("AXEOS", ["axeos"]), Some("axeos"));
        assert_eq!(nearest("x", Vec::<String>::new()), None);
    }
}

//! What a play has printed so far, while it still prints.
//!
//! Offsets count bytes of the *masked* text of whole lines: that text only grows while the play runs, and is the same
//! after its end, when the file itself has been masked.

use std::path::Path;

use crate::act::executor::Printed;
use crate::act::files::{FileError, MAX_READ, read_capped};
use crate::act::job::names;
use crate::act::keys::Masks;

/// Most bytes of one answer.
const MOST: usize = 64 * 1024;

/// Reads what is in a run folder from an offset on.
pub(super) fn read(folder: &Path, from: u64) -> Result<Printed, FileError> {
    let over = folder.join(names::EXIT).exists();
    // In this order: once the masks are gone, the file is masked.
    let masks = Masks::load(folder)?;
    let text = read_capped(&folder.join(names::STDOUT), MAX_READ)?.unwrap_or_default();
    let mut text = masks.apply(text);
    if !over {
        // The rest of the last line may hold the rest of a secret.
        text.truncate(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    Ok(part(&text, from))
}

fn part(text: &[u8], from: u64) -> Printed {
    let asked = usize::try_from(from).ok().filter(|from| *from <= text.len());
    let start = asked.unwrap_or(0);
    let rest = &text[start..];
    let window = &rest[..rest.len().min(MOST)];
    let end = match window.iter().rposition(|byte| *byte == b'\n') {
        Some(last) if window.len() < rest.len() => last + 1,
        _ => window.len(),
    };
    Printed {
        text: String::from_utf8_lossy(&window[..end]).into_owned(),
        next: (start + end) as u64,
        cut: asked.is_none(),
        more: end < rest.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_once_in_whole_lines_and_masked() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(read(folder.path(), 0).unwrap(), Printed::default());
        std::fs::create_dir(folder.path().join(names::SECRETS)).unwrap();
        write("secrets/masks.json", r#"["s3cret-word"]"#);
        write(names::STDOUT, "one s3cret-word\ntwo s3cr");
        let first = read(folder.path(), 0).unwrap();
        assert_eq!(first.text, "one <redacted>\n", "half a secret is not shown");
        // The end: the file is masked, the masks are gone, and the offset still holds.
        write(names::STDOUT, "one <redacted>\ntwo <redacted>");
        std::fs::remove_dir_all(folder.path().join(names::SECRETS)).unwrap();
        write(names::EXIT, "{}");
        let second = read(folder.path(), first.next).unwrap();
        assert_eq!((second.text.as_str(), second.cut, second.more), ("two <redacted>", false, false));
        // It was cut in between: begin again, and say so.
        write(names::STDOUT, "late\n");
        let third = read(folder.path(), second.next).unwrap();
        assert_eq!((third.text.as_str(), third.next, third.cut), ("late\n", 5, true));
    }

    #[test]
    fn long_output_comes_in_parts_that_make_the_whole() {
        let whole = "0123456789\n".repeat(20_000) + &"x".repeat(3 * MOST);
        let (mut from, mut got) = (0, String::new());
        loop {
            let part = part(whole.as_bytes(), from);
            assert!(part.text.len() <= MOST);
            got.push_str(&part.text);
            from = part.next;
            if !part.more {
                break;
            }
        }
        assert_eq!(got, whole);
    }
}

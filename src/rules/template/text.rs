//! Functions on text: title case, escaping, `host:port`.

use std::net::IpAddr;

/// Go's `strings.Title`: every letter that does not follow a letter, digit, quote or underscore.
pub(super) fn title(text: &str) -> String {
    let mut inside_word = false;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if inside_word {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        // ASCII punctuation separates words; beyond ASCII only blanks do. That is Go's rule.
        inside_word = if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { !c.is_whitespace() };
    }
    titled
}

/// `host:port` and `[v6]:port` cut in two, as Go's `net.SplitHostPort`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(host) => host,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// The host of `host:port`; anything else as it is.
pub(super) fn strip_port(text: &str) -> String {
    split_host_port(text).map_or(text, |(host, _)| host).to_string()
}

/// `a` of `a.b.c`, keeping a port; an IP address as it is.
pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_string();
    }
    let first = host.split('.').next().unwrap_or(host);
    if port.is_empty() { first.to_string() } else { format!("{first}:{port}") }
}

/// Go's `url.QueryEscape`.
pub(super) fn query_escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .map(|part| part.replace('*', "%2A"))
        .collect::<String>()
        // Go leaves the tilde alone, the form encoding does not.
        .replace("%7E", "~")
}

/// Go's HTML escaping.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Go's JavaScript escaping.
pub(super) fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_as_go_does() {
        assert_eq!(title("aa bb CC"), "Aa Bb CC");
        assert_eq!(title("a-b_c d'e"), "A-B_c D'E");
        assert_eq!(title("élan ünder"), "Élan Ünder");
    }

    #[test]
    fn hosts_and_ports() {
        for (text, host) in [
            ("a.b:80", "a.b"),
            ("a.b", "a.b"),
            ("[::1]:80", "::1"),
            ("::1", "::1"),
            ("[::1]", "[::1]"),
            ("a:b:c", "a:b:c"),
        ] {
            assert_eq!(strip_port(text), host, "{text}");
        }
        for (text, host) in [
            ("a.b.c:80", "a:80"),
            ("a.b.c", "a"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("host", "host"),
        ] {
            assert_eq!(strip_domain(text), host, "{text}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(query_escape("up{a=\"b c\"}*~-._"), "up%7Ba%3D%22b+c%22%7D%2A~-._");
        assert_eq!(js("a'<\"\\\n="), "a\\'\\u003C\\\"\\\\\\u000A\\u003D");
        assert_eq!(html("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&#34;");
    }
}

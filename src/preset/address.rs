//! Addresses of pools, however they are written: with or without a scheme, in capitals, with a path.

/// Where a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// In lower case; an IPv6 address in brackets.
    pub host: String,
    /// `None` where it is not written.
    pub port: Option<u16>,
    /// Whether it speaks TLS; `None` where no scheme says so.
    pub tls: Option<bool>,
}

impl Address {
    /// Reads what a device or the configuration says; `None` where there is no host.
    pub fn read(text: &str) -> Option<Address> {
        let (scheme, rest) = match text.trim().split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), text.trim()),
        };
        let tls = match scheme.as_str() {
            "" => None,
            "stratums" | "https" => Some(true),
            other => Some(["ssl", "tls", "tcps"].iter().any(|word| other.ends_with(word))),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        // The colons of a bare IPv6 address are no port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (rest, None),
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let ok = !host.is_empty() && !host.chars().any(|c| c.is_whitespace() || c.is_control());
        ok.then_some(Address { host, port, tls })
    }

    /// Whether both are one place. What one of them does not say is not compared.
    pub fn is(&self, other: &Address) -> bool {
        let agree = |one: Option<u16>, two: Option<u16>| one.is_none() || two.is_none() || one == two;
        self.host == other.host
            && agree(self.port, other.port)
            && agree(self.tls.map(u16::from), other.tls.map(u16::from))
    }
}

/// `host:port`, as `expected_pools` are compared with it.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, two: &str) -> bool {
        Address::read(one).unwrap().is(&Address::read(two).unwrap())
    }

    #[test]
    fn one_place_is_one_place_however_it_is_written() {
        assert!(same("stratum+tcp://Pool.Example.:3333", "pool.example:3333"));
        assert!(same("stratum+tcp://wallet:x@pool.example:3333/path", "stratum+tcp://pool.example:3333"));
        assert!(same("pool.example", "pool.example:3333"), "a device that does not say the port");
        assert!(same("[2001:db8::1]:3333", "stratum+tcp://[2001:db8::1]:3333"));
        assert!(!same("pool.example:3333", "pool.example:3334"));
        assert!(!same("pool.example:3333", "pool.example.evil.example:3333"));
        assert!(!same("stratum+ssl://pool.example:3333", "stratum+tcp://pool.example:3333"));
        assert_eq!(Address::read("stratum+tcp://"), None);
        assert_eq!(Address::read("pool.example:99999"), None);
    }
}

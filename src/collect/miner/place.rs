//! The address of a device as people write it: `host`, `host:port`, `[::1]:80`, `http://host`.

use crate::collect::OptionError;

/// Host and port of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host name or address; an IPv6 address has its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Place {
    /// Reads `address`, which may begin with `scheme://`.
    ///
    /// # Errors
    /// [`OptionError`] at `address` that says what is wrong with it.
    pub fn read(address: &str, scheme: &str, default_port: u16) -> Result<Self, OptionError> {
        let wrong = |what: &str| {
            // What stands in front of an @ may be a password.
            let shown = address.rsplit('@').next().unwrap_or_default();
            let text = format!("{shown:?} {what}; write a host, host:port or {scheme}://host:port");
            OptionError::new("address", text)
        };
        let rest = match address.split_once("://") {
            Some((found, rest)) if found == scheme => rest,
            Some((found, _)) => return Err(wrong(&format!("begins with {found}://, which this kind does not speak"))),
            None => address,
        };
        let url =
            url::Url::parse(&format!("http://{rest}")).map_err(|error| wrong(&format!("is no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("holds a user or a password"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("holds a path"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("holds no host"))?;
        // The parser drops ":80" as the default of its scheme, whatever ours is.
        let spelled_80 = rest.trim_end_matches('/').ends_with(":80");
        let port = url.port().unwrap_or(if spelled_80 { 80 } else { default_port });
        Ok(Place { host: host.to_string(), port })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_addresses_in_many_ways() {
        for (text, expected) in [
            ("10.0.0.5", "10.0.0.5:4028"),
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("rig-7.lan:4029", "rig-7.lan:4029"),
            ("tcp://rig-7/", "rig-7:4028"),
            ("[fd00::1]", "[fd00::1]:4028"),
            ("[fd00::1]:80", "[fd00::1]:80"),
        ] {
            assert_eq!(Place::read(text, "tcp", 4028).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("https://rig", "https://, which this kind does not speak"),
            ("rig/api", "holds a path"),
            ("root:x@rig", "user or a password"),
            ("rig:99999", "is no address"),
            ("", "is no address"),
        ] {
            let error = Place::read(text, "tcp", 4028).unwrap_err();
            assert_eq!(error.path, "address");
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }
}

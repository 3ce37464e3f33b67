//! Which addresses may be talked to: the rules against request forgery, for literal addresses and for resolved names.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::model::{FailureReason, PollFailure};

/// Which addresses may be talked to. Link-local (cloud metadata), multicast and unspecified ones never may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The target's configuration names a machine of its owner's network: private and loopback addresses are right.
    Lan,
    /// A public service: a name that resolves to a private or loopback address is a forgery.
    Public,
}

/// Endings of names that are never public: mDNS, the usual home router, RFC 8375, and ICANN's private one.
const LOCAL_ENDINGS: [&str; 5] = [".local", ".lan", ".home.arpa", ".internal", ".localhost"];

impl Network {
    /// What a URL looks like where the configuration does not say: public if it is https to a name with a dot that has
    /// none of the local endings.
    pub fn guess(url: &Url) -> Self {
        match url.host() {
            Some(url::Host::Domain(name)) if url.scheme() == "https" => {
                let name = name.trim_end_matches('.');
                let public = name.contains('.') && !LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending));
                if public { Network::Public } else { Network::Lan }
            }
            _ => Network::Lan,
        }
    }
}

/// Whether `address` may be talked to.
pub fn address_allowed(address: IpAddr, network: Network) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let never = v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast();
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !never && (network == Network::Lan || !(v4.is_private() || v4.is_loopback() || shared))
        }
        IpAddr::V6(v6) => {
            let metadata = v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254];
            let never = v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || metadata;
            !never && (network == Network::Lan || !(v6.is_unique_local() || v6.is_loopback()))
        }
    }
}

/// A literal address never passes the resolver, so it is checked here. One that the configuration spells out may be
/// private or loopback even for a public kind: its owner wrote it.
pub(super) fn check_literal_address(url: &Url) -> Result<(), PollFailure> {
    let literal = match url.host() {
        Some(url::Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(url::Host::Ipv6(v6)) => IpAddr::V6(v6),
        _ => return Ok(()),
    };
    if address_allowed(literal, Network::Lan) {
        return Ok(());
    }
    Err(PollFailure::new(FailureReason::Denied, format!("{literal} is a link-local, metadata or multicast address")))
}

/// Resolves names and drops the addresses that may not be talked to, so that the connection goes to a checked address.
pub(super) struct GuardedResolver(pub Network);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|a| address_allowed(a.ip(), network)).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(
                    Box::new(Forbidden { name: name.as_str().to_string() }) as Box<dyn std::error::Error + Send + Sync>
                );
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Every address of a name was refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} resolves only to addresses that may not be talked to (link-local, metadata, multicast, or private for a \
     public service: say `network: lan` if it is one of your own)"
)]
pub(super) struct Forbidden {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_multicast_are_never_talked_to() {
        for text in ["169.254.169.254", "fd00:ec2::254", "fe80::1", "224.0.0.1", "0.0.0.0", "::ffff:169.254.169.254"] {
            assert!(!address_allowed(text.parse().unwrap(), Network::Lan), "{text}");
        }
        for text in ["127.0.0.1", "10.1.2.3", "192.168.1.5", "::1", "fd12::1", "100.64.0.1"] {
            assert!(address_allowed(text.parse().unwrap(), Network::Lan), "{text}");
            assert!(!address_allowed(text.parse().unwrap(), Network::Public), "{text}");
        }
        assert!(address_allowed("1.1.1.1".parse().unwrap(), Network::Public));
    }

    #[test]
    fn a_network_is_guessed_from_the_url() {
        for (url, network) in [
            ("https://api.example.com/v1", Network::Public),
            ("https://api.example.com./v1", Network::Public),
            ("http://api.example.com/v1", Network::Lan),
            ("https://nas/v1", Network::Lan),
            ("https://nas.lan/v1", Network::Lan),
            ("https://nas.home.arpa./v1", Network::Lan),
            ("https://10.0.0.1/v1", Network::Lan),
        ] {
            assert_eq!(Network::guess(&Url::parse(url).unwrap()), network, "{url}");
        }
    }
}

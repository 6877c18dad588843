//! Which addresses a channel may connect to: none in the plant's own network, unless allowed.
//!
//! Addresses are judged where the connection is made, after the look-up of the name. So a name that
//! points elsewhere at a second look-up changes nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Looks up the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Which addresses a channel may connect to.
#[derive(Clone)]
pub struct AddressPolicy {
    allow_private: bool,
    lookup: Lookup,
}

/// Why an address is not connected to.
#[derive(Debug, thiserror::Error)]
pub enum NotAllowed {
    /// The name has no address.
    #[error("{0} can't be looked up")]
    Unknown(String, #[source] io::Error),
    /// It is in the plant's own network.
    #[error("{0} is in the plant's own network; allow_private = true allows that")]
    Private(IpAddr),
    /// No channel can have this address.
    #[error("{0} can't be the address of a channel")]
    Never(IpAddr),
}

/// Which network an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressClass {
    /// The internet.
    Public,
    /// A private network, or the same machine.
    Private,
    /// No channel is there: link-local (such as a cloud's metadata), multicast, reserved.
    Never,
}

impl AddressPolicy {
    /// Allows public addresses, and private ones if `allow_private`.
    #[must_use]
    pub fn new(allow_private: bool, lookup: Lookup) -> Self {
        Self { allow_private, lookup }
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, address: IpAddr) -> Result<(), NotAllowed> {
        match class_of(address) {
            AddressClass::Public => Ok(()),
            AddressClass::Private if self.allow_private => Ok(()),
            AddressClass::Private => Err(NotAllowed::Private(address)),
            AddressClass::Never => Err(NotAllowed::Never(address)),
        }
    }

    /// The allowed addresses of a host, at least one.
    ///
    /// # Errors
    /// If none is allowed, or the host has none.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NotAllowed> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        let all = match literal {
            Ok(address) => vec![address],
            Err(_) => {
                let found = (self.lookup)(host.to_owned()).await;
                found.map_err(|error| NotAllowed::Unknown(host.to_owned(), error))?
            }
        };
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in all {
            match self.judge(address) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(error)) => Err(error),
            (true, None) => Err(NotAllowed::Unknown(host.to_owned(), io::ErrorKind::NotFound.into())),
        }
    }
}

impl fmt::Debug for AddressPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressPolicy").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// Looks up names by the machine's own resolver.
#[must_use]
pub fn system() -> Lookup {
    Arc::new(|host| {
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    })
}

fn class_of(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => class_of_v4(address),
        IpAddr::V6(address) => class_of_v6(address),
    }
}

/// By the registry of special-purpose addresses (RFC 6890 and its updates).
fn class_of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressClass::Private,
        // this network, link-local, protocol assignments, documentation, the old 6to4
        // relays, benchmarks, multicast, reserved
        [0, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => AddressClass::Never,
        _ => AddressClass::Public,
    }
}

/// An address that contains an IPv4 address has the class of that one.
fn class_of_v6(address: Ipv6Addr) -> AddressClass {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        class_of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Private,
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        // private NAT64, unique local, site-local
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        // Teredo and other protocols, documentation
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressClass::Never,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(addresses: &'static [&'static str]) -> Lookup {
        Arc::new(move |_| async move { Ok(addresses.iter().map(|text| text.parse().unwrap()).collect()) }.boxed())
    }

    #[test]
    fn only_public_addresses_are_public() {
        for (addresses, expected) in [
            (
                "8.8.8.8 1.1.1.1 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 223.255.255.255",
                AddressClass::Public,
            ),
            (
                "2606:4700::1 2a00:1450::5 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1 2400:3200::1",
                AddressClass::Public,
            ),
            (
                "10.0.0.1 127.0.0.1 127.255.0.1 172.16.0.1 172.31.9.9 192.168.1.1 100.64.0.1 100.127.0.1",
                AddressClass::Private,
            ),
            (
                "::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::a00:1 2002:7f00:1:: 2002:c0a8:101::",
                AddressClass::Private,
            ),
            ("fc00::1 fd12:3456::1 fec0::1 64:ff9b:1::1", AddressClass::Private),
            (
                "0.0.0.0 0.1.2.3 169.254.169.254 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9",
                AddressClass::Never,
            ),
            ("224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 192.88.99.1", AddressClass::Never),
            (":: fe80::1 ff02::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::", AddressClass::Never),
            ("2001::1 2001:db8::1 3fff::1 100::1 ::7f00:1 ::10.0.0.1 5f00::1 4000::1", AddressClass::Never),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(class_of(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_reaches_only_its_addresses_that_are_allowed() {
        for (allow_private, addresses, reached) in [
            (false, &["8.8.8.8", "10.0.0.1"][..], Ok(1)),
            (false, &["10.0.0.1"], Err("allow_private")),
            (true, &["10.0.0.1", "127.0.0.1"], Ok(2)),
            (true, &["169.254.169.254"], Err("the address of a channel")),
            (false, &[], Err("looked up")),
        ] {
            let found = AddressPolicy::new(allow_private, fixed(addresses)).addresses("sender.example").await;
            match (found, reached) {
                (Ok(found), Ok(expected)) => assert_eq!(found.len(), expected, "{addresses:?}"),
                (Err(out), Err(part)) => assert!(out.to_string().contains(part), "{out}"),
                (found, _) => panic!("{addresses:?}: {found:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_address_in_place_of_a_name_is_judged_too() {
        let policy = AddressPolicy::new(false, fixed(&["8.8.8.8"]));
        for host in ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]"] {
            assert!(matches!(policy.addresses(host).await, Err(NotAllowed::Private(_))), "{host}");
        }
        assert_eq!(policy.addresses("1.1.1.1").await.unwrap().len(), 1);
    }
}

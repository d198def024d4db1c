//! Ranges of addresses and their kinds (the registries of RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses with one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    prefix: u8,
}

impl Range {
    /// The addresses that share the first `prefix` bits with `first`; none when there are not so many bits.
    pub fn new(first: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if first.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { first, prefix })
    }

    /// Only this address.
    pub fn one(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self {
            first: address,
            prefix,
        }
    }

    /// Whether its addresses are IPv4 ones.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differing = u32::from(first) ^ u32::from(address);
                differing.leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differing = u128::from(first) ^ u128::from(address);
                differing.leading_zeros() >= self.prefix.into()
            }
            _ => false,
        }
    }
}

/// A kind of addresses that rules can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This machine.
    Loopback,
    /// Networks of their own: RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// This link: RFC 3927, RFC 4291 §2.5.6.
    LinkLocal,
    /// Groups, and everybody on the link.
    Multicast,
    /// Not for the internet: this network, documentation, benchmarks, future use.
    Reserved,
    /// All others.
    Public,
}

const V4: [(Kind, [u8; 4], u8); 16] = [
    (Kind::Loopback, [127, 0, 0, 0], 8),
    (Kind::Private, [10, 0, 0, 0], 8),
    (Kind::Private, [100, 64, 0, 0], 10),
    (Kind::Private, [172, 16, 0, 0], 12),
    (Kind::Private, [192, 168, 0, 0], 16),
    (Kind::LinkLocal, [169, 254, 0, 0], 16),
    (Kind::Multicast, [224, 0, 0, 0], 4),
    (Kind::Multicast, [255, 255, 255, 255], 32),
    (Kind::Reserved, [0, 0, 0, 0], 8),
    (Kind::Reserved, [192, 0, 0, 0], 24),
    (Kind::Reserved, [192, 0, 2, 0], 24),
    (Kind::Reserved, [192, 88, 99, 0], 24),
    (Kind::Reserved, [198, 18, 0, 0], 15),
    (Kind::Reserved, [198, 51, 100, 0], 24),
    (Kind::Reserved, [203, 0, 113, 0], 24),
    (Kind::Reserved, [240, 0, 0, 0], 4),
];

const V6: [(Kind, [u16; 2], u8); 7] = [
    (Kind::Private, [0xfc00, 0], 7),
    (Kind::Private, [0xfec0, 0], 10),
    (Kind::LinkLocal, [0xfe80, 0], 10),
    (Kind::Multicast, [0xff00, 0], 8),
    (Kind::Reserved, [0x0100, 0], 64),
    (Kind::Reserved, [0x2001, 0x0db8], 32),
    (Kind::Reserved, [0x3fff, 0], 20),
];

/// The kind of an address, an IPv4 one inside of an IPv6 one being what counts.
pub fn kind(address: IpAddr) -> Kind {
    match embedded(address).unwrap_or(address) {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Kind::Loopback,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Kind::Reserved,
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

/// Whether an address belongs to the internet.
pub fn is_public(address: IpAddr) -> bool {
    kind(address) == Kind::Public
}

/// The IPv4 address that an IPv6 one leads to: mapped and compatible (RFC 4291 §2.5.5), by NAT64 (RFC 6052, RFC 8215), by
/// 6to4 (RFC 3056).
pub fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let parts = address.segments();
    let v4 = |high: u16, low: u16| {
        Some(IpAddr::V4(Ipv4Addr::from(
            u32::from(high) << 16 | u32::from(low),
        )))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    let found = V4.iter().find(|(_, first, prefix)| {
        let range = Range {
            first: IpAddr::from(*first),
            prefix: *prefix,
        };
        range.contains(address.into())
    });
    found.map_or(Kind::Public, |(kind, ..)| *kind)
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let found = V6.iter().find(|(_, [one, two], prefix)| {
        let range = Range {
            first: IpAddr::from([*one, *two, 0, 0, 0, 0, 0, 0]),
            prefix: *prefix,
        };
        range.contains(address.into())
    });
    found.map_or(Kind::Public, |(kind, ..)| *kind)
}

//! `NO_PROXY`: hosts that are reached without the proxy.

use std::net::IpAddr;

use crate::engine::dialer::literal;

/// A list of hosts.
#[derive(Clone, Debug, Default)]
pub struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug)]
enum Exception {
    /// `*`
    All,
    /// `192.0.2.0/24`
    Network(IpAddr, u8),
    /// `example.com`, `.example.com`, `*.example.com`: the host itself and all below it. With `:port` only that port.
    Host(String, Option<u16>),
}

impl Exceptions {
    /// Reads a list, its elements divided by commas or spaces. What can't be read is the name of no host.
    pub fn parse(list: &str) -> Self {
        let elements = list.split([',', ' ', '\t']);
        Self(
            elements
                .filter(|element| !element.is_empty())
                .map(exception)
                .collect(),
        )
    }

    /// Whether `host` (IPv6 in brackets) is in the list.
    pub fn has(&self, host: &str, port: u16) -> bool {
        let address = literal(host);
        self.0.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Network(network, bits) => {
                address.is_some_and(|address| is_in(address, *network, *bits))
            }
            Exception::Host(name, only) => {
                only.is_none_or(|only| only == port)
                    && (is_below(host, name) || address.is_some() && address == literal(name))
            }
        })
    }
}

fn exception(text: &str) -> Exception {
    if text == "*" {
        return Exception::All;
    }
    let network = text
        .split_once('/')
        .and_then(|(network, bits)| Some((literal(network)?, bits.parse().ok()?)));
    if let Some((network, bits)) = network {
        return Exception::Network(network, bits);
    }
    let (name, port) = match text.rsplit_once(':') {
        // More colons without brackets are an IPv6 address.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, port.parse().ok())
        }
        _ => (text, None),
    };
    let name = name.trim_start_matches('*').trim_matches('.');
    Exception::Host(name.to_ascii_lowercase(), port)
}

/// Whether `host` is `name` or ends with it behind a dot.
fn is_below(host: &str, name: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.strip_suffix(name)
        .is_some_and(|front| !name.is_empty() && (front.is_empty() || front.ends_with('.')))
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

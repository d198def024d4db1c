//! One rule of a policy: a place and its ports.

use std::{net::IpAddr, path::PathBuf};

use url::Host;

use super::{
    PolicyError,
    ranges::{Kind, Range, kind},
};

/// A place and its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    place: Place,
    from: u16,
    to: u16,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Every name, and every public address.
    Everything,
    /// One host name, in lower case.
    Name(String),
    /// The names that end with this: a dot and a name.
    Below(String),
    /// A range of addresses.
    Addresses(Range),
    /// The addresses of one kind.
    Kind(Kind),
    /// A Unix socket, or a folder of them.
    Local(PathBuf),
}

impl Rule {
    /// Reads a rule as [`Policy`](super::Policy) describes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let problem = |what: &str| PolicyError(format!("invalid rule '{text}' ({what})"));
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(problem("a path is missing"));
            }
            return Ok(Self {
                place: Place::Local(PathBuf::from(path)),
                from: 0,
                to: u16::MAX,
            });
        }
        let (place, ports) =
            split_ports(text).ok_or_else(|| problem("IPv6 addresses stand in brackets"))?;
        let (from, to) = match ports {
            None => (0, u16::MAX),
            Some(ports) => parse_ports(ports).ok_or_else(|| {
                problem("a port is a number from 0 to 65535, or two with a - between them")
            })?,
        };
        let place = parse_place(place).map_err(|what| problem(&what))?;
        Ok(Self { place, from, to })
    }

    /// What it is about.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is about this name, which is in lower case.
    pub fn has_name(&self, host: &str, port: u16) -> bool {
        self.has_port(port)
            && match &self.place {
                Place::Everything => true,
                Place::Name(name) => name == host,
                Place::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
                Place::Addresses(_) | Place::Kind(_) | Place::Local(_) => false,
            }
    }

    /// Whether it is about this very name.
    pub fn names(&self, host: &str, port: u16) -> bool {
        self.has_port(port) && matches!(&self.place, Place::Name(name) if name == host)
    }

    /// Whether it is about this address.
    pub fn has_address(&self, address: IpAddr, port: u16) -> bool {
        self.has_port(port)
            && match &self.place {
                Place::Addresses(range) => range.contains(address),
                Place::Kind(named) => kind(address) == *named,
                Place::Everything | Place::Name(_) | Place::Below(_) | Place::Local(_) => false,
            }
    }

    /// Whether it is about one of the addresses that the unspecified `every` stands for: all of IPv4, or of both families.
    pub fn has_some_address_of(&self, every: IpAddr, port: u16) -> bool {
        self.has_port(port)
            && match &self.place {
                Place::Addresses(range) => every.is_ipv6() || range.is_ipv4(),
                Place::Kind(_) | Place::Everything => true,
                Place::Name(_) | Place::Below(_) | Place::Local(_) => false,
            }
    }

    /// Whether it is about everything with this port.
    pub fn has_everything(&self, port: u16) -> bool {
        self.has_port(port) && self.place == Place::Everything
    }

    fn has_port(&self, port: u16) -> bool {
        (self.from..=self.to).contains(&port)
    }
}

/// Place and ports; none for an IPv6 address that lacks its brackets.
fn split_ports(text: &str) -> Option<(&str, Option<&str>)> {
    let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
    match text[after_brackets..].matches(':').count() {
        0 => Some((text, None)),
        1 => {
            let colon = text.rfind(':')?;
            Some((&text[..colon], Some(&text[colon + 1..])))
        }
        _ => None,
    }
}

fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

fn parse_place(text: &str) -> Result<Place, String> {
    let kind = match text {
        "*" => return Ok(Place::Everything),
        "loopback" => Kind::Loopback,
        "private" => Kind::Private,
        "link-local" => Kind::LinkLocal,
        "multicast" => Kind::Multicast,
        "reserved" => Kind::Reserved,
        "public" => Kind::Public,
        _ => return parse_host(text),
    };
    Ok(Place::Kind(kind))
}

fn parse_host(text: &str) -> Result<Place, String> {
    if let Some((first, prefix)) = text.split_once('/') {
        let range = address(first)
            .zip(prefix.parse().ok())
            .and_then(|(first, prefix)| Range::new(first, prefix));
        return range
            .map(Place::Addresses)
            .ok_or_else(|| "an address and the length of its prefix expected".to_owned());
    }
    if let Some(address) = address(text) {
        return Ok(Place::Addresses(Range::one(address)));
    }
    if let Some(below) = text.strip_prefix("*.") {
        return Ok(Place::Below(format!(".{}", name(below)?)));
    }
    name(text).map(Place::Name)
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// A host name as the network knows it: lower case, international ones in their ASCII form.
fn name(text: &str) -> Result<String, String> {
    let plain = text.strip_suffix('.').unwrap_or(text);
    if plain.contains('*') {
        return Err("a * stands alone or for the names below one: *.example.com".to_owned());
    }
    match Host::parse(plain) {
        Ok(Host::Domain(name)) => Ok(name),
        Ok(_) => Err("write the address out".to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}

//! What a set of rules says to a name, an address or a path.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::{
    ranges::{embedded, is_public},
    rule::{Place, Rule},
};

/// The addresses that `localhost` stands for.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// As [`LOCAL`].
pub(super) const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The rules for one way: connecting or listening.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Whether only what a rule allows is allowed.
    pub(super) closed: bool,
    pub(super) allow: Vec<Rule>,
    pub(super) deny: Vec<Rule>,
}

impl Rules {
    pub(super) fn allows_name(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let matches = |rule: &Rule| rule.has_name(&host, port);
        if self.deny.iter().any(matches) {
            return false;
        }
        let is_local = is_localhost(&host)
            && self
                .allow
                .iter()
                .any(|rule| rule.has_address(LOCAL, port) || rule.has_address(LOCAL6, port));
        !self.closed || is_local || self.allow.iter().any(matches)
    }

    /// Whether the address of a name that is allowed itself may be used.
    pub(super) fn allows_address_of(&self, host: &str, address: IpAddr, port: u16) -> bool {
        if self.denies_address(address, port) {
            return false;
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let named_local = is_localhost(&host)
            && address.to_canonical().is_loopback()
            && self.allow.iter().any(|rule| rule.names(&host, port));
        !self.closed || named_local || is_public(address) || self.has_address_rule(address, port)
    }

    /// Whether an address that no name stands for may be used.
    pub(super) fn allows_literal(&self, address: IpAddr, port: u16) -> bool {
        if self.denies_address(address, port) {
            return false;
        }
        let everywhere =
            || is_public(address) && self.allow.iter().any(|rule| rule.has_everything(port));
        !self.closed || self.has_address_rule(address, port) || everywhere()
    }

    /// Whether a socket may listen on `address`, which the unspecified one does on every address.
    pub(super) fn allows_listening(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let denied = |rule: &Rule| rule.has_some_address_of(address, port);
        if address.is_unspecified() && self.deny.iter().any(denied) {
            return false;
        }
        self.allows_literal(address, port)
    }

    fn denies_address(&self, address: IpAddr, port: u16) -> bool {
        let leads_to = embedded(address);
        self.deny.iter().any(|rule| {
            rule.has_everything(port)
                || rule.has_address(address.to_canonical(), port)
                || leads_to.is_some_and(|inner| rule.has_address(inner, port))
        })
    }

    fn has_address_rule(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.allow
            .iter()
            .any(|rule| rule.has_address(address, port))
    }

    pub(super) fn allows_path(&self, path: &Path) -> bool {
        let Some(path) = real(path) else {
            return false;
        };
        let matches = |rule: &Rule| match rule.place() {
            Place::Local(folder) => real(folder).is_some_and(|folder| path.starts_with(folder)),
            _ => false,
        };
        !self.deny.iter().any(matches) && (!self.closed || self.allow.iter().any(matches))
    }
}

/// RFC 6761 §6.3.
fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The path without links, as far as it exists. None for one that goes up from what does not exist, and for one with a NUL:
/// the system ends a socket's path there, or takes it for a name outside of all folders when it comes first.
fn real(path: &Path) -> Option<PathBuf> {
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return None;
    }
    if let Ok(real) = path.canonicalize() {
        return Some(real);
    }
    let absolute = std::path::absolute(path).ok()?;
    let name = absolute.file_name()?.to_owned();
    Some(real(absolute.parent()?)?.join(name))
}

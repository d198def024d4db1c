//! Where a program may connect to and listen: rules on host names, addresses, ports and Unix sockets.
//!
//! ```
//! use lute_net::Policy;
//!
//! let policy = Policy::closed()
//!     .allow_connect("api.example.com:443")?
//!     .allow_connect("*.cdn.example.com")?
//!     .allow_listen("loopback:8000-8999")?;
//! assert!(policy.connect_name("api.example.com", 443).is_ok());
//! assert!(policy.connect_name("example.com", 443).is_err());
//! // A name that resolves to a private address does not get through.
//! assert!(policy.connect_address("api.example.com", "93.184.216.34:443".parse()?).is_ok());
//! assert!(policy.connect_address("api.example.com", "10.0.0.1:443".parse()?).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ranges;
mod rule;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use self::{
    rule::Rule,
    rules::{LOCAL, LOCAL6, Rules},
};
use super::{
    dialer::{self, Gate},
    listener::ListenAt,
};

/// Where a program may connect to and listen.
///
/// An [open](Self::open) policy allows what no rule denies; a [closed](Self::closed) one only what a rule allows. A rule
/// that denies always wins. Rules are written as `PLACE` or `PLACE:PORT` or `PLACE:FROM-TO`, where the place is
///
/// | | |
/// |---|---|
/// | `example.com` | this host name |
/// | `*.example.com` | the names below it |
/// | `*` | every name, and every public address |
/// | `192.0.2.7`, `[2001:db8::7]` | this address |
/// | `10.0.0.0/8`, `[fd00::]/8` | the addresses with this prefix |
/// | `loopback`, `private`, `link-local`, `multicast`, `reserved`, `public` | the addresses of these kinds; `private` holds carriers' shared 100.64.0.0/10 too, `public` what is of no other kind |
/// | `unix:/run/app` | the Unix socket at this path, or those in this folder (no port) |
///
/// IPv4 addresses inside of IPv6 ones (mapped, translated by NAT64 or 6to4) count as what they lead to, and connecting to
/// `0.0.0.0` as connecting to the loopback address. Listening on `0.0.0.0` takes every IPv4 address, on `[::]` those and every
/// IPv6 one: neither may be when a rule denies one of them.
///
/// Names are checked before they are looked up, and then each address they have. In a closed policy a name needs a rule
/// for names, and an address that is not public needs a rule for addresses as well; `localhost` is the name of the
/// loopback addresses. What a proxy does with a name can't be checked: a closed policy allows no proxy that has no rule.
///
/// ```
/// use lute_net::Policy;
///
/// let policy = Policy::closed().allow_connect("*.example.com:443")?;
/// assert!(policy.connect_name("api.example.com", 443).is_ok());
/// assert!(policy.connect_name("api.example.com", 80).is_err());
/// # Ok::<(), lute_net::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy {
    connect: Rules,
    listen: Rules,
}

/// A rule that can't be read: what is wrong with it.
///
/// ```
/// let error = lute_net::Policy::open().deny_connect("10.0.0.0/99").unwrap_err();
/// assert!(error.to_string().contains("10.0.0.0/99"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(String);

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl Policy {
    /// Allows everything that no rule denies.
    ///
    /// ```
    /// let policy = lute_net::Policy::open().deny_connect("private")?.deny_connect("link-local")?;
    /// assert!(policy.connect_address("intra.example", "10.1.2.3:80".parse()?).is_err());
    /// assert!(policy.connect_address("[::ffff:10.1.2.3]", "[::ffff:10.1.2.3]:80".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open() -> Self {
        Self::default()
    }

    /// Allows nothing but what rules allow.
    ///
    /// ```
    /// assert!(lute_net::Policy::closed().connect_name("example.com", 80).is_err());
    /// ```
    pub fn closed() -> Self {
        let closed = Rules {
            closed: true,
            ..Rules::default()
        };
        Self {
            connect: closed.clone(),
            listen: closed,
        }
    }

    /// Allows connections to a place.
    ///
    /// ```
    /// let policy = lute_net::Policy::closed().allow_connect("*.example.com:443")?;
    /// assert!(policy.connect_name("www.example.com", 443).is_ok());
    /// assert!(policy.connect_name("www.example.com", 80).is_err());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// [`PolicyError`] when the rule can't be read.
    pub fn allow_connect(mut self, rule: &str) -> Result<Self, PolicyError> {
        self.connect.allow.push(Rule::parse(rule)?);
        Ok(self)
    }

    /// Denies connections to a place.
    ///
    /// ```
    /// let policy = lute_net::Policy::open().deny_connect("*:25")?;
    /// assert!(policy.connect_name("mail.example.com", 25).is_err());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::allow_connect`].
    pub fn deny_connect(mut self, rule: &str) -> Result<Self, PolicyError> {
        self.connect.deny.push(Rule::parse(rule)?);
        Ok(self)
    }

    /// Allows listening at a place.
    ///
    /// ```
    /// let policy = lute_net::Policy::closed().allow_listen("loopback:8000-8999")?;
    /// assert!(policy.listen_address("127.0.0.1:8080".parse()?).is_ok());
    /// assert!(policy.listen_address("0.0.0.0:8080".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::allow_connect`].
    pub fn allow_listen(mut self, rule: &str) -> Result<Self, PolicyError> {
        self.listen.allow.push(Rule::parse(rule)?);
        Ok(self)
    }

    /// Denies listening at a place.
    ///
    /// ```
    /// let policy = lute_net::Policy::open().deny_listen("0.0.0.0/0:1-1023")?;
    /// assert!(policy.listen_address("127.0.0.1:80".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::allow_connect`].
    pub fn deny_listen(mut self, rule: &str) -> Result<Self, PolicyError> {
        self.listen.deny.push(Rule::parse(rule)?);
        Ok(self)
    }

    /// May `host` (a name, or an address as it was written) be looked up, to connect to `port`?
    ///
    /// ```
    /// assert!(lute_net::Policy::open().connect_name("example.com", 80).is_ok());
    /// ```
    ///
    /// # Errors
    /// A text for the user that says what is not allowed.
    pub fn connect_name(&self, host: &str, port: u16) -> Result<(), String> {
        let allowed = match dialer::literal(host) {
            Some(address) => self.connect.allows_literal(reached(address), port),
            None => self.connect.allows_name(host, port),
        };
        refuse_unless(allowed, || {
            format!("connecting to {host}:{port} is not allowed")
        })
    }

    /// May `address` be connected to, which `host` has?
    ///
    /// ```
    /// let policy = lute_net::Policy::open().deny_connect("loopback")?;
    /// assert!(policy.connect_address("local.example", "127.0.0.1:80".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn connect_address(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let (ip, port) = (reached(address.ip()), address.port());
        let allowed = match dialer::literal(host) {
            Some(_) => self.connect.allows_literal(ip, port),
            None => {
                self.connect.allows_name(host, port)
                    && self.connect.allows_address_of(host, ip, port)
            }
        };
        refuse_unless(allowed, || match dialer::literal(host) {
            Some(_) => format!("connecting to {address} is not allowed"),
            None => format!(
                "connecting to {host}:{port} is not allowed: its address is {}",
                address.ip()
            ),
        })
    }

    /// May the Unix socket at `path` be connected to?
    ///
    /// ```
    /// let policy = lute_net::Policy::closed().allow_connect("unix:/run/app")?;
    /// assert!(policy.connect_path("/run/app/control.sock".as_ref()).is_ok());
    /// assert!(policy.connect_path("/run/app/../docker.sock".as_ref()).is_err());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn connect_path(&self, path: &Path) -> Result<(), String> {
        refuse_unless(self.connect.allows_path(path), || {
            format!("connecting to {} is not allowed", path.display())
        })
    }

    /// May `host` be looked up, to listen on `port`?
    ///
    /// ```
    /// let policy = lute_net::Policy::closed().allow_listen("loopback")?;
    /// assert!(policy.listen_name("localhost", 80).is_ok());
    /// assert!(policy.listen_name("example.com", 80).is_err());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn listen_name(&self, host: &str, port: u16) -> Result<(), String> {
        let allowed = match dialer::literal(host) {
            Some(address) => self.listen.allows_listening(address, port),
            None => self.listen.allows_name(host, port),
        };
        refuse_unless(allowed, || {
            format!("listening on {host}:{port} is not allowed")
        })
    }

    /// May be listened on `address`? Port 0, which lets the system choose, needs a rule for all ports.
    ///
    /// ```
    /// let policy = lute_net::Policy::closed().allow_listen("127.0.0.1:8080")?;
    /// assert!(policy.listen_address("127.0.0.1:0".parse()?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn listen_address(&self, address: SocketAddr) -> Result<(), String> {
        let allowed = self.listen.allows_listening(address.ip(), address.port());
        refuse_unless(allowed, || format!("listening on {address} is not allowed"))
    }

    /// May a Unix socket be made at `path`?
    ///
    /// ```
    /// assert!(lute_net::Policy::closed().listen_path("/run/app.sock".as_ref()).is_err());
    /// ```
    ///
    /// # Errors
    /// As [`Self::connect_name`].
    pub fn listen_path(&self, path: &Path) -> Result<(), String> {
        refuse_unless(self.listen.allows_path(path), || {
            format!("listening on {} is not allowed", path.display())
        })
    }
}

impl Policy {
    /// Those of the addresses, or the Unix socket, that may be listened on.
    ///
    /// ```
    /// use lute_net::{Policy, engine::listener::ListenAt};
    ///
    /// let both = ListenAt::Internet {
    ///     addresses: vec!["127.0.0.1:80".parse()?, "[::1]:80".parse()?],
    ///     reuse_port: false,
    /// };
    /// let policy = Policy::open().deny_listen("127.0.0.0/8")?;
    /// let allowed = policy.listen_at(both)?;
    /// assert!(matches!(allowed, ListenAt::Internet { addresses, .. } if addresses == ["[::1]:80".parse()?]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::listen_address`], when none may.
    pub fn listen_at(&self, at: ListenAt) -> Result<ListenAt, String> {
        match at {
            ListenAt::Local(path) => self.listen_path(&path).map(|()| ListenAt::Local(path)),
            ListenAt::Internet {
                addresses,
                reuse_port,
            } => {
                let (mut allowed, mut refusal) = (Vec::with_capacity(addresses.len()), None);
                for address in addresses {
                    match self.listen_address(address) {
                        Ok(()) => allowed.push(address),
                        Err(reason) => refusal = Some(reason),
                    }
                }
                match refusal.filter(|_| allowed.is_empty()) {
                    Some(reason) => Err(reason),
                    None => Ok(ListenAt::Internet {
                        addresses: allowed,
                        reuse_port,
                    }),
                }
            }
        }
    }
}

impl Gate for Policy {
    fn name(&self, host: &str, port: u16) -> Result<(), String> {
        self.connect_name(host, port)
    }

    fn address(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        self.connect_address(host, address)
    }

    fn path(&self, path: &Path) -> Result<(), String> {
        self.connect_path(path)
    }
}

/// Where a connection to `address` ends: the system takes the unspecified one for its own.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => LOCAL,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => LOCAL6,
        other => other,
    }
}

fn refuse_unless(allowed: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if allowed { Ok(()) } else { Err(problem()) }
}

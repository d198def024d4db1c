//! Whom a dialer asks before it connects.

use std::{net::SocketAddr, path::Path};

/// Says where a program may connect to. Each refusal is a text for the user that names what was refused.
///
/// It is asked before every new connection, so also at each redirect; a kept connection was asked for when it was opened.
/// A name that is let through is asked about again with each of its addresses, so that a name which resolves to a private
/// address does not get through. With a proxy, both the destination's name (its address is the proxy's to find) and the
/// proxy's name and addresses are asked for.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// use std::{net::SocketAddr, path::Path};
///
/// struct NotPrivate;
/// impl Gate for NotPrivate {
///     fn name(&self, _: &str, _: u16) -> Result<(), String> { Ok(()) }
///     fn address(&self, host: &str, address: SocketAddr) -> Result<(), String> {
///         if address.ip().is_loopback() { return Err(format!("{host} is this machine")); }
///         Ok(())
///     }
///     fn path(&self, path: &Path) -> Result<(), String> { Err(format!("{} is local", path.display())) }
/// }
/// let client = Client::new(Dialer::with_gate(engine.clone(), Rc::new(NotPrivate)));
/// let error = engine.block_on(client.send(ClientRequest::get(url)))?.err().unwrap();
/// assert_eq!(error.to_string(), "127.0.0.1 is this machine");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Gate {
    /// May `host` (a name or an address as it was written, IPv6 in brackets) be looked up, to connect to `port`?
    ///
    /// ```
    /// use lute_net::{Policy, engine::dialer::Gate};
    ///
    /// let policy: &dyn Gate = &Policy::open().deny_connect("example.org")?;
    /// assert!(policy.name("example.org", 443).is_err() && policy.name("example.com", 443).is_ok());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// Why not.
    fn name(&self, host: &str, port: u16) -> Result<(), String>;

    /// May `address` be connected to, which `host` has?
    ///
    /// ```
    /// use lute_net::{Policy, engine::dialer::Gate};
    ///
    /// let policy: &dyn Gate = &Policy::open().deny_connect("loopback")?;
    /// assert!(policy.address("a.example", ([127, 0, 0, 1], 80).into()).is_err());
    /// # Ok::<(), lute_net::PolicyError>(())
    /// ```
    ///
    /// # Errors
    /// Why not. Other addresses of the host are still tried.
    fn address(&self, host: &str, address: SocketAddr) -> Result<(), String>;

    /// May the Unix socket at `path` be connected to?
    ///
    /// ```
    /// use lute_net::{Policy, engine::dialer::Gate};
    ///
    /// let policy: &dyn Gate = &Policy::closed();
    /// assert!(policy.path("/run/app.sock".as_ref()).is_err());
    /// ```
    ///
    /// # Errors
    /// Why not.
    fn path(&self, path: &Path) -> Result<(), String>;
}

/// Lets everything through.
///
/// ```
/// use lute_net::engine::dialer::{Gate, OpenGate};
///
/// assert!(OpenGate.name("anything.example", 1).is_ok());
/// ```
pub struct OpenGate;

impl Gate for OpenGate {
    fn name(&self, _: &str, _: u16) -> Result<(), String> {
        Ok(())
    }

    fn address(&self, _: &str, _: SocketAddr) -> Result<(), String> {
        Ok(())
    }

    fn path(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

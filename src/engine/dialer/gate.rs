//! Whom a dialer asks before it connects.

use std::{net::SocketAddr, path::Path};

/// Says where a program may connect to. Each refusal is a text for the user that names what was refused.
///
/// It is asked before every new connection, so also at each redirect; a kept connection was asked for when it was opened.
/// A name that is let through is asked about again with each of its addresses, so that a name which resolves to a private
/// address does not get through. With a proxy, both the destination's name (its address is the proxy's to find) and the
/// proxy's name and addresses are asked for.
pub trait Gate {
    /// May `host` (a name or an address as it was written, IPv6 in brackets) be looked up, to connect to `port`?
    ///
    /// # Errors
    /// Why not.
    fn name(&self, host: &str, port: u16) -> Result<(), String>;

    /// May `address` be connected to, which `host` has?
    ///
    /// # Errors
    /// Why not. Other addresses of the host are still tried.
    fn address(&self, host: &str, address: SocketAddr) -> Result<(), String>;

    /// May the Unix socket at `path` be connected to?
    ///
    /// # Errors
    /// Why not.
    fn path(&self, path: &Path) -> Result<(), String>;
}

/// Lets everything through.
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

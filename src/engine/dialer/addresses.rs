//! Finds a host's addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use smol::lock::Semaphore;

/// Lookups at once. The system's resolver can't be interrupted: one that hangs holds its thread even when nobody waits for it
/// any more, and the threads are those that files are read on.
const AT_ONCE: usize = 64;

/// The lookups of one dialer; more than there may be at once wait for an end.
pub struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self::limited(AT_ONCE)
    }
}

impl Lookups {
    fn limited(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit)))
    }

    /// As [`resolve`], when it is its turn. An address needs no lookup.
    ///
    /// # Errors
    /// As [`resolve`].
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = literal(host) {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        self.run(move || look_up(&host, port)).await
    }

    /// Runs `lookup` on the blocking pool. It counts until it ends, whoever waits for it.
    async fn run<T: Send + 'static>(&self, lookup: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.0.acquire_arc().await;
        let counted = move || {
            let looked_up = lookup();
            drop(turn);
            looked_up
        };
        smol::unblock(counted).await
    }
}

/// The addresses of `host`, on smol's blocking pool unless `host` is an address itself. IPv6 literals may stand in
/// brackets.
///
/// # Errors
/// The resolver's: no such host, no answer.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    smol::unblock(move || look_up(&host, port)).await
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// `host` as an address, when it is written as one.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_lookup_counts_until_it_ends_whoever_waits_for_it() {
        let lookups = Lookups::limited(1);
        let ((begun, begins), (end, ends)) = (channel(), channel::<()>());
        block_on(async {
            let mut hangs = Box::pin(lookups.run(move || {
                begun.send(()).unwrap();
                ends.recv().unwrap();
            }));
            assert_eq!(poll_once(&mut hangs).await, None);
            begins.recv().unwrap();
            // Its request has timed out.
            drop(hangs);
            let mut next = Box::pin(lookups.run(|| 7));
            assert_eq!(poll_once(&mut next).await, None);
            let address = lookups.resolve("[::1]", 1).await.unwrap();
            assert_eq!(address, ["[::1]:1".parse().unwrap()]);
            end.send(()).unwrap();
            assert_eq!(next.await, 7);
            let found = lookups.resolve("localhost", 2).await.unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback()));
        });
    }
}

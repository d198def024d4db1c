//! Finds a host's addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use smol::lock::Semaphore;

use crate::engine::{Engine, timers::deadline_after};

/// Lookups at once. The system's resolver can't be interrupted: one that hangs holds its thread even when nobody waits for it
/// any more, and the threads are those that files are read on.
const AT_ONCE: usize = 64;

/// How long a lookup is waited for, its turn included: longer than the system's resolver tries a few servers, by its defaults.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lookups of one dialer; more than there may be at once wait for an end.
pub struct Lookups {
    engine: Rc<Engine>,
    turns: Arc<Semaphore>,
    patience: Duration,
}

impl Lookups {
    /// None yet.
    pub fn new(engine: Rc<Engine>) -> Self {
        Self::limited(engine, AT_ONCE, PATIENCE)
    }

    fn limited(engine: Rc<Engine>, limit: usize, patience: Duration) -> Self {
        Self {
            engine,
            turns: Arc::new(Semaphore::new(limit)),
            patience,
        }
    }

    /// The addresses of `host`, by smol's blocking pool when it is their turn. An address, for which IPv6 may stand in
    /// brackets, needs no lookup.
    ///
    /// # Errors
    /// The resolver's (no such host, no answer); `TimedOut` when there is none within a minute.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = literal(host) {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        let looked_up = self.run(move || look_up(&host, port));
        let late = deadline_after(Instant::now(), self.patience);
        let late = self.engine.timers().sleep_until(late);
        or(looked_up, async {
            late.await;
            let after = self.patience.as_secs_f64();
            let problem = format!("the lookup timed out after {after} s");
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
        .await
    }

    /// All turns, until they are dropped.
    #[cfg(test)]
    pub fn hold_all(&self) -> Vec<smol::lock::SemaphoreGuardArc> {
        std::iter::from_fn(|| self.turns.try_acquire_arc()).collect()
    }

    /// Runs `lookup` on the blocking pool. It counts until it ends, whoever waits for it.
    async fn run<T: Send + 'static>(&self, lookup: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.turns.acquire_arc().await;
        let counted = move || {
            let looked_up = lookup();
            drop(turn);
            looked_up
        };
        smol::unblock(counted).await
    }
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
    use std::sync::mpsc::{Sender, channel};

    use futures_lite::future::poll_once;

    use super::*;

    /// Lookups of which there is one at a time, and it hangs until the sender is used; nobody waits for it any more.
    async fn hanging(patience: Duration) -> (Lookups, Sender<()>) {
        let engine = Engine::new(Rc::default()).unwrap();
        let lookups = Lookups::limited(engine, 1, patience);
        let ((begun, begins), (end, ends)) = (channel(), channel::<()>());
        let mut hangs = Box::pin(lookups.run(move || {
            begun.send(()).unwrap();
            let _ = ends.recv();
        }));
        assert_eq!(poll_once(&mut hangs).await, None);
        begins.recv().unwrap();
        drop(hangs);
        (lookups, end)
    }

    #[test]
    fn a_lookup_counts_until_it_ends_whoever_waits_for_it() {
        futures_lite::future::block_on(async {
            let (lookups, end) = hanging(PATIENCE).await;
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

    #[test]
    fn lookups_that_hang_hold_the_next_up_for_a_bounded_time() {
        let hanging = hanging(Duration::from_millis(20));
        let (lookups, _end) = futures_lite::future::block_on(hanging);
        let resolved = lookups.engine.block_on(lookups.resolve("localhost", 1));
        let error = resolved.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the lookup timed out after 0.02 s");
    }
}

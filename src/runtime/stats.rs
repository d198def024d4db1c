//! What a host can count.

/// What the scripts of a runtime have done and hold; see [`Scripts::stats`](crate::Scripts::stats).
///
/// ```
/// let stats = lute_net::Stats::default();
/// println!("{} of {} requests in flight", stats.requests_in_flight, stats.requests);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Coroutines that wait for a timer or the network.
    pub coroutines: usize,
    /// Servers that listen or drain.
    pub servers: usize,
    /// Open connections of the servers.
    pub connections: usize,
    /// Open WebSockets of servers and clients.
    pub websockets: usize,
    /// Sockets of every kind: listeners, the servers' connections, the clients' (also kept ones).
    pub sockets: usize,
    /// Requests to the servers, in all.
    pub requests: u64,
    /// Requests to the servers whose answers are not sent yet.
    pub requests_in_flight: u64,
    /// Bytes that the servers have read, without TLS.
    pub bytes_received: u64,
    /// Bytes that the servers have written, without TLS.
    pub bytes_sent: u64,
    /// Bytes of the VM.
    pub memory: usize,
    /// Errors that no script caught.
    pub uncaught_errors: u64,
}

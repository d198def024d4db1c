//! The library and the command as their users meet them: real sockets, real processes.

#[cfg(feature = "async-h1")]
mod async_h1;
mod async_h1_evidence;
mod cases;
mod certificates;
mod client;
mod command;
mod conformance;
mod documents;
mod endurance;
mod expectations;
mod faults;
mod host;
mod idle_cpu;
mod installation;
mod interrupt;
mod limits;
mod log;
mod network;
mod peers;
mod project;
mod quotas;
mod raw_http;
mod rfc9110;
mod rfc9112;
mod runtime;
mod slow_clients;
mod streams;
mod support;
mod test_command;
mod timeouts;
mod tls;
mod tracing;
mod unix_sockets;
mod websocket;
mod workers;

//! The library and the command as their users meet them: real sockets, real processes.

mod certificates;
mod command;
mod conformance;
mod faults;
mod host;
mod idle_cpu;
mod installation;
mod limits;
mod peers;
mod raw_http;
mod rfc9110;
mod rfc9112;
mod runtime;
mod slow_clients;
mod support;
mod tls;
mod workers;

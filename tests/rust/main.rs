//! The library and the command as their users meet them: real sockets, real processes.

mod cases;
mod certificates;
mod command;
mod conformance;
mod faults;
mod host;
mod idle_cpu;
mod installation;
mod interrupt;
mod limits;
mod raw_http;
mod rfc9112;
mod runtime;
mod support;
mod tls;
mod websocket;
mod workers;

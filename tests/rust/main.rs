//! The library and the command as their users meet them: real sockets, real processes.

mod certificates;
mod command;
mod conformance;
mod faults;
mod idle_cpu;
mod limits;
mod log;
mod project;
mod raw_http;
mod runtime;
mod support;
mod tls;
mod workers;

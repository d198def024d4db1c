//! Peers and networks that do what they should not, and that nothing of it is left behind. `docs/faults.md` has the whole table,
//! fault by layer.

mod passages;
mod proxy;
mod servers;
mod subject;
mod system;
mod websocket_servers;

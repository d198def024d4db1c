//! What the fuzz targets share.

pub mod cuts;
pub mod exchange;
pub mod heads;
pub mod hyper_server;
pub mod memory;
pub mod requests;
pub mod websockets;

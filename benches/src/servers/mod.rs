//! The peers that are written in Rust: each runs as a process of its own, as a sub-command of this program.

mod async_h1;
mod clients;
mod connections;
mod floor;
mod hyper;
mod luau;
pub mod nginx;
mod websocket_floor;

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use rustix::process::Signal;

use crate::contract::Handler;

#[derive(Subcommand)]
pub enum Kind {
    /// Level-triggered epoll, fixed bytes, no parsing
    Floor {
        #[command(flatten)]
        port: Port,
        #[command(flatten)]
        choice: HandlerChoice,
    },
    /// Hand-written WebSocket frames on the same loop
    WebsocketFloor {
        #[command(flatten)]
        port: Port,
        /// Send each message to all others instead of back
        #[arg(long)]
        publish: bool,
    },
    /// hyper 1 on smol
    Hyper(HttpPeer),
    /// async-h1 2 on smol
    AsyncH1(HttpPeer),
}

#[derive(Args)]
pub struct HttpPeer {
    #[command(flatten)]
    port: Port,
    #[command(flatten)]
    choice: HandlerChoice,
    /// Run the handler of scripts/server.luau instead of one in Rust
    #[arg(long)]
    luau: bool,
}

#[derive(Args)]
pub struct Port {
    #[arg(long, value_name = "N")]
    port: u16,
}

#[derive(Args)]
pub struct HandlerChoice {
    #[arg(long, default_value = "hello")]
    handler: Handler,
}

#[derive(Subcommand)]
pub enum ClientKind {
    /// Blocking write and read, one request after the other
    Raw(ClientOptions),
    /// The load generator
    LoadGenerator {
        #[command(flatten)]
        options: ClientOptions,
        #[arg(long, default_value_t = 1)]
        at_once: usize,
    },
}

#[derive(Args)]
pub struct ClientOptions {
    #[command(flatten)]
    port: Port,
    #[arg(long)]
    seconds: f64,
    /// File with the bytes of one request
    #[arg(long)]
    request: PathBuf,
}

/// Serves until killed, or until the process that measures is gone.
pub fn serve(kind: Kind) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    match kind {
        Kind::Floor { port, choice } => floor::serve(listen(&port)?, choice.handler),
        Kind::WebsocketFloor {
            port,
            publish: false,
        } => websocket_floor::echo(listen(&port)?),
        Kind::WebsocketFloor {
            port,
            publish: true,
        } => websocket_floor::publish(listen(&port)?),
        Kind::Hyper(peer) => hyper::serve(
            listen(&peer.port)?,
            luau::Responder::new(peer.choice.handler, peer.luau)?,
        ),
        Kind::AsyncH1(peer) => async_h1::serve(
            listen(&peer.port)?,
            luau::Responder::new(peer.choice.handler, peer.luau)?,
        ),
    }
}

/// Requests for a while, and prints `requests N seconds S`.
pub fn request(kind: ClientKind) -> Result<()> {
    match kind {
        ClientKind::Raw(options) => {
            clients::raw(options.port.port, options.seconds, &options.request)
        }
        ClientKind::LoadGenerator { options, at_once } => clients::load_generator(
            options.port.port,
            options.seconds,
            &options.request,
            at_once,
        ),
    }
}

fn listen(port: &Port) -> Result<TcpListener> {
    let port = port.port;
    TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("cannot listen on port {port}"))
}

//! The loads, and for each one the rows of its table.

use crate::contract::{Handler, Headers};
use crate::load::exchange::InFlight::{self, Apart, Together};
use crate::peers::Peer;

/// One table of the report.
pub struct Load {
    pub name: &'static str,
    pub title: &'static str,
    pub work: Work,
    pub rows: Vec<Row>,
}

/// One line of a table.
#[derive(Clone)]
pub struct Row {
    pub name: &'static str,
    pub peer: Peer,
    pub variant: Variant,
    /// Name of the row that the ratio is taken to.
    pub against: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Usual,
    Tls,
    /// So many connections are open, of which only the load's own are busy.
    Open(usize),
    /// So many processes share the port.
    Workers(usize),
}

pub enum Work {
    /// Requests on kept-alive connections; the next `depth` go out when the last `depth` are answered.
    Http {
        handler: Handler,
        headers: Headers,
        connections: usize,
        depth: usize,
    },
    /// Messages of `bytes` that come back.
    WebSocketEcho {
        bytes: usize,
        connections: usize,
        in_flight: InFlight,
    },
    /// One message at a time to all subscribers.
    Publish { subscribers: usize },
    /// Resident memory of connections that did one request each and wait.
    IdleHttp { connections: usize },
    /// Resident memory of WebSockets that wait.
    IdleWebSocket { connections: usize },
    /// Requests that the row itself makes, to the floor server.
    Client { at_once: usize },
    /// From exec to exit of a script of one line.
    StartUp,
    /// A step of an idle runtime, in this very process.
    Step,
}

/// Connections of the loads that do not say otherwise.
const CONNECTIONS: usize = 64;
const IDLE: usize = 10_000;

pub fn all() -> Vec<Load> {
    let get = |connections, depth, headers| Work::Http {
        handler: Handler::Hello,
        headers,
        connections,
        depth,
    };
    let handled = |handler, connections| Work::Http {
        handler,
        headers: Headers::Few,
        connections,
        depth: 1,
    };
    let echo = |bytes, in_flight| Work::WebSocketEcho {
        bytes,
        connections: CONNECTIONS,
        in_flight,
    };
    vec![
        load(
            "get",
            "GET, 64 connections",
            get(CONNECTIONS, 1, Headers::Few),
            http_rows(EVERYBODY),
        ),
        load(
            "get-browser",
            "GET with a browser's ten headers, 64 connections",
            get(CONNECTIONS, 1, Headers::Browser),
            http_rows(EVERYBODY),
        ),
        load(
            "get-one",
            "GET, 1 connection",
            get(1, 1, Headers::Few),
            http_rows(EVERYBODY),
        ),
        load(
            "get-read",
            "GET whose handler reads `headers` and `query`, 64 connections",
            handled(Handler::Read, CONNECTIONS),
            http_rows(SCRIPTED),
        ),
        load(
            "get-pipelined",
            "GET pipelined 16 deep, 64 connections",
            get(CONNECTIONS, 16, Headers::Few),
            http_rows(PIPELINING),
        ),
        load(
            "post-echo",
            "POST of 1 KiB that comes back, 64 connections",
            handled(Handler::Echo, CONNECTIONS),
            http_rows(EVERYBODY),
        ),
        load(
            "body-1mib",
            "GET of 1 MiB, 16 connections",
            handled(Handler::Large, 16),
            http_rows(EVERYBODY),
        ),
        load(
            "wait",
            "GET whose handler yields (`task.wait(0)`), 64 connections",
            handled(Handler::Wait, CONNECTIONS),
            http_rows(YIELDING),
        ),
        load(
            "https",
            "HTTPS GET, 64 connections, against plain",
            get(CONNECTIONS, 1, Headers::Few),
            https_rows(),
        ),
        load(
            "growth",
            "GET on 64 busy connections of 10,000 open, against 64 open",
            get(CONNECTIONS, 1, Headers::Few),
            growth_rows(),
        ),
        load(
            "workers",
            "GET with 100 µs of Luau, 64 connections, on all cores",
            handled(Handler::Work, CONNECTIONS),
            worker_rows(),
        ),
        load(
            "ws-64b",
            "WebSocket echo of 64 B, one in flight on each of 64",
            echo(64, Together(1)),
            websocket_echo_rows(),
        ),
        load(
            "ws-64b-16",
            "WebSocket echo of 64 B, 16 in flight on each of 64",
            echo(64, Together(16)),
            websocket_echo_rows(),
        ),
        load(
            "ws-64b-apart",
            "WebSocket echo of 64 B, 16 in flight on each of 64, each sent by itself",
            echo(64, Apart(16)),
            websocket_echo_rows(),
        ),
        load(
            "ws-16k",
            "WebSocket echo of 16 KiB, one in flight on each of 64",
            echo(16 * 1024, Together(1)),
            websocket_echo_rows(),
        ),
        load(
            "ws-16k-16",
            "WebSocket echo of 16 KiB, 16 in flight on each of 64",
            echo(16 * 1024, Together(16)),
            websocket_echo_rows(),
        ),
        load(
            "publish",
            "Publish of 64 B to 1,000 subscribers, per delivery",
            Work::Publish { subscribers: 1000 },
            websocket_rows(),
        ),
        load(
            "client-sequential",
            "Client: one request after the other, kept alive",
            Work::Client { at_once: 1 },
            client_rows("raw", Peer::RawClient),
        ),
        load(
            "client-64",
            "Client: 64 requests at once",
            Work::Client {
                at_once: CONNECTIONS,
            },
            client_rows("load-generator", Peer::LoadGenerator),
        ),
        load(
            "idle",
            "Idle kept-alive connections: 10,000, one request each",
            Work::IdleHttp { connections: IDLE },
            http_rows(EVERYBODY),
        ),
        load(
            "idle-ws",
            "Idle WebSockets: 10,000",
            Work::IdleWebSocket { connections: IDLE },
            websocket_rows(),
        ),
        load(
            "start-up",
            "Start-up: exec to exit with a script of one line",
            Work::StartUp,
            start_up_rows(),
        ),
        load(
            "step",
            "`step()` of an idle runtime that serves",
            Work::Step,
            vec![row("lute-net", Peer::LuteNet, Variant::Usual, "lute-net")],
        ),
    ]
}

const FLOOR: (&str, Peer) = ("floor", Peer::Floor);
const OURS: (&str, Peer) = ("lute-net", Peer::LuteNet);
const HYPER: (&str, Peer) = ("hyper", Peer::Hyper);
const HYPER_LUAU: (&str, Peer) = ("hyper-luau", Peer::HyperLuau);
const ASYNC_H1: (&str, Peer) = ("async-h1", Peer::AsyncH1);
const ASYNC_H1_LUAU: (&str, Peer) = ("async-h1-luau", Peer::AsyncH1Luau);
const NODE: (&str, Peer) = ("node", Peer::Node);
const NGINX_LUA: (&str, Peer) = ("nginx-lua", Peer::NginxLua);

const LUNE: (&str, Peer) = ("lune", Peer::Lune);

const EVERYBODY: &[(&str, Peer)] = &[
    FLOOR,
    OURS,
    HYPER,
    HYPER_LUAU,
    ASYNC_H1,
    ASYNC_H1_LUAU,
    NODE,
    NGINX_LUA,
    LUNE,
];

/// Those that lose no pipelined request: async-h1 makes its buffered reader anew for each one, and Lune 0.11.1 panics under that load.
const PIPELINING: &[(&str, Peer)] = &[FLOOR, OURS, HYPER, HYPER_LUAU, NODE, NGINX_LUA];

/// Those whose handler is a script.
const SCRIPTED: &[(&str, Peer)] = &[
    FLOOR,
    OURS,
    HYPER_LUAU,
    ASYNC_H1_LUAU,
    NODE,
    NGINX_LUA,
    LUNE,
];

/// Those of them that can do this: Lune 0.11.1 panics under that load.
const YIELDING: &[(&str, Peer)] = &[FLOOR, OURS, HYPER_LUAU, ASYNC_H1_LUAU, NODE, NGINX_LUA];

fn load(name: &'static str, title: &'static str, work: Work, rows: Vec<Row>) -> Load {
    Load {
        name,
        title,
        work,
        rows,
    }
}

fn row(name: &'static str, peer: Peer, variant: Variant, against: &'static str) -> Row {
    Row {
        name,
        peer,
        variant,
        against,
    }
}

fn http_rows(peers: &[(&'static str, Peer)]) -> Vec<Row> {
    peers
        .iter()
        .map(|&(name, peer)| row(name, peer, Variant::Usual, "floor"))
        .collect()
}

fn https_rows() -> Vec<Row> {
    vec![
        row("lute-net", Peer::LuteNet, Variant::Usual, "lute-net"),
        row("lute-net-https", Peer::LuteNet, Variant::Tls, "lute-net"),
        row("nginx-lua", Peer::NginxLua, Variant::Usual, "nginx-lua"),
        row("nginx-lua-https", Peer::NginxLua, Variant::Tls, "nginx-lua"),
    ]
}

fn growth_rows() -> Vec<Row> {
    vec![
        row("floor", Peer::Floor, Variant::Usual, "floor"),
        row("floor-10000", Peer::Floor, Variant::Open(IDLE), "floor"),
        row("lute-net", Peer::LuteNet, Variant::Usual, "lute-net"),
        row(
            "lute-net-10000",
            Peer::LuteNet,
            Variant::Open(IDLE),
            "lute-net",
        ),
    ]
}

fn worker_rows() -> Vec<Row> {
    vec![
        row("lute-net", Peer::LuteNet, Variant::Usual, "lute-net"),
        row(
            "lute-net-2-workers",
            Peer::LuteNet,
            Variant::Workers(2),
            "lute-net",
        ),
    ]
}

fn websocket_rows() -> Vec<Row> {
    vec![
        row(
            "websocket-floor",
            Peer::WebSocketFloor,
            Variant::Usual,
            "websocket-floor",
        ),
        row("lute-net", Peer::LuteNet, Variant::Usual, "websocket-floor"),
    ]
}

fn websocket_echo_rows() -> Vec<Row> {
    let mut rows = websocket_rows();
    rows.push(row("lune", Peer::Lune, Variant::Usual, "websocket-floor"));
    rows
}

fn client_rows(name: &'static str, floor: Peer) -> Vec<Row> {
    vec![
        row(name, floor, Variant::Usual, name),
        row("lute-net", Peer::LuteNet, Variant::Usual, name),
    ]
}

fn start_up_rows() -> Vec<Row> {
    vec![
        row("true", Peer::True, Variant::Usual, "true"),
        row("lute-net", Peer::LuteNet, Variant::Usual, "true"),
        row("node", Peer::Node, Variant::Usual, "true"),
    ]
}

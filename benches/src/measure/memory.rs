//! Resident memory of idle connections: a fresh server for every sample, since memory that was used once is rarely given back.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::target;
use crate::contract::{Handler, Headers};
use crate::load::idle::IdleConnections;
use crate::load::responses::Responses;
use crate::load::stream::Target;
use crate::loads::{Load, Row, Work};
use crate::peers::{Service, Tools};
use crate::process::Cores;

/// So many connections come and go first, so that code and first tables are in memory.
const WARM_UP: usize = 50;
const SETTLE: Duration = Duration::from_millis(300);

pub struct Memory {
    pub before_bytes: f64,
    pub after_bytes: f64,
    pub connections: usize,
}

impl Memory {
    pub fn per_connection(&self) -> f64 {
        (self.after_bytes - self.before_bytes) / self.connections as f64
    }
}

pub fn sample(load: &Load, row: &Row, tools: &Tools, cores: &Cores) -> Result<Memory> {
    let (service, connections) = match load.work {
        Work::IdleHttp { connections } => (Service::Http(Handler::Hello), connections),
        Work::IdleWebSocket { connections } => (Service::WebSocketEcho, connections),
        _ => bail!("no idle load"),
    };
    let server = tools.start(row, service, cores)?;
    let target = target(row, server.port, tools)?;
    drop(open(service, &target, WARM_UP)?);
    sleep(SETTLE);
    let before_bytes = server.resident_bytes()? as f64;
    let idle = open(service, &target, connections)?;
    sleep(SETTLE);
    let after_bytes = server.resident_bytes()? as f64;
    drop(idle);
    Ok(Memory {
        before_bytes,
        after_bytes,
        connections,
    })
}

fn open(service: Service, target: &Target, count: usize) -> Result<IdleConnections> {
    match service {
        Service::Http(handler) => IdleConnections::http(
            target,
            count,
            &handler.request(Headers::Few),
            Responses::new(&handler.answer()),
        ),
        Service::WebSocketEcho | Service::WebSocketPublish => {
            IdleConnections::websocket(target, count)
        }
    }
}

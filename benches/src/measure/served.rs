//! Loads on servers: all are started before the first round, and idle while it is not their turn.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Plan, Sample, target};
use crate::contract::{Handler, Headers};
use crate::load::exchange::{Exchange, InFlight};
use crate::load::frames::{self, Echoes};
use crate::load::idle::IdleConnections;
use crate::load::publish::Publication;
use crate::load::responses::Responses;
use crate::load::stream::Target;
use crate::load::{Drive, Tally};
use crate::loads::{Load, Row, Variant, Work};
use crate::peers::{Service, Tools};
use crate::process::{Cores, Server};

const PUBLISHED_BYTES: usize = 64;

pub struct Servers<'a> {
    load: &'a Load,
    plan: &'a Plan,
    tools: &'a Tools,
    cores: &'a Cores,
    running: HashMap<&'static str, Server>,
}

impl<'a> Servers<'a> {
    pub fn new(load: &'a Load, plan: &'a Plan, tools: &'a Tools, cores: &'a Cores) -> Self {
        Self {
            load,
            plan,
            tools,
            cores,
            running: HashMap::new(),
        }
    }

    /// One run on the server of `row`, which is started if it is not there.
    pub fn sample(&mut self, row: &Row) -> Result<Sample> {
        if !self.running.contains_key(row.name) {
            let server = self
                .tools
                .start(row, service(&self.load.work)?, self.cores)?;
            self.running.insert(row.name, server);
        }
        let server = &self.running[row.name];
        let target = target(row, server.port, self.tools)?;
        let _idle = match row.variant {
            Variant::Open(open) => Some(idle(&self.load.work, &target, open)?),
            _ => None,
        };
        let mut drive = drive(&self.load.work, &target)?;
        drive.run(Duration::from_secs_f64((self.plan.seconds / 4.0).min(0.5)))?;
        let before = server.cpu_time()?;
        let tally = drive.run(Duration::from_secs_f64(self.plan.seconds))?;
        let cpu = server.cpu_time()?.since(before)?;
        Ok(Sample {
            latency_microseconds: latency(&tally),
            ..Sample::new(tally.answers, tally.elapsed.as_secs_f64(), cpu)
        })
    }
}

fn service(work: &Work) -> Result<Service> {
    match *work {
        Work::Http { handler, .. } => Ok(Service::Http(handler)),
        Work::IdleHttp { .. } => Ok(Service::Http(Handler::Hello)),
        Work::WebSocketEcho { .. } | Work::IdleWebSocket { .. } => Ok(Service::WebSocketEcho),
        Work::Publish { .. } => Ok(Service::WebSocketPublish),
        Work::Client { .. } | Work::StartUp | Work::Step => bail!("no load on a server"),
    }
}

fn drive(work: &Work, target: &Target) -> Result<Box<dyn Drive>> {
    match *work {
        Work::Http {
            handler,
            headers,
            connections,
            depth,
        } => {
            let answer = handler.answer();
            let connect = |_| Ok((target.connect()?, Responses::new(&answer)));
            let streams = (0..connections).map(connect).collect::<Result<Vec<_>>>()?;
            Ok(Box::new(Exchange::new(
                streams,
                &handler.request(headers),
                InFlight::Together(depth),
            )?))
        }
        Work::WebSocketEcho {
            bytes,
            connections,
            in_flight,
        } => {
            let message = frames::message(bytes);
            let connect = |_| {
                let mut stream = target.connect()?;
                frames::handshake(&mut stream)?;
                Ok((stream, Echoes::new(&message)))
            };
            let streams = (0..connections).map(connect).collect::<Result<Vec<_>>>()?;
            Ok(Box::new(Exchange::new(
                streams,
                &frames::masked(&message),
                in_flight,
            )?))
        }
        Work::Publish { subscribers } => Ok(Box::new(Publication::open(
            target,
            subscribers,
            PUBLISHED_BYTES,
        )?)),
        _ => bail!("no load on a server"),
    }
}

/// The connections that are open beside those of the load, so that it is `open` in all.
fn idle(work: &Work, target: &Target, open: usize) -> Result<IdleConnections> {
    let Work::Http {
        handler,
        connections,
        ..
    } = *work
    else {
        bail!("only HTTP loads have idle connections beside them");
    };
    let count = open.saturating_sub(connections);
    IdleConnections::http(
        target,
        count,
        &handler.request(Headers::Few),
        Responses::new(&handler.answer()),
    )
}

fn latency(tally: &Tally) -> Option<(f64, f64)> {
    let microseconds = |quantile| Some(tally.latency.quantile(quantile)?.as_secs_f64() * 1e6);
    Some((microseconds(0.5)?, microseconds(0.99)?))
}

//! Runs the rows of a load in turns, and makes its table.

mod clients;
pub mod memory;
mod served;
mod start_up;
mod step;

use std::io::{IsTerminal, stderr};

use anyhow::Result;

use crate::load::stream::Target;
use crate::loads::{Load, Row, Variant, Work};
use crate::peers::Tools;
use crate::process::{Cores, CpuTime};
use crate::report;

/// How long and how often.
pub struct Plan {
    pub rounds: usize,
    /// Of one run.
    pub seconds: f64,
    /// Runs of each command for the start-up time.
    pub start_ups: usize,
}

/// What one run of one row gave, per answer.
pub struct Sample {
    pub per_second: f64,
    pub cpu_microseconds: f64,
    pub user_microseconds: f64,
    /// p50 and p99; not known of a client that measures no latencies.
    pub latency_microseconds: Option<(f64, f64)>,
}

impl Sample {
    fn new(answers: u64, seconds: f64, cpu: CpuTime) -> Self {
        let per_answer = 1e6 / answers as f64;
        Self {
            per_second: answers as f64 / seconds,
            cpu_microseconds: cpu.total() * per_answer,
            user_microseconds: cpu.user * per_answer,
            latency_microseconds: None,
        }
    }
}

/// The samples of a row, or what broke it.
pub type Outcome<S> = Result<Vec<S>>;

/// The table of `load`, and a line for each of its rows that broke.
pub fn table(load: &Load, plan: &Plan, tools: &Tools, cores: &Cores) -> (String, Vec<String>) {
    match load.work {
        Work::IdleHttp { .. } | Work::IdleWebSocket { .. } => {
            let outcomes = in_turns(load, plan.rounds, |row| {
                memory::sample(load, row, tools, cores)
            });
            (report::memory(load, &outcomes), failures(load, &outcomes))
        }
        Work::StartUp => {
            let outcomes = in_turns(load, plan.start_ups, |row| {
                start_up::sample(row, tools, cores)
            });
            (report::start_up(load, &outcomes), failures(load, &outcomes))
        }
        Work::Step => {
            let outcomes = in_turns(load, plan.rounds, |_| step::sample());
            (report::step(load, &outcomes), failures(load, &outcomes))
        }
        Work::Client { at_once } => {
            let outcomes = in_turns(load, plan.rounds, |row| {
                clients::sample(row, at_once, plan, tools, cores)
            });
            (report::work(load, &outcomes), failures(load, &outcomes))
        }
        Work::Http { .. } | Work::WebSocketEcho { .. } | Work::Publish { .. } => {
            let mut servers = served::Servers::new(load, plan, tools, cores);
            let outcomes = in_turns(load, plan.rounds, |row| servers.sample(row));
            (report::work(load, &outcomes), failures(load, &outcomes))
        }
    }
}

/// A B C A B C …: what disturbs the machine for a while disturbs all rows. A row that breaks drops out.
fn in_turns<S>(
    load: &Load,
    rounds: usize,
    mut sample: impl FnMut(&Row) -> Result<S>,
) -> Vec<Outcome<S>> {
    let mut outcomes: Vec<Outcome<S>> = load.rows.iter().map(|_| Ok(Vec::new())).collect();
    for round in 1..=rounds {
        for (row, outcome) in load.rows.iter().zip(&mut outcomes) {
            let Ok(samples) = outcome else {
                continue;
            };
            show_progress(&format!(
                "{}: {} ({round} of {rounds})",
                load.name, row.name
            ));
            match sample(row) {
                Ok(sample) => samples.push(sample),
                Err(error) => *outcome = Err(error),
            }
        }
    }
    show_progress("");
    outcomes
}

fn failures<S>(load: &Load, outcomes: &[Outcome<S>]) -> Vec<String> {
    let failure = |(row, outcome): (&Row, &Outcome<S>)| {
        let error = outcome.as_ref().err()?;
        Some(format!("{}, {}: {error:#}", load.name, row.name))
    };
    load.rows.iter().zip(outcomes).filter_map(failure).collect()
}

/// One line on a terminal, overwritten by the next.
fn show_progress(line: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    }
}

/// Where the load generator connects to for `row`.
fn target(row: &Row, port: u16, tools: &Tools) -> Result<Target> {
    match row.variant {
        Variant::Tls => Target::tls(port, &tools.certificate()?.read_chain()?),
        _ => Ok(Target::plain(port)),
    }
}

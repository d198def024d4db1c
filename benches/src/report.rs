//! Tables in Markdown: medians, and in parentheses the range over the rounds.

use std::fmt::Write;
use std::time::Duration;

use crate::loads::{Load, Row};
use crate::measure::memory::Memory;
use crate::measure::{Outcome, Plan, Sample};
use crate::process::Cores;

/// What the figures below were measured on, and how.
pub fn machine(cores: &Cores, plan: &Plan) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, Linux {}; measured on core {}, driven from core {}; {} rounds of {} s, in turns. Times are medians (range).\n",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        cores.measured,
        cores.driving,
        plan.rounds,
        plan.seconds,
    )
}

/// Throughput, processor time and latency, with the ratio of processor time to the row's baseline, round by round.
pub fn work(load: &Load, outcomes: &[Outcome<Sample>]) -> String {
    let mut table = heading(load);
    table.push_str(
        "| row | per second | CPU µs each | of it user | p50 µs | p99 µs | CPU ratio | to |\n",
    );
    table.push_str("|---|--:|--:|--:|--:|--:|--:|---|\n");
    for (row, outcome) in load.rows.iter().zip(outcomes) {
        let Ok(samples) = outcome else {
            write_broken(&mut table, row, 7);
            continue;
        };
        let of = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        let latency = |value: fn(&(f64, f64)) -> f64| {
            Spread::of(
                samples
                    .iter()
                    .filter_map(|sample| sample.latency_microseconds.as_ref())
                    .map(value),
            )
            .median(0)
        };
        let baseline = baseline(load, outcomes, row);
        let ratio = baseline.map(|baseline| {
            Spread::of(
                samples
                    .iter()
                    .zip(baseline)
                    .map(|(own, other)| own.cpu_microseconds / other.cpu_microseconds),
            )
        });
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            of(|sample| sample.per_second).median(0),
            of(|sample| sample.cpu_microseconds).with_range(2),
            of(|sample| sample.user_microseconds).median(2),
            latency(|latency| latency.0),
            latency(|latency| latency.1),
            ratio.map_or("–".to_string(), |ratio| ratio.with_range(2)),
            row.against,
        );
    }
    table
}

/// Resident memory of each connection.
pub fn memory(load: &Load, outcomes: &[Outcome<Memory>]) -> String {
    let mut table = heading(load);
    table.push_str("| row | KiB each | MiB before | MiB after |\n|---|--:|--:|--:|\n");
    for (row, outcome) in load.rows.iter().zip(outcomes) {
        let Ok(samples) = outcome else {
            write_broken(&mut table, row, 3);
            continue;
        };
        let of = |value: fn(&Memory) -> f64| Spread::of(samples.iter().map(value));
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            row.name,
            of(|memory| memory.per_connection() / 1024.0).with_range(2),
            of(|memory| memory.before_bytes / 1024.0 / 1024.0).median(1),
            of(|memory| memory.after_bytes / 1024.0 / 1024.0).median(1),
        );
    }
    table
}

/// Wall time from exec to exit.
pub fn start_up(load: &Load, outcomes: &[Outcome<Duration>]) -> String {
    times(load, outcomes, "wall ms", 1e3)
}

/// Time of a step of an idle runtime.
pub fn step(load: &Load, outcomes: &[Outcome<Duration>]) -> String {
    times(load, outcomes, "µs a step", 1e6)
}

fn times(load: &Load, outcomes: &[Outcome<Duration>], unit: &str, per_second: f64) -> String {
    let mut table = heading(load);
    let _ = writeln!(table, "| row | runs | {unit} |\n|---|--:|--:|");
    for (row, outcome) in load.rows.iter().zip(outcomes) {
        let Ok(samples) = outcome else {
            write_broken(&mut table, row, 2);
            continue;
        };
        let spread = Spread::of(
            samples
                .iter()
                .map(|elapsed| elapsed.as_secs_f64() * per_second),
        );
        let _ = writeln!(
            table,
            "| {} | {} | {} |",
            row.name,
            samples.len(),
            spread.with_range(2)
        );
    }
    table
}

fn heading(load: &Load) -> String {
    format!("### {}: {}\n\n", load.name, load.title)
}

fn write_broken(table: &mut String, row: &Row, columns: usize) {
    let _ = writeln!(
        table,
        "| {} | broke |{}",
        row.name,
        " |".repeat(columns - 1)
    );
}

fn baseline<'a>(load: &Load, outcomes: &'a [Outcome<Sample>], row: &Row) -> Option<&'a [Sample]> {
    let index = load
        .rows
        .iter()
        .position(|other| other.name == row.against)?;
    outcomes[index].as_deref().ok()
}

struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    fn median(&self, decimals: usize) -> String {
        let count = self.sorted.len();
        if count == 0 {
            return "–".to_string();
        }
        let median = (self.sorted[(count - 1) / 2] + self.sorted[count / 2]) / 2.0;
        format!("{median:.decimals$}")
    }

    fn with_range(&self, decimals: usize) -> String {
        let median = self.median(decimals);
        match self.sorted.as_slice() {
            [low, .., high] => format!("{median} ({low:.decimals$}–{high:.decimals$})"),
            _ => median,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_its_median_and_range() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).with_range(1);
        assert_eq!(spread(&[]), "–");
        assert_eq!(spread(&[2.0]), "2.0");
        assert_eq!(spread(&[4.0, 1.0, 2.0]), "2.0 (1.0–4.0)");
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), "2.5 (1.0–4.0)");
    }
}

//! Latencies in buckets that grow with their value: at most 1/32 wide of it, whatever its size.

use std::time::Duration;

const SUB_BITS: u32 = 5;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS;

pub struct Latency {
    counts: Vec<u64>,
    total: u64,
}

impl Latency {
    pub fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }

    /// `count` answers took `latency` each.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += count;
        self.total += count;
    }

    /// The latency that the share `quantile` of all answers stayed below; nothing without answers.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (self.total as f64 * quantile).ceil() as u64;
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count;
            below >= rank && below > 0
        })?;
        Some(Duration::from_nanos(middle(found)))
    }
}

/// Values below 32 have a bucket each; above, 32 buckets for each power of two.
fn bucket(value: u64) -> usize {
    let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(SUB_BITS);
    shift as usize * SUB_BUCKETS + (value >> shift) as usize
}

fn middle(bucket: usize) -> u64 {
    let shift = (bucket / SUB_BUCKETS).saturating_sub(1);
    let first = (bucket - shift * SUB_BUCKETS) as u64;
    (first << shift) + (1 << shift >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_thirty_second_wide() {
        for value in (0..5000).chain((0..58).map(|shift| 33 << shift)) {
            let found = middle(bucket(value));
            assert!(
                found.abs_diff(value) <= value / 32,
                "{value} became {found}"
            );
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_by_rank() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantile(0.5), None);
        latency.record(Duration::from_nanos(10), 98);
        latency.record(Duration::from_nanos(20), 2);
        assert_eq!(latency.quantile(0.5), Some(Duration::from_nanos(10)));
        assert_eq!(latency.quantile(0.99), Some(Duration::from_nanos(20)));
    }
}

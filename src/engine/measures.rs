//! How long the answers of a server took, and what came of them: counted only when somebody wants to know.

use std::{cell::Cell, time::Duration};

/// The upper bounds of the buckets of [`Measures::cumulative`], in seconds; one more bucket is for what took longer.
pub const BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// Answers by time and by status.
#[derive(Default)]
pub struct Measures {
    on: Cell<bool>,
    buckets: [Cell<u64>; BUCKETS.len() + 1],
    total: Cell<Duration>,
    /// By the first digit; 0 for exchanges whose client went away first.
    classes: [Cell<u64>; 10],
}

impl Measures {
    /// Counts from now on.
    pub fn turn_on(&self) {
        self.on.set(true);
    }

    /// Whether it counts.
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// For each of [`BUCKETS`], how many answers took so long or less; then all of them.
    pub fn cumulative(&self) -> [u64; BUCKETS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|bucket| {
            sum += self.buckets[bucket].get();
            sum
        })
    }

    /// The time of all answers together.
    pub fn total(&self) -> Duration {
        self.total.get()
    }

    /// Answers whose status begins with this digit; with 0, clients that went away before their answer was whole.
    pub fn of_class(&self, digit: usize) -> u64 {
        self.classes.get(digit).map_or(0, Cell::get)
    }

    pub(super) fn count(&self, status: Option<u16>, took: Duration) {
        let class = usize::from(status.unwrap_or(0) / 100);
        add_one(self.classes.get(class));
        let seconds = took.as_secs_f64();
        add_one(
            self.buckets
                .get(BUCKETS.partition_point(|bound| *bound < seconds)),
        );
        self.total.set(self.total.get().saturating_add(took));
    }
}

fn add_one(count: Option<&Cell<u64>>) {
    if let Some(count) = count {
        count.set(count.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_every_bucket_that_is_not_shorter_than_it() {
        let measures = Measures::default();
        measures.count(Some(200), Duration::from_millis(1));
        measures.count(Some(204), Duration::from_micros(2600));
        measures.count(None, Duration::from_secs(60));
        let cumulative = measures.cumulative();
        let at = |bound: f64| cumulative[BUCKETS.iter().position(|one| *one == bound).unwrap()];
        assert_eq!(at(0.000_5), 0);
        assert_eq!(at(0.001), 1);
        assert_eq!(at(0.002_5), 1);
        assert_eq!(at(0.005), 2);
        assert_eq!(at(10.0), 2);
        assert_eq!(cumulative[BUCKETS.len()], 3);
        assert_eq!(measures.total(), Duration::from_micros(60_003_600));
        assert_eq!((measures.of_class(2), measures.of_class(0)), (2, 1));
    }
}

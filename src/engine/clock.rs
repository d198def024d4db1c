//! The time of the thread's current turn, and the wall clock as `Date` fields need it: formatted once a second at most.
//!
//! ```
#![doc = include_str!("examples/engine.txt")]
//! assert!(engine.clock().date().ends_with(" GMT"));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    cell::{Cell, Ref, RefCell},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The time of the thread's current turn.
///
/// ```
/// let clock = lute_net::engine::clock::Clock::default();
/// assert_eq!(clock.now(), clock.now(), "one turn has one time");
/// ```
#[derive(Default)]
pub struct Clock {
    instant: Cell<Option<Instant>>,
    current: Cell<bool>,
    second: Cell<u64>,
    date: RefCell<String>,
}

impl Clock {
    /// Forgets the time, since some has passed; the next question asks the system.
    pub(crate) fn advance(&self) {
        self.instant.set(None);
        self.current.set(false);
    }

    /// Now, as exact as a turn.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let before = engine.clock().now();
    /// assert_eq!(engine.clock().now(), before);
    /// engine.poll_sockets()?; // another turn
    /// assert!(engine.clock().now() > before);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn now(&self) -> Instant {
        let now = self.instant.get().unwrap_or_else(Instant::now);
        self.instant.set(Some(now));
        now
    }

    /// Now as RFC 9110 §5.6.7 writes it (`Sun, 06 Nov 1994 08:49:37 GMT`), as exact as a turn.
    ///
    /// ```
    /// let clock = lute_net::engine::clock::Clock::default();
    /// assert_eq!(clock.date().len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    /// ```
    pub fn date(&self) -> Ref<'_, str> {
        if !self.current.replace(true) {
            self.refresh();
        }
        Ref::map(self.date.borrow(), String::as_str)
    }

    fn refresh(&self) {
        let now = SystemTime::now();
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.second.replace(second) != second || self.date.borrow().is_empty() {
            *self.date.borrow_mut() = httpdate::fmt_http_date(now);
        }
    }
}

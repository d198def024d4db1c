//! Luau test cases in a runtime.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Error, Runtime};
use crate::script::{
    contained::contained,
    testing::{Case, CaseResult, Selection},
};

impl Runtime {
    /// As [`Scripts::load_file`](super::Scripts::load_file) for a test file: returns when the script has come to its end, so
    /// that all its cases are registered. Within `limit` only: a script that waits then is an error, and one that computes
    /// is stopped, as an error that nobody caught.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_tests("luau-tests/time.test.luau".as_ref(), Duration::from_secs(60))?;
    /// assert!(runtime.test_cases()?.len() > 3);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `load_file` and [`Self::run`].
    pub fn load_tests(&self, path: &Path, limit: Duration) -> Result<(), Error> {
        self.script.interrupt().stop_after(limit);
        let loaded = self
            .load_file(path, &[])
            .and_then(|()| self.finish_loading(limit));
        self.script.interrupt().go_on();
        loaded
    }

    /// The `@std/test` cases that the loaded scripts have registered, in the order in which they run.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("sum.test.luau", "require('@std/test').case('adds', function() end)", &[])?;
    /// assert_eq!(runtime.test_cases()?[0].name, "adds");
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Vm`] when the VM has no memory left.
    pub fn test_cases(&self) -> Result<Vec<Case>, Error> {
        Ok(self.script.test_cases()?)
    }

    /// Runs the `@std/test` cases of the selection, in the order in which the loaded scripts have registered them; `report`
    /// is told of each as it ends. What the cases leave running goes on only with the next call.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::Selection};
    ///
    /// let runtime = Runtime::builder().build()?;
    /// runtime.load_source("sum.test.luau", r#"
    ///     require("@std/test").case("adds", function(assert) assert.eq(1 + 1, 2) end)
    /// "#, &[])?;
    /// runtime.run_tests(Selection::all(), |result| assert!(result.failure.is_none()))?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_tests(
        &self,
        selection: Selection,
        report: impl Fn(CaseResult) + 'static,
    ) -> Result<(), Error> {
        let started = contained(|| self.script.start_tests(selection, report));
        let tests = started.map_err(Error::Panicked)??;
        while !tests.is_finished() {
            self.run_while(|| !tests.is_finished() && !tests.is_overdue() && self.is_busy())?;
            if !tests.is_finished() && !tests.expire(&self.script)? {
                let message = "the cases did not come to their end";
                return Err(Error::Script(message.to_owned()));
            }
        }
        Ok(())
    }

    fn finish_loading(&self, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit.min(Duration::from_secs(24 * 3600));
        let timers = self.engine.timers().clone();
        // So that the loop looks at the clock then.
        let _alarm = self
            .engine
            .spawn(async move { timers.sleep_until(deadline).await });
        let loading = || self.script.is_loading();
        self.run_while(|| loading() && Instant::now() < deadline && self.is_busy())?;
        if loading() {
            let message = "the script waits outside of its cases and does not come to its end";
            return Err(Error::Script(message.to_owned()));
        }
        Ok(())
    }
}

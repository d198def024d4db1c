//! One test file, in a runtime of its own.

use std::{
    cell::RefCell,
    mem,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use super::{Case, CaseFailure, CaseResult, Selection};
use crate::{Builder, Error, Runtime, ScriptError};

/// A Luau file that registers `@std/test` cases.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use lute_net::{Runtime, testing::TestFile};
///
/// let file = TestFile::new("luau-tests/time.test.luau", Runtime::builder());
/// let passed = Rc::new(Cell::new(0));
/// let count = passed.clone();
/// let result = file.run(|_| true, move |result| {
///     assert!(result.failure.is_none());
///     count.set(count.get() + 1);
/// })?;
/// assert!(result.errors.is_empty());
/// assert_eq!(passed.get(), file.cases()?.len());
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct TestFile {
    path: PathBuf,
    builder: Builder,
    timeout: Duration,
}

/// How a test file ended, besides its cases.
///
/// ```
/// assert!(lute_net::testing::FileResult::default().errors.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct FileResult {
    /// What nobody caught outside of its cases: while it was loaded, or after the last case. The file has failed then.
    pub errors: Vec<ScriptError>,
}

/// Errors that nobody caught and that have no case yet.
type Uncaught = Rc<RefCell<Vec<ScriptError>>>;

impl TestFile {
    /// A file, and how its runtimes are made. [`Builder::on_error`] is replaced: an error that nobody catches fails the case
    /// that runs.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::TestFile};
    ///
    /// let file = TestFile::new("luau-tests/time.test.luau", Runtime::builder());
    /// assert!(file.path().ends_with("time.test.luau"));
    /// ```
    pub fn new(path: impl Into<PathBuf>, builder: Builder) -> Self {
        Self {
            path: path.into(),
            builder,
            timeout: Duration::from_secs(60),
        }
    }

    /// How long each case and each hook may take, and the file to register its cases. 60 s without this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lute_net::{Runtime, testing::TestFile};
    ///
    /// let file = TestFile::new("luau-tests/time.test.luau", Runtime::builder()).timeout(Duration::from_secs(5));
    /// assert!(!file.cases()?.is_empty());
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where it is.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::TestFile};
    ///
    /// assert_eq!(TestFile::new("a.test.luau", Runtime::builder()).path(), "a.test.luau".as_ref() as &std::path::Path);
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its cases, in the order in which they run. The file is loaded for it, but no case runs.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::TestFile};
    ///
    /// let cases = TestFile::new("luau-tests/time.test.luau", Runtime::builder()).cases()?;
    /// assert_eq!(cases[0].index, 0);
    /// assert!(TestFile::new("no.test.luau", Runtime::builder()).cases().is_err());
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// When it can't be read, is no Luau, or raises while it is loaded.
    pub fn cases(&self) -> Result<Vec<Case>, Error> {
        let (runtime, uncaught) = self.load()?;
        match uncaught.borrow().first() {
            Some(error) => Err(Error::Script(error.to_string())),
            None => runtime.test_cases(),
        }
    }

    /// Runs those of its cases that `wants` accepts; `report` is told of each as it ends. Afterwards everything that the file
    /// has started is closed.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::TestFile};
    ///
    /// let file = TestFile::new("luau-tests/time.test.luau", Runtime::builder());
    /// let result = file.run(|case| case.index == 0, |result| assert!(result.failure.is_none()))?;
    /// assert!(result.errors.is_empty());
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// When it can't be read or is no Luau, or the system fails.
    pub fn run(
        &self,
        wants: impl Fn(&Case) -> bool + 'static,
        report: impl Fn(CaseResult) + 'static,
    ) -> Result<FileResult, Error> {
        let (runtime, uncaught) = self.load()?;
        let mut errors = mem::take(&mut *uncaught.borrow_mut());
        let during = uncaught.clone();
        let report = move |mut result: CaseResult| {
            blame(&mut result, during.take());
            report(result);
        };
        runtime.run_tests(Selection::all().only(wants).timeout(self.timeout), report)?;
        errors.append(&mut uncaught.borrow_mut());
        Ok(FileResult { errors })
    }

    fn load(&self) -> Result<(Runtime, Uncaught), Error> {
        let uncaught = Uncaught::default();
        let kept = uncaught.clone();
        let keep = move |error: &ScriptError| kept.borrow_mut().push(error.clone());
        let runtime = self.builder.clone().on_error(keep).build()?;
        runtime.load_tests(&self.path, self.timeout)?;
        Ok((runtime, uncaught))
    }
}

/// A case during which a coroutine failed has failed.
fn blame(result: &mut CaseResult, uncaught: Vec<ScriptError>) {
    for error in uncaught {
        match &mut result.failure {
            Some(failure) => {
                failure.message += &format!("\nand nobody caught: {}", error.message);
            }
            None => {
                result.failure = Some(CaseFailure {
                    message: format!("nobody caught: {}", error.message),
                    position: None,
                    traceback: error.traceback,
                });
            }
        }
    }
}

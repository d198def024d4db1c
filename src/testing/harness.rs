//! The Luau cases of a folder as the tests of a Rust test target.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};

use super::{CaseResult, TestFile, find};
use crate::{Builder, Runtime};

/// The `main` of a test target (`harness = false`): every Luau case in a folder is a test of its own, which `cargo test` and
/// `cargo nextest` list, filter and run in parallel, each in a runtime of its own.
///
/// A test's name is the file's path in the folder without its ending, the suite and the case:
/// `net::client::redirects::303 becomes GET`. See [the module](super) for an example.
///
/// ```
/// use lute_net::testing::Harness;
///
/// fn main() -> std::process::ExitCode {
///     # if true { return std::process::ExitCode::SUCCESS; }
///     Harness::new("luau-tests").main()
/// }
/// ```
pub struct Harness {
    folder: PathBuf,
    plan: Plan,
}

/// How the tests run.
#[derive(Clone)]
struct Plan {
    builder: Arc<dyn Fn() -> Builder + Send + Sync>,
    timeout: Duration,
}

impl Harness {
    /// For the test files in `folder` and below. A path that is not absolute goes out from the crate's folder, where Cargo
    /// starts tests.
    ///
    /// ```
    /// use lute_net::testing::Harness;
    ///
    /// let harness: Harness = Harness::new("luau-tests");
    /// ```
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            plan: Plan {
                builder: Arc::new(Runtime::builder),
                timeout: Duration::from_secs(60),
            },
        }
    }

    /// How each runtime is made, for modules and settings of the program's own. Called on the test's thread.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::Harness};
    ///
    /// let harness = Harness::new("luau-tests")
    ///     .builder(|| Runtime::builder().module("@game/info", |module| module.value("version", "1.2")));
    /// ```
    pub fn builder(mut self, make: impl Fn() -> Builder + Send + Sync + 'static) -> Self {
        self.plan.builder = Arc::new(make);
        self
    }

    /// How long each case and each hook may take. 60 s without this.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let harness = lute_net::testing::Harness::new("luau-tests").timeout(Duration::from_secs(5));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = timeout;
        self
    }

    /// Does what the command line says, as Rust's own test programs do. A file that can't be loaded is a test that fails.
    ///
    /// ```
    /// fn main() -> std::process::ExitCode {
    ///     # if true { return std::process::ExitCode::SUCCESS; }
    ///     lute_net::testing::Harness::new("luau-tests").main()
    /// }
    /// ```
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let files = match find(&self.folder) {
            Ok(files) => files,
            Err(error) => {
                eprintln!("cannot find the Luau tests: {error}");
                return ExitCode::FAILURE;
            }
        };
        let trials = files
            .iter()
            .map(|path| (path, module_of(&self.folder, path)))
            .filter(|(_, module)| may_run(&arguments, module))
            .flat_map(|(path, module)| self.plan.trials(path, &module))
            .collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

impl Plan {
    fn trials(&self, path: &Path, module: &str) -> Vec<Trial> {
        let cases = match self.file(path).cases() {
            Ok(cases) => cases,
            Err(error) => {
                let message = error.to_string();
                let trial = Trial::test(module, move || Err(Failed::from(message)));
                return vec![trial];
            }
        };
        let mut names = HashMap::new();
        let named = cases.into_iter().map(|case| {
            let suite = case.suite.map(|suite| format!("::{suite}"));
            let name = format!("{module}{}::{}", suite.unwrap_or_default(), case.name);
            // Cases may share a name; tests may not.
            let count = names.entry(name.clone()).or_insert(0);
            *count += 1;
            let name = match count {
                1 => name,
                count => format!("{name} ({count})"),
            };
            (name, case.index)
        });
        named
            .map(|(name, index)| {
                let (plan, path) = (self.clone(), path.to_owned());
                Trial::test(name, move || plan.run(&path, index))
            })
            .collect()
    }

    fn run(&self, path: &Path, index: usize) -> Result<(), Failed> {
        let problems = Rc::new(RefCell::new(Vec::new()));
        let failed = problems.clone();
        let report = move |result: CaseResult| {
            failed
                .borrow_mut()
                .extend(result.failure.map(|failure| failure.to_string()));
        };
        let result = self.file(path).run(move |case| case.index == index, report);
        let result = result.map_err(|error| error.to_string())?;
        let mut problems = problems.take();
        problems.extend(
            result
                .errors
                .iter()
                .map(|error| format!("nobody caught: {error}")),
        );
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Failed::from(problems.join("\n"))),
        }
    }

    fn file(&self, path: &Path) -> TestFile {
        TestFile::new(path, (self.builder)()).timeout(self.timeout)
    }
}

/// `net::client` for `net/client.test.luau`.
fn module_of(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
    let stem = relative
        .strip_suffix(".test.luau")
        .or_else(|| relative.strip_suffix(".spec.luau"));
    stem.unwrap_or(&relative).replace(['/', '\\'], "::")
}

/// Whether a file can have the test that was asked for by its whole name. `cargo nextest` starts a process for each test:
/// it need not load all the other files.
fn may_run(arguments: &Arguments, module: &str) -> bool {
    match &arguments.filter {
        Some(name) if arguments.exact => name.starts_with(module),
        _ => true,
    }
}

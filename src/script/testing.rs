//! `@std/test` from Rust: lists and runs the cases that scripts registered, each within its time.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaTable, LuaValue};

use super::{Script, interrupt};
use crate::engine::timers::{TimerKey, deadline_after};

/// What the engine's timer says that wakes the runtime for a case's deadline: no operation has this number.
const NO_WAIT: u64 = 0;

/// What a case is told that waits although nothing is left to wait for.
const STALLED: &str = "it waits for something that nothing can bring any more";

/// A case that a Luau test file has registered.
///
/// ```
/// use lute_net::testing::Case;
///
/// let case = Case { suite: Some("time".into()), name: "it passes".into(), index: 0 };
/// assert_eq!(case.to_string(), "time: it passes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The suite's name; none for a case outside of suites.
    pub suite: Option<String>,
    /// The case's name.
    pub name: String,
    /// Which one of the file it is, in the order in which they run: from 0. Names may repeat.
    pub index: usize,
}

impl fmt::Display for Case {
    /// `suite: name`, or the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut suite = self.suite.iter();
        suite.try_for_each(|suite| write!(f, "{suite}: "))?;
        f.write_str(&self.name)
    }
}

/// How one case of a Luau test file ended.
///
/// ```
/// use lute_net::{Runtime, testing::TestFile};
///
/// let file = TestFile::new("luau-tests/time.test.luau", Runtime::builder());
/// file.run(|case| case.index == 0, |result| {
///     assert!(result.failure.is_none() && result.leftovers.servers == 0);
/// })?;
/// # Ok::<(), lute_net::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The suite's name; none for a case outside of suites.
    pub suite: Option<String>,
    /// The case's name; `afterAll` when a hook of that kind failed after the suite's last case.
    pub name: String,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed, if it did.
    pub failure: Option<CaseFailure>,
    /// What it left running.
    pub leftovers: Leftovers,
}

/// Why a case failed.
///
/// ```
/// use lute_net::testing::CaseFailure;
///
/// let failure = CaseFailure { message: "1 is not 2".into(), position: Some("a.test.luau:3".into()), traceback: String::new() };
/// assert_eq!(failure.to_string(), "a.test.luau:3: 1 is not 2");
/// ```
#[derive(Clone, Debug)]
pub struct CaseFailure {
    /// The assertion and what it found, or the error that was raised.
    pub message: String,
    /// Where: `file:line` of the assertion, or of the wait that took too long; none for other errors, whose message says
    /// it.
    pub position: Option<String>,
    /// The frames of an error that is no failed assertion, one a line.
    pub traceback: String,
}

impl fmt::Display for CaseFailure {
    /// The position if there is one, the message, and below them the traceback, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut position = self.position.iter();
        position.try_for_each(|position| write!(f, "{position}: "))?;
        f.write_str(&self.message)?;
        self.traceback
            .lines()
            .try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

/// What a case started and did not end.
///
/// ```
/// use lute_net::testing::Leftovers;
///
/// assert_eq!(Leftovers::default(), Leftovers { servers: 0, coroutines: 0 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Servers that still listen.
    pub servers: usize,
    /// Coroutines that wait for a timer or the network.
    pub coroutines: usize,
}

/// Which cases run, and how long each may take.
///
/// ```
/// use lute_net::{Runtime, testing::Selection};
///
/// let runtime = Runtime::builder().build()?;
/// runtime.load_source("sums.test.luau", "require('@std/test').case('adds', function(assert) assert.eq(1 + 2, 3) end)", &[])?;
/// runtime.run_tests(Selection::all(), |result| assert!(result.failure.is_none()))?;
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct Selection {
    wants: Box<dyn Fn(&Case) -> bool>,
    timeout: Option<Duration>,
}

impl Selection {
    /// Every case, without a time limit.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use lute_net::{Runtime, testing::Selection};
    ///
    /// let (runtime, ran) = (Runtime::builder().build()?, Rc::new(Cell::new(0)));
    /// let source = "local test = require('@std/test') test.case('a', function() end) test.case('b', function() end)";
    /// runtime.load_source("two.test.luau", source, &[])?;
    /// let count = ran.clone();
    /// runtime.run_tests(Selection::all(), move |_| count.set(count.get() + 1))?;
    /// assert_eq!(ran.get(), 2);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn all() -> Self {
        Self {
            wants: Box::new(|_| true),
            timeout: None,
        }
    }

    /// Only the cases that `wants` accepts.
    ///
    /// ```
    /// use lute_net::{Runtime, testing::Selection};
    ///
    /// let runtime = Runtime::builder().build()?;
    /// let source = "local test = require('@std/test') test.case('a', function() end) test.case('b', function() end)";
    /// runtime.load_source("two.test.luau", source, &[])?;
    /// runtime.run_tests(Selection::all().only(|case| case.name == "b"), |result| assert_eq!(result.name, "b"))?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn only(mut self, wants: impl Fn(&Case) -> bool + 'static) -> Self {
        self.wants = Box::new(wants);
        self
    }

    /// How long a case may take, and each hook: one that waits then is closed, one that computes is stopped, and fails.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lute_net::{Runtime, testing::Selection};
    ///
    /// let runtime = Runtime::builder().build()?;
    /// runtime.load_source("hangs.test.luau", "require('@std/test').case('loops', function() while true do end end)", &[])?;
    /// let selection = Selection::all().timeout(Duration::from_millis(20));
    /// runtime.run_tests(selection, |result| assert!(result.failure.is_some()))?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// The functions of `luau/test.luau` that Rust calls.
pub struct TestFunctions {
    run: LuaFunction,
    list: LuaFunction,
    expire: LuaFunction,
    clock: Rc<CaseClock>,
}

impl TestFunctions {
    /// From what `luau/test.luau` returned.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn new(half: &LuaTable, clock: Rc<CaseClock>) -> LuaResult<Self> {
        Ok(Self {
            run: half.get("run")?,
            list: half.get("list")?,
            expire: half.get("expire")?,
            clock,
        })
    }
}

/// The time that the case or hook that runs may take.
#[derive(Default)]
pub struct CaseClock {
    timeout: Cell<Option<Duration>>,
    deadline: Cell<Option<(Instant, TimerKey)>>,
}

impl CaseClock {
    fn start(&self, script: &Script) {
        script.interrupt.next_turn();
        let Some(timeout) = self.timeout.get() else {
            return;
        };
        let deadline = deadline_after(Instant::now(), timeout);
        let key = script.engine.timers().set(deadline, NO_WAIT);
        self.deadline.set(Some((deadline, key)));
        script.interrupt.stop_after(timeout);
    }

    fn stop(&self, script: &Script) {
        if let Some((_, key)) = self.deadline.take() {
            script.engine.timers().cancel(key);
        }
        script.interrupt.go_on();
    }

    fn is_over(&self) -> bool {
        self.deadline
            .get()
            .is_some_and(|(deadline, _)| deadline <= Instant::now())
    }
}

/// What `luau/test.luau` calls.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>, clock: &Rc<CaseClock>) -> LuaResult<LuaTable> {
    let on_clock = |act: fn(&CaseClock, &Script)| {
        let (clock, script) = (clock.clone(), Rc::downgrade(script));
        lua.create_function(move |_, ()| {
            script
                .upgrade()
                .iter()
                .for_each(|script| act(&clock, script));
            Ok(())
        })
    };
    let native = lua.create_table()?;
    native.set("limit", on_clock(CaseClock::start)?)?;
    native.set("unlimit", on_clock(CaseClock::stop)?)?;
    Ok(native)
}

/// A run of test cases that has begun.
pub struct TestRun {
    finished: Rc<Cell<bool>>,
    expire: Option<LuaFunction>,
    clock: Rc<CaseClock>,
}

impl TestRun {
    /// A run that is over, since no script has registered a case.
    pub fn without_cases() -> Self {
        Self {
            finished: Rc::new(Cell::new(true)),
            expire: None,
            clock: Rc::default(),
        }
    }

    /// Whether the last case has ended.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Whether the case that runs has used up its time: [`Self::expire`] ends it.
    pub fn is_overdue(&self) -> bool {
        self.clock.is_over()
    }

    /// Ends the case that runs, as failed: it waits for too long, or for nothing. False when none runs.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn expire(&self, script: &Script) -> LuaResult<bool> {
        let timeout = self.clock.timeout.get().filter(|_| self.is_overdue());
        let reason = timeout.map_or_else(|| STALLED.to_owned(), interrupt::timed_out);
        self.clock.stop(script);
        match &self.expire {
            Some(expire) => expire.call(reason),
            None => Ok(false),
        }
    }
}

/// The registered cases.
///
/// # Errors
/// When the VM has no memory left.
pub fn list(lua: &Lua, functions: &TestFunctions) -> LuaResult<Vec<Case>> {
    let cases = Rc::new(RefCell::new(Vec::new()));
    let found = cases.clone();
    let take = lua.create_function(move |_, (suite, name): (Option<String>, String)| {
        let mut found = found.borrow_mut();
        let index = found.len();
        found.push(Case { suite, name, index });
        Ok(())
    })?;
    functions.list.call::<()>(take)?;
    Ok(cases.take())
}

/// Starts the registered cases of the selection, one after the other.
///
/// # Errors
/// When the VM has no memory left.
pub fn start(
    lua: &Lua,
    script: &Rc<Script>,
    functions: &TestFunctions,
    drive: &LuaFunction,
    selection: Selection,
    report: impl Fn(CaseResult) + 'static,
) -> LuaResult<TestRun> {
    functions.clock.timeout.set(selection.timeout);
    let wants = selection.wants;
    let wants = lua.create_function(
        move |_, (suite, name, number): (Option<String>, String, usize)| {
            let index = number.saturating_sub(1);
            Ok(wants(&Case { suite, name, index }))
        },
    )?;
    let report = report_function(lua, Rc::downgrade(script), report)?;
    let finished = Rc::new(Cell::new(false));
    let mark = finished.clone();
    let finish = lua.create_function(move |_, ()| {
        mark.set(true);
        Ok(())
    })?;
    let _turn = script.interrupt.turn();
    drive.call::<()>((
        lua.create_thread(functions.run.clone())?,
        wants,
        report,
        finish,
    ))?;
    Ok(TestRun {
        finished,
        expire: Some(functions.expire.clone()),
        clock: functions.clock.clone(),
    })
}

fn report_function(
    lua: &Lua,
    script: Weak<Script>,
    report: impl Fn(CaseResult) + 'static,
) -> LuaResult<LuaFunction> {
    let before = Cell::new(running(&script));
    lua.create_function(
        move |_,
              (suite, name, seconds, failure): (
            Option<String>,
            String,
            f64,
            Option<LuaTable>,
        )| {
            let now = running(&script);
            let then = before.replace(now);
            report(CaseResult {
                suite,
                name,
                duration: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
                failure: failure.map(|failure| failure_of(&failure)).transpose()?,
                leftovers: Leftovers {
                    servers: now.servers.saturating_sub(then.servers),
                    coroutines: now.coroutines.saturating_sub(then.coroutines),
                },
            });
            Ok(())
        },
    )
}

/// What runs now.
fn running(script: &Weak<Script>) -> Leftovers {
    script
        .upgrade()
        .map_or_else(Leftovers::default, |script| Leftovers {
            servers: script.servers.count(),
            coroutines: script.scheduler.waiting(),
        })
}

fn failure_of(failure: &LuaTable) -> LuaResult<CaseFailure> {
    let file: Option<String> = failure.get("file")?;
    let line: Option<i64> = failure.get("line")?;
    let message: LuaValue = failure.get("message")?;
    Ok(CaseFailure {
        message: message.to_string()?,
        position: file.zip(line).map(|(file, line)| format!("{file}:{line}")),
        traceback: super::script_frames(&failure.get::<String>("traceback")?),
    })
}

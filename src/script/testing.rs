//! `@std/test` from Rust: runs the cases that a script file registered and hands out their results.

use std::{cell::Cell, rc::Rc, time::Duration};

use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaTable};

/// How one case of a Luau test file ended.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The suite's name; none for a case outside of suites.
    pub suite: Option<String>,
    /// The case's name.
    pub name: String,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed, if it did.
    pub failure: Option<CaseFailure>,
}

/// Why a case failed.
#[derive(Clone, Debug)]
pub struct CaseFailure {
    /// The assertion and what it found, or the error that was raised.
    pub message: String,
    /// Where: `file:line` of the assertion; none for other errors, whose message says it.
    pub position: Option<String>,
    /// The frames of an error that is no failed assertion, one a line.
    pub traceback: String,
}

/// A run of test cases that has begun.
pub struct TestRun {
    finished: Rc<Cell<bool>>,
}

impl TestRun {
    /// A run that is over, since no script has registered a case.
    pub fn without_cases() -> Self {
        Self {
            finished: Rc::new(Cell::new(true)),
        }
    }

    /// Whether the last case has ended.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }
}

/// Starts the registered cases that `wants` (given suite and name) accepts, one after the other, in one coroutine.
pub fn start(
    lua: &Lua,
    run: &LuaFunction,
    drive: &LuaFunction,
    wants: impl Fn(Option<&str>, &str) -> bool + 'static,
    report: impl Fn(CaseResult) + 'static,
) -> LuaResult<TestRun> {
    let wants = lua.create_function(move |_, (suite, name): (Option<String>, String)| {
        Ok(wants(suite.as_deref(), &name))
    })?;
    let report =
        lua.create_function(
            move |_,
                  (suite, name, seconds, failure): (
                Option<String>,
                String,
                f64,
                Option<LuaTable>,
            )| {
                let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let failure = failure.map(|failure| failure_of(&failure)).transpose()?;
                report(CaseResult {
                    suite,
                    name,
                    duration,
                    failure,
                });
                Ok(())
            },
        )?;
    let finished = Rc::new(Cell::new(false));
    let mark = finished.clone();
    let finish = lua.create_function(move |_, ()| {
        mark.set(true);
        Ok(())
    })?;
    drive.call::<()>((lua.create_thread(run.clone())?, wants, report, finish))?;
    Ok(TestRun { finished })
}

fn failure_of(failure: &LuaTable) -> LuaResult<CaseFailure> {
    let file: Option<String> = failure.get("file")?;
    let line: Option<i64> = failure.get("line")?;
    Ok(CaseFailure {
        message: failure.get::<mlua::LuaString>("message")?.to_string_lossy(),
        position: file.zip(line).map(|(file, line)| format!("{file}:{line}")),
        traceback: failure.get("traceback")?,
    })
}

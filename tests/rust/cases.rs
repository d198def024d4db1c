//! `Runtime::run_tests`: cases within their time, in the order of their registration.

use std::{cell::RefCell, rc::Rc, time::Duration};

use lute_net::{
    Runtime,
    testing::{CaseResult, Leftovers, Selection},
};

/// The results of the cases that `source` registers with `test`.
fn run(selection: Selection, source: &str) -> Vec<CaseResult> {
    let source =
        format!("local test, task = require('@std/test'), require('@lute/task')\n{source}");
    let runtime = Runtime::builder().build().unwrap();
    runtime.load_source("test.luau", &source, &[]).unwrap();
    let results = Rc::new(RefCell::new(Vec::new()));
    let reported = results.clone();
    let report = move |result| reported.borrow_mut().push(result);
    runtime.run_tests(selection, report).unwrap();
    results.take()
}

fn failure(result: &CaseResult) -> (&str, &str) {
    let failure = result.failure.as_ref().expect("it did not fail");
    (
        failure.position.as_deref().unwrap_or("nowhere"),
        &failure.message,
    )
}

#[test]
fn a_case_that_waits_or_computes_for_too_long_fails_and_the_next_one_runs() {
    let results = run(
        Selection::all().timeout(Duration::from_millis(200)),
        r#"
test.case("waits", function()
	task.wait(60)
end)
test.case("loops", function()
	while true do pcall(function() while true do end end) end
end)
test.case("is quick", function(assert) assert.eq(1, 1) end)
"#,
    );
    assert_eq!(results.len(), 3);
    assert_eq!(
        failure(&results[0]),
        ("test.luau:4", "timed out after 0.2 s")
    );
    assert_eq!(failure(&results[1]).1, "test.luau:7: timed out after 0.2 s");
    assert!(results[2].failure.is_none(), "{:?}", results[2]);
}

#[test]
fn a_case_that_nothing_can_resume_fails_at_once() {
    let results = run(
        Selection::all(),
        r#"
test.case("yields for ever", function() coroutine.yield() end)
test.case("closes itself", function()
	local thread = coroutine.running()
	task.defer(function() coroutine.close(thread) end)
	coroutine.yield()
end)
test.case("goes on", function() task.wait(0.01) end)
"#,
    );
    assert_eq!(
        failure(&results[0]),
        (
            "test.luau:3",
            "it waits for something that nothing can bring any more"
        )
    );
    assert_eq!(failure(&results[1]).1, "its coroutine was closed");
    assert!(results[2].failure.is_none());
}

#[test]
fn hooks_run_around_cases_and_their_failures_count() {
    let results = run(
        Selection::all(),
        r#"
local order = ""
test.suite("hooks", function(suite)
	suite:beforeAll(function() order ..= "A" end)
	suite:beforeEach(function() task.wait() order ..= "b" end)
	suite:afterEach(function() order ..= "a" end)
	suite:afterAll(function() error("at the end") end)
	suite:case("first", function(assert) order ..= "1" assert.that(false, "on purpose") end)
	suite:case("second", function(assert) order ..= "2" assert.eq(order, "Ab1ab2") end)
end)
test.suite("broken", function(suite)
	suite:beforeAll(function() error("cannot begin") end)
	suite:case("one", function() order ..= "never" end)
	suite:case("two", function() order ..= "never" end)
end)
test.suite("after", function(suite)
	suite:afterEach(function() error("not cleaned up") end)
	suite:case("fails by its hook", function() end)
end)
test.case("loose cases run first", function(assert) assert.eq(order, "") end)
"#,
    );
    let shown: Vec<String> = results
        .iter()
        .map(|result| {
            let message = result
                .failure
                .as_ref()
                .map(|failure| failure.message.as_str());
            format!("{} {}", result.name, message.unwrap_or("ok"))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "loose cases run first ok",
            "first that: on purpose: it is false",
            "second ok",
            "afterAll test.luau:8: at the end",
            "one test.luau:13: cannot begin",
            "two test.luau:13: cannot begin",
            "fails by its hook test.luau:18: not cleaned up",
        ]
    );
    assert_eq!(failure(&results[1]).0, "test.luau:9");
}

#[test]
fn a_selection_takes_cases_by_suite_name_or_number_and_hooks_run_for_those_only() {
    let source = r#"
test.suite("a", function(suite)
	suite:beforeAll(function() error("not wanted") end)
	suite:case("same", function() end)
end)
test.suite("b", function(suite)
	suite:case("same", function() end)
	suite:case("same", function() end)
end)
"#;
    let by_name = run(
        Selection::all().only(|case| case.suite.as_deref() == Some("b")),
        source,
    );
    assert_eq!(by_name.len(), 2);
    let by_number = run(Selection::all().only(|case| case.index == 2), source);
    assert_eq!(by_number.len(), 1);
    assert!(by_number[0].failure.is_none());
}

#[test]
fn what_a_case_leaves_running_is_told_with_its_result() {
    let results = run(
        Selection::all(),
        r#"
test.case("leaves", function()
	require("@lute/net/server").serve({ port = 0, handler = function() return "" end })
	task.delay(60, function() end)
end)
test.case("leaves nothing", function() task.wait(0.01) end)
"#,
    );
    let left = results[0].leftovers;
    assert_eq!((left.servers, left.coroutines), (1, 1));
    assert_eq!(results[1].leftovers, Leftovers::default());
}

//! Scripts that compute for too long are stopped, whatever they catch, and everything else goes on.

use std::time::Duration;

use lute_net::{Limits, Runtime};

use crate::runtime::noting_in;

/// What `source` notes, and the errors that nobody caught. A busy machine must get to the script's loop in time: only where
/// it does not matter what is stopped are the turns short.
fn run(longest_turn: Duration, source: &str) -> Vec<String> {
    let source = format!("local note = require('@test/note') :: any\n{source}");
    let builder = Runtime::builder().limits(Limits {
        turn: Some(longest_turn),
        ..Limits::default()
    });
    let (runtime, notes) = noting_in(builder, &source);
    runtime.run().unwrap();
    notes.take()
}

const STOPPED: &str = "the script ran for longer than 1 s without waiting";

#[test]
fn a_loop_without_end_is_an_error_with_its_line_and_everything_else_goes_on() {
    let notes = run(
        Duration::from_secs(1),
        r#"
local task = require("@lute/task")
task.delay(0.1, function() note("later") end)
while true do end
"#,
    );
    assert_eq!(
        notes,
        [format!("error: test.luau:5: {STOPPED}"), "later".to_owned()]
    );
}

#[test]
fn no_pcall_xpcall_or_coroutine_saves_a_loop() {
    for body in [
        "while true do pcall(function() while true do end end) end",
        "pcall(function() while true do end end) note('after pcall')",
        "xpcall(function() while true do end end, function() while true do end end) note('after xpcall')",
        "coroutine.resume(coroutine.create(function() while true do end end)) note('after resume')",
        "require('@lute/task').spawn(function() while true do end end) note('after spawn')",
        "local function again() pcall(again) again() end again()",
        "table.sort({ 1, 2, 3 }, function() while true do end end) note('after sort')",
        "setmetatable({}, { __index = function() while true do end end }).x()",
        "string.find(string.rep('a', 30000), '.-.-.-.-b')",
        "while true do require('@lute/task').spawn(function() end) end",
        "local huge = table.create(1e6, 1) table.clear(huge) local json = require('@std/json')
         pcall(json.serialize, table.create(1e5, huge)) note('after serialize')",
    ] {
        let notes = run(Duration::from_millis(50), body);
        assert!(!notes.is_empty(), "{body}");
        assert!(
            notes
                .iter()
                .all(|note| note.ends_with(" s without waiting")),
            "{body}: {notes:?}"
        );
    }
}

#[test]
fn each_resume_has_the_whole_time() {
    let source = r#"
local task = require("@lute/task")
local function busy(seconds)
	local since = os.clock()
	repeat until os.clock() - since > seconds
end
for _ = 1, 10 do
	task.defer(function() busy(0.08) task.wait(0) busy(0.08) note("done") end)
	task.defer(function() task.wait(1.1) note("waited") end)
end
"#;
    let notes = run(Duration::from_secs(1), source);
    assert_eq!(notes.len(), 20, "{notes:?}");
    assert!(
        notes.iter().all(|note| !note.starts_with("error")),
        "{notes:?}"
    );
}

#[test]
fn a_handler_that_loops_is_a_500_and_the_next_request_is_served() {
    let notes = run(
        Duration::from_secs(1),
        r#"
local server = require("@lute/net/server")
local client = require("@lute/net/client")
local running = server.serve({ port = 0, handler = function(request)
	while request.path == "/loop" do end
	return "fine"
end })
note(tostring(client.request(`127.0.0.1:{running.port}/loop`).status))
note(client.request(`127.0.0.1:{running.port}/`).body)
running.close()
"#,
    );
    assert_eq!(notes[1..], ["500", "fine"], "{notes:?}");
    assert!(notes[0].ends_with(STOPPED), "{notes:?}");
}

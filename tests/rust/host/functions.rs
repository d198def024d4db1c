//! Functions and modules that a host gives to its scripts.

use super::*;

#[test]
fn a_hosts_async_function_yields_only_the_coroutine_that_calls_it() {
    let (builder, notes) = noting();
    let builder = builder.module("@game/clock", |module| {
        module.async_function("sleep", |_, milliseconds: u64| async move {
            smol::Timer::after(Duration::from_millis(milliseconds)).await;
            Ok::<_, String>((milliseconds, "slept"))
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local task, clock = require("@lute/task"), require("@game/clock") :: any
task.spawn(function()
	local milliseconds, what = clock.sleep(60)
	note(`{milliseconds} {what}`)
end)
local own = coroutine.wrap(function() note(`{clock.sleep(20)} in a coroutine of the script's own`) end)
own()
note("meanwhile")
"#,
    );
    assert_eq!(
        noted,
        [
            "meanwhile",
            "20 in a coroutine of the script's own",
            "60 slept"
        ]
    );
}

#[test]
fn what_goes_wrong_in_a_hosts_function_is_a_plain_string_with_the_scripts_position() {
    let (builder, notes) = noting();
    let builder = builder.module("@game/bad", |module| {
        module.function("fails", |_, ()| Err::<(), _>("no such map"))?;
        module.function("fails_in_lua", |lua, ()| {
            lua.load("error('deep inside')").set_name("=host").exec()
        })?;
        module.function("panics", |_, ()| -> Result<(), String> {
            panic!("in the host")
        })?;
        module.function("wants", |_, _: (String, f64)| Ok::<_, String>(()))?;
        module.async_function("fails_late", |_, ()| async {
            smol::future::yield_now().await;
            Err::<(), _>(std::io::Error::other("disk full"))
        })?;
        module.async_function("panics_late", |_, ()| async {
            smol::future::yield_now().await;
            if true {
                panic!("in the host's future");
            }
            Ok::<_, String>(())
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local bad = require("@game/bad") :: any
local function try(f, ...)
	local arguments = table.pack(...)
	local _, problem = pcall(function()
		f(table.unpack(arguments, 1, arguments.n))
	end)
	note(if type(problem) == "string" then problem else `a {typeof(problem)}`)
end
try(bad.fails)
try(bad.fails_in_lua)
try(bad.panics)
try(bad.wants)
try(bad.wants, "text", {})
try(bad.fails_late)
try(bad.panics_late)
"#,
    );
    assert_eq!(
        noted,
        [
            "test.luau:6: no such map",
            "test.luau:6: host:1: deep inside",
            "test.luau:6: 'panics' panicked: in the host",
            "test.luau:6: invalid argument #1 to 'wants' (string expected, got nil)",
            "test.luau:6: invalid argument #2 to 'wants' (number expected, got table)",
            "test.luau:6: disk full",
            "test.luau:6: 'panics_late' panicked: in the host's future",
        ]
    );
}

#[test]
fn a_cancelled_coroutine_drops_the_hosts_future() {
    struct Mark(Rc<Cell<u32>>);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let (builder, notes) = noting();
    let marks = dropped.clone();
    let builder = builder.module("@game/slow", move |module| {
        let marks = marks.clone();
        module.async_function("forever", move |_, ()| {
            let mark = Mark(marks.clone());
            async move {
                let _mark = mark;
                std::future::pending::<()>().await;
                Ok::<_, String>(())
            }
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local task, slow = require("@lute/task"), require("@game/slow") :: any
task.cancel(task.spawn(slow.forever))
local thread = task.spawn(slow.forever)
task.wait()
coroutine.close(thread)
note("over")
"#,
    );
    assert_eq!(noted, ["over"]);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_hosts_module_is_made_once_for_each_vm_and_is_read_only() {
    let made = Rc::new(Cell::new(0));
    let count = made.clone();
    let (builder, notes) = noting();
    let builder = builder.module("@game/config", move |module| {
        count.set(count.get() + 1);
        module.value("port", 80)
    });
    let mut runtime = builder.build().unwrap();
    let source = r#"
local note = (require("@test/notes") :: any).note
local config = require("@game/config") :: any
assert(config == require("@game/config"))
note(tostring(config.port))
note(tostring(pcall(function() config.port = 81 end)))
"#;
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.reset().unwrap();
    runtime.load_source("test.luau", source, &[]).unwrap();
    assert_eq!(made.get(), 2);
    let noted = notes.take();
    assert_eq!(noted.len(), 4, "{noted:?}");
    assert!(
        noted[0] == "80" && noted[1].starts_with("false"),
        "{noted:?}"
    );
}

#[test]
fn a_module_that_cannot_be_made_is_an_error_where_it_is_required() {
    let (builder, notes) = noting();
    let builder = builder
        .module("@game/fails", |_| Err(mlua::Error::runtime("no database")))
        .module("@game/panics", |_| panic!("no memory"));
    let noted = run(
        builder,
        &notes,
        r#"
for _, name in { "fails", "panics" } do
	local _, problem = pcall(function() require(`@game/{name}`) end)
	note(problem)
end
"#,
    );
    assert_eq!(
        noted,
        [
            "test.luau:3: no database",
            "test.luau:3: module '@game/panics' panicked: no memory"
        ]
    );
    let nameless = Runtime::builder().module("game", |_| Ok(())).build();
    assert!(matches!(nameless, Err(Error::Setting(text)) if text.contains("'game'")));
}

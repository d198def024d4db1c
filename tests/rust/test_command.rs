//! `lute-net test`: what it finds, runs and prints, and its exit codes.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

/// A folder with test files, which is removed afterwards.
struct Project(PathBuf);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lute-net-tests-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for (path, source) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(
                path,
                format!("local test, task = require('@std/test'), require('@lute/task')\n{source}"),
            )
            .unwrap();
        }
        Self(folder)
    }

    fn test(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lute-net"));
        command.current_dir(&self.0).arg("test").args(arguments);
        command.output().unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Vec<Value> {
    let text = stdout(output);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const MIXED: &str = r#"
print("from the script")
test.case("passes", function(assert) task.wait(0.001) assert.eq(1, 1) end)
test.suite("numbers", function(suite)
	suite:case("differ", function(assert)
		assert.eq({ a = 1 }, { a = 2 }, "as planned")
	end)
	suite:case("raise", function() error("<broken> & \"so\"") end)
end)
"#;

#[test]
fn what_fails_is_printed_with_file_and_line_and_the_exit_code_is_1() {
    let project = Project::new(&[("tests/mixed.test.luau", MIXED)]);
    let output = project.test(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for part in [
        "from the script\n",
        "tests/mixed.test.luau: 1 passed, 2 failed (",
        "  FAILED numbers: differ\n      tests/mixed.test.luau:7: eq: as planned: value[\"a\"] is 1, not 2\n",
        "  FAILED numbers: raise\n      tests/mixed.test.luau:9: <broken> & \"so\"\n",
        "\n1 passed, 2 failed in 1 file, ",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "colour without a terminal: {text}");
    assert!(!text.contains("[lute-net]"), "{text}");
}

#[test]
fn files_are_found_in_tests_then_luau_tests_and_else_in_the_current_folder() {
    let case = "test.case('one', function() end)";
    let project = Project::new(&[
        ("tests/deep/a.test.luau", case),
        ("luau-tests/b.spec.luau", case),
        ("tests/.hidden/c.test.luau", "error('not to be found')"),
        ("tests/helper.luau", "error('not to be found')"),
        ("elsewhere/d.test.luau", "error('not to be found')"),
    ]);
    let output = project.test(&["--list"]);
    assert_eq!(
        stdout(&output),
        "tests/deep/a.test.luau: one\nluau-tests/b.spec.luau: one\n"
    );
    assert!(project.test(&["-j", "2"]).status.success());
    let project = Project::new(&[("app.test.luau", case), ("inner/other.spec.luau", case)]);
    let output = project.test(&["--list"]);
    assert_eq!(
        stdout(&output),
        "app.test.luau: one\ninner/other.spec.luau: one\n"
    );
    let output = project.test(&["--list", "inner", "app.test.luau", "inner/other.spec.luau"]);
    assert_eq!(
        stdout(&output),
        "inner/other.spec.luau: one\napp.test.luau: one\n"
    );
}

#[test]
fn suite_and_case_select_and_nothing_selected_is_a_failure() {
    let project = Project::new(&[("tests/mixed.test.luau", MIXED)]);
    let listed =
        |arguments: &[&str]| stdout(&project.test(arguments)).replace("from the script\n", "");
    assert_eq!(
        listed(&["--list", "-s", "numbers"]),
        "tests/mixed.test.luau: numbers: differ\ntests/mixed.test.luau: numbers: raise\n"
    );
    assert_eq!(
        listed(&["--list", "--case", "raise"]),
        "tests/mixed.test.luau: numbers: raise\n"
    );
    let output = project.test(&["-c", "passes"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("1 passed in 1 file"));
    let output = project.test(&["-s", "-no such suite"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no case has that name"));
    let empty = Project::new(&[("helper.luau", "")]);
    let output = empty.test(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are no test files"));
    assert_eq!(empty.test(&["--timeout", "0"]).status.code(), Some(2));
}

#[test]
fn a_file_that_cannot_be_loaded_fails_and_the_others_run() {
    let project = Project::new(&[
        ("tests/a.test.luau", "local = 1"),
        ("tests/b.test.luau", "error('at load')"),
        ("tests/c.test.luau", "task.wait(60)"),
        (
            "tests/d.test.luau",
            "task.wait(0.01) test.case('registered after a wait', function() end)",
        ),
        ("tests/e.test.luau", "while true do end"),
        (
            "tests/f.test.luau",
            "test.case('last', function() task.defer(error, 'after the last case') end)",
        ),
    ]);
    let output = project.test(&["--timeout", "0.5", "-j", "3"]);
    let text = stdout(&output);
    for part in [
        "tests/a.test.luau:2:",
        "tests/b.test.luau:2: at load",
        "the script waits outside of its cases and does not come to its end",
        "tests/d.test.luau: 1 passed",
        "tests/e.test.luau:2: timed out after 0.5 s",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn json_has_a_line_for_each_case_and_the_scripts_print_to_stderr() {
    let project = Project::new(&[("tests/mixed.test.luau", MIXED)]);
    for jobs in ["1", "2"] {
        let output = project.test(&["--format", "json", "-j", jobs]);
        let lines = json(&output);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[0]["case"], "passes");
        assert_eq!(lines[0]["passed"], true);
        assert_eq!(lines[1]["suite"], "numbers");
        assert_eq!(lines[1]["failure"]["position"], "tests/mixed.test.luau:7");
        assert_eq!(lines[3]["event"], "summary");
        assert_eq!(
            (&lines[3]["passed"], &lines[3]["failed"]),
            (&1.into(), &2.into())
        );
        assert!(String::from_utf8_lossy(&output.stderr).contains("from the script"));
    }
}

#[test]
fn junit_is_xml_that_an_independent_parser_reads() {
    let project = Project::new(&[("tests/mixed.test.luau", MIXED)]);
    let output = project.test(&["--format", "junit"]);
    let report = project.0.join("report.xml");
    fs::write(&report, &output.stdout).unwrap();
    let read = "import sys, xml.etree.ElementTree as tree\n\
        root = tree.parse(sys.argv[1]).getroot()\n\
        print(root.tag, root.get('tests'), root.get('failures'))\n\
        for case in root.iter('testcase'):\n    failure = case.find('failure')\n    \
        print(case.get('classname'), case.get('name'), None if failure is None else failure.get('message'))";
    let parsed = Command::new("python3")
        .args(["-c", read])
        .arg(&report)
        .output()
        .unwrap();
    assert_eq!(
        stdout(&parsed),
        "testsuites 3 2\n\
         tests/mixed.test.luau passes None\n\
         numbers differ tests/mixed.test.luau:7: eq: as planned: value[\"a\"] is 1, not 2\n\
         numbers raise tests/mixed.test.luau:9: <broken> & \"so\"\n",
        "{parsed:?}"
    );
}

#[test]
fn what_cases_leave_running_is_closed_after_their_file_and_told_when_asked() {
    let leaves = r#"
test.case("leaves", function()
	require("@lute/net/server").serve({ port = 0, handler = function() return "" end })
	task.delay(60, function() end)
end)
"#;
    let project = Project::new(&[("tests/leaves.test.luau", leaves)]);
    let output = project.test(&["--leftovers"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("  left running by leaves: 1 server, 1 waiting coroutine\n"));
    assert!(!stdout(&project.test(&[])).contains("left running"));
}

#[test]
fn an_error_that_nobody_catches_fails_the_case_that_runs() {
    let lost = "test.case('spawns', function() task.spawn(error, 'lost') end)\ntest.case('fine', function() end)";
    let project = Project::new(&[("tests/lost.test.luau", lost)]);
    let lines = json(&project.test(&["--format", "json"]));
    assert_eq!(lines[0]["failure"]["message"], "nobody caught: lost");
    assert_eq!(lines[1]["passed"], true);
}

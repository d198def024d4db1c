//! Runs the Luau tests in `luau-tests/`: a Rust test for each file, a failure for each case that fails.

use std::{cell::RefCell, path::PathBuf, rc::Rc};

use lute_net::Runtime;

fn run(file: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("luau-tests")
        .join(file);
    let problems = Rc::new(RefCell::new(Vec::<String>::new()));
    let cases = Rc::new(RefCell::new(0));

    let uncaught = problems.clone();
    let runtime = Runtime::builder()
        .on_error(move |error| uncaught.borrow_mut().push(format!("not caught: {error}")))
        .build()
        .unwrap();
    runtime.load_file(&path, &[]).unwrap();
    let (failed, counted) = (problems.clone(), cases.clone());
    let report = move |result: lute_net::CaseResult| {
        *counted.borrow_mut() += 1;
        println!("{:?} {}", result.suite, result.name);
        if let Some(failure) = result.failure {
            let suite = result
                .suite
                .map(|suite| format!("{suite}: "))
                .unwrap_or_default();
            let position = failure.position.unwrap_or_default();
            failed.borrow_mut().push(format!(
                "{suite}{}\n    {position} {}\n    {}",
                result.name, failure.message, failure.traceback
            ));
        }
    };
    runtime
        .run_tests(lute_net::Selection::all(), report)
        .unwrap();

    assert!(*cases.borrow() > 0, "{file} registers no case");
    let problems = problems.borrow();
    assert!(
        problems.is_empty(),
        "{} problems in {file}:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

macro_rules! files {
    ($($name:ident: $file:literal;)*) => {
        $(#[test] fn $name() { run($file); })*

        #[test]
        fn every_luau_test_file_is_run() {
            let listed = [$($file),*];
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("luau-tests");
            for name in found(&folder) {
                let relative = name.strip_prefix(&folder).unwrap().display().to_string();
                assert!(listed.contains(&relative.as_str()), "{relative} is not listed here");
            }
        }
    };
}

fn found(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let tests = files
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".test.luau"));
    tests
        .chain(folders.iter().flat_map(|folder| found(folder)))
        .collect()
}

files! {
    task: "task.test.luau";
    time: "time.test.luau";
    require: "require.test.luau";
    client: "net/client.test.luau";
    server: "net/server.test.luau";
    answers: "net/answers.test.luau";
    server_onerror: "net/server/onerror.test.luau";
}

//! Documents name tests in tables: here they are looked up.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Where tests are.
const FOLDERS: [&str; 4] = ["src", "tests", "luau-tests", "benches"];

/// What stands in the third column of a rule that no test can hold.
const WITHOUT: &str = "none: ";

/// A row of one of the document's tables.
struct Row {
    line: usize,
    cells: Vec<String>,
}

#[test]
fn every_test_that_the_conformance_tables_name_exists() {
    check("docs/conformance.md", 2, 3);
}

#[test]
fn every_threat_has_its_tests() {
    check("SECURITY.md", 2, 3);
}

/// Prints the table, too: fault by layer.
#[test]
fn every_fault_is_tested_at_every_layer() {
    for row in check("docs/faults.md", 1, 6) {
        let marks = row.cells[1..].iter().map(|cell| {
            let count = quoted(cell).count();
            if count == 0 {
                "-".to_owned()
            } else {
                count.to_string()
            }
        });
        println!(
            "{:60} {}",
            row.cells[0],
            marks.collect::<Vec<_>>().join("  ")
        );
    }
}

/// The rows of a document's tables: `texts` columns that say something, and up to `columns` such that name tests, or say why
/// there is none.
fn check(document: &str, texts: usize, columns: usize) -> Vec<Row> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let rows = rows(&text);
    assert!(!rows.is_empty());
    let tests = Tests::of_this_repository();
    let mut problems = Vec::new();
    for row in &rows {
        if row.cells.len() != columns {
            problems.push(format!("line {}: not {columns} columns", row.line));
            continue;
        }
        let (said, named) = row.cells.split_at(texts);
        if said.iter().any(String::is_empty) {
            problems.push(format!("line {}: an empty cell", row.line));
        }
        for cell in named {
            let problem = problem_of(cell, &tests);
            problems.extend(problem.map(|problem| format!("line {}: {problem}", row.line)));
        }
    }
    assert!(problems.is_empty(), "{document}: {}", problems.join("\n"));
    rows
}

/// Why a cell names no tests that exist, if it does not.
fn problem_of(cell: &str, tests: &Tests) -> Option<String> {
    if cell
        .strip_prefix(WITHOUT)
        .is_some_and(|why| !why.is_empty())
    {
        return None;
    }
    if quoted(cell).next().is_none() {
        return Some("no test".to_owned());
    }
    quoted(cell).find_map(|name| tests.problem(name))
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let tests = Tests::of_this_repository();
    let here = "a_test_that_does_not_exist_is_noticed";
    assert_eq!(tests.problem(here), None);
    assert_eq!(tests.problem(&format!("conformance.rs: {here}")), None);
    let helper = "quoted";
    for absent in [
        "there_is_no_such_test",
        helper,
        &format!("main.rs: {here}"),
        "task.test.luau: there is no such case",
        "none.test.luau: there is no such file",
        // Several files have one.
        "the_answer_never_depends_on_the_cuts",
    ] {
        assert!(tests.problem(absent).is_some(), "{absent}");
    }
}

/// The tables' rows without their heads.
fn rows(document: &str) -> Vec<Row> {
    let lines: Vec<_> = document.lines().collect();
    let is_head = |index: usize| {
        lines
            .get(index + 1)
            .is_some_and(|next| next.starts_with("|---"))
    };
    let body = lines.iter().enumerate().filter(|(index, line)| {
        line.starts_with('|') && !line.starts_with("|---") && !is_head(*index)
    });
    body.map(|(index, line)| Row {
        line: index + 1,
        cells: cells(line),
    })
    .collect()
}

/// The cells of `| a | b |`; `\|` is a bar inside of one.
fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_matches('|').replace("\\|", "\0");
    let cells = inside.split('|');
    cells.map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests of this repository: the text of each file, and where each Rust test is.
struct Tests {
    files: Vec<(PathBuf, String)>,
    functions: HashMap<String, Vec<PathBuf>>,
}

impl Tests {
    fn of_this_repository() -> Self {
        let mut files = Vec::new();
        for folder in FOLDERS {
            collect(&root().join(folder), &mut files);
        }
        let mut functions: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for (path, text) in &files {
            for name in test_functions(text) {
                functions
                    .entry(name.to_owned())
                    .or_default()
                    .push(path.clone());
            }
        }
        Self { files, functions }
    }

    /// Why `name` names no test, if it names none.
    fn problem(&self, name: &str) -> Option<String> {
        let Some((file, test)) = name.split_once(": ") else {
            return match self.functions.get(name).map_or(0, Vec::len) {
                1 => None,
                0 => Some(format!("there is no test {name}")),
                _ => Some(format!("several files have a test {name}: name one")),
            };
        };
        let found = self.files.iter().find(|(path, _)| path.ends_with(file));
        let Some((path, text)) = found else {
            return Some(format!("there is no file {file}"));
        };
        let exists = if file.ends_with(".luau") {
            text.contains(&format!("case(\"{test}\","))
        } else {
            self.functions
                .get(test)
                .is_some_and(|paths| paths.contains(path))
        };
        (!exists).then(|| format!("{file} has no test {test:?}"))
    }
}

fn test_functions(text: &str) -> impl Iterator<Item = &str> {
    let after_attributes = text.split("#[test]").skip(1);
    after_attributes.filter_map(|after| {
        let (_, declared) = after.split_once("fn ")?;
        declared.split(['(', '<']).next()
    })
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "luau")
        {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

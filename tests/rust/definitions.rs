//! `definitions/` says what is there at run time, no less and no more.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use lute_net::{Runtime, testing::Selection};

use crate::support::PATIENCE;

/// Names by their owner.
type Names = BTreeMap<String, BTreeSet<String>>;

/// Types of what scripts hand over and Rust reads: which fields it looks at can't be seen.
const NOT_LISTED: [&str; 1] = ["Answer"];

/// The fields that the definitions declare, by type.
fn declared() -> Names {
    let mut names = Names::new();
    for file in [
        "lute/net/client",
        "lute/net/server",
        "lute/time",
        "std/test",
    ] {
        let path = Path::new("definitions").join(file).with_extension("luau");
        let text = fs::read_to_string(&path).unwrap();
        let mut owner: Option<String> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("export type ") {
                let name = rest.split(' ').next().unwrap();
                owner = line.ends_with(['{', '(']).then(|| name.to_owned());
            } else if line.starts_with(['}', ')']) || line == "\t}," {
                owner = None;
            }
            let field = line
                .trim_start_matches('\t')
                .split_once(": ")
                .map(|(name, _)| name);
            let field = field.filter(|name| name.chars().all(|one| one.is_ascii_alphanumeric()));
            if let (Some(owner), Some(field)) = (&owner, field) {
                names
                    .entry(owner.clone())
                    .or_default()
                    .insert(field.to_owned());
            }
        }
    }
    names
}

/// What a runtime has, by the script `definitions.luau`.
fn present(declared: &Names) -> Names {
    let names = Rc::new(RefCell::new(Names::new()));
    let problems = Rc::new(RefCell::new(Vec::new()));
    let (noted, wanted, kept) = (names.clone(), declared.clone(), problems.clone());
    let runtime = Runtime::builder()
        .on_error(move |error| kept.borrow_mut().push(error.to_string()))
        .module("@test/definitions", move |module| {
            let (noted, wanted) = (noted.clone(), wanted.clone());
            module.function("note", move |_, (owner, name): (String, String)| {
                noted.borrow_mut().entry(owner).or_default().insert(name);
                Ok::<_, String>(())
            })?;
            module.function("declared", move |_, owner: String| {
                let names = wanted.get(&owner).into_iter().flatten().cloned();
                Ok::<_, String>(names.collect::<Vec<_>>())
            })
        })
        .build()
        .unwrap();
    let script = Path::new("tests/rust/definitions.luau");
    runtime.load_file(script, &[]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while runtime.step(Duration::from_millis(10)).unwrap().busy && problems.borrow().is_empty() {
        assert!(Instant::now() < deadline, "the script does not end");
        thread::sleep(Duration::from_millis(1));
    }
    runtime.run_tests(Selection::all(), |_| {}).unwrap();
    assert!(problems.borrow().is_empty(), "{:?}", problems.borrow());
    names.take()
}

#[test]
fn every_field_in_the_definitions_is_there_at_run_time_and_the_other_way_round() {
    let declared = declared();
    let mut present = present(&declared);
    // What `websocket` is told is read by the same code as what `request` is told.
    let metadata = &declared["Metadata"];
    let own = &declared["WebSocketOptions"];
    let seen = present.entry("WebSocketOptions".to_owned()).or_default();
    seen.retain(|name| own.contains(name) || !metadata.contains(name));
    let modules = present.split_off("definition ");
    let (defined, real): (Names, Names) = modules
        .into_iter()
        .partition(|(name, _)| name.starts_with("definition "));
    for (name, fields) in defined {
        let real = &real[&name.replace("definition ", "module ")];
        assert_eq!(&fields, real, "{name} against the module itself");
    }
    for (owner, fields) in &declared {
        if !NOT_LISTED.contains(&owner.as_str()) {
            assert_eq!(
                Some(fields),
                present.get(owner),
                "type {owner}: declared, present"
            );
        }
    }
    let undeclared: Vec<_> = present
        .keys()
        .filter(|owner| !declared.contains_key(*owner))
        .collect();
    assert!(undeclared.is_empty(), "{undeclared:?}");
}

#[test]
fn lute_net_exports_the_types_of_lutes_page() {
    let text = fs::read_to_string("definitions/lute/net/init.luau").unwrap();
    for name in [
        "Configuration",
        "Handler",
        "Metadata",
        "ReceivedRequest",
        "Response",
        "Server",
        "ServerResponse",
        "ServerWebSocket",
        "WebSocket",
        "WebSocketHandlers",
        "WebSocketOptions",
    ] {
        let module = ["client", "server"]
            .into_iter()
            .find(|module| text.contains(&format!("export type {name} = {module}.{name}\n")));
        let module = module.unwrap_or_else(|| panic!("@lute/net does not export {name}"));
        let own = fs::read_to_string(format!("definitions/lute/net/{module}.luau")).unwrap();
        assert!(own.contains(&format!("export type {name} = ")), "{name}");
    }
}

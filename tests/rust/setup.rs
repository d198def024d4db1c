//! `lute-net setup`: types for editors.

use std::{fs, path::PathBuf};

use crate::support::command;

/// A folder that is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("lute-net-setup-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn setup(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = command();
        let output = command
            .arg("setup")
            .arg(&self.0)
            .args(arguments)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn setup_writes_every_definition_and_says_which_aliases_to_add() {
    let folder = Folder::new("plain");
    let (code, text) = folder.setup(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(r#""lute": "./.lute-net/definitions/lute""#),
        "{text}"
    );
    assert!(!folder.0.join(".luaurc").exists());
    let mut written = 0;
    for library in ["lute", "lute/net", "std"] {
        for entry in fs::read_dir(PathBuf::from("definitions").join(library)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let copy = folder.0.join(".lute-net").join(&path);
                assert_eq!(
                    fs::read(&path).unwrap(),
                    fs::read(copy).unwrap(),
                    "{path:?}"
                );
                written += 1;
            }
        }
    }
    assert_eq!(written, 10);
}

#[test]
fn with_luaurc_adds_the_aliases_and_keeps_what_is_there() {
    let folder = Folder::new("luaurc");
    let luaurc = folder.0.join(".luaurc");
    assert_eq!(folder.setup(&["--with-luaurc"]).0, Some(0));
    let read = || serde_json::from_slice::<serde_json::Value>(&fs::read(&luaurc).unwrap()).unwrap();
    assert_eq!(read()["aliases"]["std"], "./.lute-net/definitions/std");
    fs::write(
        &luaurc,
        r#"{ "lint": { "*": true }, "aliases": { "app": "./src", "std": "./old" } }"#,
    )
    .unwrap();
    assert_eq!(folder.setup(&["--with-luaurc"]).0, Some(0));
    assert_eq!(read()["aliases"]["app"], "./src");
    assert_eq!(read()["aliases"]["std"], "./.lute-net/definitions/std");
    assert_eq!(read()["lint"]["*"], true);
    let commented = "{\n\t// ours\n\t\"aliases\": {},\n}";
    fs::write(&luaurc, commented).unwrap();
    let (code, text) = folder.setup(&["--with-luaurc"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("add these aliases to it yourself"), "{text}");
    assert_eq!(fs::read_to_string(&luaurc).unwrap(), commented);
}

#[test]
fn scripts_of_a_project_that_is_set_up_still_get_the_real_modules() {
    let folder = Folder::new("runs");
    folder.setup(&["--with-luaurc"]);
    let script = folder.0.join("app.luau");
    fs::write(
        &script,
        "print(require('@lute/task').wait(0.01) >= 0.01, require('@std/json').serialize({}))",
    )
    .unwrap();
    let output = command().arg(&script).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "true\t[]\n",
        "{output:?}"
    );
}

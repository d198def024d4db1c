//! `lute-net setup`: gives a project the types of our modules, for editors.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

/// Where they go, in the project.
const FOLDER: &str = ".lute-net/definitions";

macro_rules! definitions {
    ($($file:literal)*) => {
        [$(($file, include_str!(concat!("../../definitions/", $file)))),*]
    };
}

const FILES: [(&str, &str); 10] = definitions! {
    "lute/net/client.luau" "lute/net/init.luau" "lute/net/server.luau" "lute/task.luau" "lute/time.luau"
    "std/json.luau" "std/net.luau" "std/task.luau" "std/test.luau" "std/time.luau"
};

/// Writes the types into the project at `folder`, and their aliases into its .luaurc if it is `with_luaurc`. Exit code 0, or 1
/// when they can't be written.
pub fn setup(folder: &Path, with_luaurc: WithLuaurc) -> ExitCode {
    match try_setup(folder, with_luaurc) {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("lute-net: cannot set up {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Whether the aliases are written, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithLuaurc {
    /// They are.
    Yes,
    /// They are only told.
    No,
}

impl WithLuaurc {
    /// As the command line says.
    pub fn of(flag: bool) -> Self {
        if flag { Self::Yes } else { Self::No }
    }
}

/// As [`setup`]; what there is to say afterwards.
///
/// # Errors
/// When a file can't be written.
pub fn try_setup(folder: &Path, with_luaurc: WithLuaurc) -> io::Result<String> {
    let target = folder.join(FOLDER);
    for (file, text) in FILES {
        let path = target.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    let written = format!(
        "The types of @lute/… and @std/… are in {}.",
        target.display()
    );
    match with_luaurc {
        WithLuaurc::No => Ok(format!(
            "{written}\nFor luau-lsp, add this to .luaurc (or run `lute-net setup --with-luaurc`):\n\n{}",
            luaurc()
        )),
        WithLuaurc::Yes => {
            let path = folder.join(".luaurc");
            add_aliases(&path)?;
            Ok(format!("{written}\n{} has their aliases.", path.display()))
        }
    }
}

fn aliases() -> [(&'static str, String); 2] {
    ["lute", "std"].map(|name| (name, format!("./{FOLDER}/{name}")))
}

/// A whole .luaurc.
fn luaurc() -> String {
    let lines = aliases().map(|(name, path)| format!("\t\t\"{name}\": \"{path}\""));
    format!(
        "{{\n\t\"languageMode\": \"strict\",\n\t\"aliases\": {{\n{}\n\t}}\n}}",
        lines.join(",\n")
    )
}

fn add_aliases(path: &PathBuf) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return fs::write(path, luaurc() + "\n");
        }
        Err(error) => return Err(error),
    };
    let Ok(Value::Object(mut settings)) = serde_json::from_str(&text) else {
        // Comments and trailing commas are allowed there, and should stay as they are.
        return Err(io::Error::other(format!(
            "{} is no plain JSON; add these aliases to it yourself:\n\n{}",
            path.display(),
            luaurc()
        )));
    };
    let known = settings
        .entry("aliases")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    let Some(known) = known.as_object_mut() else {
        return Err(io::Error::other(format!(
            "the aliases in {} are no object",
            path.display()
        )));
    };
    for (name, alias) in aliases() {
        known.insert(name.to_owned(), Value::String(alias));
    }
    let text = serde_json::to_string_pretty(&settings)?;
    fs::write(path, text + "\n")
}

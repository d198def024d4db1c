//! `lute-net new`: a project to start from.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    process::ExitCode,
};

use super::setup::{WithLuaurc, try_setup};

/// The files of a project; `NAME` in them becomes its name.
const FILES: [(&str, &str); 3] = [
    ("app.luau", include_str!("project/app.luau")),
    ("app.test.luau", include_str!("project/app.test.luau")),
    ("main.luau", include_str!("project/main.luau")),
];

/// Makes the project and says what to do with it. Exit code 0, or 1 when the folder exists or can't be made.
pub fn new(folder: &Path) -> ExitCode {
    let shown = folder.display();
    match make(folder) {
        Ok(()) => {
            println!(
                "{shown} has a server (main.luau, app.luau), its test (app.test.luau) and types for editors:\n"
            );
            println!("    cd {shown}");
            println!("    lute-net test");
            println!("    lute-net run --watch main.luau");
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            eprintln!("lute-net: {shown} exists already: choose another name");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("lute-net: cannot make {shown}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|name| is_name(name)) else {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "a project's name is made of letters, digits, dots, hyphens and underscores",
        ));
    };
    fs::create_dir(folder)?;
    for (file, text) in FILES {
        fs::write(folder.join(file), text.replace("NAME", name))?;
    }
    try_setup(folder, WithLuaurc::Yes)?;
    Ok(())
}

/// The name is put into Luau strings and HTML.
fn is_name(name: &str) -> bool {
    name.chars()
        .all(|character| character.is_alphanumeric() || ".-_".contains(character))
}

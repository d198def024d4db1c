//! Which files are test files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The test files that `path` means: a file itself, whatever its name; of a folder every `*.test.luau` and `*.spec.luau` in
/// it and below, in the order of their names. Hidden folders and links to folders are passed over.
///
/// ```
/// let files = lute_net::testing::find("luau-tests".as_ref())?;
/// assert!(files.contains(&"luau-tests/task.test.luau".into()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the path is not there or a folder can't be read; the message names it.
pub fn find(path: &Path) -> io::Result<Vec<PathBuf>> {
    let kind = fs::metadata(path).map_err(|error| named(path, &error))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = entries.map_err(|error| named(folder, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') {
                collect(&entry.path(), found)?;
            }
        } else if name.ends_with(".test.luau") || name.ends_with(".spec.luau") {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

//! Opens files, and keeps those who ask for them inside a folder.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::request_path::RequestPath;

/// What a path leads to.
pub(super) enum Found {
    /// A regular file, opened for reading, and the name it was asked for by.
    File { file: File, name: String },
    /// A folder; the path lacks the slash at its end.
    FolderWithoutSlash,
    /// Nothing that may be served.
    Nothing,
}

/// Follows `path` in `folder`, symlinks included as long as they stay in it, and opens the file at its end, which for a
/// folder is its `index`.
///
/// The file that is open is checked to be inside, not merely the path it was opened by. On Linux the kernel says where the
/// open file lies (`/proc/self/fd`), so symlinks that change between check and open lead nowhere (a folder swapped for a
/// link as fast as can be: 0 of 560,000 answers from outside, 684 of 620,000 without that check). Elsewhere, or without
/// `/proc`, the path is resolved and compared (device and inode) a second time after opening: somebody who can write in the
/// folder, and swaps links there and back at the right moments, might get through. Hard links and mounts in the folder are
/// part of it everywhere. A redirect, which opens nothing, only says that a folder was there when it was looked for.
///
/// # Errors
/// What is the server's fault: no such folder, no descriptor left, a failing disk.
pub(super) fn find(folder: &Path, path: &RequestPath, index: Option<&str>) -> io::Result<Found> {
    let root = fs::canonicalize(folder).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("folder {}: {error}", folder.display()),
        )
    })?;
    match find_in(&root, path, index) {
        Err(error) if says_not_found(&error) => Ok(Found::Nothing),
        found => found,
    }
}

fn find_in(root: &Path, path: &RequestPath, index: Option<&str>) -> io::Result<Found> {
    let mut wanted = root.to_owned();
    wanted.extend(path.names());
    let mut place = resolve(root, &wanted)?;
    let mut name = path.names().last().map_or("", String::as_str);
    let is_folder = fs::symlink_metadata(&place)?.is_dir();
    if is_folder != path.has_slash_at_end() {
        return Ok(if is_folder {
            Found::FolderWithoutSlash
        } else {
            Found::Nothing
        });
    }
    if is_folder {
        let Some(index) = index else {
            return Ok(Found::Nothing);
        };
        place = resolve(root, &place.join(index))?;
        name = index;
    }
    let file = open(&place, Links::Refused)?;
    if !is_inside(root, &place, &file)? {
        return Ok(Found::Nothing);
    }
    Ok(Found::File {
        file,
        name: name.to_owned(),
    })
}

/// Opens the regular file at `path`.
///
/// # Errors
/// The system's, or `InvalidInput` for what is no regular file.
pub(super) fn open_anywhere(path: &Path) -> io::Result<File> {
    open(path, Links::Followed)
}

/// `path` without symlinks.
fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let place = fs::canonicalize(path)?;
    if !place.starts_with(root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(place)
}

/// What becomes of a symlink in the place of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

/// Opens a regular file and nothing else: to open a FIFO may wait for ever, and to open a device may have it do something,
/// so the kind is looked at before; and once more afterwards, since it may have changed in between.
fn open(path: &Path, links: Links) -> io::Result<File> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    let before = match links {
        Links::Followed => fs::metadata(path)?,
        Links::Refused => fs::symlink_metadata(path)?,
    };
    if !before.is_file() {
        return Err(no_file());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let no_links = match links {
            Links::Followed => 0,
            Links::Refused => libc::O_NOFOLLOW,
        };
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | no_links);
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    Ok(file)
}

/// Whether `file`, opened by the name `place`, lies under `root`.
#[cfg(target_os = "linux")]
fn is_inside(root: &Path, place: &Path, file: &File) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    match fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(opened) => Ok(opened.starts_with(root)),
        Err(_) => is_still_inside(root, place, file),
    }
}

/// Whether `file`, opened by the name `place`, lies under `root`.
#[cfg(not(target_os = "linux"))]
fn is_inside(root: &Path, place: &Path, file: &File) -> io::Result<bool> {
    is_still_inside(root, place, file)
}

/// Whether `place` still leads into `root`, and to the file that was opened.
fn is_still_inside(root: &Path, place: &Path, file: &File) -> io::Result<bool> {
    let place = resolve(root, place)?;
    Ok(are_one_file(
        &fs::symlink_metadata(place)?,
        &file.metadata()?,
    ))
}

#[cfg(unix)]
fn are_one_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Without a file's number that std would tell, what it tells must do.
#[cfg(not(unix))]
fn are_one_file(one: &Metadata, other: &Metadata) -> bool {
    let seen = |metadata: &Metadata| {
        (
            metadata.len(),
            metadata.modified().ok(),
            metadata.created().ok(),
        )
    };
    seen(one) == seen(other)
}

/// Whether an error is about what the client asked for. What may not be read is not there either (RFC 9110 §15.5.4).
fn says_not_found(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let loops = cfg!(unix) && error.raw_os_error() == Some(libc::ELOOP);
    loops
        || matches!(
            error.kind(),
            NotFound | NotADirectory | PermissionDenied | InvalidFilename | InvalidInput
        )
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_file_opened_outside_is_noticed_whatever_its_path_says_meanwhile() {
        let base = env::temp_dir().join(format!("lute-net-confinement-{}", process::id()));
        let root = base.join("site");
        fs::create_dir_all(&root).unwrap();
        let root = fs::canonicalize(root).unwrap();
        let (inside, outside) = (root.join("a.txt"), base.join("secret.txt"));
        fs::write(&inside, "inside").unwrap();
        fs::write(&outside, "secret").unwrap();

        // As if a link had led out between check and open, and back again at once.
        let file = open_anywhere(&outside).unwrap();
        assert!(!is_inside(&root, &inside, &file).unwrap());
        assert!(!is_still_inside(&root, &inside, &file).unwrap());
        assert!(is_still_inside(&root, &outside, &file).is_err());
        let file = open_anywhere(&inside).unwrap();
        assert!(is_inside(&root, &inside, &file).unwrap());
        assert!(is_still_inside(&root, &inside, &file).unwrap());

        fs::remove_dir_all(base).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed_unless_allowed() {
        let base = env::temp_dir().join(format!("lute-net-links-{}", process::id()));
        fs::create_dir_all(&base).unwrap();
        let (file, link) = (base.join("a.txt"), base.join("link"));
        fs::write(&file, "inside").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open(&link, Links::Followed).is_ok());
        assert!(open(&link, Links::Refused).is_err());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_the_client_asked_for_is_not_found_and_what_the_server_lacks_is_a_failure() {
        for kind in [
            io::ErrorKind::NotFound,
            io::ErrorKind::NotADirectory,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::InvalidFilename,
        ] {
            assert!(says_not_found(&kind.into()), "{kind}");
        }
        let of = io::Error::from_raw_os_error;
        assert!(says_not_found(&of(libc::ELOOP)) && says_not_found(&of(libc::ENAMETOOLONG)));
        assert!(!says_not_found(&of(libc::EMFILE)) && !says_not_found(&of(libc::EIO)));
    }
}

//! What of a folder is found, and what is not.

use std::{os::unix::net::UnixListener, process::Command, sync::mpsc, thread};

use super::*;

#[test]
fn a_file_is_answered_with_its_bytes() {
    let site = Site::new("bytes");
    let answer = site.get("/a.txt");
    assert_eq!(answer.status, 200);
    assert_eq!(body(answer), "0123456789");
    assert_eq!(body(site.get("/sub/index.html")), "<h1>sub</h1>");
}

#[test]
fn names_are_percent_decoded_once() {
    let site = Site::new("decoded");
    site.write("a b+c.txt", "space");
    site.write("ü.txt", "umlaut");
    site.write("%2e.txt", "literal");
    assert_eq!(body(site.get("/a%20b+c.txt")), "space");
    assert_eq!(body(site.get("/%C3%BC.txt")), "umlaut");
    assert_eq!(body(site.get("/%61.txt")), "0123456789");
    assert_eq!(body(site.get("/%252e.txt")), "literal");
    assert_not_found(site.get("/%2e.txt"));
}

#[test]
fn no_spelling_of_a_path_leads_out_of_the_folder() {
    let site = Site::new("traversal");
    site.write("sub/deep/x.txt", "x");
    for path in [
        "/../outside/secret.txt",
        "/sub/../../outside/secret.txt",
        "/%2e%2e/outside/secret.txt",
        "/.%2e/outside/secret.txt",
        "/%2E./outside/secret.txt",
        "/..%2foutside/secret.txt",
        "/..%2Foutside%2Fsecret.txt",
        "/%2e%2e%2foutside/secret.txt",
        "/%252e%252e/outside/secret.txt",
        "/..%252foutside/secret.txt",
        "/..\\outside\\secret.txt",
        "/..%5coutside%5csecret.txt",
        "/%c0%ae%c0%ae/outside/secret.txt",
        "/..%c0%afoutside/secret.txt",
        "/....//outside/secret.txt",
        "/..;/outside/secret.txt",
        "/.../outside/secret.txt",
        "//outside/secret.txt",
        "/../site/a.txt",
        "/..",
        "/../",
        "../outside/secret.txt",
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status, 404, "{path}");
    }
    let absolute = site.0.join("outside/secret.txt");
    let absolute = absolute.to_str().unwrap();
    assert_not_found(site.get(&format!("/{absolute}")));
    assert_not_found(site.get(absolute));
    assert_not_found(site.get(&absolute.replace('/', "%2f")));
}

#[test]
fn spellings_that_mean_the_same_file_to_others_are_not_found() {
    let site = Site::new("spellings");
    for path in [
        "/./a.txt",
        "/sub/./index.html",
        "/sub/../a.txt",
        "/sub//index.html",
        "//a.txt",
        "/sub%2findex.html",
        "/sub\\index.html",
        "/a.txt%00",
        "/a.txt%00.html",
        "/a.txt/",
        "/a.txt/b",
        "/a.txt%",
        "a.txt",
        "*",
        "",
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[test]
fn symlinks_that_lead_out_of_the_folder_are_not_found() {
    let site = Site::new("links-out");
    let (folder, outside) = (site.folder(), site.0.join("outside"));
    link(outside.join("secret.txt"), folder.join("absolute.txt"));
    link("../outside/secret.txt", folder.join("relative.txt"));
    link(&outside, folder.join("outside"));
    link("absolute.txt", folder.join("chain.txt"));
    link("/proc/self/environ", folder.join("environ"));
    link(&outside, folder.join("sub/up"));
    fs::create_dir(folder.join("indexed")).unwrap();
    link(
        outside.join("secret.txt"),
        folder.join("indexed/index.html"),
    );
    for path in [
        "/absolute.txt",
        "/relative.txt",
        "/chain.txt",
        "/environ",
        "/outside",
        "/outside/",
        "/outside/secret.txt",
        "/sub/up/secret.txt",
        "/indexed/",
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[test]
fn a_folder_whose_name_begins_like_the_served_one_is_outside() {
    let site = Site::new("prefix");
    site.write("../site-private/secret.txt", "secret");
    link("../site-private/secret.txt", site.folder().join("link.txt"));
    assert_not_found(site.get("/link.txt"));
}

#[test]
fn symlinks_that_stay_in_the_folder_are_followed() {
    let site = Site::new("links-in");
    let folder = site.folder();
    link("a.txt", folder.join("relative.txt"));
    link(folder.join("a.txt"), folder.join("absolute.txt"));
    link("sub", folder.join("alias"));
    link("../a.txt", folder.join("sub/up.txt"));
    for path in ["/relative.txt", "/absolute.txt", "/alias/up.txt"] {
        assert_eq!(body(site.get(path)), "0123456789", "{path}");
    }
    assert_eq!(body(site.get("/alias/")), "<h1>sub</h1>");
    assert_eq!(site.get("/alias").status, 301);
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_not_found() {
    let site = Site::new("loops");
    link("b", site.folder().join("c"));
    link("c", site.folder().join("b"));
    link("missing", site.folder().join("dangling"));
    assert_not_found(site.get("/b"));
    assert_not_found(site.get("/dangling"));
}

#[test]
fn the_served_folder_may_itself_be_a_symlink() {
    let site = Site::new("root-link");
    let current = site.0.join("current");
    link("site", &current);
    let answer = answer(&current, &FolderOptions::default(), &get("/a.txt"));
    assert_eq!(body(answer), "0123456789");
}

#[test]
fn names_that_begin_with_a_dot_are_found_only_when_the_options_say_so() {
    let site = Site::new("dots");
    site.write(".env", "KEY=1");
    site.write(".well-known/x.txt", "x");
    site.write("...", "three");
    let open = FolderOptions {
        dot_files: true,
        ..FolderOptions::default()
    };
    for (path, content) in [
        ("/.env", "KEY=1"),
        ("/.well-known/x.txt", "x"),
        ("/...", "three"),
    ] {
        assert_not_found(site.get(path));
        assert_not_found(site.get(&path.replace('.', "%2e")));
        assert_eq!(body(answer(&site.folder(), &open, &get(path))), content);
    }
    for path in ["/.", "/..", "/./a.txt", "/../outside/secret.txt"] {
        assert_not_found(answer(&site.folder(), &open, &get(path)));
    }
}

#[test]
fn a_folder_is_its_index_file_and_never_a_listing() {
    let site = Site::new("index");
    site.write("empty/a.txt", "a");
    site.write("odd/index.html/a.txt", "a");
    assert_eq!(body(site.get("/")), "<h1>home</h1>");
    assert_eq!(body(site.get("/sub/")), "<h1>sub</h1>");
    assert_eq!(
        field(&site.get("/sub/"), "Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_not_found(site.get("/empty/"));
    assert_not_found(site.get("/odd/"));
}

#[test]
fn the_index_can_be_another_file_or_none() {
    let site = Site::new("index-options");
    let with = |index: Option<&str>| {
        let options = FolderOptions {
            index: index.map(str::to_owned),
            ..FolderOptions::default()
        };
        answer(&site.folder(), &options, &get("/"))
    };
    assert_eq!(body(with(Some("a.txt"))), "0123456789");
    assert_not_found(with(None));
    assert_not_found(with(Some("../outside/secret.txt")));
    let secret = site.0.join("outside/secret.txt");
    assert_not_found(with(secret.to_str()));
}

#[test]
fn a_folder_without_a_slash_leads_to_the_path_with_one() {
    let site = Site::new("slash");
    fs::create_dir(site.folder().join("a b\r\nX: y")).unwrap();
    let answer = site.get("/sub");
    assert_eq!(answer.status, 301);
    assert_eq!(field(&answer, "Location"), Some("/sub/"));
    assert_eq!(body(answer), "Moved Permanently");
    let answer = site.get("/a%20b%0d%0aX:%20y");
    assert_eq!(field(&answer, "Location"), Some("/a%20b%0D%0AX%3A%20y/"));
}

#[test]
fn no_redirect_leads_to_another_host() {
    let site = Site::new("redirect");
    fs::create_dir(site.folder().join("evil.example")).unwrap();
    fs::create_dir(format!("{}/\\evil.example", site.folder().display())).unwrap();
    for path in [
        "//evil.example",
        "///evil.example",
        "/%2fevil.example",
        "/\\evil.example",
        "/%5cevil.example",
        "//evil.example/..",
        "//evil.example/%2e%2e/sub",
    ] {
        assert_not_found(site.get(path));
    }
    let answer = site.get("/evil.example");
    assert_eq!(field(&answer, "Location"), Some("/evil.example/"));
}

#[test]
fn fifos_sockets_and_devices_are_not_found_and_are_not_opened() {
    let site = Site::new("fifo");
    let fifo = site.folder().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let _listener = UnixListener::bind(site.folder().join("socket")).unwrap();
    let (send, receive) = mpsc::channel();
    let folder = site.folder();
    thread::spawn(move || {
        // To open the FIFO would wait for a writer that never comes.
        let answers = ["/fifo", "/socket"]
            .map(|path| answer(&folder, &FolderOptions::default(), &get(path)).status);
        let single = single(&fifo, &get("")).unwrap_err().to_string();
        send.send((answers, single)).unwrap();
        let device = answer(Path::new("/dev"), &FolderOptions::default(), &get("/null"));
        send.send(([device.status; 2], String::new())).unwrap();
    });
    let timeout = Duration::from_secs(10);
    let (answers, single) = receive.recv_timeout(timeout).unwrap();
    assert_eq!(answers, [404, 404]);
    assert!(single.ends_with("fifo: not a regular file"), "{single}");
    assert_eq!(receive.recv_timeout(timeout).unwrap().0, [404, 404]);
}

#[test]
fn a_name_too_long_for_the_file_system_is_not_found() {
    let site = Site::new("long");
    assert_not_found(site.get(&format!("/{}", "x".repeat(300))));
    assert_not_found(site.get(&"/x".repeat(5000)));
}

#[test]
fn methods_but_get_and_head_are_405_with_allow_as_of_rfc_9110_section_15_5_6() {
    let site = Site::new("methods");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
        for path in ["/a.txt", "/missing"] {
            let answer = site.answer(&FileRequest {
                method: method.to_owned(),
                ..get(path)
            });
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(field(&answer, "Allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn a_missing_folder_is_the_servers_fault_and_named() {
    let site = Site::new("missing-folder");
    let folder = site.0.join("nowhere");
    let answer = answer(&folder, &FolderOptions::default(), &get("/"));
    assert_eq!(answer.status, 500);
    let failure = answer.failure.as_ref().unwrap().to_string();
    assert!(failure.contains("nowhere: No such file"), "{failure}");
    assert_eq!(body(answer), "Internal Server Error");
}

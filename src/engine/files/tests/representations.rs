//! How a file that is found is sent.

use super::*;

#[test]
fn a_whole_file_has_type_validators_and_says_that_it_takes_ranges() {
    let site = Site::new("fields");
    let answer = site.get("/a.txt");
    assert_eq!(
        answer.fields,
        [
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("ETag", "\"a-ae1b981da166f00\"".to_owned()),
            ("Accept-Ranges", "bytes".to_owned()),
            ("Last-Modified", DATE.to_owned()),
        ]
    );
}

#[test]
fn the_type_comes_from_the_name_asked_for() {
    let site = Site::new("types");
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.luau", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.woff2", "font/woff2"),
        ("a.pdf", "application/pdf"),
        ("a.mp4", "video/mp4"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.tar.gz", "application/gzip"),
        ("a.html.unknown", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("html", "application/octet-stream"),
    ] {
        site.write(name, "x");
        let answer = site.get(&format!("/{name}"));
        assert_eq!(field(&answer, "Content-Type"), Some(expected), "{name}");
    }
    link("a.png", site.folder().join("link.css"));
    let answer = site.get("/link.css");
    assert_eq!(
        field(&answer, "Content-Type"),
        Some("text/css; charset=utf-8")
    );
}

#[test]
fn every_text_of_the_server_says_its_type_and_forbids_guessing() {
    let site = Site::new("texts");
    for path in ["/missing", "/sub"] {
        let answer = site.get(path);
        assert_eq!(
            field(&answer, "Content-Type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(field(&answer, "X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn max_age_goes_with_200_206_and_304_and_not_with_errors() {
    let site = Site::new("max-age");
    let options = FolderOptions {
        max_age: Some(3600),
        ..FolderOptions::default()
    };
    let with = |path: &str, range: Option<&str>, none_match: Option<&str>| {
        let request = FileRequest {
            range: range.map(str::to_owned),
            if_none_match: none_match.map(str::to_owned),
            ..get(path)
        };
        let answer = answer(&site.folder(), &options, &request);
        let value = field(&answer, "Cache-Control").map(str::to_owned);
        (answer.status, value)
    };
    let expected = Some("max-age=3600".to_owned());
    assert_eq!(with("/a.txt", None, None), (200, expected.clone()));
    assert_eq!(
        with("/a.txt", Some("bytes=0-1"), None),
        (206, expected.clone())
    );
    assert_eq!(with("/a.txt", None, Some("*")), (304, expected));
    assert_eq!(with("/a.txt", Some("bytes=99-"), None), (416, None));
    assert_eq!(with("/missing", None, None), (404, None));
}

#[test]
fn head_has_the_fields_and_the_length_of_get() {
    let site = Site::new("head");
    let head = |path| FileRequest {
        method: "HEAD".to_owned(),
        ..get(path)
    };
    for path in ["/a.txt", "/", "/sub", "/missing"] {
        let (answer, of_get) = (site.answer(&head(path)), site.get(path));
        assert_eq!(answer.status, of_get.status);
        assert_eq!(answer.fields, of_get.fields);
        assert_eq!(answer.body.length(), of_get.body.length());
    }
    let ranged = FileRequest {
        range: Some("bytes=0-1".to_owned()),
        ..head("/a.txt")
    };
    assert_eq!(site.answer(&ranged).status, 200);
}

#[test]
fn a_client_that_has_the_file_gets_304_with_the_fields_of_rfc_9110_section_15_4_5() {
    let site = Site::new("304");
    let tag = field(&site.get("/a.txt"), "ETag").unwrap().to_owned();
    for request in [
        FileRequest {
            if_none_match: Some(tag.clone()),
            ..get("/a.txt")
        },
        FileRequest {
            if_modified_since: Some(DATE.to_owned()),
            ..get("/a.txt")
        },
        FileRequest {
            method: "HEAD".to_owned(),
            if_none_match: Some("*".to_owned()),
            ..get("/a.txt")
        },
        FileRequest {
            if_none_match: Some(tag.clone()),
            range: Some("bytes=0-1".to_owned()),
            ..get("/a.txt")
        },
    ] {
        let answer = site.answer(&request);
        assert_eq!(answer.status, 304, "{request:?}");
        assert_eq!(answer.fields, [("ETag", tag.clone())]);
        assert!(matches!(answer.body, FileAnswerBody::Empty));
    }
}

#[test]
fn a_file_that_changed_is_sent_anew() {
    let site = Site::new("changed");
    let tag = field(&site.get("/a.txt"), "ETag").unwrap().to_owned();
    fs::write(site.folder().join("a.txt"), "9876543210").unwrap();
    let answer = site.answer(&FileRequest {
        if_none_match: Some(tag.clone()),
        if_modified_since: Some(DATE.to_owned()),
        ..get("/a.txt")
    });
    assert_eq!(answer.status, 200);
    let new = field(&answer, "ETag").unwrap();
    assert!(new.starts_with("W/\"a-") && new != tag, "{new}");
}

#[test]
fn a_client_that_wants_another_state_gets_412() {
    let site = Site::new("412");
    let answer = site.answer(&FileRequest {
        if_match: Some("\"a\"".to_owned()),
        ..get("/a.txt")
    });
    assert_eq!(answer.status, 412);
    assert_eq!(body(answer), "Precondition Failed");
}

#[test]
fn a_range_is_206_with_its_place_in_the_whole_as_of_rfc_9110_section_15_3_7() {
    let site = Site::new("206");
    for (range, place, content) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=0-99", "bytes 0-9/10", "0123456789"),
    ] {
        let answer = site.answer(&FileRequest {
            range: Some(range.to_owned()),
            ..get("/a.txt")
        });
        assert_eq!(answer.status, 206);
        assert_eq!(field(&answer, "Content-Range"), Some(place));
        assert_eq!(field(&answer, "Last-Modified"), Some(DATE));
        assert!(field(&answer, "ETag").is_some());
        assert_eq!(body(answer), content);
    }
}

#[test]
fn a_range_that_is_not_there_is_416_with_the_length_as_of_rfc_9110_section_15_5_17() {
    let site = Site::new("416");
    site.write("empty.txt", "");
    for (path, range, length) in [
        ("/a.txt", "bytes=10-", "bytes */10"),
        ("/a.txt", "bytes=-0", "bytes */10"),
        ("/empty.txt", "bytes=0-", "bytes */0"),
    ] {
        let answer = site.answer(&FileRequest {
            range: Some(range.to_owned()),
            ..get(path)
        });
        assert_eq!(answer.status, 416);
        assert_eq!(field(&answer, "Content-Range"), Some(length));
        assert_eq!(body(answer), "Range Not Satisfiable");
    }
}

#[test]
fn several_ranges_other_units_and_bad_ones_get_the_whole_file() {
    let site = Site::new("ranges");
    for range in ["bytes=0-1,3-4", "items=0-1", "bytes=4-2", "bytes"] {
        let answer = site.answer(&FileRequest {
            range: Some(range.to_owned()),
            ..get("/a.txt")
        });
        assert_eq!(answer.status, 200, "{range}");
        assert_eq!(field(&answer, "Content-Range"), None);
        assert_eq!(body(answer), "0123456789");
    }
}

#[test]
fn a_range_of_an_older_state_gets_the_whole_file() {
    let site = Site::new("if-range");
    let tag = field(&site.get("/a.txt"), "ETag").unwrap().to_owned();
    for (value, status) in [(&*tag, 206), (DATE, 206), ("\"old\"", 200)] {
        for range in ["bytes=0-1", "bytes=99-"] {
            let answer = site.answer(&FileRequest {
                range: Some(range.to_owned()),
                if_range: Some(value.to_owned()),
                ..get("/a.txt")
            });
            let unsatisfiable = status == 206 && range == "bytes=99-";
            let expected = if unsatisfiable { 416 } else { status };
            assert_eq!(answer.status, expected, "{value} {range}");
        }
    }
}

#[test]
fn a_script_may_send_any_file_under_any_method() {
    let site = Site::new("single");
    let secret = site.0.join("outside/secret.txt");
    link(&secret, site.folder().join(".link.txt"));
    let linked = site.folder().join(".link.txt");
    for method in ["GET", "HEAD", "POST"] {
        for path in [&secret, &linked] {
            let request = FileRequest {
                method: method.to_owned(),
                ..get("/whatever/../it//is")
            };
            let answer = single(path, &request).unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(
                field(&answer, "Content-Type"),
                Some("text/plain; charset=utf-8")
            );
            assert_eq!(body(answer), "secret");
        }
    }
}

#[test]
fn a_script_s_file_heeds_preconditions_of_get_and_head_and_ranges_of_get() {
    let site = Site::new("single-conditions");
    let path = site.folder().join("a.txt");
    let status = |method: &str| {
        let conditional = FileRequest {
            method: method.to_owned(),
            if_none_match: Some("*".to_owned()),
            ..FileRequest::default()
        };
        let ranged = FileRequest {
            method: method.to_owned(),
            range: Some("bytes=1-2".to_owned()),
            ..FileRequest::default()
        };
        [conditional, ranged].map(|request| single(&path, &request).unwrap().status)
    };
    assert_eq!(status("GET"), [304, 206]);
    assert_eq!(status("HEAD"), [304, 200]);
    assert_eq!(status("POST"), [200, 200]);
}

#[test]
fn a_script_s_file_that_is_not_there_is_an_error_with_its_path() {
    let site = Site::new("single-errors");
    let error = single(&site.folder().join("missing.txt"), &get("/")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        error.to_string().contains("site/missing.txt: No such file"),
        "{error}"
    );
    let error = single(&site.folder(), &get("/")).unwrap_err();
    assert!(
        error.to_string().ends_with("site: not a regular file"),
        "{error}"
    );
}

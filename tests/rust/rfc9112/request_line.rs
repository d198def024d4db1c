//! §3: the request line.

use super::{refused, served, served_last, server};
use crate::support::Server;

fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

#[test]
fn section_3_one_space_stands_between_the_parts() {
    let server = server();
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET / x HTTP/1.1",
        "GET HTTP/1.1",
        "GET /",
        "GET",
        "GET\x0b/ HTTP/1.1",
    ] {
        refused(&server, with_line(line), 400);
    }
}

#[test]
fn section_3_a_target_that_is_too_long_is_414() {
    let server = Server::with_options("maxheadersize = 1000,", "return ''");
    let request = with_line(&format!("GET /{} HTTP/1.1", "a".repeat(1000)));
    refused(&server, request, 414);
}

#[test]
fn section_3_lines_of_8000_octets_are_served() {
    let server = server();
    let target = format!("/{}", "a".repeat(7980));
    let answer = served(&server, with_line(&format!("GET {target} HTTP/1.1")));
    assert_eq!(answer, format!("GET {target} a []"));
}

#[test]
fn section_3_1_a_method_is_a_token_and_its_case_counts() {
    let server = server();
    for method in ["get", "Get", "PURGE", "M-SEARCH", "!#$%&'*+-.^_`|~09"] {
        let answer = served(&server, with_line(&format!("{method} / HTTP/1.1")));
        assert_eq!(answer, format!("{method} / a []"));
    }
    for method in ["G@T", "GE(T", "G\u{e9}T", "GET:", "\"GET\"", "G\0T", "GET/"] {
        refused(&server, with_line(&format!("{method} / HTTP/1.1")), 400);
    }
}

#[test]
fn section_3_2_a_target_is_never_repaired() {
    let server = server();
    for target in [
        "/a b",
        "/#fragment",
        "/a\x7f",
        "/\u{e9}",
        "a",
        "?a",
        "#",
        "\\a",
        "/a\0",
    ] {
        refused(&server, with_line(&format!("GET {target} HTTP/1.1")), 400);
    }
}

#[test]
fn section_3_2_http_1_1_without_host_is_400() {
    let server = server();
    refused(&server, "GET / HTTP/1.1\r\n\r\n", 400);
    refused(&server, "GET http://a/ HTTP/1.1\r\n\r\n", 400);
    refused(&server, "OPTIONS * HTTP/1.1\r\nX-Host: a\r\n\r\n", 400);
}

#[test]
fn section_3_2_more_than_one_host_is_400() {
    let server = server();
    for hosts in [
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhOST:\r\n",
        "Host:\r\nX: y\r\nHost: a\r\n",
    ] {
        refused(&server, format!("GET / HTTP/1.1\r\n{hosts}\r\n"), 400);
        refused(&server, format!("GET / HTTP/1.0\r\n{hosts}\r\n"), 400);
        refused(
            &server,
            format!("GET http://a/ HTTP/1.1\r\n{hosts}\r\n"),
            400,
        );
    }
}

#[test]
fn section_3_2_a_host_that_is_none_is_400() {
    let server = server();
    for host in [
        "a b",
        "a, b",
        "a/b",
        "user@a",
        "a:80:80",
        "a:port",
        "[::1",
        "::1",
        "a?b",
        "a#b",
        "http://a",
        ":80",
        "\u{e9}",
        "a\\b",
        "<a>",
        "a%",
        "[127.0.0.1]",
    ] {
        refused(
            &server,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            400,
        );
        refused(
            &server,
            format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"),
            400,
        );
    }
}

#[test]
fn section_3_2_a_host_may_be_empty_and_have_a_port() {
    let server = server();
    for host in [
        "",
        "a:80",
        "a:",
        "[::1]:80",
        "127.0.0.1",
        "a_b-c.example",
        "%41",
    ] {
        let answer = served(&server, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer, format!("GET / {host} []"));
    }
}

#[test]
fn section_3_2_http_1_0_needs_no_host() {
    assert_eq!(
        served_last(&server(), "GET / HTTP/1.0\r\n\r\n"),
        "GET / - []"
    );
}

#[test]
fn section_3_2_1_the_origin_form_is_a_path_and_a_query() {
    let server =
        Server::with_handler("return `{request.path} {request.url} {request.query.q or '-'}`");
    for (target, answer) in [
        ("/", "/ / -"),
        ("/a%2Fb/..//c?q=d?e", "/a%2Fb/..//c /a%2Fb/..//c?q=d?e d?e"),
        ("//a/b", "//a/b //a/b -"),
        ("/?q=%41%", "/ /?q=%41% A%"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = server.exchange(request.as_bytes());
        assert!(
            got.ends_with(&format!("\r\n\r\n{answer}")),
            "{target}: {got}"
        );
    }
}

#[test]
fn section_3_2_2_the_absolute_form_is_accepted() {
    let server = Server::with_handler("return `{request.path} {request.query.q or '-'}`");
    for (target, answer) in [
        ("http://a/b?q=c", "/b c"),
        ("http://a", "/ -"),
        ("http://a?q=c", "/ c"),
        ("HTTP://a:80/b", "/b -"),
        ("https://[::1]/b", "/b -"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = server.exchange(request.as_bytes());
        assert!(
            got.ends_with(&format!("\r\n\r\n{answer}")),
            "{target}: {got}"
        );
    }
    for target in [
        "ftp://a/",
        "http://",
        "http:///b",
        "http://u@a/",
        "http:a",
        "http://a b/",
        "ws://a/",
    ] {
        refused(
            &self::server(),
            with_line(&format!("GET {target} HTTP/1.1")),
            400,
        );
    }
}

#[test]
fn section_3_2_2_the_host_of_the_absolute_form_stands_in_for_the_host_field() {
    let server = server();
    assert_eq!(
        served(&server, "GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET http://b:81/ b:81 []"
    );
}

#[test]
fn section_3_2_3_connect_is_not_supported() {
    let server = server();
    refused(&server, with_line("CONNECT a:443 HTTP/1.1"), 501);
    refused(&server, with_line("CONNECT / HTTP/1.1"), 400);
    refused(&server, with_line("GET a:443 HTTP/1.1"), 400);
}

#[test]
fn section_3_2_4_the_asterisk_is_for_options_alone() {
    let server = server();
    assert_eq!(
        served(&server, with_line("OPTIONS * HTTP/1.1")),
        "OPTIONS * a []"
    );
    refused(&server, with_line("GET * HTTP/1.1"), 400);
    refused(&server, with_line("OPTIONS *?a HTTP/1.1"), 400);
    refused(&server, with_line("options * HTTP/1.1"), 400);
}

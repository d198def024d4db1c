//! The rules of RFC 9110 (HTTP semantics) for servers, as [`rfc9112`](super::rfc9112) has those of HTTP/1.1. A test is
//! named after its section and rule.

mod files;

use std::{
    io::Write,
    net::Shutdown,
    time::{Duration, SystemTime},
};

use crate::{
    rfc9112::{refused, served, server},
    support::{PATIENCE, Server, read_response, read_to_end},
};

/// An HTTP-date, and 784,111,777 seconds since 1970 (RFC 9110 §5.6.7).
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Sends `lines` (method and path, then header lines) on a connection of its own: head and body of the answer.
fn ask(server: &Server, lines: &str) -> (String, String) {
    let (line, fields) = lines.split_once('\n').unwrap_or((lines, ""));
    let fields: String = fields.lines().map(|field| format!("{field}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    let answer = server.exchange(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

/// The value of a field in a head.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[test]
fn section_5_1_field_names_have_no_case() {
    let server = server();
    let request = "POST / HTTP/1.1\r\nhOsT: a\r\ncONTENT-lENGTH: 2\r\n\r\nok";
    assert_eq!(served(&server, request), "POST / a [ok]");
}

#[test]
fn section_5_3_repeated_fields_are_one_list_in_their_order() {
    let server =
        Server::with_handler("return `{request.headers['x-list']}|{request.headers.cookie}`");
    let (_, body) = ask(
        &server,
        "GET /\nX-List: c, a\nCookie: b=1\nx-list:\nX-LIST: b\ncookie: a=2",
    );
    assert_eq!(body, "c, a, , b|b=1; a=2");
}

#[test]
fn section_5_4_fields_that_are_too_large_or_too_many_are_431() {
    let server = Server::with_options("maxheadersize = 4000,", "return ''");
    for fields in [
        format!("A: {}\r\n", "b".repeat(4000)),
        format!("{}: b\r\n", "a".repeat(4000)),
        "A: b\r\n".repeat(129),
        "A: b\r\n".repeat(1000),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        refused(&server, request, 431);
    }
}

#[test]
fn section_5_5_control_bytes_in_a_value_are_refused_and_other_bytes_kept() {
    let server = Server::with_handler("return request.headers['x-a']");
    for byte in (0..=31_u8)
        .chain([127])
        .filter(|byte| !b"\t\n\r".contains(byte))
    {
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b".to_vec();
        request.push(byte);
        request.extend_from_slice(b"c\r\n\r\n");
        refused(&server, request, 400);
    }
    let mut stream = server.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\xe9\tc\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with(b"\r\n\r\nb\xe9\tc"));
}

#[test]
fn section_5_5_no_cr_lf_or_nul_is_sent_in_a_field() {
    let server = Server::with_handler(
        "return { headers = { [request.query.name] = request.query.value }, body = 'sent' }",
    );
    for query in [
        "name=A&value=b%0d%0aSet-Cookie:%20c",
        "name=A&value=b%0aC:d",
        "name=A&value=b%0d",
        "name=A&value=%00",
        "name=A:%20b%0d%0aC&value=d",
        "name=A%20B&value=c",
        "name=&value=c",
    ] {
        let (head, _) = ask(&server, &format!("GET /?{query}"));
        assert!(head.starts_with("HTTP/1.1 500 "), "{query}: {head}");
        assert!(
            !head.contains("Cookie") && field(&head, "C").is_none(),
            "{query}: {head}"
        );
    }
    let (head, _) = ask(&server, "GET /?name=A&value=b%e9%09c");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn section_5_6_1_empty_elements_of_a_list_are_ignored() {
    let server = server();
    for value in [", close", "close,", ",,\t,close , ,", "x,,close"] {
        let mut stream = server.connect();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert!(read_to_end(&mut stream).ends_with("GET / a []"), "{value}");
    }
}

#[test]
fn section_6_6_1_answers_are_dated_in_gmt() {
    let server = Server::with_handler("return { status = tonumber(string.sub(request.path, 2)) }");
    for line in ["GET /200", "GET /301", "GET /404", "GET /500", "BAD / LINE"] {
        let (head, _) = ask(&server, line);
        let date = field(&head, "Date").unwrap_or_else(|| panic!("{line}: {head}"));
        assert_eq!(date.len(), MODIFIED.len(), "{line}: {date}");
        // The server's clock ticks once a second or so.
        let age = SystemTime::now() + Duration::from_secs(3);
        let age = age
            .duration_since(httpdate::parse_http_date(date).unwrap())
            .unwrap();
        assert!(age < PATIENCE, "{line}: {date}");
    }
    let own = Server::with_handler(
        "return { headers = { Date = 'Sun, 06 Nov 1994 08:49:37 GMT' }, body = '' }",
    );
    let (head, _) = ask(&own, "GET /");
    assert_eq!(head.matches("Date: ").count(), 1, "{head}");
}

#[test]
fn section_7_8_an_upgrade_that_is_not_offered_is_ignored() {
    let server = server();
    for fields in [
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\n",
    ] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let mut stream = server.connect();
            let request = format!("GET / {version}\r\nHost: a\r\n{fields}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let (head, body) = read_response(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body, "GET / a []");
        }
    }
}

#[test]
fn section_7_8_an_answer_with_upgrade_names_it_in_connection() {
    let server = Server::with_handler("return { status = 426, headers = { Upgrade = 'TLS/1.0' } }");
    let mut stream = server.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let (head, _) = read_response(&mut stream);
    assert_eq!(field(&head, "Connection"), Some("upgrade"));
    let (head, _) = ask(&server, "GET /");
    assert_eq!(field(&head, "Connection"), Some("upgrade, close"));
}

#[test]
fn section_8_6_a_content_length_is_the_bodys_or_none_is_sent() {
    let server = Server::with_handler(
        "return { status = tonumber(string.match(request.path, '%d+')), body = 'four', headers = { ['Content-Length'] = request.query.n } }",
    );
    for (line, status, length) in [
        ("GET /200", "200", Some("4")),
        ("GET /200?n=4", "200", Some("4")),
        ("GET /200?n=04", "200", Some("4")),
        ("GET /200?n=5", "500", None),
        ("GET /200?n=%2b4", "500", None),
        ("GET /200?n=-4", "500", None),
        ("GET /200?n=4,4", "500", None),
        ("GET /200?n=0x4", "500", None),
        ("GET /200?n=", "500", None),
        ("GET /204", "204", None),
        ("GET /204?n=4", "204", None),
        ("GET /205", "205", Some("0")),
        ("HEAD /200", "200", Some("4")),
    ] {
        let (head, _) = ask(&server, line);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {head}"
        );
        if status != "500" {
            assert_eq!(field(&head, "Content-Length"), length, "{line}: {head}");
        }
    }
}

#[test]
fn section_9_1_an_unknown_method_is_the_handlers_to_judge() {
    assert_eq!(
        served(&server(), "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n"),
        "BREW /pot a []"
    );
}

#[test]
fn section_9_3_2_head_has_the_fields_of_get_and_no_content() {
    let server = Server::with_handler("return { body = 'content', headers = { ['X-A'] = 'b' } }");
    let without_date = |head: String| {
        let lines = head.lines().filter(|line| !line.starts_with("Date: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (get, body) = ask(&server, "GET /");
    assert_eq!(body, "content");
    let (head, body) = ask(&server, "HEAD /");
    assert_eq!(body, "");
    assert_eq!(without_date(head), without_date(get));
}

#[test]
fn section_9_3_2_a_refused_head_gets_no_content_either() {
    let server = Server::with_options(
        "maxbodysize = 10, timeout = { header = 0.3, body = 0.3 },",
        "error('fails')",
    );
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("\r\nHEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
            413,
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            400,
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nPO",
            408,
        ),
        ("HEAD / HTTP/1.1\r\nHost", 408),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            500,
        ),
    ] {
        let answer = server.exchange(request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{request:?}: {answer}");
    }
    // The bytes of a body are no method.
    let answer = server
        .exchange(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nHEAD /\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && !answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn section_10_1_1_an_expectation_that_is_not_known_is_417() {
    let server = server();
    for value in ["x", "100-continue, x", "x=100-continue", "100-continue;q"] {
        refused(
            &server,
            format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 2\r\n\r\n"),
            417,
        );
    }
}

#[test]
fn section_10_1_1_http_1_0_has_no_expectations_and_gets_no_1xx() {
    let server = server();
    let request = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(b"ok").unwrap();
    let (head, body) = read_response(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "POST / - [ok]");
}

#[test]
fn section_10_1_1_a_100_never_overtakes_the_answer_to_an_earlier_request() {
    let server = Server::with_handler(
        "if request.path == '/late' then task.wait(0.05) end return request.path .. request.body",
    );
    let mut stream = server.connect();
    stream
        .write_all(
            b"GET /late HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "/late");
    assert_eq!(
        read_response(&mut stream).0,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"2\r\nok\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream).1, "/bok");
}

#[test]
fn section_15_1_a_status_has_three_digits_from_200_on() {
    let server = Server::with_handler("return { status = tonumber(request.query.s) }");
    for status in ["200", "299", "418", "599", "600", "999"] {
        let (head, _) = ask(&server, &format!("GET /?s={status}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    for status in [
        "99", "100", "101", "199", "1000", "0", "-200", "200.5", "nan", "inf", "1e300",
    ] {
        let (head, _) = ask(&server, &format!("GET /?s={status}"));
        assert!(head.starts_with("HTTP/1.1 500 "), "{status}: {head}");
    }
}

#[test]
fn section_15_5_6_a_405_says_what_is_allowed() {
    let server = Server::start(
        r#"
local server = require("@lute/net/server")
local function ok() return "" end
print(server.serve({ port = 0, handler = server.routes({ ["GET /a"] = ok, ["PUT /a"] = ok, ["POST /b"] = ok }) }).port)
"#,
    );
    for (line, allow) in [("DELETE /a", "GET, HEAD, PUT"), ("GET /b", "POST")] {
        let (head, _) = ask(&server, line);
        assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
        assert_eq!(field(&head, "Allow"), Some(allow));
    }
}

#[test]
fn section_5_2_a_request_is_handed_on_only_with_its_whole_head() {
    let mut server = Server::with_handler("print(request.headers.host) return ''");
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: early\r\nContent-Length: 0\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), "");
    server.exchange(b"GET / HTTP/1.1\r\nHost: whole\r\nConnection: close\r\n\r\n");
    assert_eq!(server.next_line(), "whole");
}

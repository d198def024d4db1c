//! Redirects (RFC 9110 §15.4).

use lute_net::engine::client::{ClientRequest, Redirects, RequestBody};

use super::{expectation::streamed, peer::*};

fn redirect(status: u16, location: &str) -> Act {
    send(format!(
        "HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nover"
    ))
}

fn request_line(request: &str) -> &str {
    request.lines().next().unwrap()
}

/// The second request's method and body, after the first, with a body, was redirected so.
fn redirected(method: &str, status: u16) -> (String, String) {
    let first = if method == "HEAD" {
        send(format!(
            "HTTP/1.1 {status} Go\r\nLocation: /next\r\nContent-Length: 4\r\n\r\n"
        ))
    } else {
        redirect(status, "/next")
    };
    let peer = Peer::new(vec![first, hello()]);
    let caller = Caller::new();
    let body = if method == "HEAD" || method == "GET" {
        ""
    } else {
        "body"
    };
    let body = RequestBody::bytes(body.as_bytes().to_vec());
    caller
        .send(caller.request(method, &peer.url()), body)
        .unwrap();
    let requests = peer.requests();
    let (head, body) = requests[1].split_once("\r\n\r\n").unwrap();
    // The rest of the redirect was read, so its connection was good for the next request.
    assert_eq!(peer.connections(), 1);
    (head.split(' ').next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_status_says_which_method_and_body_come_next_as_of_rfc_9110_section_15_4() {
    for (method, status, next) in [
        ("GET", 301, ("GET", "")),
        ("POST", 301, ("GET", "")),
        ("POST", 302, ("GET", "")),
        ("PUT", 302, ("PUT", "body")),
        ("POST", 303, ("GET", "")),
        ("PUT", 303, ("GET", "")),
        ("HEAD", 303, ("HEAD", "")),
        ("POST", 307, ("POST", "body")),
        ("PATCH", 308, ("PATCH", "body")),
    ] {
        let (now, body) = redirected(method, status);
        assert_eq!((now.as_str(), body.as_str()), next, "{method} {status}");
    }
}

#[test]
fn a_location_may_be_relative_and_the_last_url_is_the_responses_as_of_rfc_9110_section_10_2_2() {
    for (location, target) in [
        ("next?b=2", "/a/next?b=2"),
        ("/top", "/top"),
        ("?only=query", "/a/b?only=query"),
        ("../up", "/up"),
    ] {
        let peer = Peer::new(vec![redirect(302, location), hello()]);
        let answer = Caller::new()
            .get(&format!("{}a/b?c=d", peer.url()))
            .unwrap();
        let requests = peer.requests();
        assert_eq!(request_line(&requests[1]), format!("GET {target} HTTP/1.1"));
        assert_eq!(
            answer.url,
            format!("http://127.0.0.1:{}{target}", peer.port)
        );
    }
}

fn with_credentials(caller: &Caller, url: &str) -> ClientRequest {
    let mut request = caller.request("GET", url);
    for name in ["Authorization", "Cookie", "Proxy-Authorization", "X-Own"] {
        request.fields.push(name.as_bytes(), b"value");
    }
    request.fields.push(b"Host", b"own.example");
    request
}

#[test]
fn credentials_go_to_the_same_origin_and_to_no_other() {
    let other = Peer::new(vec![hello()]);
    let peer = Peer::new(vec![redirect(302, "/same"), redirect(302, &other.url())]);
    let caller = Caller::new();
    let request = with_credentials(&caller, &peer.url());
    caller.send(request, RequestBody::Empty).unwrap();
    let [_, same] = &peer.requests()[..] else {
        panic!("{:?}", peer.requests());
    };
    let elsewhere = &other.requests()[0];
    for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
        assert!(same.contains(&format!("\r\n{name}: value\r\n")), "{same}");
        assert!(!elsewhere.contains(name), "{elsewhere}");
    }
    assert!(same.contains("\r\nHost: own.example\r\n"), "{same}");
    assert!(elsewhere.contains(&format!("\r\nHost: 127.0.0.1:{}\r\n", other.port)));
    assert!(elsewhere.contains("\r\nX-Own: value\r\n"), "{elsewhere}");
}

#[test]
fn a_body_that_is_left_behind_takes_its_description_with_it() {
    let peer = Peer::new(vec![redirect(303, "/next"), hello()]);
    let caller = Caller::new();
    let mut request = caller.request("POST", &peer.url());
    request.fields.push(b"Content-Type", b"text/x");
    request.fields.push(b"X-Own", b"y");
    caller
        .send(request, RequestBody::bytes(b"body".to_vec()))
        .unwrap();
    let next = &peer.requests()[1];
    assert!(!next.contains("Content-"), "{next}");
    assert!(next.contains("X-Own: y"), "{next}");
}

#[test]
fn a_streamed_body_is_sent_on_only_if_nothing_of_it_was_asked_for() {
    // The first server redirects instead of asking for the body.
    let peer = Peer::new(vec![redirect(307, "/next"), hello()]);
    let caller = Caller::new();
    let answer = caller.send(caller.request("POST", &peer.url()), streamed());
    // The second has asked for nothing either.
    assert_eq!(answer.unwrap().body, b"hello");
    let asked = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 307 Go\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::new(vec![send(asked), hello()]);
    let problem = caller
        .send(caller.request("POST", &peer.url()), streamed())
        .unwrap_err();
    assert!(
        problem.ends_with("but the streamed body cannot be sent again"),
        "{problem}"
    );
}

#[test]
fn there_is_an_end_to_redirects() {
    let peer = Peer::new(vec![redirect(302, "/again")]);
    let mut caller = Caller::new();
    let origin = format!("127.0.0.1:{}", peer.port);
    assert_eq!(
        caller.get(&peer.url()).unwrap_err(),
        format!("{origin} redirects once more after 20 redirects")
    );
    assert_eq!(peer.requests().len(), 21);
    caller.options.redirects = Redirects::Follow(1);
    assert!(
        caller
            .get(&peer.url())
            .unwrap_err()
            .ends_with("after 1 redirects")
    );
}

#[test]
fn redirects_can_be_the_answer_or_an_error() {
    let peer = Peer::new(vec![redirect(302, "/next")]);
    let mut caller = Caller::new();
    caller.options.redirects = Redirects::Manual;
    let answer = caller.get(&peer.url()).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (302, &b"over"[..]));
    caller.options.redirects = Redirects::Refuse;
    let origin = format!("127.0.0.1:{}", peer.port);
    assert_eq!(
        caller.get(&peer.url()).unwrap_err(),
        format!("{origin} redirects to http://{origin}/next")
    );
}

#[test]
fn a_location_that_cannot_be_followed_is_named() {
    for (location, problem) in [
        ("ftp://a.example/", "only http and https are followed"),
        ("file:///etc/passwd", "only http and https are followed"),
        ("http://[", "that is no url"),
    ] {
        let peer = Peer::new(vec![redirect(302, location)]);
        let error = Caller::new().get(&peer.url()).unwrap_err();
        assert!(
            error.ends_with(&format!("redirects to {location}, but {problem}")),
            "{error}"
        );
    }
}

#[test]
fn an_error_about_a_redirect_shows_no_credentials() {
    let refused = |location: &str, own: &str| {
        let peer = Peer::new(vec![redirect(307, location)]);
        let mut caller = Caller::new();
        caller.options.redirects = Redirects::Refuse;
        let url = peer.url().replace("//", &format!("//{own}"));
        caller.get(&url).unwrap_err()
    };
    for (location, own, shown) in [
        ("http://me:secret@a.example/x", "", "to http://a.example/x"),
        ("/next", "me:secret@", "/next"),
        (
            "ftp://me:secret@a.example/",
            "",
            "to ftp://a.example/, but only http and https are followed",
        ),
        ("http://me:secret@[", "", "to [, but that is no url"),
    ] {
        let error = refused(location, own);
        assert!(error.ends_with(shown), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_redirect_without_a_location_is_an_answer() {
    let bare = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(bare).unwrap().status, 302);
    let choice = "HTTP/1.1 300 Many\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(choice).unwrap().status, 300);
}

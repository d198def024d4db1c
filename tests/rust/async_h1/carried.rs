//! Requests that go through connections that the host opened.

use super::*;

#[test]
fn a_scripts_requests_go_through_connections_that_the_host_opened() {
    let (listener, port) = listener();
    let opened = Rc::new(RefCell::new(0));
    let count = opened.clone();
    let builder = Runtime::builder()
        .carry("http://inventory.internal", move || {
            *count.borrow_mut() += 1;
            TcpStream::connect(("127.0.0.1", port))
        })
        .unwrap();
    let (runtime, notes) = noting_in(
        builder,
        r#"
local note = require("@test/note") :: any
local task, client = require("@lute/task"), require("@lute/net/client")
local waiting = 3
for index = 1, 3 do
	task.spawn(function()
		local response = client.request(`http://inventory.internal/items?id={index}`, {
			method = "POST", body = `item {index}`, headers = { ["X-Who"] = "us" },
		})
		note(`{response.status} {response.ok} {response.headers["X-Answer"]} {response.body} {response.url}`)
	end)
end
local _, problem = pcall(function() return client.request("http://inventory.internal/", { method = "BREW" }) end)
note(problem)
"#,
    );
    let serving = accept(listener, 3, |mut request: Request| async move {
        smol::future::yield_now().await;
        let body = request.body_string().await?;
        let mut response = Response::new(StatusCode::Created);
        response.insert_header("X-Answer", request.header("x-who").unwrap().as_str());
        response.set_body(format!("{} {body}", request.url().query().unwrap()));
        Ok(response)
    });
    let noted = serve_until_noted(&runtime, &notes, serving, 4);
    for (index, note) in noted[..3].iter().enumerate() {
        let index = index + 1;
        let expected = format!(
            "201 true us id={index} item {index} http://inventory.internal/items?id={index}"
        );
        assert_eq!(*note, expected);
    }
    assert!(
        noted[3].ends_with("inventory.internal: http_types knows no method BREW"),
        "{}",
        noted[3]
    );
    assert_eq!(*opened.borrow(), 3);
}

#[test]
fn a_header_that_async_h1_panics_on_is_an_error_of_the_request() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        let _ = client.read(&mut [0; 1024]);
        let answer = b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 0\r\n\r\n";
        let _ = client.write_all(answer);
        let _ = client.read(&mut [0; 1024]);
    });
    let builder = Runtime::builder()
        .carry("http://latin.internal", move || {
            TcpStream::connect(("127.0.0.1", port))
        })
        .unwrap();
    let source = "require('@lute/net/client').request('http://latin.internal/')";
    let (runtime, notes) = noting_in(builder, source);
    runtime.run().unwrap();
    let notes = notes.take();
    assert!(
        notes[0].contains("network request failed: latin.internal: "),
        "{notes:?}"
    );
}

/// A runtime whose requests to `http://inventory.internal` go to async-h1's server behind `listener`, which answers `count`
/// of them with `endpoint`; what its script noted until it was over.
fn carried<F, R>(source: &str, count: usize, endpoint: F) -> Vec<String>
where
    F: Fn(Request) -> R + Clone + 'static,
    R: Future<Output = http_types::Result<Response>>,
{
    carried_in(Runtime::builder(), source, count, endpoint)
}

/// As [`carried`], in a runtime for which more is said.
fn carried_in<F, R>(builder: Builder, source: &str, count: usize, endpoint: F) -> Vec<String>
where
    F: Fn(Request) -> R + Clone + 'static,
    R: Future<Output = http_types::Result<Response>>,
{
    let (listener, port) = listener();
    let builder = builder
        .carry("http://inventory.internal", move || {
            TcpStream::connect(("127.0.0.1", port))
        })
        .unwrap();
    let source = format!(
        r#"
local note = require("@test/note") :: any
local client, task = require("@lute/net/client"), require("@lute/task")
{source}
note("over")"#
    );
    let (runtime, notes) = noting_in(builder, &source);
    let serving = async {
        accept(listener, count, endpoint).await;
        std::future::pending().await
    };
    let over = async {
        while notes.borrow().last().is_none_or(|note| note != "over") {
            smol::Timer::after(Duration::from_millis(2)).await;
        }
    };
    let patience = async {
        smol::Timer::after(PATIENCE).await;
        panic!("{:?}", notes.borrow());
    };
    runtime
        .block_on(future::or(future::or(serving, over), patience))
        .unwrap();
    let mut notes = notes.take();
    notes.pop();
    notes
}

#[test]
fn a_stream_comes_in_pieces_through_a_connection_that_the_host_opened() {
    let source = r#"
local response = client.stream("http://inventory.internal/list")
note(`{response.status} {response.headers["X-Kind"]} {response.url} {response.body}`)
for line in response:lines() do
	note(line)
end
note(tostring(response:read()))"#;
    let notes = carried(source, 1, |_| async {
        let (sender, receiver) = smol::channel::bounded::<std::io::Result<&'static str>>(1);
        let mut response = Response::new(StatusCode::Ok);
        response.insert_header("X-Kind", "list");
        let pieces = Box::pin(receiver);
        response.set_body(Body::from_reader(
            futures_lite::io::BufReader::new(PieceReader(pieces, &[])),
            None,
        ));
        smol::spawn(async move {
            for piece in ["one\ntw", "o\nthree"] {
                smol::Timer::after(Duration::from_millis(5)).await;
                let _ = sender.send(Ok(piece)).await;
            }
        })
        .detach();
        Ok(response)
    });
    let url = "http://inventory.internal/list";
    let head = format!("200 list {url} nil");
    assert_eq!(notes, [head.as_str(), "one", "two", "three", "nil"]);
}

/// Pieces from a channel as a reader.
struct PieceReader(
    std::pin::Pin<Box<smol::channel::Receiver<std::io::Result<&'static str>>>>,
    &'static [u8],
);

impl futures_lite::AsyncRead for PieceReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        use futures_lite::Stream;
        if self.1.is_empty() {
            match std::task::ready!(self.0.as_mut().poll_next(context)) {
                Some(piece) => self.1 = piece?.as_bytes(),
                None => return std::task::Poll::Ready(Ok(0)),
            }
        }
        let count = self.1.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.1[..count]);
        self.1 = &self.1[count..];
        std::task::Poll::Ready(Ok(count))
    }
}

#[test]
fn a_functions_body_goes_through_a_connection_that_the_host_opened() {
    let source = r#"
local function pieces()
	local left = 3
	return function()
		task.wait(0.002)
		left -= 1
		return if left >= 0 then `piece {left};` else nil
	end
end
local url = "http://inventory.internal/"
note(client.request(url, { method = "PUT", body = pieces() }).body)
note(client.request(url, { method = "PUT", body = pieces(), headers = { ["Content-Length"] = "24" } }).body)
for _, body in { function(): any error("no more paper", 0) end, function(): any return 7 end } do
	local _, problem = pcall(function() return client.request(url, { method = "PUT", body = body }) end)
	note(problem)
end
for _, length in { "23", "25" } do
	local _, problem = pcall(function()
		return client.request(url, { method = "PUT", body = pieces(), headers = { ["Content-Length"] = length } })
	end)
	note(problem)
end"#;
    let notes = carried(source, 6, |mut request: Request| async move {
        let length = request.len().map_or(-1, |length| length as i64);
        let mut response = Response::new(StatusCode::Ok);
        response.set_body(format!("{length} {}", request.body_string().await?));
        Ok(response)
    });
    assert_eq!(notes[0], "-1 piece 2;piece 1;piece 0;");
    assert_eq!(notes[1], "24 piece 2;piece 1;piece 0;");
    let ends = [
        "the request's body failed: no more paper",
        "a body's function must return a string, a buffer or nil, not number",
        "the request's body is longer than its Content-Length",
        "the request's body is shorter than its Content-Length",
    ];
    for (note, end) in notes[2..].iter().zip(ends) {
        let problem = "network request failed: inventory.internal: ";
        assert!(note.contains(problem) && note.ends_with(end), "{note}");
    }
    assert_eq!(notes.len(), 6);
}

#[test]
fn redirects_are_followed_whether_the_host_carries_the_next_hop_or_not() {
    let source = r#"
local server = require("@lute/net/server")
local outside = server.serve({ port = 0, handler = function(request): any
	return `outside {request.method} {request.headers.authorization} {request.body}`
end })
local address = `http://127.0.0.1:{outside.port}`
local function ask(path: string, options: any)
	options.headers = { Authorization = "secret", ["X-To"] = address }
	local fine, response = pcall(client.request, path, options)
	note(if fine then `{response.status} {response.url == address .. "/" and "outside" or response.url} {response.body}` else response)
end
local inside = "http://inventory.internal"
ask(`{inside}/here`, { method = "POST", body = "a" })
ask(`{inside}/out`, { method = "POST", body = "b" })
ask(`{inside}/here`, { redirect = "manual" })
ask(`{inside}/here`, { redirect = "error" })
ask(`{inside}/loop`, { maxredirects = 1 })
outside.close()"#;
    let notes = carried(source, 7, |mut request: Request| async move {
        let to = |to: String| {
            let mut response = Response::new(StatusCode::TemporaryRedirect);
            response.insert_header("Location", to);
            Ok(response)
        };
        match request.url().path() {
            "/here" => return to("/end".to_owned()),
            "/loop" => return to("/loop".to_owned()),
            "/out" => return to(format!("{}/", request.header("x-to").unwrap().as_str())),
            _ => {}
        }
        let body = request.body_string().await?;
        let known = request.header("authorization").is_some();
        let mut response = Response::new(StatusCode::Ok);
        response.set_body(format!("inside {} {known} {body}", request.method()));
        Ok(response)
    });
    let refused = "network request failed: inventory.internal redirects";
    let expected = [
        "200 http://inventory.internal/end inside POST true a".to_owned(),
        "200 outside outside POST nil b".to_owned(),
        "307 http://inventory.internal/here ".to_owned(),
        format!("{refused} to http://inventory.internal/end"),
        format!("{refused} once more after 1 redirects"),
    ];
    assert_eq!(notes, expected);
}

/// What a script's request becomes that a server on the network sends on to an origin of the host's, and how many requests
/// the host's server saw.
fn redirected_from_the_network(builder: Builder) -> (String, usize) {
    let source = r#"
local outside = require("@lute/net/server").serve({ port = 0, handler = function(): any
	return { status = 307, headers = { Location = "http://us:secret@inventory.internal/wipe" } }
end })
local url = `http://127.0.0.1:{outside.port}/`
local fine, response = pcall(client.request, url, { method = "POST", body = "all", headers = { Authorization = "secret" } })
note(if fine then `{response.status} {response.url} {response.body}` else response)
outside.close()"#;
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    let notes = carried_in(builder, source, 1, move |mut request: Request| {
        count.set(count.get() + 1);
        async move {
            let known = request.header("authorization").map(ToString::to_string);
            let body = request.body_string().await?;
            let mut response = Response::new(StatusCode::Ok);
            response.set_body(format!("{} {known:?} {body}", request.method()));
            Ok(response)
        }
    });
    (notes.concat(), asked.get())
}

#[test]
fn no_server_on_the_network_sends_a_request_on_to_an_origin_that_the_host_carries() {
    let refused = "network request failed: 127.0.0.1 redirects to http://inventory.internal/wipe, but no server on the network \
        may send requests to an origin that the host carries";
    let (note, asked) = redirected_from_the_network(Runtime::builder());
    assert_eq!((note.as_str(), asked), (refused, 0));
}

#[test]
fn a_host_may_let_servers_on_the_network_redirect_to_an_origin_that_it_carries() {
    let (note, asked) = redirected_from_the_network(Runtime::builder().carry_network_redirects());
    assert_eq!(asked, 1);
    assert!(
        note.starts_with("200 http://inventory.internal/wipe POST Some("),
        "{note}"
    );
    assert!(note.ends_with(" all") && !note.contains("secret"), "{note}");
}

#[test]
fn limits_and_timeouts_hold_for_a_carried_body_too() {
    let source = r#"
local url = "http://inventory.internal/"
for _, options in { { maxbodysize = 4 }, { timeout = { read = 0.05 } }, { timeout = { total = 0.05 } } } :: { any } do
	local _, problem = pcall(function()
		for piece in client.stream(url, options):pieces() do end
	end)
	note(string.match(problem, "network request failed: .*") or problem)
end
local response = client.stream(url)
note(response:read() or "nothing")
response:close()
note(tostring(response:read()))"#;
    let notes = carried(source, 4, |_| async {
        let (sender, receiver) = smol::channel::bounded::<std::io::Result<&'static str>>(1);
        let _ = sender.send(Ok("a piece")).await;
        // Nothing more comes, and no end.
        std::mem::forget(sender);
        let mut response = Response::new(StatusCode::Ok);
        let reader = PieceReader(Box::pin(receiver), &[]);
        response.set_body(Body::from_reader(
            futures_lite::io::BufReader::new(reader),
            None,
        ));
        Ok(response)
    });
    let problem = "network request failed: inventory.internal: ";
    let expected = [
        format!("{problem}the response is larger than 4 bytes"),
        format!("{problem}timed out after 0.05 s without a byte"),
        format!("{problem}timed out after 0.05 s"),
        "a piece".to_owned(),
        "nil".to_owned(),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn the_user_of_a_url_is_told_to_a_server_that_the_host_connects_to() {
    let source = r#"
local url = "http://user:pass@inventory.internal/"
note(client.request(url).body)
note(client.request(url, { headers = { Authorization = "own" } }).body)"#;
    let notes = carried(source, 2, |request: Request| async move {
        let known = request
            .header("authorization")
            .map(|values| values.as_str());
        let mut response = Response::new(StatusCode::Ok);
        response.set_body(known.unwrap_or("nobody"));
        Ok(response)
    });
    assert_eq!(notes, ["Basic dXNlcjpwYXNz", "own"]);
}

#[test]
fn a_request_over_the_network_beside_carried_ones_is_late_after_the_time_that_it_was_given() {
    let source = r#"
local server = require("@lute/net/server")
local silent = server.serve({ port = 0, handler = function() task.wait(60) end })
local _, problem = pcall(client.request, `127.0.0.1:{silent.port}`, { timeout = 0.05 })
note(string.match(problem, "timed out after .*") or problem)
silent.close()"#;
    let notes = carried(source, 0, |_| async { Ok(Response::new(StatusCode::Ok)) });
    assert_eq!(notes, ["timed out after 0.05 s"]);
}

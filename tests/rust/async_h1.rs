//! Feature `async-h1`: its client and server and ours, and Luau coroutines, on one executor.

use std::{
    cell::RefCell,
    future::Future,
    io::{Read, Write},
    net::TcpListener,
    rc::Rc,
    time::Duration,
};

use futures_lite::{AsyncReadExt, future};
use http_types::{Body, Method, Request, Response, StatusCode, Url};
use lute_net::{Limits, Runtime};
use mlua::prelude::LuaFunction;
use smol::net::TcpStream;

use crate::{runtime::noting_in, support::PATIENCE};

/// A handler of every kind of answer.
const HANDLER: &str = r#"
local task = require("@lute/task")
return function(request)
	if request.path == "/waits" then
		task.wait(0.02)
		return { status = 201, headers = { ["Set-Cookie"] = { "a=1", "b=2" } }, body = "late" }
	elseif request.path == "/echo" then
		return { headers = { ["Content-Type"] = request.headers["content-type"] }, body = request.body }
	elseif request.path == "/pieces" then
		local left = 3
		return { body = function(why)
			if why then closed = why return nil end
			task.wait(0.002)
			left -= 1
			return if left >= 0 then `piece {left};` else nil
		end }
	elseif request.path == "/endless" then
		return { body = function(why) if why then closed = why end return "x" end }
	elseif request.path == "/fails" then
		error("deep in the handler")
	elseif request.path == "/odd" then
		return { status = 299 }
	elseif request.path == "/latin" then
		return { headers = { ["X-Name"] = "caf\xe9" } }
	end
	return `{request.method} {request.path} {request.query.q} {request.remote} {request.headers["x-who"]}`
end
"#;

fn runtime() -> (Runtime, LuaFunction, Rc<RefCell<Vec<String>>>) {
    let (runtime, notes) = noting_in(Runtime::builder(), "");
    let handler = runtime
        .lua()
        .load(HANDLER)
        .set_name("=handler")
        .eval()
        .unwrap();
    (runtime, handler, notes)
}

fn get(path: &str) -> Request {
    let url = Url::parse("http://example.com")
        .unwrap()
        .join(path)
        .unwrap();
    Request::new(Method::Get, url)
}

#[test]
fn a_request_of_http_types_reaches_the_handler_and_its_answer_comes_back() {
    let (runtime, handler, _) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    let mut request = get("/path?q=a%20b");
    request.insert_header("X-Who", "the host");
    request.set_peer_addr(Some("192.0.2.1:77"));
    let mut answer = runtime.block_on(endpoint(request)).unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::Ok);
    assert_eq!(answer.header("content-type").unwrap().as_str(), "text/html");
    let body = runtime.block_on(answer.body_string()).unwrap().unwrap();
    assert_eq!(body, "GET /path a b 192.0.2.1:77 the host");

    let mut answer = runtime.block_on(endpoint(get("/waits"))).unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::Created);
    assert_eq!(answer.header("set-cookie").unwrap().iter().count(), 2);
    assert_eq!(
        runtime.block_on(answer.body_string()).unwrap().unwrap(),
        "late"
    );

    let mut post = Request::new(Method::Post, Url::parse("http://example.com/echo").unwrap());
    post.set_body(Body::from_bytes(vec![0xff; 100_000]));
    let mut answer = runtime.block_on(endpoint(post)).unwrap().unwrap();
    assert_eq!(
        runtime.block_on(answer.body_bytes()).unwrap().unwrap(),
        vec![0xff; 100_000]
    );
    assert_eq!(
        answer.header("content-type").unwrap().as_str(),
        "application/octet-stream"
    );
}

#[test]
fn a_streamed_body_comes_in_pieces_and_its_function_learns_of_a_reader_that_leaves() {
    let (runtime, handler, _) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    let mut answer = runtime.block_on(endpoint(get("/pieces"))).unwrap().unwrap();
    let body = runtime.block_on(answer.body_string()).unwrap().unwrap();
    assert_eq!(body, "piece 2;piece 1;piece 0;");

    let mut answer = runtime
        .block_on(endpoint(get("/endless")))
        .unwrap()
        .unwrap();
    let mut some = [0; 10];
    runtime
        .block_on(answer.take_body().read_exact(&mut some))
        .unwrap()
        .unwrap();
    drop(answer);
    runtime.run().unwrap();
    let closed: String = handler.environment().unwrap().get("closed").unwrap();
    assert_eq!(closed, "closed");
}

#[test]
fn what_http_types_can_not_hold_is_an_error_of_the_handlers() {
    let (runtime, handler, notes) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    for path in ["/odd", "/latin"] {
        let error = runtime.block_on(endpoint(get(path))).unwrap().unwrap_err();
        assert_eq!(error.status(), StatusCode::InternalServerError);
    }
    let answer = runtime.block_on(endpoint(get("/fails"))).unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::InternalServerError);
    let notes = notes.take();
    assert!(
        notes[0].contains("no status 299") && notes[1].contains("X-Name"),
        "{notes:?}"
    );
    assert!(notes[2].contains("deep in the handler"), "{notes:?}");
    let mut strange = get("/");
    strange.insert_header("x-strange", "a\r\nb: c");
    let answer = runtime.block_on(endpoint(strange)).unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::BadRequest);
}

#[test]
fn a_body_beyond_the_hosts_limit_is_413() {
    let limits = Limits {
        body: Some(10),
        ..Limits::default()
    };
    let runtime = Runtime::builder().limits(limits).build().unwrap();
    let handler = runtime.lua().load(HANDLER).eval().unwrap();
    let endpoint = runtime.endpoint(&handler).unwrap();
    let mut post = Request::new(Method::Post, Url::parse("http://example.com/echo").unwrap());
    post.set_body("eleven bytes");
    let answer = runtime.block_on(endpoint(post)).unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::PayloadTooLarge);
}

/// Accepts `count` clients with async-h1 on the runtime's executor.
async fn accept<F, R>(listener: smol::net::TcpListener, count: usize, endpoint: F)
where
    F: Fn(Request) -> R + Clone,
    R: Future<Output = http_types::Result<Response>>,
{
    let executor = smol::LocalExecutor::new();
    let accepting = async {
        let mut clients = Vec::new();
        for _ in 0..count {
            let (stream, _) = listener.accept().await.unwrap();
            let endpoint = endpoint.clone();
            clients.push(executor.spawn(async move { async_h1::accept(stream, endpoint).await }));
        }
        for client in clients {
            let _ = client.await;
        }
    };
    executor.run(accepting).await;
}

/// Runs `serving` and the runtime until its script has noted so many texts; they are sorted.
fn serve_until_noted(
    runtime: &Runtime,
    notes: &RefCell<Vec<String>>,
    serving: impl Future<Output = ()>,
    count: usize,
) -> Vec<String> {
    let noted = async {
        while notes.borrow().len() < count {
            smol::Timer::after(Duration::from_millis(2)).await;
        }
    };
    let patience = async {
        smol::Timer::after(PATIENCE).await;
        panic!("{:?}", notes.borrow());
    };
    runtime
        .block_on(future::or(future::or(serving, noted), patience))
        .unwrap();
    let mut noted = notes.take();
    noted.sort();
    noted
}

fn listener() -> (smol::net::TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (smol::net::TcpListener::try_from(listener).unwrap(), port)
}

#[test]
fn async_h1s_server_with_a_luau_endpoint_answers_our_client_on_the_same_executor() {
    let (runtime, handler, notes) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    let (listener, port) = listener();
    let source = format!(
        r#"
local note = require("@test/note") :: any
local task, client = require("@lute/task"), require("@lute/net/client")
local done = 0
for index = 1, 3 do
	task.spawn(function()
		local late = client.request("127.0.0.1:{port}/waits")
		local pieces = client.request("127.0.0.1:{port}/pieces")
		local plain = client.request(`127.0.0.1:{port}/x?q={{index}}`, {{ headers = {{ ["X-Who"] = "us" }} }})
		note(`{{late.status}} {{late.body}} {{pieces.body}} {{string.match(plain.body, "%d+ ")}}`)
	end)
end
"#
    );
    runtime.load_source("asks.luau", &source, &[]).unwrap();
    let serving = accept(listener, 3, endpoint);
    let noted = serve_until_noted(&runtime, &notes, serving, 3);
    let expected = |index| format!("201 late piece 2;piece 1;piece 0; {index} ");
    assert_eq!(noted, [expected(1), expected(2), expected(3)]);
}

#[test]
fn async_h1s_client_asks_our_server_on_the_same_executor() {
    let (runtime, notes) = noting_in(
        Runtime::builder(),
        r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	task.wait(0.005)
	return { body = `{request.path} {request.body}`, headers = { ["X-Answer"] = "yes" } }
end })
note(tostring(running.port))
"#,
    );
    let port: u16 = notes.take()[0].parse().unwrap();
    let asking = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        for index in 0..3 {
            let url = Url::parse(&format!("http://127.0.0.1:{port}/{index}")).unwrap();
            let mut request = Request::new(Method::Post, url);
            request.set_body("text");
            let mut response = async_h1::connect(stream.clone(), request).await.unwrap();
            assert_eq!(response.header("x-answer").unwrap().as_str(), "yes");
            assert_eq!(
                response.body_string().await.unwrap(),
                format!("/{index} text")
            );
        }
    };
    runtime.block_on(asking).unwrap();
}

#[test]
fn a_raw_client_is_answered_through_async_h1_by_luau() {
    let (runtime, handler, _) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    let (listener, port) = listener();
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /waits HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    runtime.block_on(accept(listener, 1, endpoint)).unwrap();
    let answer = client.join().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.ends_with("\r\n\r\nlate"),
        "{answer}"
    );
}

#[test]
fn an_endpoint_outlives_its_runtime_as_an_error() {
    let (runtime, handler, _) = runtime();
    let endpoint = runtime.endpoint(&handler).unwrap();
    drop(runtime);
    let answer = smol::block_on(endpoint(get("/")));
    assert!(answer.is_err());
}

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
    let (listener, port) = listener();
    let builder = Runtime::builder()
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
	if request.path == "/back" then
		return { status = 302, headers = { Location = "http://inventory.internal/end" } }
	end
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
ask(`{address}/back`, {})
ask(`{inside}/here`, { redirect = "manual" })
ask(`{inside}/here`, { redirect = "error" })
ask(`{inside}/loop`, { maxredirects = 1 })
outside.close()"#;
    let notes = carried(source, 8, |mut request: Request| async move {
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
        "200 http://inventory.internal/end inside GET false ".to_owned(),
        "307 http://inventory.internal/here ".to_owned(),
        format!("{refused} to http://inventory.internal/end"),
        format!("{refused} once more after 1 redirects"),
    ];
    assert_eq!(notes, expected);
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

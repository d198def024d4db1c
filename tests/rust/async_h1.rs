//! Feature `async-h1`: its client and server and ours, and Luau coroutines, on one executor.

mod carried;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io::{Read, Write},
    net::TcpListener,
    rc::Rc,
    time::Duration,
};

use futures_lite::{AsyncReadExt, future};
use http_types::{Body, Method, Request, Response, StatusCode, Url};
use lute_net::{Builder, Limits, Runtime};
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

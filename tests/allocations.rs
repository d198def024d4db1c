//! How often a request allocates, Luau's own allocations included, and what a connection holds: numbers that must not grow
//! unseen.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
    time::Duration,
};

use lute_net::Runtime;

struct Counting;

thread_local! {
    /// Allocations of a test: everything of it runs on its own thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that it holds.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    HELD.set(HELD.get() + bytes);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A runtime that serves with this config, and its port.
fn serving(config: &str) -> (Runtime, u16) {
    let runtime = Runtime::builder().build().unwrap();
    let port = Rc::new(Cell::new(0));
    let told = port.clone();
    let tell = runtime.lua().create_function(move |_, port: u16| {
        told.set(port);
        Ok(())
    });
    runtime
        .lua()
        .register_module("@test/tell", tell.unwrap())
        .unwrap();
    let source = format!(
        "local running = require('@lute/net/server').serve({{ port = 0, {config} }})
        ;(require('@test/tell') :: any)(running.port)"
    );
    runtime.load_source("test.luau", &source, &[]).unwrap();
    let port = port.get();
    (runtime, port)
}

/// Allocations per request of a kept connection, with `handler` as the body of the script's handler.
fn per_request(handler: &str) -> f64 {
    const REQUESTS: u64 = 2000;
    let (runtime, port) = serving(&format!("handler = function(request) {handler} end"));
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut run = |requests: u64| {
        for _ in 0..requests {
            client
                .write_all(
                    b"GET /path?a=b HTTP/1.1\r\nHost: a\r\nX-Greeting: hi\r\nAccept: */*\r\n\r\n",
                )
                .unwrap();
            while !matches!(client.read(&mut buffer), Ok(count) if count > 0) {
                runtime.step(Duration::from_millis(1)).unwrap();
            }
        }
    };
    // The first requests fill what is used again: buffers, the handler's coroutine, Luau's pages.
    run(REQUESTS);
    let before = ALLOCATIONS.get();
    run(REQUESTS);
    (ALLOCATIONS.get() - before) as f64 / REQUESTS as f64
}

#[test]
fn a_request_allocates_as_seldom_as_the_performance_page_says() {
    let plain = per_request("return { status = 200, body = 'Hello, World!' }");
    let reading = per_request("return request.headers['x-greeting'] .. request.query.a");
    println!("{plain} allocations a request, {reading} with headers and query read");
    assert!(plain < 0.2, "{plain} allocations a request");
    assert!(
        reading < 0.2,
        "{reading} allocations a request that reads headers and query"
    );
}

#[test]
fn a_connection_that_is_kept_after_a_streamed_upload_holds_no_buffer() {
    const CONNECTIONS: i64 = 30;
    let handler = "streambody = true, handler = function(request): any
        local length = 0
        for piece in request:pieces() do
            length += #piece
        end
        return tostring(length)
    end";
    let (runtime, port) = serving(handler);
    let request = [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"[..],
        &[b'x'; 200_000],
    ]
    .concat();
    let upload = || {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut sent, mut answer) = (0, Vec::new());
        while !answer.ends_with(b"\r\n\r\n200000") {
            sent += client.write(&request[sent..]).unwrap_or(0);
            runtime.step(Duration::from_millis(1)).unwrap();
            let mut buffer = [0; 1024];
            let count = client.read(&mut buffer).unwrap_or(0);
            answer.extend_from_slice(&buffer[..count]);
        }
        client
    };
    let held = || {
        runtime.step(Duration::from_millis(1)).unwrap();
        runtime.lua().gc_collect().unwrap();
        HELD.get()
    };
    let _first = upload();
    let before = held();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| upload()).collect();
    let each = (held() - before) / CONNECTIONS;
    assert_eq!(runtime.connections(), clients.len() + 1);
    assert!(each < 8192, "{each} bytes a connection");
}

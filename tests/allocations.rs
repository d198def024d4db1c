//! How often a request allocates, Luau's own allocations included: a number that must not grow unseen.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lute_net::Runtime;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations per request of a kept connection, with `handler` as the body of the script's handler.
fn per_request(handler: &str) -> f64 {
    const REQUESTS: u64 = 2000;
    let runtime = Runtime::builder().build().unwrap();
    let port = std::rc::Rc::new(Cell::new(0));
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
        "local running = require('@lute/net/server').serve({{ port = 0, handler = function(request) {handler} end }})
        ;(require('@test/tell') :: any)(running.port)"
    );
    runtime.load_source("test.luau", &source, &[]).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port.get())).unwrap();
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
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run(REQUESTS);
    (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / REQUESTS as f64
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

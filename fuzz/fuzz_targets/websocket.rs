//! Bytes for one end of a WebSocket, in slices: it makes of them what it makes of them in one piece, takes little memory for it,
//! and ends once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::engine::websocket::Role;
use lute_net_fuzz::{
    cuts, memory,
    websockets::{Leave, outcome},
};

#[global_allocator]
static MEASURED: memory::Measured = memory::Measured;

/// The shared read buffer of a new engine is most of it.
const MOST_MEMORY: usize = 96 * 1024;

fuzz_target!(|data: &[u8]| {
    let Some((seed, rest)) = cuts::with_seed(data) else {
        return;
    };
    let Some((mode, input)) = rest.split_first() else {
        return;
    };
    let role = if mode & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let leave = if mode & 2 == 0 {
        Leave::End
    } else {
        Leave::Dropped
    };
    let slices = cuts::slices(seed, input);
    // The first slice may come with the handshake.
    let (early, late) = match slices.split_first() {
        Some((first, others)) if mode & 4 != 0 => (*first, others),
        _ => (&[][..], &slices[..]),
    };
    let ((whole, cut), most) = memory::most_during(|| {
        let whole = outcome(role, leave, &[], &[input]);
        (whole, outcome(role, leave, early, late))
    });
    assert_eq!(cut, whole, "{role:?} {leave:?} {}", input.escape_ascii());
    assert!(most < MOST_MEMORY, "{most} bytes of memory");
});

//! A client's bytes sent to a listening server in slices: it answers as if they had come at once, and the connection ends with
//! its client.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::engine::intake::Bodies;
use lute_net_fuzz::{cuts, exchange};

fuzz_target!(|data: &[u8]| {
    let Some((seed, rest)) = cuts::with_seed(data) else {
        return;
    };
    let Some((mode, input)) = rest.split_first() else {
        return;
    };
    // A head that is broken but not at its end may be refused or waited for: here each comes to its end.
    let input = &[input, b"\r\n\r\n"].concat()[..];
    let bodies = exchange::bodies(*mode);
    let whole = exchange::answers(bodies, &[input]);
    let cut = exchange::answers(bodies, &cuts::slices(seed, input));
    // Whether a client still waits for `100 Continue` when a streamed body's handler is called is a matter of time, and so is
    // what becomes of the connection.
    let expects = input
        .windows(12)
        .any(|bytes| bytes.eq_ignore_ascii_case(b"100-continue"));
    if bodies == Bodies::Streamed && expects {
        return;
    }
    assert_eq!(cut, whole, "cut: {cut}\nwhole: {whole}");
});

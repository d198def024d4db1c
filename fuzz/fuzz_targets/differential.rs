//! The same bytes to our server side and to hyper's: a message that both accept is the same message to both. Where they
//! differ, one in front of the other could be made to see a request that the other does not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net_fuzz::{hyper_server, requests};

fuzz_target!(|data: &[u8]| {
    let ours = requests::accepted(data);
    let theirs = hyper_server::accepted(data);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
});

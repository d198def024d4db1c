//! A query, taken apart and decoded: the same pairs as another decoder finds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::wire::query;

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut room = vec![0; text.len()];
    let decoded = query::decode(text, &mut room).to_vec();
    assert!(query::is_encoded(text) || decoded == text);
    decoded
}

/// The other decoder makes text of everything: what is none is compared as what it becomes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fuzz_target!(|data: &[u8]| {
    let ours: Vec<_> = query::pairs(data)
        .map(|(key, value)| (text(&decoded(key)), text(&decoded(value))))
        .collect();
    let theirs: Vec<_> = form_urlencoded::parse(data).into_owned().collect();
    assert_eq!(ours, theirs);
});

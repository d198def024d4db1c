//! A request's head: the cuts do not matter, what is accepted follows the grammar, and written out again it says the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::wire::{
    BodyFraming, Expect, FieldStorage, Parsed, RequestError, Version, encode, parse_request, syntax,
};
use lute_net_fuzz::{cuts, heads};

/// Small, so that inputs reach it.
const LIMIT: usize = 1024;

/// All that a head says.
#[derive(Clone, PartialEq, Debug)]
struct Facts {
    method: String,
    target: String,
    path: String,
    query: Option<String>,
    host: Vec<u8>,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
    length: usize,
    framing: BodyFraming,
    persistent: bool,
    expect: Expect,
    upgrade: bool,
}

fn parse(input: &[u8]) -> Result<Parsed<Facts>, RequestError> {
    let mut storage = FieldStorage::new();
    let Parsed::Complete(head) = parse_request(input, &mut storage, LIMIT)? else {
        return Ok(Parsed::Partial);
    };
    heads::check_fields(head.fields());
    assert!(syntax::is_token(head.method().as_bytes()));
    assert!(
        head.target()
            .bytes()
            .all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#')
    );
    assert!(head.path().starts_with('/') || (head.path() == "*" && head.method() == "OPTIONS"));
    assert!(syntax::is_host(head.host()));
    assert!(head.framing() != BodyFraming::UntilClose);
    assert!(head.length() <= LIMIT);
    for field in head.fields() {
        assert!(!field.value.contains(&b'\r') && !field.value.contains(&b'\n'));
    }
    Ok(Parsed::Complete(Facts {
        method: head.method().into(),
        target: head.target().into(),
        path: head.path().into(),
        query: head.query().map(Into::into),
        host: head.host().into(),
        version: head.version(),
        fields: heads::owned(head.fields()),
        length: head.length(),
        framing: head.framing(),
        persistent: head.persistent(),
        expect: head.expect(),
        upgrade: head.upgrade(),
    }))
}

/// The head as our client would write it, which is HTTP/1.1.
fn written(facts: &Facts) -> Vec<u8> {
    let mut out = Vec::new();
    encode::request_line(&mut out, &facts.method, &facts.target);
    for (name, value) in &facts.fields {
        encode::field(&mut out, name, value);
    }
    encode::end_of_head(&mut out);
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, input)) = cuts::with_seed(data) else {
        return;
    };
    let parsed = heads::grow(input, &cuts::slices(seed, input), parse);
    let Ok(Parsed::Complete(facts)) = parsed else {
        return;
    };
    let written = written(&facts);
    if facts.version == Version::Http11 && written.len() <= LIMIT {
        let length = written.len();
        assert_eq!(
            parse(&written),
            Ok(Parsed::Complete(Facts { length, ..facts }))
        );
    }
});

//! A response's head: the cuts do not matter, and no field, folded or not, is more than one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::wire::{
    BodyFraming, FieldStorage, Parsed, ResponseError, Version, parse_response, unfold,
};
use lute_net_fuzz::{cuts, heads};

const LIMIT: usize = 1024;

/// All that a head says.
#[derive(Clone, PartialEq, Debug)]
struct Facts {
    status: u16,
    reason: String,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
    length: usize,
    interim: bool,
    persistent: bool,
    framing: Vec<Result<BodyFraming, ResponseError>>,
}

fn parse(input: &[u8]) -> Result<Parsed<Facts>, ResponseError> {
    let mut storage = FieldStorage::new();
    let Parsed::Complete(head) = parse_response(input, &mut storage, LIMIT)? else {
        return Ok(Parsed::Partial);
    };
    assert!((100..=999).contains(&head.status()));
    assert!(head.length() <= LIMIT);
    heads::check_fields(head.fields());
    for field in head.fields() {
        let value = unfold(field.value);
        assert!(
            !value.contains(&b'\r') && !value.contains(&b'\n'),
            "{}",
            field.value.escape_ascii()
        );
    }
    let framing: Vec<_> = ["GET", "HEAD", "CONNECT"]
        .map(|method| head.framing(method))
        .into();
    assert_eq!(framing[1], Ok(BodyFraming::Empty));
    Ok(Parsed::Complete(Facts {
        status: head.status(),
        reason: head.reason().into(),
        version: head.version(),
        fields: heads::owned(head.fields()),
        length: head.length(),
        interim: head.interim(),
        persistent: head.persistent(),
        framing,
    }))
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, input)) = cuts::with_seed(data) else {
        return;
    };
    // An answer or a refusal: both are fine, as long as every way there gives the same.
    let _ = heads::grow(input, &cuts::slices(seed, input), parse);
});

//! What must hold for every head, whatever it says.

use std::fmt::Debug;

use lute_net::wire::{Field, Parsed, syntax};

/// Parses growing prefixes of `slices`: each may only lead to "more" or to the answer of the whole, which no further byte takes
/// back. That answer.
pub fn grow<'b, T, E>(
    input: &'b [u8],
    slices: &[&[u8]],
    parse: impl Fn(&'b [u8]) -> Result<Parsed<T>, E>,
) -> Result<Parsed<T>, E>
where
    T: PartialEq + Debug,
    E: PartialEq + Debug,
{
    let whole = parse(input);
    let mut answered = false;
    let mut end = 0;
    for slice in slices {
        end += slice.len();
        let prefix = parse(&input[..end]);
        let partial = prefix == Ok(Parsed::Partial);
        assert!(
            partial || prefix == whole,
            "{prefix:?} of {end} bytes, {whole:?} of all"
        );
        assert!(
            !partial || !answered,
            "the answer was taken back after {end} bytes"
        );
        answered = !partial;
    }
    whole
}

/// No field may say more than one line.
pub fn check_fields(fields: &[Field<'_>]) {
    for field in fields {
        assert!(syntax::is_token(field.name.as_bytes()), "{:?}", field.name);
        assert!(
            !field.value.contains(&0) && field.value.trim_ascii() == field.value,
            "{}",
            field.value.escape_ascii()
        );
    }
}

/// Fields that can be compared.
pub fn owned(fields: &[Field<'_>]) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect()
}

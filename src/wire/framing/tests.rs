use super::*;
use BodyFraming::*;
use Version::*;

fn fields(lines: &[(&'static str, &'static str)]) -> FramingFields {
    let mut fields = FramingFields::default();
    for (name, value) in lines {
        fields.note(&Field {
            name,
            value: value.as_bytes(),
        });
    }
    fields
}

fn length(value: &'static str) -> Result<BodyFraming, RequestError> {
    fields(&[("Content-Length", value)]).of_request(Http11)
}

fn coding(value: &'static str) -> Result<BodyFraming, RequestError> {
    fields(&[("Transfer-Encoding", value)]).of_request(Http11)
}

#[test]
fn a_request_without_framing_fields_has_no_body_as_of_rfc_9112_section_6_3() {
    assert_eq!(fields(&[]).of_request(Http11), Ok(Empty));
    assert_eq!(fields(&[]).of_request(Http10), Ok(Empty));
}

#[test]
fn a_content_length_is_plain_digits_as_of_rfc_9110_section_8_6() {
    assert_eq!(length("0"), Ok(Length(0)));
    assert_eq!(length("007"), Ok(Length(7)));
    assert_eq!(length("18446744073709551615"), Ok(Length(u64::MAX)));
    for value in [
        "",
        "+1",
        "-1",
        "1 2",
        "1_000",
        "0x10",
        "1.0",
        "a",
        "1a",
        "1;",
        "\u{661}",
        "\"1\"",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        assert_eq!(
            length(value),
            Err(RequestError::InvalidContentLength),
            "{value:?}"
        );
    }
}

#[test]
fn repeated_content_lengths_must_agree_as_of_rfc_9112_section_6_3() {
    assert_eq!(length("5, 5"), Ok(Length(5)));
    assert_eq!(length("5,5\t,5"), Ok(Length(5)));
    assert_eq!(length("5, 6"), Err(RequestError::DifferingContentLengths));
    for value in ["5,", ",5", "5,,5", "5, a", "5, 6, a"] {
        assert_eq!(
            length(value),
            Err(RequestError::InvalidContentLength),
            "{value:?}"
        );
    }
    let twice =
        |second| fields(&[("content-length", "5"), ("CONTENT-LENGTH", second)]).of_request(Http11);
    assert_eq!(twice("5"), Ok(Length(5)));
    assert_eq!(twice("6"), Err(RequestError::DifferingContentLengths));
    assert_eq!(twice("+5"), Err(RequestError::InvalidContentLength));
}

#[test]
fn chunked_is_the_only_coding_and_case_insensitive_as_of_rfc_9112_section_7() {
    assert_eq!(coding("chunked"), Ok(Chunked));
    assert_eq!(coding("CHUNKED"), Ok(Chunked));
    for value in ["gzip, chunked", "identity, chunked", "a,b, chunked"] {
        let error = Err(RequestError::UnsupportedTransferCoding);
        assert_eq!(coding(value), error, "{value:?}");
    }
    for value in [
        "gzip",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked, gzip",
        "chunked, chunked",
        "gzip, chunked, chunked",
        "chunked, identity",
    ] {
        assert_eq!(
            coding(value),
            Err(RequestError::ChunkedNotLast),
            "{value:?}"
        );
    }
    for value in [
        "",
        ",",
        "chunked,",
        ",chunked",
        "\u{b}chunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked ; a",
        "chunked gzip",
        "chun\u{0}ked",
        "gzip;q=1, chunked",
        "chunked, \"\"",
    ] {
        assert_eq!(
            coding(value),
            Err(RequestError::InvalidTransferEncoding),
            "{value:?}"
        );
    }
}

#[test]
fn several_transfer_encoding_lines_are_one_list() {
    let two = |first, second| {
        fields(&[("Transfer-Encoding", first), ("transfer-encoding", second)]).of_request(Http11)
    };
    assert_eq!(
        two("gzip", "chunked"),
        Err(RequestError::UnsupportedTransferCoding)
    );
    assert_eq!(two("chunked", "chunked"), Err(RequestError::ChunkedNotLast));
    assert_eq!(
        two("chunked", "identity"),
        Err(RequestError::ChunkedNotLast)
    );
    assert_eq!(
        two("", "chunked"),
        Err(RequestError::InvalidTransferEncoding)
    );
}

#[test]
fn both_framings_or_chunked_in_http_1_0_are_refused_as_of_rfc_9112_section_6_1() {
    let both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")];
    let error = RequestError::TransferEncodingWithContentLength;
    assert_eq!(fields(&both).of_request(Http11), Err(error));
    let old = fields(&[("Transfer-Encoding", "chunked")]);
    assert_eq!(
        old.of_request(Http10),
        Err(RequestError::TransferEncodingInHttp10)
    );
}

#[test]
fn fields_that_only_look_like_framing_are_ordinary() {
    let lookalikes = fields(&[
        ("Transfer_Encoding", "chunked"),
        ("Transfer-Encodin", "chunked"),
        ("Content_Length", "5"),
        ("Proxy-Connection", "close"),
    ]);
    assert_eq!(lookalikes.of_request(Http11), Ok(Empty));
    assert!(lookalikes.persistent(Http11));
}

#[test]
fn connections_persist_as_rfc_9112_section_9_3_says() {
    for (value, in_11, in_10) in [
        ("", true, false),
        ("close", false, false),
        ("Close", false, false),
        ("keep-alive", true, true),
        ("Keep-Alive, Upgrade", true, true),
        ("keep-alive, close", false, false),
        ("x-close, closed", true, false),
        ("TE,\tclose ,", false, false),
    ] {
        let fields = fields(&[("Connection", value)]);
        assert_eq!(fields.persistent(Http11), in_11, "{value:?}");
        assert_eq!(fields.persistent(Http10), in_10, "{value:?}");
    }
    let two_lines = fields(&[("Connection", "close"), ("Connection", "keep-alive")]);
    assert!(!two_lines.persistent(Http11));
    assert!(fields(&[("connection", "keep-alive, Upgrade")]).wants_upgrade());
    assert!(!fields(&[("connection", "upgrades")]).wants_upgrade());
}

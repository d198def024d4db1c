//! The requests that our server side makes of bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use lute_net::engine::intake::{Bodies, Buffered, Intake, Taken};
use lute_net::engine::limits::Limits;
use lute_net::wire::{FieldStorage, Parsed, RequestHead, parse_request};

/// A request as any parser would tell it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub method: String,
    /// Of an absolute target.
    pub authority: Option<String>,
    pub path: String,
    pub query: Option<String>,
    /// By name in lower case; the values of one name in order.
    pub fields: BTreeMap<String, Vec<Vec<u8>>>,
    pub body: Vec<u8>,
}

impl Request {
    fn new(head: &RequestHead<'_, '_>, body: &[u8]) -> Self {
        let mut fields = BTreeMap::<String, Vec<Vec<u8>>>::new();
        for field in head.fields() {
            let values = fields.entry(field.name.to_ascii_lowercase()).or_default();
            values.push(field.value.to_vec());
        }
        // One length said twice is one length (RFC 9110 §8.6).
        fields
            .entry("content-length".to_owned())
            .and_modify(Vec::dedup);
        let absolute = !head.target().starts_with('/') && head.target() != "*";
        Self {
            method: head.method().to_owned(),
            authority: absolute.then(|| String::from_utf8_lossy(head.host()).into_owned()),
            path: head.path().to_owned(),
            query: head.query().map(str::to_owned),
            fields,
            body: body.to_vec(),
        }
    }
}

/// The requests that are accepted, up to the first refusal or the end of the connection.
pub fn accepted(input: &[u8]) -> Vec<Request> {
    let limits = Limits::default();
    let buffered = Rc::new(Buffered::default());
    let mut intake = Intake::default();
    let mut requests = Vec::new();
    let mut used = 0;
    loop {
        let mut storage = FieldStorage::new();
        let rest = &input[used..];
        let (taken, result) = intake.next(rest, &mut storage, &limits, &buffered, Bodies::Whole);
        used += taken;
        let persistent = match result {
            Taken::More | Taken::WantsContinue if taken == 0 => return requests,
            Taken::More | Taken::WantsContinue => continue,
            Taken::Request { head, body, .. } => {
                requests.push(Request::new(&head, body));
                head.persistent()
            }
            Taken::Collected(whole) => {
                let mut storage = FieldStorage::new();
                let parsed = parse_request(whole.raw_head(), &mut storage, whole.raw_head().len());
                let Ok(Parsed::Complete(head)) = parsed else {
                    panic!("a head that was one is none any more")
                };
                requests.push(Request::new(&head, whole.body()));
                head.persistent()
            }
            Taken::Streaming { .. } => panic!("a streamed body where none was asked for"),
            Taken::Refused(refusal) => {
                assert!((400..=599).contains(&refusal.status));
                return requests;
            }
        };
        if !persistent {
            return requests;
        }
    }
}

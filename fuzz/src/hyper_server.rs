//! The requests that hyper's server makes of bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::requests::Request;

/// The requests that are accepted, up to the first refusal or the end of the connection.
pub fn accepted(input: &[u8]) -> Vec<Request> {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let seen = requests.clone();
    let service = service_fn(move |request| {
        let seen = seen.clone();
        async move {
            if let Some(request) = read(request).await {
                seen.borrow_mut().push(request);
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(Input(input.to_vec()), service);
    // A refusal ends the connection with an error.
    let _ = futures_lite::future::block_on(connection);
    requests.take()
}

/// `None` when the body breaks off or breaks a rule.
async fn read(request: hyper::Request<Incoming>) -> Option<Request> {
    let (head, body) = request.into_parts();
    let mut fields = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for (name, value) in &head.headers {
        fields
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value.as_bytes().to_vec());
    }
    let body = body.collect().await.ok()?;
    Some(Request {
        method: head.method.as_str().to_owned(),
        authority: head
            .uri
            .authority()
            .map(|authority| authority.as_str().to_owned()),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        fields,
        body: body.to_bytes().to_vec(),
    })
}

/// Gives its bytes, then the end; what is written is lost.
struct Input(Vec<u8>);

impl hyper::rt::Read for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = buffer.remaining().min(self.0.len());
        buffer.put_slice(&self.0[..count]);
        self.0.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Input {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

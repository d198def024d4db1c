//! hyper 1, HTTP/1 only, on a smol `LocalExecutor`.

use std::cell::RefCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use anyhow::Result;
use bytes::Bytes;
use futures_lite::io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::{Async, LocalExecutor};

use super::luau::{Request, Responder};

pub fn serve(listener: TcpListener, responder: Responder) -> Result<()> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.get_ref().set_nodelay(true)?;
            let responder = responder.clone();
            executor.spawn(connection(socket, responder)).detach();
        }
    }))
}

/// An error is the end of the connection, nothing more: clients come and go.
async fn connection(socket: Async<TcpStream>, responder: Responder) {
    let service = service_fn(move |request| answer(request, responder.clone()));
    let _ = http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(SmolStream(socket), service)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    responder: Responder,
) -> Result<hyper::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let request = Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or(""),
        body: body.collect().await?.to_bytes(),
    };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let (status, body) = responder.answer(request, headers).await?;
    Ok(hyper::Response::builder()
        .status(status)
        .body(Full::new(body))?)
}

/// smol's socket with hyper's traits.
struct SmolStream(Async<TcpStream>);

thread_local! {
    /// hyper hands out memory that may be uninitialised, smol wants it initialised: one buffer between the two.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

impl hyper::rt::Read for SmolStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let wanted = cursor.remaining().min(buffer.len());
            let count = ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer[..wanted]))?;
            cursor.put_slice(&buffer[..count]);
            Poll::Ready(Ok(()))
        })
    }
}

impl hyper::rt::Write for SmolStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

//! async-h1 2 on a smol `LocalExecutor`.

use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use http_types::{Response, StatusCode};
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
    let endpoint = |request| answer(request, responder.clone());
    let _ = ::async_h1::accept(async_dup::Arc::new(socket), endpoint).await;
}

async fn answer(
    mut request: http_types::Request,
    responder: Responder,
) -> http_types::Result<Response> {
    let body = request.body_bytes().await?.into();
    let method = request.method();
    let url = request.url();
    let parts = Request {
        method: method.as_ref(),
        path: url.path(),
        query: url.query().unwrap_or(""),
        body,
    };
    let headers = request
        .iter()
        .map(|(name, values)| (name.as_str(), values.as_str().as_bytes()));
    let (status, body) = responder
        .answer(parts, headers)
        .await
        .map_err(http_types::Error::from)?;
    let mut response = Response::new(StatusCode::try_from(status)?);
    response.set_body(body.as_ref());
    Ok(response)
}

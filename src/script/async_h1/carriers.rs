//! Connections of the host's that a script's requests go through, by origin.

use std::{future::Future, io, pin::Pin, rc::Rc, time::Instant};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, future::or};
use url::Url;

use super::conversion;
use crate::{
    engine::{
        client::{ClientRequest, Fields, RequestBody},
        timers::deadline_after,
    },
    script::{Script, contained::Contained},
};

/// A connection that `async_h1::connect` takes.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Carrier for T {}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Carrier>>>>>;

/// Opens a connection for a request.
pub type Opener = Rc<dyn Fn() -> Opening>;

/// Who opens connections for which origin.
#[derive(Clone, Default)]
pub struct Carriers {
    openers: Vec<(String, Opener)>,
}

impl Carriers {
    /// Adds an opener for an origin: `scheme://host` or `scheme://host:port`.
    ///
    /// # Errors
    /// When that is no origin.
    pub fn add<C, F>(&mut self, origin: &str, open: impl Fn() -> F + 'static) -> Result<(), String>
    where
        C: Carrier + 'static,
        F: Future<Output = io::Result<C>> + 'static,
    {
        let url = Url::parse(origin)
            .map_err(|problem| format!("invalid origin '{origin}' ({problem})"))?;
        if !url.origin().is_tuple() {
            return Err(format!(
                "invalid origin '{origin}' (http or https expected)"
            ));
        }
        let opener = move || -> Opening {
            let opening = open();
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Carrier>) })
        };
        self.openers.push((origin_of(&url), Rc::new(opener)));
        Ok(())
    }

    /// The opener for a URL, if there is one.
    pub fn find(&self, url: &Url) -> Option<Opener> {
        let origin = origin_of(url);
        let found = self.openers.iter().find(|(known, _)| *known == origin);
        found.map(|(_, opener)| opener.clone())
    }
}

/// A response that came through a carrier.
pub struct Carried {
    /// One of those that `http_types` knows.
    pub status: u16,
    /// Names in lower case.
    pub fields: Fields,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Sends a request through a connection of the host's and reads the whole response. Redirects are not followed, codings
/// not undone.
///
/// # Errors
/// Why there is none, for the user.
pub fn send(
    script: &Script,
    open: Opener,
    request: ClientRequest,
    body: RequestBody,
) -> impl Future<Output = Result<Carried, String>> + use<> {
    let total = request.options.timeouts.total;
    let timers = script.engine.timers();
    let late = timers.sleep_until(deadline_after(Instant::now(), total));
    let host = request.url.host_str().unwrap_or_default().to_owned();
    async move {
        // async-h1 panics on a header byte over 0x7f.
        let exchange = Contained::new(exchange(open, request, body));
        let timeout = async {
            late.await;
            Ok(Err(format!("timed out after {} s", total.as_secs_f64())))
        };
        let outcome = or(exchange, timeout).await;
        outcome
            .and_then(|outcome| outcome)
            .map_err(|problem| format!("{host}: {problem}"))
    }
}

async fn exchange(
    open: Opener,
    request: ClientRequest,
    body: RequestBody,
) -> Result<Carried, String> {
    let body = match body {
        RequestBody::Empty => Vec::new(),
        RequestBody::Bytes(bytes) => bytes.to_vec(),
        RequestBody::Streamed { .. } => {
            return Err("a connection of the host's takes no streamed body".to_owned());
        }
    };
    let limit = request.options.max_body_size;
    let request = conversion::request(&request.url, &request.method, &request.fields, body)?;
    let carrier = open().await.map_err(|error| error.to_string())?;
    let response = async_h1::connect(carrier, request).await;
    let mut response = response.map_err(|error| error.to_string())?;
    let mut body = Vec::new();
    let content = response.take_body().take(limit.saturating_add(1));
    let read = { content }.read_to_end(&mut body).await;
    read.map_err(|error| error.to_string())?;
    if body.len() as u64 > limit {
        return Err(format!("the response is larger than {limit} bytes"));
    }
    Ok(Carried {
        status: response.status() as u16,
        fields: conversion::fields(&response),
        body,
    })
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

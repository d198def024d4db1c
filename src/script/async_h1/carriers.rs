//! Connections of the host's that a script's requests go through, by origin.

use std::{future::Future, io, pin::Pin, rc::Rc};

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite};
use url::Url;

use super::conversion::{self, Head};
use crate::script::contained::Contained;

/// A connection that `async_h1::connect` takes.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Carrier for T {}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Carrier>>>>>;

/// Who opens connections for which origin.
#[derive(Clone, Default)]
pub struct Carriers {
    openers: Vec<(String, Rc<dyn Fn() -> Opening>)>,
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
        let opener = move || -> Opening {
            let opening = open();
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Carrier>) })
        };
        self.openers.push((origin_of(&url), Rc::new(opener)));
        Ok(())
    }

    /// The opener for a URL, if there is one.
    pub fn find(&self, url: &Url) -> Option<Rc<dyn Fn() -> Opening>> {
        let origin = origin_of(url);
        let found = self.openers.iter().find(|(known, _)| *known == origin);
        found.map(|(_, opener)| opener.clone())
    }
}

/// What is sent through a carrier.
pub struct CarriedRequest {
    /// Where to.
    pub url: Url,
    /// A token.
    pub method: String,
    /// All fields, checked already.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The largest response body, in bytes.
    pub max_body: usize,
}

/// Sends a request through a connection of the host's and reads the whole response.
///
/// # Errors
/// Why there is none, for the user.
pub async fn send(
    open: Rc<dyn Fn() -> Opening>,
    request: CarriedRequest,
) -> Result<(Head, Vec<u8>), String> {
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let exchange = async {
        let CarriedRequest {
            url,
            method,
            fields,
            body,
            max_body,
        } = request;
        let request = conversion::request(&url, &method, &fields, body)?;
        let carrier = open().await.map_err(|error| error.to_string())?;
        let response = async_h1::connect(carrier, request).await;
        let mut response = response.map_err(|error| error.to_string())?;
        let mut body = Vec::new();
        let content = response.take_body();
        let read = content
            .take(max_body as u64 + 1)
            .read_to_end(&mut body)
            .await;
        read.map_err(|error| error.to_string())?;
        if body.len() > max_body {
            return Err(format!("the response is larger than {max_body} bytes"));
        }
        Ok((conversion::parts(&response), body))
    };
    // async-h1 panics on a header byte over 0x7f.
    let outcome = Contained::new(exchange).await;
    outcome
        .and_then(|outcome| outcome)
        .map_err(|problem| format!("{host}: {problem}"))
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

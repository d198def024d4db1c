//! Connections of the host's that a script's requests go through, by origin.

use std::{future::Future, io, pin::Pin, rc::Rc};

use futures_lite::{AsyncRead, AsyncWrite};
use url::Url;

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
    redirects: NetworkRedirects,
}

/// What becomes of a server on the network that redirects a request to a carried origin.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum NetworkRedirects {
    /// The request fails: that server could choose what the host's own servers are asked.
    #[default]
    Refused,
    /// They are followed.
    Followed,
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

    /// Redirects from the network to carried origins are followed, too.
    pub fn follow_network_redirects(&mut self) {
        self.redirects = NetworkRedirects::Followed;
    }

    /// Whether a server on the network must not redirect a request to `url`.
    pub fn refuses_redirect_to(&self, url: &Url) -> bool {
        self.redirects == NetworkRedirects::Refused && self.find(url).is_some()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.openers.is_empty()
    }

    /// The opener for a URL, if there is one.
    pub fn find(&self, url: &Url) -> Option<Opener> {
        let origin = origin_of(url);
        let found = self.openers.iter().find(|(known, _)| *known == origin);
        found.map(|(_, opener)| opener.clone())
    }
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

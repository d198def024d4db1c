//! Feature `async-h1`: what hosts that speak `http_types` find on the face.

use std::{future::Future, io};

use mlua::prelude::LuaFunction;

use super::{Builder, Error, Scripts};
use crate::script::async_h1::{
    carriers::Carrier,
    endpoint::{Answering, Endpoint},
};

impl Scripts {
    /// A script's handler as the function that `async_h1::accept` takes (and tide, or whoever calls with an
    /// `http_types::Request`). It must run on the runtime's executor, or on the host's that the modules are installed on.
    ///
    /// The handler is that of `server.serve`: it gets a request's table and may wait; its second argument is an empty table
    /// in place of the server. A status or a header that `http_types` can't hold is an error of the handler's: 500.
    ///
    /// ```
    /// use http_types::{Method, Request, Url};
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let handler = runtime.lua().load(r#"
    ///     return function(request) return `{request.method} {request.path} {request.query.a}` end
    /// "#).eval()?;
    /// let endpoint = runtime.endpoint(&handler)?;
    /// let request = Request::new(Method::Get, Url::parse("http://example.com/path?a=b")?);
    /// let body = runtime.block_on(async { endpoint(request).await?.body_string().await })?;
    /// assert_eq!(body.map_err(|error| error.into_inner())?, "GET /path b");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Vm`] when the VM has no memory left.
    pub fn endpoint(
        &self,
        handler: &LuaFunction,
    ) -> Result<impl Fn(http_types::Request) -> Answering + Clone + 'static, Error> {
        let endpoint = Endpoint::new(&self.script, handler)?;
        Ok(move |request| endpoint.answer(request))
    }
}

impl Builder {
    /// Sends the scripts' requests to an origin (`http://host:port`) through `async_h1` on a connection that `open` gives,
    /// once for each request: a new one, or a clone of one that is kept. The policy is not asked: the host has opened it.
    ///
    /// It is for `client.request` and `client.stream`, with bodies of every kind, redirects, limits and timeouts. A redirect
    /// to an origin without such a connection is followed over the network, where the policy is asked; one from the network to
    /// a carried origin is an error, unless [`Self::carry_network_redirects`] says otherwise. No compressed body is asked for.
    /// Methods that `http_types` does not know and header bytes over 0x7f are errors; `client.websocket` goes its own way,
    /// since `async_h1` upgrades nothing.
    ///
    /// ```no_run
    /// let runtime = lute_net::Runtime::builder()
    ///     .carry("http://inventory.internal", || smol::net::unix::UnixStream::connect("/run/inventory.sock"))?
    ///     .build()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when that is no origin.
    pub fn carry<C, F>(
        mut self,
        origin: &str,
        open: impl Fn() -> F + 'static,
    ) -> Result<Self, Error>
    where
        C: Carrier + 'static,
        F: Future<Output = io::Result<C>> + 'static,
    {
        let added = self.settings.carriers.add(origin, open);
        added.map_err(Error::Setting)?;
        Ok(self)
    }

    /// Follows redirects from servers on the network to carried origins, through their connections. Without this they are
    /// errors: a server elsewhere, perhaps a hostile one, would choose what a server of the host's is asked.
    ///
    /// ```no_run
    /// let runtime = lute_net::Runtime::builder()
    ///     .carry("https://api.example.com", || smol::net::TcpStream::connect("gateway.internal:8080"))?
    ///     .carry_network_redirects() // http://api.example.com redirects to https
    ///     .build()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn carry_network_redirects(mut self) -> Self {
        self.settings.carriers.follow_network_redirects();
        self
    }
}

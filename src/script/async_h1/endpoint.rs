//! A handler as an endpoint of `http_types`: it goes the way of a request that came over a socket of ours, on bytes in
//! memory, so that scripts see no difference.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
};

use futures_lite::{AsyncReadExt, future::or};
use http_types::{Body, Request as HttpRequest, Response as HttpResponse, StatusCode};
use mlua::prelude::{LuaFunction, LuaResult};

use super::{
    channel_body,
    conversion::{self, Head},
};
use crate::{
    engine::{
        answer::Shape,
        limits::Limits,
        service::{
            Answer, BodySource, Reply, Request, RequestBody, Rest, Service, StreamFraming, Streamed,
        },
    },
    script::{Script, handler::LuauService, scheduler::Delivery},
    wire::{FieldStorage, Parsed, RequestHead, Version, parse_request},
};

/// What an [`Endpoint`] returns.
pub type Answering = Pin<Box<dyn Future<Output = http_types::Result<HttpResponse>>>>;

/// Answers `http_types` requests with a script's handler; see [`Scripts::endpoint`](crate::Scripts::endpoint).
#[derive(Clone)]
pub struct Endpoint {
    script: Weak<Script>,
    service: Rc<LuauService>,
}

impl Endpoint {
    /// An endpoint that calls `handler`.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(script: &Rc<Script>, handler: &LuaFunction) -> LuaResult<Self> {
        let lua = script.lua()?;
        let (parts, place) = script.server_functions(&lua)?.endpoint.call(handler)?;
        Ok(Self {
            script: Rc::downgrade(script),
            service: Rc::new(LuauService::new(Rc::downgrade(script), parts, place)),
        })
    }

    /// The answer to `request`.
    pub fn answer(&self, request: HttpRequest) -> Answering {
        let endpoint = self.clone();
        Box::pin(async move { endpoint.respond(request).await })
    }

    async fn respond(self, mut request: HttpRequest) -> http_types::Result<HttpResponse> {
        let limit = self
            .script
            .upgrade()
            .and_then(|script| script.settings.limits.body);
        let limit = limit.unwrap_or(Limits::default().body);
        let mut body = Vec::new();
        request
            .take_body()
            .take(limit.saturating_add(1))
            .read_to_end(&mut body)
            .await?;
        if body.len() as u64 > limit {
            return Ok(HttpResponse::new(StatusCode::PayloadTooLarge));
        }
        let Some(text) = conversion::request_head(&request, body.len()) else {
            return Ok(HttpResponse::new(StatusCode::BadRequest));
        };
        let mut storage = FieldStorage::new();
        let head = match parse_request(&text, &mut storage, text.len()) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) | Err(_) => return Ok(HttpResponse::new(StatusCode::BadRequest)),
        };
        let mut exchange = Exchange {
            service: self.service.clone(),
            open: None,
        };
        let method = head.method().to_owned();
        let answer = exchange.answer(&request, &head, &text, &body).await;
        if matches!(answer.rest, Rest::Upgrade(_)) {
            // The connection is the host's: there is nothing here that could become a WebSocket.
            return Ok(HttpResponse::new(StatusCode::NotImplemented));
        }
        let answered = conversion::response_head(&answer.bytes, &method);
        let (head, length) = answered.map_err(|problem| self.refused(problem))?;
        let body = match answer.rest {
            Rest::Body(streamed) => self.stream(exchange, streamed),
            Rest::Next | Rest::Close | Rest::Upgrade(_) => {
                exchange.open = None;
                Body::from_bytes(answer.bytes.get(length..).unwrap_or_default().to_vec())
            }
        };
        self.response(head, body)
    }

    fn response(&self, head: Head, body: Body) -> http_types::Result<HttpResponse> {
        conversion::response(head, body).map_err(|problem| self.refused(problem))
    }

    /// What `http_types` can't hold is an error of the handler's.
    fn refused(&self, problem: String) -> http_types::Error {
        if let Some(script) = self.script.upgrade() {
            script.report(
                &format!("cannot hand on the handler's answer: {problem}"),
                "",
            );
        }
        http_types::Error::from_str(StatusCode::InternalServerError, problem)
    }

    /// A body whose pieces the runtime's thread makes, one ahead of its reader.
    fn stream(&self, mut exchange: Exchange, streamed: Streamed) -> Body {
        let Streamed {
            mut source,
            framing,
            ..
        } = streamed;
        let length = match framing {
            StreamFraming::Length(length) => usize::try_from(length).ok(),
            StreamFraming::Chunked | StreamFraming::UntilClose => None,
        };
        let (sender, body) = channel_body::channel();
        if let Some(script) = self.script.upgrade() {
            // Nobody waits for it in Luau; the scheduler ends it with the runtime.
            script.scheduler.start(async move {
                let sending = async {
                    let whole = send(&mut *source, &sender).await;
                    drop(source);
                    whole
                };
                let reader_gone = async {
                    sender.closed().await;
                    false
                };
                if or(sending, reader_gone).await {
                    exchange.sent();
                }
                drop(exchange);
                Ok(Box::new(|_: &_| Ok(mlua::MultiValue::new())) as Delivery)
            });
        }
        Body::from_reader(body, length)
    }
}

/// Sends all pieces; whether the last one was sent.
async fn send(source: &mut dyn BodySource, sender: &channel_body::PieceSender) -> bool {
    loop {
        let piece = poll_fn(|context| source.poll_piece(context)).await;
        let last = !matches!(piece, Ok(Some(_)));
        let whole = matches!(piece, Ok(None));
        if let Some(piece) = piece.transpose()
            && sender.send(piece).await.is_err()
        {
            return false;
        }
        if last {
            return whole;
        }
    }
}

/// One call of the handler; told that its client is gone when it is dropped before its end.
struct Exchange {
    service: Rc<LuauService>,
    open: Option<u64>,
}

impl Exchange {
    async fn answer(
        &mut self,
        request: &HttpRequest,
        head: &RequestHead<'_, '_>,
        raw_head: &[u8],
        body: &[u8],
    ) -> Answer {
        let remote = conversion::remote(request);
        let shape = Shape::new(Version::Http11, head.method(), true);
        let request = Request {
            head,
            raw_head,
            body: RequestBody::Whole(body),
            remote: &remote,
            secure: request.url().scheme() == "https",
            shape,
            shape_once_read: shape,
        };
        let mut bytes = Vec::new();
        match self.service.respond(&request, &mut bytes) {
            Reply::Written { .. } => Answer {
                bytes,
                rest: Rest::Next,
            },
            Reply::Upgraded(upgrade) => Answer {
                bytes,
                rest: Rest::Upgrade(upgrade),
            },
            Reply::Streamed(number, streamed) => {
                self.open = Some(number);
                Answer {
                    bytes,
                    rest: Rest::Body(streamed),
                }
            }
            Reply::Later(number) => {
                self.open = Some(number);
                poll_fn(|context| self.service.poll_answer(number, context)).await
            }
        }
    }

    fn sent(&mut self) {
        if let Some(number) = self.open.take() {
            self.service.sent(number);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(number) = self.open.take() {
            self.service.gone(number);
        }
    }
}

//! Requests of a script whose host carries some: each hop goes through a connection of the host's when there is one for its
//! origin, and over the network when there is none.

use std::{
    future::{Future, pending, poll_fn},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use http_types::Body;

use super::{
    carried_body::{CarriedBody, Limits},
    carriers::{Carriers, Opener},
    channel_body::{PieceSender, channel},
    conversion,
};
use crate::{
    engine::{
        Engine,
        client::{
            Client, ClientError, ClientOptions, ClientRequest, Fields, Hops, Redirects,
            RequestBody, RequestUrl, fits,
        },
        service::BodySource,
        timers::deadline_after,
    },
    script::{
        Script,
        contained::Contained,
        download::{Download, Pieces},
        fetch::{Prepared, failed, handover, head_delivery},
        interrupt::timed_out,
        raw_vm::Responses,
    },
};

/// Why a redirect is not followed.
const ONLY_BY_THE_HOST: &str =
    "no server on the network may send requests to an origin that the host carries";

/// A response whose head has come, by whichever way.
struct Carried {
    status: u16,
    fields: Fields,
    url: RequestUrl,
    body: Box<dyn Pieces>,
}

/// As `client.request` without carriers: delivers the response.
pub fn request_whole(script: &Script, prepared: Prepared, responses: Responses) -> u64 {
    let permit = prepared.permit;
    let sent = Way::of(script, &prepared.request).send(prepared.request, prepared.body);
    script.scheduler.start_direct(async move {
        let _permit = permit;
        let mut carried = sent.await?;
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|context| carried.body.poll_next(context)).await? {
            body.extend_from_slice(&piece);
        }
        let Carried {
            status,
            fields,
            url,
            ..
        } = carried;
        Ok(handover(responses, status, fields, url, body))
    })
}

/// As `client.stream` without carriers: delivers the response's head and the handle of its body.
pub fn request_head(script: &Rc<Script>, prepared: Prepared, responses: Responses) -> u64 {
    let permit = prepared.permit;
    let sent = Way::of(script, &prepared.request).send(prepared.request, prepared.body);
    let reader = Rc::downgrade(script);
    script.scheduler.start(async move {
        let Carried {
            status,
            fields,
            url,
            body,
        } = sent.await?;
        let download = Download::new(reader, body, permit);
        Ok(head_delivery(responses, status, fields, url, download))
    })
}

/// What a request needs on its way.
struct Way {
    client: Rc<Client>,
    carriers: Carriers,
    due: Instant,
}

impl Way {
    fn of(script: &Script, request: &ClientRequest) -> Self {
        Self {
            client: script.client.clone(),
            carriers: script.settings.carriers.clone(),
            due: deadline_after(Instant::now(), request.options.timeouts.total),
        }
    }

    /// Sends the request and follows redirects.
    async fn send(
        self,
        mut request: ClientRequest,
        mut body: RequestBody,
    ) -> Result<Carried, String> {
        let mut hops = Hops::default();
        loop {
            let again = body.again();
            let opener = self.carriers.find(&request.url);
            let over_network = opener.is_none();
            let (status, fields, pieces) = match opener {
                Some(open) => self.carry(open, &request, body).await?,
                None => self.send_on(&request, body).await?,
            };
            let origin = || host_of(&request);
            let redirect = hops.next(&request, status, &fields, origin);
            let Some(redirect) = redirect.map_err(failed)? else {
                return Ok(Carried {
                    status,
                    fields,
                    url: request.url.without_credentials(),
                    body: pieces,
                });
            };
            if over_network && self.carriers.refuses_redirect_to(&redirect.url) {
                let to = RequestUrl::from(redirect.url).without_credentials();
                let error = ClientError::BadRedirect(origin(), to.to_string(), ONLY_BY_THE_HOST);
                return Err(failed(error));
            }
            body = redirect.next_body(|| again, origin).map_err(failed)?;
            redirect.apply(&mut request);
        }
    }

    /// One hop through a connection of the host's.
    async fn carry(
        &self,
        open: Opener,
        request: &ClientRequest,
        body: RequestBody,
    ) -> Result<Hop, String> {
        let (host, timeouts) = (host_of(request), request.options.timeouts);
        let engine = self.client.dialer().engine().clone();
        let connecting = until(&engine, timeouts.connect, async move { open().await });
        // async-h1 panics on a header byte over 0x7f.
        let exchange = Contained::new(exchange(connecting, request.clone(), body));
        let left = self.due.saturating_duration_since(Instant::now());
        let answered = or(
            async { exchange.await.and_then(|outcome| outcome) },
            async {
                engine
                    .timers()
                    .sleep_until(deadline_after(Instant::now(), left))
                    .await;
                Err(timed_out(timeouts.total))
            },
        );
        let answered = answered.await;
        let mut response =
            answered.map_err(|problem| format!("network request failed: {host}: {problem}"))?;
        let (status, fields) = (response.status() as u16, conversion::fields(&response));
        let limits = Limits {
            size: request.options.max_body_size,
            due: self.due,
            total: timeouts.total,
            read: timeouts.read,
        };
        let body = CarriedBody::new(response.take_body(), host, engine, limits);
        Ok((status, fields, Box::new(body)))
    }

    /// One hop over the network.
    async fn send_on(&self, request: &ClientRequest, body: RequestBody) -> Result<Hop, String> {
        let mut request = request.clone();
        let mut options = ClientOptions::clone(&request.options);
        options.redirects = Redirects::Manual;
        let total = options.timeouts.total;
        options.timeouts.total = self.due.saturating_duration_since(Instant::now());
        request.options = Rc::new(options);
        let sent = self.client.send_body(request, body).await;
        let response = sent.map_err(|error| match error {
            // What was left of it is of no interest.
            ClientError::TimedOut(origin, _) => failed(ClientError::TimedOut(origin, total)),
            other => failed(other),
        })?;
        Ok((response.status, response.fields, Box::new(response.body)))
    }
}

/// Status, fields and body.
type Hop = (u16, Fields, Box<dyn Pieces>);

/// What errors of carried requests begin with.
fn host_of(request: &ClientRequest) -> String {
    request.url.host_str().unwrap_or_default().to_owned()
}

/// What `future` gives, for which there is so much time.
async fn until<T>(
    engine: &Engine,
    time: Duration,
    future: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    let late = engine
        .timers()
        .sleep_until(deadline_after(Instant::now(), time));
    or(
        async { future.await.map_err(|error| error.to_string()) },
        async {
            late.await;
            Err(timed_out(time))
        },
    )
    .await
}

async fn exchange<C: super::carriers::Carrier + 'static>(
    connecting: impl Future<Output = Result<C, String>>,
    request: ClientRequest,
    body: RequestBody,
) -> Result<http_types::Response, String> {
    let (body, source) = match body {
        RequestBody::Empty => (Body::empty(), None),
        RequestBody::Bytes(bytes) => (Body::from_bytes(bytes.to_vec()), None),
        RequestBody::Streamed { source, length } => {
            let (sender, reader) = channel();
            let known = length.and_then(|length| usize::try_from(length).ok());
            (
                Body::from_reader(reader, known),
                Some((source, length, sender)),
            )
        }
    };
    let mut fields = request.fields.clone();
    if let Some(credentials) = request.credentials() {
        fields.push(b"Authorization", credentials.as_bytes());
    }
    let request = conversion::request(&request.url, &request.method, &fields, body)?;
    let carrier = connecting.await?;
    let answered = async {
        let response = async_h1::connect(carrier, request).await;
        response.map_err(|error| error.to_string())
    };
    match source {
        None => answered.await,
        Some((source, length, sender)) => {
            or(answered, async {
                Err(pump(source, length, sender).await.to_string())
            })
            .await
        }
    }
}

/// Hands the pieces of a body on. It ends only with an error.
async fn pump(
    mut source: Box<dyn BodySource>,
    length: Option<u64>,
    sender: PieceSender,
) -> ClientError {
    let mut made = 0;
    loop {
        let piece = match poll_fn(|context| source.poll_piece(context)).await {
            Ok(piece) => piece,
            Err(error) => return ClientError::Source(error.to_string()),
        };
        made += piece.as_ref().map_or(0, Vec::len) as u64;
        if let Err(error) = fits(made, length, piece.is_none()) {
            return error;
        }
        let Some(piece) = piece else { break };
        if sender.send(Ok(piece)).await.is_err() {
            break;
        }
    }
    drop((source, sender));
    pending().await
}

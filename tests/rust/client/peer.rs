//! A server that answers with the bytes it was given, and a client to ask it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    sync::{Arc, Mutex},
    thread,
};

use lute_net::engine::{
    Engine,
    client::{Client, ClientOptions, ClientRequest, Fields, RequestBody, Response},
    dialer::Dialer,
};
use smol::LocalExecutor;

use crate::support::PATIENCE;

/// What is done with a request.
#[derive(Clone)]
pub enum Act {
    /// These bytes are sent, and the connection goes on.
    Send(Vec<u8>),
    /// These bytes are sent, and the connection ends.
    SendAndClose(Vec<u8>),
    /// The connection is reset.
    Reset,
    /// Nothing more happens until the client closes.
    Hang,
}

pub fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

pub fn close(bytes: impl AsRef<[u8]>) -> Act {
    Act::SendAndClose(bytes.as_ref().to_vec())
}

/// A response that ends by its length.
pub fn hello() -> Act {
    send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
}

/// A server on a port of its own. Each request, on whichever connection, gets the next act; the last one stays.
pub struct Peer {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

impl Peer {
    pub fn new(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let noted = seen.clone();
        thread::spawn(move || {
            let acts = Arc::new(acts);
            while let Ok((stream, _)) = listener.accept() {
                noted.lock().unwrap().connections += 1;
                let (acts, noted) = (acts.clone(), noted.clone());
                thread::spawn(move || serve(stream, &acts, &noted));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// All requests so far: head and body.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

fn serve(mut stream: TcpStream, acts: &[Act], seen: &Mutex<Seen>) {
    while let Some(request) = read_request(&mut stream) {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.requests.push(request);
            seen.requests.len() - 1
        };
        match &acts[number.min(acts.len() - 1)] {
            Act::Send(bytes) => {
                if stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Act::SendAndClose(bytes) => {
                let _ = stream.write_all(bytes);
                return;
            }
            Act::Reset => {
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                return;
            }
            Act::Hang => {
                let _ = stream.read_to_end(&mut Vec::new());
                return;
            }
        }
    }
}

/// A head, and as many bytes behind it as its Content-Length says; unless it waits for `100 Continue`.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    if !head.contains("expect: 100-continue") {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        request.extend(body);
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

/// A client with an engine of its own.
pub struct Caller {
    pub engine: Rc<Engine>,
    pub client: Rc<Client>,
    pub options: ClientOptions,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub url: String,
    pub body: Vec<u8>,
}

impl Caller {
    pub fn new() -> Self {
        let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
        let client = Client::new(Dialer::new(engine.clone()));
        let mut options = ClientOptions::default();
        options.timeouts.total = PATIENCE;
        Self {
            engine,
            client,
            options,
        }
    }

    pub fn request(&self, method: &str, url: &str) -> ClientRequest {
        ClientRequest {
            method: method.to_owned(),
            options: Rc::new(self.options.clone()),
            ..ClientRequest::get(url.parse().unwrap())
        }
    }

    pub fn get(&self, url: &str) -> Result<Answer, String> {
        self.send(self.request("GET", url), RequestBody::Empty)
    }

    pub fn send(&self, request: ClientRequest, body: RequestBody) -> Result<Answer, String> {
        let answered = self.engine.block_on(async {
            let response = self.client.send_body(request, body).await?;
            let Response {
                status,
                fields,
                url,
                mut body,
            } = response;
            let body = body.read_to_end().await?;
            Ok(Answer {
                status,
                fields,
                url: url.to_string(),
                body,
            })
        });
        answered
            .unwrap()
            .map_err(|error: lute_net::engine::client::ClientError| error.to_string())
    }
}

/// What comes of a GET that is answered so, before the connection is closed. `P` in a problem is the peer's address.
pub fn answered(bytes: impl AsRef<[u8]>) -> Result<Answer, String> {
    let peer = Peer::new(vec![close(bytes)]);
    let answer = Caller::new().get(&peer.url());
    answer.map_err(|problem| problem.replace(&format!("127.0.0.1:{}", peer.port), "P"))
}

pub fn body_of(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(answered(bytes).unwrap().body).unwrap()
}

pub fn problem_of(bytes: impl AsRef<[u8]>) -> String {
    answered(bytes).unwrap_err()
}

//! TLS on both ends, against each other and against the `openssl` command.

mod client_certificates;
mod ends;
mod handshakes;
mod server_files;
mod strange_peers;
mod trust;

use std::{
    fs,
    future::poll_fn,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::{or, zip};
use lute_net::engine::{
    Engine,
    socket::Socket,
    tls::{
        CertificateProblem, ClientTls, ClientTlsOptions, ServerTls, ServerTlsFiles, TlsError,
        TlsStream,
    },
};
use smol::LocalExecutor;

use crate::certificates::{Authority, Issued};

const PATIENCE: Duration = Duration::from_secs(20);

fn files(certificate: &Path, key: &Path) -> ServerTlsFiles {
    ServerTlsFiles {
        certfilename: certificate.to_owned(),
        keyfilename: key.to_owned(),
        ..ServerTlsFiles::default()
    }
}

/// A server with a good certificate.
fn load(authority: &Authority, cafilename: Option<std::path::PathBuf>) -> ServerTls {
    let issued = authority.issue("server");
    let files = ServerTlsFiles {
        cafilename,
        ..files(&issued.certificate, &issued.key)
    };
    ServerTls::load(&files).unwrap()
}

fn client_of(authority: &Authority) -> ClientTls {
    let options = ClientTlsOptions {
        cafilename: Some(authority.certificate()),
        ..ClientTlsOptions::default()
    };
    ClientTls::new(&options).unwrap()
}

fn client_with_certificate(authority: &Authority, issued: &Issued) -> ClientTls {
    let options = ClientTlsOptions {
        cafilename: Some(authority.certificate()),
        certfilename: Some(issued.certificate.clone()),
        keyfilename: Some(issued.key.clone()),
        ..ClientTlsOptions::default()
    };
    ClientTls::new(&options).unwrap()
}

/// Runs `test` with a server that asks nothing of its clients, and with one that wants a certificate, which the client has: the
/// implementation differs.
fn with_either_server(test: impl AsyncFn(&Rc<Engine>, &ServerTls, &ClientTls)) {
    let authority = Authority::new();
    let client = client_with_certificate(&authority, &authority.issue("client"));
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        run(async |engine| test(&engine, &server, &client).await);
    }
}

/// Runs what `future` does on an engine of its own.
fn run<T>(future: impl AsyncFnOnce(Rc<Engine>) -> T) -> T {
    let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
    let late = engine.timers().sleep_until(Instant::now() + PATIENCE);
    let in_time = async { Some(future(engine.clone()).await) };
    let outcome = engine.block_on(or(in_time, async {
        late.await;
        None
    }));
    outcome.unwrap().expect("it takes too long")
}

fn sockets(engine: &Rc<Engine>) -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let right = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let left = listener.accept().unwrap().0;
    (socket(engine, left), socket(engine, right))
}

#[allow(clippy::useless_conversion)]
fn socket(engine: &Rc<Engine>, stream: TcpStream) -> Socket {
    stream.set_nonblocking(true).unwrap();
    Socket::new(engine.reactor(), stream.into()).unwrap()
}

async fn connect(
    engine: &Rc<Engine>,
    server: &ServerTls,
    client: &ClientTls,
) -> (TlsStream, TlsStream) {
    let (left, right) = sockets(engine);
    let (accepted, connected) = zip(server.accept(left), client.connect("localhost", right)).await;
    (accepted.unwrap(), connected.unwrap())
}

/// Sends back what comes, until the end.
async fn echo(stream: &mut TlsStream) {
    let mut buffer = [0; 4096];
    loop {
        match read(stream, &mut buffer).await.unwrap() {
            0 => return shutdown(stream).await.unwrap(),
            count => write_all(stream, &buffer[..count]).await,
        }
    }
}

async fn converse(stream: &mut TlsStream) {
    for message in ["hello", "how are you?"] {
        write_all(stream, message.as_bytes()).await;
        assert_eq!(
            read_exactly(stream, message.len()).await,
            message.as_bytes()
        );
    }
    shutdown(stream).await.unwrap();
    assert_eq!(read(stream, &mut [0; 8]).await.unwrap(), 0);
}

async fn read(stream: &mut TlsStream, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|context| stream.poll_read(context, buffer)).await
}

async fn read_exactly(stream: &mut TlsStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        let more = read(stream, &mut bytes[filled..]).await.unwrap();
        assert_ne!(more, 0, "the stream ends after {filled} of {count} bytes");
        filled += more;
    }
    bytes
}

async fn write_all(stream: &mut TlsStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|context| stream.poll_write(context, bytes)).await;
        bytes = &bytes[written.unwrap()..];
    }
}

async fn shutdown(stream: &mut TlsStream) -> io::Result<()> {
    poll_fn(|context| stream.poll_shutdown(context)).await
}

/// Ends TCP's sending side without TLS knowing.
fn half_close(stream: &TlsStream) {
    let socket = stream.socket();
    socket.finish().unwrap();
}

/// `openssl s_server` with the certificate, and a connection to it.
fn s_server(issued: &Issued, arguments: &[&str]) -> (Process, TcpStream) {
    let mut process = Process::start(
        Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1"])
            .args(arguments)
            .arg("-cert")
            .arg(&issued.certificate)
            .arg("-key")
            .arg(&issued.key),
    );
    let mut output = BufReader::new(process.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACCEPT ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "s_server ended");
    }
    let address = line.trim_start_matches("ACCEPT ").trim().to_owned();
    std::thread::spawn(move || {
        let _ = output.read_to_end(&mut Vec::new());
    });
    (process, TcpStream::connect(address).unwrap())
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

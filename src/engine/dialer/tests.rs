use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    thread::{self, JoinHandle},
};

use smol::LocalExecutor;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn dial_with(
    dialer: &Dialer,
    destination: &Destination,
    timeout: Duration,
) -> Result<Transport, DialError> {
    let dialing = dialer.dial(destination, timeout);
    dialer.engine().block_on(dialing).unwrap()
}

fn new_engine() -> Rc<Engine> {
    Engine::new(Rc::new(LocalExecutor::new())).unwrap()
}

fn dial(destination: &Destination, timeout: Duration) -> Result<Transport, DialError> {
    dial_with(&Dialer::new(new_engine()), destination, timeout)
}

fn problem(destination: &Destination, timeout: Duration) -> String {
    dial(destination, timeout).err().unwrap().to_string()
}

/// A server on a port of its own that runs `serve` with its first client.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || serve(listener.accept().unwrap().0));
    (port, served)
}

/// A port that is taken, though nobody listens there.
fn closed_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Dials `a.example:80` through a proxy that answers `CONNECT` with these bytes: what came of it, and what it was sent.
fn tunnel(credentials: &str, answer: &str) -> (Result<Transport, DialError>, String, u16) {
    let answer = answer.to_owned();
    let (port, served) = server(move |mut client| {
        let head = read_head(&mut client);
        client.write_all(answer.as_bytes()).unwrap();
        head
    });
    let proxy = Proxy::parse(&format!("http://{credentials}127.0.0.1:{port}")).unwrap();
    let destination = Destination {
        route: Route::Tunnel(Rc::new(proxy)),
        ..Destination::new("a.example", 80)
    };
    let dialed = dial(&destination, PATIENCE);
    (dialed, served.join().unwrap(), port)
}

#[test]
fn a_proxy_is_asked_to_connect_with_the_credentials_of_its_url() {
    let (dialed, head, _) = tunnel("me:secret@", "HTTP/1.1 200 Connected\r\n\r\n");
    assert!(!dialed.ok().unwrap().is_secure());
    assert_eq!(
        head,
        "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
    );
}

#[test]
fn a_proxy_may_send_interim_answers_and_a_content_length_as_of_rfc_9110_section_9_3_6() {
    let answer = "HTTP/1.1 103 Wait\r\n\r\nHTTP/1.0 200\r\nContent-Length: 5\r\n\r\n";
    let (dialed, head, _) = tunnel("", answer);
    assert!(dialed.is_ok());
    assert!(!head.contains("Proxy-Authorization"), "{head}");
}

#[test]
fn a_proxy_may_send_a_hundred_interim_answers_and_no_more() {
    let after = |interim: usize| {
        let waits = "HTTP/1.1 103 Wait\r\n\r\n".repeat(interim);
        tunnel("", &format!("{waits}HTTP/1.1 200 Yes\r\n\r\n")).0
    };
    assert!(after(100).is_ok());
    let error = after(101).err().unwrap().to_string();
    assert!(
        error.ends_with("sent too many interim responses"),
        "{error}"
    );
}

#[test]
fn a_proxy_that_does_not_connect_is_named_with_its_reason() {
    for (answer, expected) in [
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "the proxy P did not connect to a.example:80: status 403",
        ),
        (
            "HTTP/1.1 407 Who?\r\n\r\n",
            "the proxy P wants credentials to connect to a.example:80: status 407",
        ),
        ("", "the proxy P closed the connection"),
        (
            "HTTP/1.1 200 Yes\r\n\r\nhello",
            "the proxy P sent bytes before it was asked",
        ),
    ] {
        let (dialed, _, port) = tunnel("", answer);
        let expected = expected.replace('P', &format!("127.0.0.1:{port}"));
        assert_eq!(dialed.err().unwrap().to_string(), expected);
    }
    let (dialed, _, port) = tunnel("", "SSH-2.0-server\r\n");
    let error = dialed.err().unwrap().to_string();
    let expected = format!("the proxy 127.0.0.1:{port} sent an invalid response: ");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn what_does_not_answer_in_time_is_given_up() {
    let (port, served) = server(|mut client| {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
    });
    let proxy = Proxy::parse(&format!("127.0.0.1:{port}")).unwrap();
    let destination = Destination {
        route: Route::Tunnel(Rc::new(proxy)),
        ..Destination::new("a.example", 80)
    };
    let error = problem(&destination, Duration::from_millis(50));
    assert_eq!(error, "connecting to a.example:80 timed out after 0.05 s");
    // The connection was closed: the proxy has read its end.
    served.join().unwrap();
}

#[test]
fn who_refuses_and_what_is_not_there_are_named() {
    let (_closed, port) = closed_port();
    let direct = Destination::new("127.0.0.1", port);
    assert_eq!(
        problem(&direct, PATIENCE),
        format!("127.0.0.1:{port} refused the connection")
    );
    let proxy = Proxy::parse(&format!("127.0.0.1:{port}")).unwrap();
    let proxied = Destination {
        route: Route::Forward(Rc::new(proxy)),
        ..Destination::new("a.example", 80)
    };
    assert_eq!(
        problem(&proxied, PATIENCE),
        format!("the proxy 127.0.0.1:{port} refused the connection")
    );
    let error = problem(&Destination::new("no-such-host.invalid", 80), PATIENCE);
    assert!(
        error.starts_with("no-such-host.invalid not found ("),
        "{error}"
    );
    let local = Destination {
        route: Route::Local("/no/such/socket".into()),
        ..Destination::new("localhost", 80)
    };
    assert_eq!(
        problem(&local, PATIENCE),
        "cannot connect to /no/such/socket: no such file or directory"
    );
}

#[test]
fn a_unix_socket_is_a_way_to_a_host() {
    let path = std::env::temp_dir().join(format!("lute-net-dial-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let destination = Destination {
        route: Route::Local(path.clone()),
        ..Destination::new("localhost", 80)
    };
    assert!(dial(&destination, PATIENCE).is_ok());
    drop(listener);
    std::fs::remove_file(path).unwrap();
}

/// Refuses one name, port, address or path, and says so.
struct Refusing(&'static str);

impl Gate for Refusing {
    fn name(&self, host: &str, port: u16) -> Result<(), String> {
        self.ask(&format!("name {host} {port}"))
    }

    fn address(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        self.ask(&format!("address {host} {}", address.ip()))
    }

    fn path(&self, path: &Path) -> Result<(), String> {
        self.ask(&format!("path {}", path.display()))
    }
}

impl Refusing {
    fn ask(&self, question: &str) -> Result<(), String> {
        if question == self.0 {
            return Err(format!("no {question}"));
        }
        Ok(())
    }
}

#[test]
fn the_gate_is_asked_for_each_name_address_and_path() {
    let proxy = Rc::new(Proxy::parse("127.0.0.1:9").unwrap());
    let to = |host: &str, route| Destination {
        route,
        ..Destination::new(host, 80)
    };
    for (refused, destination) in [
        ("name a.example 80", to("a.example", Route::Direct)),
        (
            "address 127.0.0.1 127.0.0.1",
            to("127.0.0.1", Route::Direct),
        ),
        ("address [::1] ::1", to("[::1]", Route::Direct)),
        ("path /s", to("localhost", Route::Local("/s".into()))),
        (
            "name a.example 80",
            to("a.example", Route::Tunnel(proxy.clone())),
        ),
        (
            "name a.example 80",
            to("a.example", Route::Forward(proxy.clone())),
        ),
        (
            "name 127.0.0.1 9",
            to("a.example", Route::Tunnel(proxy.clone())),
        ),
        (
            "address 127.0.0.1 127.0.0.1",
            to("a.example", Route::Forward(proxy.clone())),
        ),
    ] {
        let dialer = Dialer::with_gate(new_engine(), Rc::new(Refusing(refused)));
        let error = dial_with(&dialer, &destination, PATIENCE).err().unwrap();
        assert_eq!(error.to_string(), format!("no {refused}"));
    }
}

#[test]
fn an_address_that_the_gate_refuses_leaves_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = Destination::new("localhost", listener.local_addr().unwrap().port());
    let dialer = Dialer::with_gate(new_engine(), Rc::new(Refusing("address localhost ::1")));
    assert!(dial_with(&dialer, &destination, PATIENCE).is_ok());
}

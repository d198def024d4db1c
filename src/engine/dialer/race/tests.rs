use std::net::{Ipv4Addr, TcpListener};

use super::*;
use smol::LocalExecutor;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn race(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
    let socket = engine.block_on(connect(&engine, addresses)).unwrap()?;
    Ok(socket.peer()?.as_socket().unwrap())
}

/// A port that is taken, though nobody listens there.
fn closed_port() -> RawSocket {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address("127.0.0.1:0").into()).unwrap();
    socket
}

fn address_of(socket: &RawSocket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// An address whose listener has no room: packets to it are dropped, as by a silent firewall.
struct Silent {
    listener: RawSocket,
    _waiting: Vec<RawSocket>,
}

impl Silent {
    fn new() -> Self {
        let listener = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address("127.0.0.1:0").into()).unwrap();
        listener.listen(0).unwrap();
        let to = listener.local_addr().unwrap();
        let waiting = (0..4).map(|_| {
            let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&to);
            socket
        });
        let waiting = waiting.collect();
        Self {
            listener,
            _waiting: waiting,
        }
    }

    fn address(&self) -> SocketAddr {
        address_of(&self.listener)
    }
}

#[test]
fn families_take_turns_beginning_with_the_first_as_of_rfc_8305_section_4() {
    let [six, other_six, four, other_four, last_four] = [
        "[2001:db8::1]:80",
        "[2001:db8::2]:80",
        "192.0.2.1:80",
        "192.0.2.2:80",
        "192.0.2.3:80",
    ]
    .map(address);
    assert_eq!(
        in_turns(&[six, other_six, four, other_four, last_four]),
        [six, four, other_six, other_four, last_four]
    );
    assert_eq!(in_turns(&[four, six]), [four, six]);
    assert_eq!(in_turns(&[]), []);
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let closed = closed_port();
    assert_eq!(race(&[address_of(&closed), open]).unwrap(), open);
}

#[test]
fn an_address_that_does_not_answer_is_passed_by_the_next_as_of_rfc_8305_section_5() {
    let silent = Silent::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let begin = Instant::now();
    assert_eq!(race(&[silent.address(), open]).unwrap(), open);
    assert!(begin.elapsed() >= ATTEMPT_DELAY);
}

#[test]
fn when_all_refuse_that_is_the_error() {
    let (one, other) = (closed_port(), closed_port());
    let error = race(&[address_of(&one), address_of(&other)]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    // This address is nobody's, so the system refuses to connect there.
    let error = race(&[address_of(&one), address("255.255.255.255:1")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        race(&[]).unwrap_err().kind(),
        io::ErrorKind::AddrNotAvailable
    );
}

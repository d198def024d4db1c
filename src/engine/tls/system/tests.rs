//! Both of the system's ends with each other; where OpenSSL is there, `ClientTls` does not use this connector.

#[path = "../../../../tests/rust/certificates.rs"]
#[allow(dead_code)]
mod certificates;

use std::{
    future::{Future, poll_fn},
    net::{TcpListener, TcpStream},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_lite::future::zip;
use smol::LocalExecutor;

use self::certificates::Authority;
use super::*;
use crate::engine::Engine;

#[test]
fn the_systems_client_and_server_echo() {
    let authority = Authority::new();
    run(async |engine| {
        let (accepted, connected) = shake_hands(&engine, &authority, &trusting(&authority)).await;
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        let mut buffer = [0; 16];
        let written = poll_fn(|context| connected.poll_write(context, b"hello")).await;
        assert_eq!(written.unwrap(), 5);
        let read = poll_fn(|context| accepted.poll_read(context, &mut buffer)).await;
        assert_eq!(&buffer[..read.unwrap()], b"hello");
        poll_fn(|context| connected.poll_shutdown(context))
            .await
            .unwrap();
        let read = poll_fn(|context| accepted.poll_read(context, &mut buffer)).await;
        assert_eq!(read.unwrap(), 0);
    });
}

#[test]
fn the_systems_client_refuses_unknown_authorities_unless_it_is_insecure() {
    let authority = Authority::new();
    run(async |engine| {
        let doubting = ClientTlsOptions::default();
        let (accepted, connected) = shake_hands(&engine, &authority, &doubting).await;
        assert!(matches!(
            connected.err().unwrap(),
            TlsError::Certificate { .. }
        ));
        assert_eq!(
            accepted.err().unwrap().to_string(),
            "the client refused the TLS handshake: unknown ca"
        );
        let insecure = ClientTlsOptions {
            insecure: true,
            ..doubting
        };
        let (_, connected) = shake_hands(&engine, &authority, &insecure).await;
        assert!(connected.is_ok());
    });
}

fn trusting(authority: &Authority) -> ClientTlsOptions {
    let issued = authority.issue("client");
    ClientTlsOptions {
        cafilename: Some(authority.certificate()),
        certfilename: Some(issued.certificate),
        keyfilename: Some(issued.key),
        ..ClientTlsOptions::default()
    }
}

async fn shake_hands(
    engine: &Rc<Engine>,
    authority: &Authority,
    options: &ClientTlsOptions,
) -> (Result<Stream, TlsError>, Result<Stream, TlsError>) {
    let issued = authority.issue("server");
    let credentials = Credentials::load(&issued.certificate, &issued.key, None).unwrap();
    let acceptor = Acceptor::new(&credentials).unwrap();
    let connector = Connector::new(options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let right = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let left = listener.accept().unwrap().0;
    zip(
        acceptor.accept(socket(engine, left)),
        connector.connect("localhost", socket(engine, right)),
    )
    .await
}

#[allow(clippy::useless_conversion)]
fn socket(engine: &Rc<Engine>, stream: TcpStream) -> Socket {
    stream.set_nonblocking(true).unwrap();
    Socket::new(engine.reactor(), stream.into()).unwrap()
}

fn run<T>(future: impl AsyncFnOnce(Rc<Engine>) -> T) -> T {
    let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
    let mut future = pin!(future(engine.clone()));
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
        engine.park().unwrap();
    }
}

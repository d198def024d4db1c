//! Peers that are not what they should be.

use futures_lite::AsyncWriteExt;

use super::*;

#[test]
fn a_client_says_that_the_server_refused_the_handshake() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    let arguments = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    let (_process, stream) = s_server(&issued, &arguments);
    let client = client_of(&authority);
    run(async |engine| {
        let connected = client.connect("localhost", socket(&engine, stream)).await;
        assert_eq!(
            connected.err().unwrap().to_string(),
            "localhost refused the TLS handshake: handshake failure"
        );
    });
}

#[test]
fn a_peer_that_speaks_plain_http_is_named_so() {
    let authority = Authority::new();
    let client = client_of(&authority);
    let server = load(&authority, Some(authority.certificate()));
    run(async |engine| {
        let (mut left, right) = sockets(&engine);
        left.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let error = client.connect("localhost", right).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "localhost does not speak TLS on this port"
        );
        drop(left);

        let (left, mut right) = sockets(&engine);
        right.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let leaves = async {
            let mut buffer = [0; 64];
            while right.try_read(&mut buffer).ok() != Some(Some(0)) {
                right.readable().await.unwrap();
            }
            drop(right);
        };
        let (accepted, ()) = zip(server.accept(left), leaves).await;
        assert_eq!(
            accepted.err().unwrap().to_string(),
            "the client does not speak TLS on this port"
        );
    });
}

#[test]
fn a_peer_that_vanishes_in_the_handshake_is_an_error() {
    let authority = Authority::new();
    let client = client_of(&authority);
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        run(async |engine| {
            let (left, right) = sockets(&engine);
            drop(left);
            let error = client.connect("localhost", right).await.err().unwrap();
            assert!(matches!(error, TlsError::Closed { .. }), "{error:?}");

            let (left, right) = sockets(&engine);
            drop(right);
            let error = server.accept(left).await.err().unwrap();
            assert!(matches!(error, TlsError::Closed { .. }), "{error:?}");
        });
    }
}

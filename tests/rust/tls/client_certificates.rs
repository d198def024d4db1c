//! Clients that show a certificate.

use super::*;

#[test]
fn a_server_with_authorities_takes_a_client_with_their_certificate() {
    let authority = Authority::new();
    let server = load(&authority, Some(authority.certificate()));
    let client = client_with_certificate(&authority, &authority.issue("client"));
    run(async |engine| {
        let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
        zip(echo(&mut accepted), converse(&mut connected)).await;
    });
}

#[test]
fn a_server_with_authorities_refuses_clients_without_a_good_certificate() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let server = load(&authority, Some(authority.certificate()));
    for (client, sees, told) in [
        (
            client_of(&authority),
            "the client sent no certificate",
            "certificate required",
        ),
        (
            client_with_certificate(&authority, &stranger.issue("stranger")),
            "the certificate of the client was issued by an unknown authority",
            "unknown ca",
        ),
        (
            client_with_certificate(&authority, &authority.issue_expired("expired")),
            "the certificate of the client has expired",
            "certificate expired",
        ),
    ] {
        run(async |engine| {
            let (left, right) = sockets(&engine);
            let refused = async {
                let mut stream = client.connect("localhost", right).await.unwrap();
                // A request on its way must not cost the client the reason.
                write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").await;
                read(&mut stream, &mut [0; 8]).await.unwrap_err()
            };
            let (accepted, error) = zip(server.accept(left), refused).await;
            assert_eq!(accepted.err().unwrap().to_string(), sees);
            assert_eq!(
                error.to_string(),
                format!("the TLS connection was refused: {told}")
            );
        });
    }
}

#[test]
fn a_client_shows_its_certificate_to_other_servers() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    let client = client_with_certificate(&authority, &authority.issue("client"));
    let ca = authority.certificate();
    let options = ["-Verify", "1", "-verify_return_error", "-rev", "-CAfile"];
    for version in ["-tls1_2", "-tls1_3"] {
        let mut arguments = options.to_vec();
        arguments.extend([ca.to_str().unwrap(), version]);
        let (_process, stream) = s_server(&issued, &arguments);
        run(async |engine| {
            let socket = socket(&engine, stream);
            let mut stream = client.connect("localhost", socket).await.unwrap();
            write_all(&mut stream, b"hello\n").await;
            assert_eq!(read_exactly(&mut stream, 6).await, b"olleh\n");
        });
    }
}

//! What a client trusts, and what it says of the rest.

use super::*;

#[test]
fn a_client_says_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let trusting = client_of(&authority);
    let doubting = ClientTls::new(&ClientTlsOptions::default()).unwrap();
    let good = authority.issue("good");
    for (client, issued, text) in [
        (
            &trusting,
            authority.issue_expired("expired"),
            "the certificate of localhost has expired",
        ),
        (
            &trusting,
            authority.issue_for_another_host("other"),
            "the certificate of localhost is for another host",
        ),
        (
            &doubting,
            good,
            "the certificate of localhost was issued by an unknown authority",
        ),
        (
            &doubting,
            authority.issue_self_signed("self"),
            "the certificate of localhost is self-signed",
        ),
    ] {
        let server = ServerTls::load(&files(&issued.certificate, &issued.key)).unwrap();
        run(async |engine| {
            let (left, right) = sockets(&engine);
            let (accepted, connected) =
                zip(server.accept(left), client.connect("localhost", right)).await;
            assert_eq!(connected.err().unwrap().to_string(), text);
            let accepted = accepted.err().unwrap();
            assert!(
                matches!(&accepted, TlsError::Refused { peer, .. } if peer == "the client"),
                "{accepted}"
            );
        });
    }
}

#[test]
fn an_address_must_be_in_the_certificate_too() {
    let authority = Authority::new();
    let issued = authority.issue_for_another_host("other");
    let server = ServerTls::load(&files(&issued.certificate, &issued.key)).unwrap();
    let client = client_of(&authority);
    for host in ["127.0.0.1", "[::1]"] {
        run(async |engine| {
            let (left, right) = sockets(&engine);
            let (_, connected) = zip(server.accept(left), client.connect(host, right)).await;
            let error = connected.err().unwrap();
            let TlsError::Certificate { problem, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(problem, CertificateProblem::WrongHost);
        });
    }
}

#[test]
fn an_insecure_client_takes_any_certificate() {
    let authority = Authority::new();
    let options = ClientTlsOptions {
        insecure: true,
        ..ClientTlsOptions::default()
    };
    let client = ClientTls::new(&options).unwrap();
    for issued in [
        authority.issue_expired("expired"),
        authority.issue_for_another_host("other"),
        authority.issue_self_signed("self"),
    ] {
        let server = ServerTls::load(&files(&issued.certificate, &issued.key)).unwrap();
        run(async |engine| {
            let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
            zip(echo(&mut accepted), converse(&mut connected)).await;
        });
    }
}

#[test]
fn a_self_signed_certificate_can_be_trusted_by_name() {
    let authority = Authority::new();
    let issued = authority.issue_self_signed("self");
    let server = ServerTls::load(&files(&issued.certificate, &issued.key)).unwrap();
    let options = ClientTlsOptions {
        cafilename: Some(issued.certificate),
        ..ClientTlsOptions::default()
    };
    let client = ClientTls::new(&options).unwrap();
    run(async |engine| {
        let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
        zip(echo(&mut accepted), converse(&mut connected)).await;
    });
}

#[test]
fn a_name_that_cannot_be_checked_is_refused() {
    let client = ClientTls::new(&ClientTlsOptions::default()).unwrap();
    for host in ["", ".", "[]", "local\0host"] {
        run(async |engine| {
            let (_left, right) = sockets(&engine);
            let error = client.connect(host, right).await.err().unwrap();
            assert!(matches!(error, TlsError::BadHost(_)), "{error}");
        });
    }
}

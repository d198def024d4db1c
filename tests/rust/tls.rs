//! TLS on both ends, against each other and against the `openssl` command.

use std::{
    fs,
    future::{Future, poll_fn},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::zip;
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

// Files of a server.

#[test]
fn each_key_format_loads() {
    let authority = Authority::new();
    authority.issue("ec");
    authority.openssl("ec -in ec.key -out sec1.key");
    authority.openssl("ec -in ec.key -aes128 -passout pass:secret -out sec1-encrypted.key");
    authority.openssl("pkcs8 -topk8 -in ec.key -passout pass:secret -out pkcs8-encrypted.key");
    // As `openssl ecparam -genkey` writes it.
    authority.openssl("ecparam -name prime256v1 -out parameters.pem");
    let with_parameters = [
        fs::read(authority.path("parameters.pem")).unwrap(),
        fs::read(authority.path("sec1.key")).unwrap(),
    ]
    .concat();
    fs::write(authority.path("sec1-parameters.key"), with_parameters).unwrap();
    authority.openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout rsa.key -out rsa.pem -subj /CN=rsa",
    );
    authority.openssl("rsa -in rsa.key -traditional -out pkcs1.key");
    authority.openssl(
        "rsa -in rsa.key -traditional -aes128 -passout pass:secret -out pkcs1-encrypted.key",
    );
    authority.openssl("pkcs8 -topk8 -in rsa.key -passout pass:secret -out rsa-encrypted.key");
    for (certificate, key, marker) in [
        ("ec.pem", "ec.key", "BEGIN PRIVATE KEY"),
        ("ec.pem", "sec1.key", "BEGIN EC PRIVATE KEY"),
        ("ec.pem", "sec1-parameters.key", "BEGIN EC PARAMETERS"),
        ("ec.pem", "sec1-encrypted.key", "Proc-Type: 4,ENCRYPTED"),
        ("ec.pem", "pkcs8-encrypted.key", "BEGIN ENCRYPTED PRIVATE"),
        ("rsa.pem", "rsa.key", "BEGIN PRIVATE KEY"),
        ("rsa.pem", "pkcs1.key", "BEGIN RSA PRIVATE KEY"),
        ("rsa.pem", "pkcs1-encrypted.key", "Proc-Type: 4,ENCRYPTED"),
        ("rsa.pem", "rsa-encrypted.key", "BEGIN ENCRYPTED PRIVATE"),
    ] {
        let text = fs::read_to_string(authority.path(key)).unwrap();
        assert!(text.contains(marker), "{key} is not what it should be");
        for cafilename in [None, Some(authority.certificate())] {
            let files = ServerTlsFiles {
                certfilename: authority.path(certificate),
                keyfilename: authority.path(key),
                passphrase: Some(b"secret".to_vec()),
                cafilename,
            };
            if let Err(error) = ServerTls::load(&files) {
                panic!("{key}: {error}");
            }
        }
    }
}

#[test]
fn certificate_and_key_may_share_a_file() {
    let authority = Authority::new();
    let server = authority.issue("server");
    let both = [
        fs::read(&server.key).unwrap(),
        fs::read(&server.certificate).unwrap(),
        fs::read(authority.certificate()).unwrap(),
    ]
    .concat();
    fs::write(authority.path("both.pem"), both).unwrap();
    let both = authority.path("both.pem");
    assert!(ServerTls::load(&files(&both, &both)).is_ok());
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    let server = authority.issue("server");
    let other = authority.issue("other");
    authority.openssl("ec -in server.key -aes128 -passout pass:secret -out sec1.key");
    authority.openssl("pkcs8 -topk8 -in server.key -passout pass:secret -out pkcs8.key");
    let file = |name: &str, content: &str| {
        fs::write(authority.path(name), content).unwrap();
        authority.path(name)
    };
    let missing = authority.path("missing.pem");
    let empty = file("empty.pem", "");
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let broken_key = file(
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let chain = [
        fs::read_to_string(authority.certificate()).unwrap(),
        fs::read_to_string(&server.certificate).unwrap(),
    ];
    let backwards = file("backwards.pem", &chain.concat());
    let path = |path: &Path| path.display().to_string();
    let message = |files: ServerTlsFiles| match ServerTls::load(&files) {
        Ok(_) => "it loads".to_owned(),
        Err(error) => error.to_string(),
    };

    assert_eq!(
        message(files(&missing, &server.key)),
        format!(
            "cannot read {}: No such file or directory (os error 2)",
            path(&missing)
        )
    );
    assert_eq!(
        message(files(&server.certificate, &missing)),
        format!(
            "cannot read {}: No such file or directory (os error 2)",
            path(&missing)
        )
    );
    for without in [&empty, &server.key] {
        assert_eq!(
            message(files(without, &server.key)),
            format!("no certificate in {} (PEM is expected)", path(without))
        );
    }
    for without in [&empty, &server.certificate] {
        assert_eq!(
            message(files(&server.certificate, without)),
            format!("no private key in {} (PEM is expected)", path(without))
        );
    }
    assert!(message(files(&broken, &server.key)).starts_with(&format!(
        "cannot use the certificate in {}: ",
        path(&broken)
    )));
    assert!(
        message(files(&server.certificate, &broken_key)).starts_with(&format!(
            "cannot use the private key in {}: ",
            path(&broken_key)
        ))
    );
    assert_eq!(
        message(files(&server.certificate, &other.key)),
        format!(
            "the private key in {} does not belong to the certificate in {}",
            path(&other.key),
            path(&server.certificate)
        )
    );
    assert_eq!(
        message(files(&backwards, &server.key)),
        format!(
            "the certificate of the private key must be the first in {}",
            path(&backwards)
        )
    );
    for key in ["sec1.key", "pkcs8.key"].map(|name| authority.path(name)) {
        let encrypted = |passphrase: Option<&[u8]>| ServerTlsFiles {
            passphrase: passphrase.map(<[u8]>::to_vec),
            ..files(&server.certificate, &key)
        };
        assert_eq!(
            message(encrypted(None)),
            format!(
                "the private key in {} is encrypted and needs a passphrase",
                path(&key)
            )
        );
        let too_long = vec![b'x'; 5000];
        for wrong in [&b"wrong"[..], b"", &too_long] {
            assert_eq!(
                message(encrypted(Some(wrong))),
                format!("wrong passphrase for the private key in {}", path(&key))
            );
        }
        assert_eq!(message(encrypted(Some(b"secret"))), "it loads");
    }
    let with_authorities = |cafilename: &Path| ServerTlsFiles {
        cafilename: Some(cafilename.to_owned()),
        ..files(&server.certificate, &server.key)
    };
    assert_eq!(
        message(with_authorities(&empty)),
        format!("no certificate in {} (PEM is expected)", path(&empty))
    );
    assert_eq!(message(with_authorities(&server.certificate)), "it loads");
}

#[test]
fn a_clients_key_needs_its_certificate() {
    let authority = Authority::new();
    let issued = authority.issue("client");
    let options = ClientTlsOptions {
        keyfilename: Some(issued.key.clone()),
        ..ClientTlsOptions::default()
    };
    assert_eq!(
        ClientTls::new(&options).err().unwrap().to_string(),
        format!(
            "the private key in {} needs a certificate (certfilename)",
            issued.key.display()
        )
    );
}

// Handshakes.

#[test]
fn our_client_and_our_server_echo() {
    let authority = Authority::new();
    let server = load(&authority, None);
    for host in ["localhost", "localhost.", "127.0.0.1", "LOCALHOST"] {
        let client = client_of(&authority);
        run(async |engine| {
            let (left, right) = sockets(&engine);
            let (accepted, connected) = zip(server.accept(left), client.connect(host, right)).await;
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            assert!(accepted.socket().peer().is_ok());
            zip(echo(&mut accepted), converse(&mut connected)).await;
        });
    }
}

#[test]
fn openssl_s_client_talks_to_our_server() {
    let authority = Authority::new();
    for (version, cafilename) in [
        ("-tls1_2", None),
        ("-tls1_2", Some(authority.certificate())),
        ("-tls1_3", Some(authority.certificate())),
    ] {
        let server = load(&authority, cafilename);
        let client = authority.issue("client");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut process = Process::start(
            Command::new("openssl")
                .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error"])
                .args([version, "-verify_hostname", "localhost", "-alpn", "h2"])
                .args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile"])
                .arg(authority.certificate())
                .arg("-cert")
                .arg(&client.certificate)
                .arg("-key")
                .arg(&client.key),
        );
        let mut input = process.0.stdin.take().unwrap();
        input.write_all(b"hello\n").unwrap();
        run(async |engine| {
            let mut stream = server
                .accept(socket(&engine, listener.accept().unwrap().0))
                .await
                .unwrap();
            assert!(poll_fn(|context| stream.poll_peek(context)).await.unwrap());
            assert_eq!(read_exactly(&mut stream, 6).await, b"hello\n");
            write_all(&mut stream, b"bye\n").await;
            let mut output = BufReader::new(process.0.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "bye\n");
            drop(input);
            // s_client sends its close_notify at the end of its input.
            assert_eq!(read(&mut stream, &mut [0; 8]).await.unwrap(), 0);
        });
    }
}

#[test]
fn our_client_talks_to_openssl_s_server() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    for version in ["-tls1_2", "-tls1_3"] {
        let (_process, stream) = s_server(&issued, &[version, "-rev"]);
        let client = client_of(&authority);
        run(async |engine| {
            let socket = socket(&engine, stream);
            let mut stream = client.connect("localhost", socket).await.unwrap();
            write_all(&mut stream, b"hello\n").await;
            assert_eq!(read_exactly(&mut stream, 6).await, b"olleh\n");
        });
    }
}

#[test]
fn a_server_learns_the_name_that_the_client_wants() {
    let authority = Authority::new();
    let named = authority.issue("named");
    let arguments = [
        "-rev",
        "-servername",
        "localhost",
        "-cert2",
        named.certificate.to_str().unwrap(),
        "-key2",
        named.key.to_str().unwrap(),
    ];
    // Who names no host, or another one, gets the other certificate.
    let (_process, stream) = s_server(&authority.issue_for_another_host("other"), &arguments);
    let client = client_of(&authority);
    run(async |engine| {
        let connected = client.connect("localhost", socket(&engine, stream)).await;
        assert!(connected.is_ok());
    });
}

#[test]
fn a_megabyte_goes_through_both_ways() {
    let authority = Authority::new();
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        let client = client_with_certificate(&authority, &authority.issue("client"));
        run(async |engine| {
            let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
            let bytes: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
            let there = async {
                write_all(&mut connected, &bytes).await;
                assert_eq!(read_exactly(&mut connected, bytes.len()).await, bytes);
            };
            let back = async {
                let got = read_exactly(&mut accepted, bytes.len()).await;
                write_all(&mut accepted, &got).await;
            };
            zip(there, back).await;
        });
    }
}

#[test]
fn connectors_can_be_made_off_the_thread() {
    fn is_send<T: Send + Sync>() {}
    is_send::<ClientTls>();
    is_send::<TlsError>();
}

// Client certificates.

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

// What a client does not trust.

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

// Peers that are not what they should be.

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
        let (left, right) = sockets(&engine);
        left.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let error = client.connect("localhost", right).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "localhost does not speak TLS on this port"
        );
        drop(left);

        let (left, right) = sockets(&engine);
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

// The end of a connection.

#[test]
fn close_notify_is_an_end_and_leaves_the_other_way_open() {
    let authority = Authority::new();
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        let client = client_with_certificate(&authority, &authority.issue("client"));
        run(async |engine| {
            let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
            shutdown(&mut connected).await.unwrap();
            assert!(
                !poll_fn(|context| accepted.poll_peek(context))
                    .await
                    .unwrap()
            );
            assert_eq!(read(&mut accepted, &mut [0; 8]).await.unwrap(), 0);
            write_all(&mut accepted, b"late").await;
            assert_eq!(read_exactly(&mut connected, 4).await, b"late");
            shutdown(&mut accepted).await.unwrap();
            assert_eq!(read(&mut connected, &mut [0; 8]).await.unwrap(), 0);
        });
    }
}

#[test]
fn a_cut_connection_is_an_end_for_servers_and_an_error_for_clients() {
    let authority = Authority::new();
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        let client = client_with_certificate(&authority, &authority.issue("client"));
        run(async |engine| {
            let (mut accepted, connected) = connect(&engine, &server, &client).await;
            half_close(&connected);
            assert_eq!(read(&mut accepted, &mut [0; 8]).await.unwrap(), 0);
            assert_eq!(read(&mut accepted, &mut [0; 8]).await.unwrap(), 0);

            let (accepted, mut connected) = connect(&engine, &server, &client).await;
            half_close(&accepted);
            let error = read(&mut connected, &mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        });
    }
}

#[test]
fn a_peer_that_has_vanished_does_not_hang_the_shutdown() {
    let authority = Authority::new();
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        let client = client_with_certificate(&authority, &authority.issue("client"));
        run(async |engine| {
            let (mut accepted, connected) = connect(&engine, &server, &client).await;
            drop(connected);
            // It may succeed or fail, but it ends.
            let _ = shutdown(&mut accepted).await;
            let _ = shutdown(&mut accepted).await;
        });
    }
}

#[test]
fn a_half_written_record_forbids_the_end() {
    let authority = Authority::new();
    for cafilename in [None, Some(authority.certificate())] {
        let server = load(&authority, cafilename);
        let client = client_with_certificate(&authority, &authority.issue("client"));
        run(async |engine| {
            let (mut accepted, _connected) = connect(&engine, &server, &client).await;
            let full = poll_fn(|context| {
                while let std::task::Poll::Ready(written) = accepted.poll_write(context, &[0; 9999])
                {
                    written.unwrap();
                }
                std::task::Poll::Ready(())
            });
            full.await;
            let error = shutdown(&mut accepted).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    }
}

#[test]
fn a_peeked_byte_stays_to_be_read() {
    let authority = Authority::new();
    let server = load(&authority, None);
    let client = client_of(&authority);
    run(async |engine| {
        let (mut accepted, mut connected) = connect(&engine, &server, &client).await;
        write_all(&mut connected, b"abc").await;
        for _ in 0..2 {
            assert!(
                poll_fn(|context| accepted.poll_peek(context))
                    .await
                    .unwrap()
            );
        }
        assert_eq!(read_exactly(&mut accepted, 1).await, b"a");
        assert!(
            poll_fn(|context| accepted.poll_peek(context))
                .await
                .unwrap()
        );
        assert_eq!(read_exactly(&mut accepted, 2).await, b"bc");
    });
}

// What the tests are made of.

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

/// Runs what `future` does on an engine of its own.
fn run<T>(future: impl AsyncFnOnce(Rc<Engine>) -> T) -> T {
    let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // So that parking ends.
    engine.timers().set(deadline, 0);
    let mut future = std::pin::pin!(future(engine.clone()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        assert!(Instant::now() < deadline, "it takes too long");
        engine.run_tasks(None);
        engine.park().unwrap();
    }
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

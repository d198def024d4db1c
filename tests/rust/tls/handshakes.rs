//! Handshakes of both ends, with each other and with `openssl`.

use super::*;

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
    with_either_server(async |engine, server, client| {
        let (mut accepted, mut connected) = connect(engine, server, client).await;
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

#[test]
fn connectors_can_be_made_off_the_thread() {
    fn is_send<T: Send + Sync>() {}
    is_send::<ClientTls>();
    is_send::<TlsError>();
}

//! How connections end.

use super::*;

#[test]
fn close_notify_is_an_end_and_leaves_the_other_way_open() {
    with_either_server(async |engine, server, client| {
        let (mut accepted, mut connected) = connect(engine, server, client).await;
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

#[test]
fn a_cut_connection_is_an_end_for_servers_and_an_error_for_clients() {
    with_either_server(async |engine, server, client| {
        let (mut accepted, connected) = connect(engine, server, client).await;
        half_close(&connected);
        assert_eq!(read(&mut accepted, &mut [0; 8]).await.unwrap(), 0);
        assert_eq!(read(&mut accepted, &mut [0; 8]).await.unwrap(), 0);

        let (accepted, mut connected) = connect(engine, server, client).await;
        half_close(&accepted);
        let error = read(&mut connected, &mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    });
}

#[test]
fn a_peer_that_has_vanished_does_not_hang_the_shutdown() {
    with_either_server(async |engine, server, client| {
        let (mut accepted, connected) = connect(engine, server, client).await;
        drop(connected);
        // It may succeed or fail, but it ends.
        let _ = shutdown(&mut accepted).await;
        let _ = shutdown(&mut accepted).await;
    });
}

#[test]
fn a_half_written_record_forbids_the_end() {
    with_either_server(async |engine, server, client| {
        let (mut accepted, _connected) = connect(engine, server, client).await;
        let full = poll_fn(|context| {
            while let std::task::Poll::Ready(written) = accepted.poll_write(context, &[0; 9999]) {
                written.unwrap();
            }
            std::task::Poll::Ready(())
        });
        full.await;
        let error = shutdown(&mut accepted).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
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

//! SIGTERM under load.

use super::*;

const LATE_OR_NOT: &str = "
if request.path == '/late' then task.wait(0.05) end
return request.path";

#[test]
fn sigterm_lets_every_request_be_answered_whose_connection_the_system_had_accepted() {
    let mut server = Server::with_handler(LATE_OR_NOT);
    let mut idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for stream in &mut idle {
        stream.write_all(&get("/first")).unwrap();
        assert_eq!(read_response(stream).1, "/first");
    }
    let mut kept = idle.split_off(10);
    // While the process stands still, the system accepts clients and their requests.
    server.signal("-STOP");
    let mut streams: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let path = if number % 2 == 0 { "/late" } else { "/now" };
        stream.write_all(&get(path)).unwrap();
    }
    for stream in &mut kept {
        stream.write_all(&get("/again")).unwrap();
    }
    let mut slow = server.connect();
    server.signal("-TERM");
    server.signal("-CONT");
    for stream in streams.iter_mut().chain(&mut kept) {
        let answer = read_to_end(stream);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    for stream in &mut idle {
        assert_eq!(read_to_end(stream), "");
    }
    // Its request comes when nobody listens any more.
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
    slow.write_all(&get("/now")).unwrap();
    assert!(read_to_end(&mut slow).ends_with("/now"));
    drop((streams, kept));
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn sigterm_ends_a_server_to_which_clients_are_connected_that_say_nothing() {
    let mut server = Server::with_handler(LATE_OR_NOT);
    let mut silent: Vec<_> = (0..10).map(|_| server.connect()).collect();
    wait_until("ten connections", || server.activity().0 == 10);
    let began = Instant::now();
    server.signal("-TERM");
    for stream in &mut silent {
        assert_eq!(read_to_end(stream), "");
    }
    assert!(server.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(2));
}

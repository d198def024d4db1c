//! `--log`: what the command prints about requests.

use std::io::Read;

use crate::support::{Server, command, kill};

const HANDLER: &str = r#"
local server = require("@lute/net/server")
local running = server.serve({ port = 0, handler = function(request)
    if request.path == "/fails" then error("broken \"here\"") end
    if request.path == "/pieces" then
        local left = 2
        return { status = 404, body = function() left -= 1 return if left >= 0 then "piece" else nil end }
    end
    return "fine"
end })
print(running.port)
"#;

/// What the command printed on stderr while it was asked for these paths.
fn logged(log: &str, paths: &[&str]) -> String {
    let mut command = command();
    command.args(["run", "--log", log]);
    let mut server = Server::run(command, HANDLER);
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        server.exchange(request.as_bytes());
    }
    kill("-INT", &server.child.id().to_string());
    server.child.wait().unwrap();
    let mut stderr = String::new();
    let mut pipe = server.child.stderr.take().unwrap();
    pipe.read_to_string(&mut stderr).unwrap();
    stderr
}

#[test]
fn requests_are_a_line_each_with_method_path_status_time_and_bytes() {
    let log = logged("requests", &["/one?secret", "/pieces", "/fails"]);
    let lines: Vec<Vec<&str>> = log
        .lines()
        .filter(|line| line.starts_with("GET "))
        .map(|line| line.split(' ').collect())
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    for (line, expected) in
        lines
            .iter()
            .zip([("/one", "200"), ("/pieces", "404"), ("/fails", "500")])
    {
        assert_eq!((line[1], line[2]), expected, "{log}");
        assert!(line[3].parse::<f64>().unwrap() > 0.0, "{log}");
        assert_eq!((line[4], line[6]), ("ms", "B"), "{log}");
        assert!(line[5].parse::<u64>().unwrap() > 50, "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn json_has_an_object_a_line_also_for_errors() {
    let log = logged("json", &["/one", "/fails"]);
    assert!(
        log.lines()
            .all(|line| line.starts_with(r#"{"time":"#) && line.ends_with('}')),
        "{log}"
    );
    let answered = log
        .lines()
        .find(|line| line.contains(r#""status":200"#))
        .unwrap();
    for field in [
        r#""level":"debug""#,
        r#""message":"answered""#,
        r#""method":"GET""#,
        r#""path":"/one""#,
        r#""bytes":"#,
        r#""seconds":"#,
    ] {
        assert!(answered.contains(field), "{answered}");
    }
    let error = log
        .lines()
        .find(|line| line.contains(r#""level":"error""#))
        .unwrap();
    assert!(error.contains(r#"broken \"here\""#), "{error}");
    assert!(error.contains(r#""traceback":""#), "{error}");
    assert!(log.contains(r#""message":"listening""#), "{log}");
}

#[test]
fn a_request_that_is_refused_is_logged_with_the_reason() {
    let log = logged("requests", &["/ HTTP/1.1\r\nHost: again"]);
    let line = log.lines().find(|line| line.contains("refused")).unwrap();
    assert!(
        line.contains("status=400") && line.contains("reason="),
        "{line}"
    );
}

#[test]
fn what_listens_is_said_when_asked_for_and_nothing_else() {
    let log = logged("listening", &["/one"]);
    assert!(
        log.starts_with("lute-net: listening on http://127.0.0.1:"),
        "{log}"
    );
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(logged("off", &["/one"]), "");
}

#[test]
fn without_a_terminal_nothing_is_logged() {
    let server = Server::start(HANDLER);
    server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(server.stop_and_read_stderr(), "");
}

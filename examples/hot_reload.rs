//! A script that serves, and is started anew whenever its file changes: every socket and coroutine of the last version is
//! gone before the next one begins, so the port is free for it.
//!
//! ```sh
//! cargo run --example hot_reload -- app.luau
//! cargo run --example hot_reload -- --check # changes a script of its own and asks both versions
//! ```

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use lute_net::Runtime;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => Err("which script?".into()),
        Some("--check") => check(),
        Some(script) => Reloader::new(script.into())?.run_while(|_| true),
    }
}

/// A runtime whose script is started anew when its file changes.
struct Reloader {
    runtime: Runtime,
    script: PathBuf,
    version: Option<SystemTime>,
    loads: u32,
}

impl Reloader {
    fn new(script: PathBuf) -> Result<Self, Box<dyn Error>> {
        let runtime = Runtime::builder().build()?;
        Ok(Self {
            runtime,
            script,
            version: None,
            loads: 0,
        })
    }

    fn run_while(&mut self, mut goes_on: impl FnMut(u32) -> bool) -> Result<(), Box<dyn Error>> {
        while goes_on(self.loads) {
            self.load_if_changed()?;
            let until = Instant::now() + LOOK;
            while Instant::now() < until {
                let pause = self.runtime.step(Duration::from_millis(5))?;
                if !pause.ready {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    fn load_if_changed(&mut self) -> Result<(), Box<dyn Error>> {
        let version = changed(&self.script);
        if version == self.version {
            return Ok(());
        }
        self.version = version;
        self.runtime.reset()?;
        match self.runtime.load_file(&self.script, &[]) {
            Ok(()) => self.loads += 1,
            // A half-written file: the next change is another try.
            Err(problem) => eprintln!("{problem}"),
        }
        Ok(())
    }
}

fn changed(script: &Path) -> Option<SystemTime> {
    fs::metadata(script)
        .and_then(|metadata| metadata.modified())
        .ok()
}

fn check() -> Result<(), Box<dyn Error>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let script = std::env::temp_dir().join(format!("hot-reload-{}.luau", std::process::id()));
    let write = |answer: &str| {
        let source = format!(
            r#"require("@lute/net/server").serve({{ port = {port}, handler = function() return "{answer}" end }})"#
        );
        fs::write(&script, source)
    };
    write("version 1")?;
    let mut reloader = Reloader::new(script.clone())?;
    reloader.run_while(|loads| loads < 1)?;
    let first = asked_while_running(&mut reloader, port)?;
    write("version 2")?;
    fs::File::open(&script)?.set_modified(SystemTime::now() + Duration::from_secs(1))?;
    reloader.run_while(|loads| loads < 2)?;
    let second = asked_while_running(&mut reloader, port)?;
    fs::remove_file(&script)?;
    println!("{first}, then {second}");
    if (first.as_str(), second.as_str()) != ("version 1", "version 2") {
        return Err("the new version does not answer".into());
    }
    Ok(())
}

/// What a client on another thread is answered.
fn asked_while_running(reloader: &mut Reloader, port: u16) -> Result<String, Box<dyn Error>> {
    let client = thread::spawn(move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_owned())
    });
    reloader.run_while(|_| !client.is_finished())?;
    Ok(client.join().map_err(|_| "the client panicked")??)
}

//! The command line that starts each peer.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::contract::Handler;
use crate::loads::{Row, Variant};
use crate::process::{Cores, Server};
use crate::servers::nginx;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Level-triggered epoll and fixed bytes.
    Floor,
    WebSocketFloor,
    LuteNet,
    Hyper,
    HyperLuau,
    AsyncH1,
    AsyncH1Luau,
    Node,
    NginxLua,
    /// Another runtime for Luau, where one was given.
    Lune,
    /// A client: blocking write and read.
    RawClient,
    /// A client: the load generator.
    LoadGenerator,
    /// The program that does nothing.
    True,
}

/// What a server is started for.
#[derive(Clone, Copy)]
pub enum Service {
    Http(Handler),
    WebSocketEcho,
    WebSocketPublish,
}

/// Programs and files that commands are made of.
pub struct Tools {
    lute_net: PathBuf,
    lune: Option<PathBuf>,
    this: PathBuf,
    sources: PathBuf,
    scratch: TempDir,
}

impl Tools {
    pub fn new(lute_net: PathBuf, lune: Option<PathBuf>) -> Result<Self> {
        Ok(Self {
            lute_net,
            lune,
            this: std::env::current_exe().context("the path of this program")?,
            sources: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            scratch: TempDir::with_prefix("lute-net-benches-").context("no temporary folder")?,
        })
    }

    /// Starts the server of `row` on a free port, and waits until it listens.
    pub fn start(&self, row: &Row, service: Service, cores: &Cores) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.server(row, service, port)?;
        let child = match row.variant {
            Variant::Workers(_) => cores.spawn_anywhere(&mut command)?,
            _ => cores.spawn_measured(&mut command)?,
        };
        Server::wait_for(child, port)
    }

    /// Starts the floor server on the core of the load generator: for the clients.
    pub fn start_floor(&self, cores: &Cores) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.own_server("floor", port);
        Server::wait_for(cores.spawn_driving(&mut command)?, port)
    }

    fn server(&self, row: &Row, service: Service, port: u16) -> Result<Command> {
        let command = match (row.peer, service) {
            (Peer::LuteNet, _) => self.lute_net_server(row.variant, service, port)?,
            (Peer::Floor, Service::Http(handler)) => self.own_http_server("floor", handler, port),
            (Peer::Hyper, Service::Http(handler)) => self.own_http_server("hyper", handler, port),
            (Peer::AsyncH1, Service::Http(handler)) => {
                self.own_http_server("async-h1", handler, port)
            }
            (Peer::HyperLuau, Service::Http(handler)) => {
                self.own_luau_server("hyper", handler, port)
            }
            (Peer::AsyncH1Luau, Service::Http(handler)) => {
                self.own_luau_server("async-h1", handler, port)
            }
            (Peer::WebSocketFloor, Service::WebSocketEcho) => {
                self.own_server("websocket-floor", port)
            }
            (Peer::WebSocketFloor, Service::WebSocketPublish) => {
                let mut command = self.own_server("websocket-floor", port);
                command.arg("--publish");
                command
            }
            (Peer::Node, Service::Http(handler)) => {
                let mut command = quiet(Command::new("node"));
                command
                    .arg(self.sources.join("src/servers/node.mjs"))
                    .arg(port.to_string())
                    .arg(handler.name());
                command
            }
            (Peer::NginxLua, Service::Http(handler)) => {
                let certificate = match row.variant {
                    Variant::Tls => Some(self.certificate()?),
                    _ => None,
                };
                quiet(nginx::command(
                    self.scratch.path(),
                    port,
                    handler,
                    certificate.as_ref(),
                )?)
            }
            (Peer::Lune, Service::Http(handler)) => self.lune_server(handler.name(), port)?,
            (Peer::Lune, Service::WebSocketEcho) => self.lune_server("websocket", port)?,
            (peer, _) => bail!("{peer:?} does not offer this service"),
        };
        Ok(command)
    }

    fn lune_server(&self, handler: &str, port: u16) -> Result<Command> {
        let lune = self.lune.as_ref().context("--lune was not given")?;
        let mut command = quiet(Command::new(lune));
        command.arg("run").arg(self.script("lune.luau"));
        command.arg(port.to_string()).arg(handler);
        Ok(command)
    }

    fn own_server(&self, kind: &str, port: u16) -> Command {
        let mut command = quiet(Command::new(&self.this));
        command
            .args(["server", kind, "--port"])
            .arg(port.to_string());
        command
    }

    fn own_http_server(&self, kind: &str, handler: Handler, port: u16) -> Command {
        let mut command = self.own_server(kind, port);
        command.args(["--handler", handler.name()]);
        command
    }

    fn own_luau_server(&self, kind: &str, handler: Handler, port: u16) -> Command {
        let mut command = self.own_http_server(kind, handler, port);
        command.arg("--luau");
        command
    }

    fn lute_net_server(&self, variant: Variant, service: Service, port: u16) -> Result<Command> {
        let mut command = self.lute_net()?;
        if let Variant::Workers(count) = variant {
            command.args(["run", "--workers"]).arg(count.to_string());
        }
        match service {
            Service::Http(handler) => {
                command
                    .arg(self.script("server.luau"))
                    .arg(port.to_string())
                    .arg(handler.name());
            }
            Service::WebSocketEcho => {
                command
                    .arg(self.script("websocket.luau"))
                    .arg(port.to_string())
                    .arg("echo");
            }
            Service::WebSocketPublish => {
                command
                    .arg(self.script("websocket.luau"))
                    .arg(port.to_string())
                    .arg("publish");
            }
        }
        if variant == Variant::Tls {
            let certificate = self.certificate()?;
            command.arg(&certificate.chain).arg(&certificate.key);
        }
        Ok(command)
    }

    /// The client of `row` against the server on `port`; `request` is a file with the bytes that lute-net's client sends.
    pub fn client(
        &self,
        row: &Row,
        port: u16,
        seconds: f64,
        at_once: usize,
        request: &Path,
    ) -> Result<Command> {
        let own = |kind: &str| {
            let mut command = Command::new(&self.this);
            command
                .args(["client", kind, "--port"])
                .arg(port.to_string());
            command
                .arg("--seconds")
                .arg(seconds.to_string())
                .arg("--request")
                .arg(request);
            command
        };
        let mut command = match row.peer {
            Peer::RawClient => own("raw"),
            Peer::LoadGenerator => {
                let mut command = own("load-generator");
                command.arg("--at-once").arg(at_once.to_string());
                command
            }
            Peer::LuteNet => {
                let mut command = self.lute_net()?;
                command
                    .arg(self.script("client.luau"))
                    .arg(format!("http://127.0.0.1:{port}/"));
                command.arg(seconds.to_string()).arg(at_once.to_string());
                command
            }
            peer => bail!("{peer:?} is no client"),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    /// A command that starts, does next to nothing, and ends.
    pub fn start_up(&self, row: &Row) -> Result<Command> {
        Ok(match row.peer {
            Peer::LuteNet => {
                let mut command = self.lute_net()?;
                command.arg(self.script("one-line.luau"));
                command
            }
            Peer::Node => {
                let mut command = quiet(Command::new("node"));
                command.args(["--eval", "console.log('Hello')"]);
                command
            }
            Peer::True => quiet(Command::new("true")),
            peer => bail!("{peer:?} has no start-up to measure"),
        })
    }

    /// Where a file of this run may be written.
    pub fn scratch_file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The self-signed certificate for `localhost`, made on first use.
    pub fn certificate(&self) -> Result<Certificate> {
        let certificate = Certificate {
            chain: self.scratch_file("certificate.pem"),
            key: self.scratch_file("key.pem"),
        };
        if certificate.chain.exists() {
            return Ok(certificate);
        }
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
            ])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&certificate.key)
            .arg("-out")
            .arg(&certificate.chain)
            .output()
            .context("cannot start `openssl`: is it installed?")?;
        if !made.status.success() {
            bail!(
                "openssl made no certificate: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        Ok(certificate)
    }

    fn lute_net(&self) -> Result<Command> {
        if !self.lute_net.exists() {
            let path = self.lute_net.display();
            bail!(
                "no lute-net at {path}: build it with `cargo build --release -p lute-net`, or give --lute-net PATH"
            );
        }
        Ok(quiet(Command::new(&self.lute_net)))
    }

    fn script(&self, name: &str) -> PathBuf {
        self.sources.join("scripts").join(name)
    }
}

/// Files in PEM.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    pub fn read_chain(&self) -> Result<Vec<u8>> {
        fs::read(&self.chain).with_context(|| self.chain.display().to_string())
    }
}

/// What a server says on standard output is not of interest; its errors are.
fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

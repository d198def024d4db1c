//! Clients under measurement: a process that requests from the floor server for a while, then says how often.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use super::{Plan, Sample};
use crate::contract::{Handler, Headers};
use crate::loads::Row;
use crate::peers::{Peer, Tools};
use crate::process::{Cores, Process};

/// CPU time from exec to exit: the start-up, some milliseconds, is in it for all.
pub fn sample(
    row: &Row,
    at_once: usize,
    plan: &Plan,
    tools: &Tools,
    cores: &Cores,
) -> Result<Sample> {
    let request = match row.peer {
        Peer::LuteNet => PathBuf::new(),
        _ => request_file(tools, cores)?,
    };
    let floor = tools.start_floor(cores)?;
    let mut command = tools.client(row, floor.port, plan.seconds, at_once, &request)?;
    let mut process = Process(cores.spawn_measured(&mut command)?);
    let said = read_to_end(&mut process)?;
    process.wait_until_ended()?;
    let cpu = process.cpu_time()?;
    let status = process.0.wait()?;
    if !status.success() {
        bail!("the client failed: {status}");
    }
    let (requests, seconds) =
        parse(&said).with_context(|| format!("not `requests N seconds S`: {said:?}"))?;
    Ok(Sample::new(requests, seconds, cpu))
}

fn parse(said: &str) -> Option<(u64, f64)> {
    let mut words = said.split_whitespace();
    let (Some("requests"), requests, Some("seconds"), seconds) =
        (words.next(), words.next()?, words.next(), words.next()?)
    else {
        return None;
    };
    Some((
        requests.parse().ok().filter(|&requests| requests > 0)?,
        seconds.parse().ok()?,
    ))
}

fn read_to_end(process: &mut Process) -> Result<String> {
    let mut said = String::new();
    let mut output = process.0.stdout.take().context("no output of the client")?;
    output
        .read_to_string(&mut said)
        .context("output of the client")?;
    Ok(said)
}

/// The bytes that lute-net's client sends: the others send the same. Without a lute-net that can, a plain GET.
fn request_file(tools: &Tools, cores: &Cores) -> Result<PathBuf> {
    let file = tools.scratch_file("client-request");
    if !file.exists() {
        let request = captured(tools, cores).unwrap_or_else(|error| {
            eprintln!(
                "the raw clients send a plain GET, since lute-net's own is not known: {error:#}"
            );
            Handler::Hello.request(Headers::Few)
        });
        fs::write(&file, request).with_context(|| file.display().to_string())?;
    }
    Ok(file)
}

/// Lets lute-net's client do one request to a socket of ours.
fn captured(tools: &Tools, cores: &Cores) -> Result<Vec<u8>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let row = Row {
        name: "lute-net",
        peer: Peer::LuteNet,
        variant: crate::loads::Variant::Usual,
        against: "lute-net",
    };
    let mut command = tools.client(&row, port, 0.0, 1, Path::new(""))?;
    let mut process = Process(cores.spawn_measured(&mut command)?);
    let server = thread::spawn(move || answer_once(&listener));
    let ended = process.0.wait()?;
    if !ended.success() {
        // Nobody may have connected: the thread waits for ever, and ends with this process.
        bail!("the client failed: {ended}");
    }
    server
        .join()
        .map_err(|_| anyhow::anyhow!("the capturing thread panicked"))?
}

fn answer_once(listener: &TcpListener) -> Result<Vec<u8>> {
    let (mut socket, _) = listener.accept()?;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut buffer)? {
            0 => bail!("the client closed the connection before its request was whole"),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    socket.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, World!",
    )?;
    Ok(request)
}

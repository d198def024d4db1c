//! The clients that lute-net's is compared with.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::contract::Handler;
use crate::load::Drive;
use crate::load::exchange::{Exchange, InFlight};
use crate::load::responses::Responses;
use crate::load::stream::Target;

/// Writes a request and reads its answer, blocking, and only counts the bytes.
pub fn raw(port: u16, seconds: f64, request: &Path) -> Result<()> {
    let request = read(request)?;
    let mut stream = Target::plain(port).connect()?;
    let mut buffer = vec![0; 64 * 1024];
    let begin = Instant::now();
    let mut requests = 0;
    let mut answer_bytes = 0;
    while requests == 0 || begin.elapsed().as_secs_f64() < seconds {
        stream.write_all(&request)?;
        let count = stream.read(&mut buffer).context("no answer")?;
        // The floor's answers are all alike, and short enough to come in one piece.
        if requests == 0 {
            answer_bytes = count;
        }
        if count == 0 || count != answer_bytes {
            bail!("an answer of {count} bytes after one of {answer_bytes}");
        }
        requests += 1;
    }
    report(requests, begin.elapsed());
    Ok(())
}

/// The load generator as a client like any other.
pub fn load_generator(port: u16, seconds: f64, request: &Path, at_once: usize) -> Result<()> {
    let request = read(request)?;
    let target = Target::plain(port);
    let answer = Handler::Hello.answer();
    let connect = |_| Ok((target.connect()?, Responses::new(&answer)));
    let streams = (0..at_once).map(connect).collect::<Result<Vec<_>>>()?;
    let tally = Exchange::new(streams, &request, InFlight::Together(1))?
        .run(Duration::try_from_secs_f64(seconds)?)?;
    report(tally.answers, tally.elapsed);
    Ok(())
}

fn report(requests: u64, elapsed: Duration) {
    println!("requests {requests} seconds {}", elapsed.as_secs_f64());
}

fn read(request: &Path) -> Result<Vec<u8>> {
    fs::read(request).with_context(|| request.display().to_string())
}

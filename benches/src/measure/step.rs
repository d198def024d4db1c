//! What a frame loop pays for a runtime that has nothing to do.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use lute_net::Runtime;

/// Steps of one run.
const STEPS: u32 = 100_000;

/// The time of one `step()` of a runtime whose script serves and waits.
pub fn sample() -> Result<Duration> {
    let runtime = Runtime::builder()
        .build()
        .map_err(|error| anyhow!("{error}"))?;
    let script =
        "require('@lute/net/server').serve({ port = 0, handler = function() return '' end })";
    runtime
        .load_source("step.luau", script, &[])
        .map_err(|error| anyhow!("{error}"))?;
    let budget = Duration::from_millis(1);
    let begin = Instant::now();
    for _ in 0..STEPS {
        let status = runtime.step(budget).map_err(|error| anyhow!("{error}"))?;
        if status.ready || !status.busy {
            bail!("the runtime is not idle");
        }
    }
    Ok(begin.elapsed() / STEPS)
}

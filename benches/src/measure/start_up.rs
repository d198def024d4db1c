//! Wall time from exec to exit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::loads::Row;
use crate::peers::Tools;
use crate::process::Cores;

pub fn sample(row: &Row, tools: &Tools, cores: &Cores) -> Result<Duration> {
    let mut command = tools.start_up(row)?;
    let begin = Instant::now();
    let mut child = cores.spawn_measured(&mut command)?;
    let status = child.wait()?;
    let elapsed = begin.elapsed();
    if !status.success() {
        bail!("{status}");
    }
    Ok(elapsed)
}

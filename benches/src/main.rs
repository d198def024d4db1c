//! `lute-net-benches`: starts lute-net, a floor and its peers, drives them in turns, and prints one table per load.

mod contract;
mod load;
mod loads;
mod measure;
mod peers;
mod process;
mod report;
mod selection;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::measure::Plan;
use crate::peers::Tools;
use crate::selection::Selection;

#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

/// What one process of the benchmark is, apart from the one that measures.
#[derive(Subcommand)]
enum Role {
    /// Serve as one of the peers that are written in Rust, until killed
    #[command(subcommand)]
    Server(servers::Kind),
    /// Request from a server as one of the clients that are written in Rust
    #[command(subcommand)]
    Client(servers::ClientKind),
}

#[derive(Args)]
struct Options {
    /// Run everything once and shortly: fails when a run breaks, never on a time
    #[arg(long)]
    quick: bool,
    /// Only these loads or rows (see --list), separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// All but these loads or rows
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    skip: Vec<String>,
    /// Turns of every row [default: 5, with --quick 1]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Length of a measured run; CPU time is counted in ticks of 10 ms [default: 2, with --quick 0.3]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// The lute-net to measure [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    lute_net: Option<PathBuf>,
    /// A Lune to measure as well (`cargo install lune --version 0.11.1`); without, its rows are left out
    #[arg(long, value_name = "PATH")]
    lune: Option<PathBuf>,
    /// Print the names of loads and rows, and stop
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let done = match command_line.role {
        Some(Role::Server(kind)) => servers::serve(kind).map(|()| ExitCode::SUCCESS),
        Some(Role::Client(kind)) => servers::request(kind).map(|()| ExitCode::SUCCESS),
        None => benchmark(command_line.options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("lute-net-benches: {error:#}");
        ExitCode::FAILURE
    })
}

fn benchmark(options: Options) -> Result<ExitCode> {
    let mut skip = options.skip;
    if options.lune.is_none() {
        skip.push("lune".to_owned());
    }
    let loads = Selection::new(&options.only, &skip)?.apply(loads::all());
    if options.list {
        for load in &loads {
            let rows: Vec<_> = load.rows.iter().map(|row| row.name).collect();
            println!("{:18} {}", load.name, rows.join(", "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (rounds, seconds, start_ups) = if options.quick {
        (1, 0.3, 5)
    } else {
        (5, 2.0, 50)
    };
    let plan = Plan {
        rounds: options.rounds.unwrap_or(rounds),
        seconds: options.seconds.unwrap_or(seconds),
        start_ups,
    };
    if plan.rounds == 0 || !(0.05..=3600.0).contains(&plan.seconds) {
        bail!("--rounds must be at least 1, --seconds between 0.05 and 3600");
    }
    process::raise_descriptor_limit()?;
    let tools = Tools::new(lute_net(options.lute_net)?, options.lune)?;
    let cores = process::Cores::choose()?;

    println!("{}", report::machine(&cores, &plan));
    let mut broken = Vec::new();
    for load in &loads {
        let (table, failures) = measure::table(load, &plan, &tools, &cores);
        println!("{table}");
        broken.extend(failures);
    }
    for failure in &broken {
        eprintln!("broke: {failure}");
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn lute_net(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        return path
            .canonicalize()
            .with_context(|| format!("--lute-net {}", path.display()));
    }
    let this = std::env::current_exe().context("the path of this program")?;
    Ok(this.with_file_name("lute-net"))
}

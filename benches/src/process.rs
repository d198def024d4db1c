//! Processes under measurement: started on their core, watched through `/proc`, ended with their children.

use std::net::TcpStream;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Which core serves and which one drives. On a machine with one core both are the same.
pub struct Cores {
    all: Vec<usize>,
    pub measured: usize,
    pub driving: usize,
}

impl Cores {
    /// The first core that this process may use is measured, the second one drives; this process moves there.
    pub fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("the cores of this process")?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect();
        let measured = *all.first().context("no core to run on")?;
        let driving = *all.get(1).unwrap_or(&measured);
        if measured == driving {
            eprintln!("only one core: server and load generator share it, and the times show it");
        }
        move_to(&[driving])?;
        Ok(Self {
            all,
            measured,
            driving,
        })
    }

    /// Starts a process on the core that is measured.
    pub fn spawn_measured(&self, command: &mut Command) -> Result<Child> {
        self.spawn(&[self.measured], command)
    }

    /// Starts a process on the core of the load generator.
    pub fn spawn_driving(&self, command: &mut Command) -> Result<Child> {
        self.spawn(&[self.driving], command)
    }

    /// Starts a process on every core that this one may use.
    pub fn spawn_anywhere(&self, command: &mut Command) -> Result<Child> {
        self.spawn(&self.all, command)
    }

    /// A child inherits the cores of the thread that starts it.
    fn spawn(&self, cores: &[usize], command: &mut Command) -> Result<Child> {
        move_to(cores)?;
        let child = command.spawn();
        move_to(&[self.driving])?;
        let program = command.get_program().to_string_lossy().into_owned();
        child.with_context(|| {
            format!("cannot start `{program}`: is it installed (see benches/README.md)?")
        })
    }
}

fn move_to(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    sched_setaffinity(None, &set).context("cannot choose the core")
}

/// 10,000 connections need as many descriptors here and, since children inherit the limit, in the server.
pub fn raise_descriptor_limit() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised)
        .context("cannot raise the descriptor limit")
}

/// A server that accepts on its port. Dropping it ends the process and its children.
pub struct Server {
    process: Process,
    pub port: u16,
}

impl Server {
    /// Waits until `child` accepts connections on `port`.
    pub fn wait_for(child: Child, port: u16) -> Result<Self> {
        let mut server = Self {
            process: Process(child),
            port,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.process.0.try_wait()? {
                bail!("the server ended before it listened: {status}");
            }
            if Instant::now() > deadline {
                bail!("the server did not listen on port {port} within {START_TIMEOUT:?}");
            }
            sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub fn cpu_time(&self) -> Result<CpuTime> {
        self.process.cpu_time()
    }

    pub fn resident_bytes(&self) -> Result<u64> {
        self.process.resident_bytes()
    }
}

/// A child process; dropping it ends it with SIGTERM, so that a master process takes its workers along.
pub struct Process(pub Child);

impl Process {
    /// User and system time of the process and all its descendants so far.
    pub fn cpu_time(&self) -> Result<CpuTime> {
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let family = family(self.0.id())?;
        Ok(CpuTime {
            user: family.iter().map(|stat| stat.user_ticks).sum::<u64>() as f64 * tick,
            system: family.iter().map(|stat| stat.system_ticks).sum::<u64>() as f64 * tick,
        })
    }

    /// `VmRSS` of the process and all its descendants.
    pub fn resident_bytes(&self) -> Result<u64> {
        family(self.0.id())?
            .iter()
            .map(|stat| resident_bytes(stat.pid))
            .sum()
    }

    /// Waits for the end without reaping, so that `/proc` still has the times.
    pub fn wait_until_ended(&self) -> Result<()> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid_of(&self.0)?), options).context("cannot wait for the process")?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = pid_of(&self.0) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(2));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id out of range")
}

/// Seconds of processor time.
#[derive(Clone, Copy)]
pub struct CpuTime {
    pub user: f64,
    pub system: f64,
}

impl CpuTime {
    /// What was used since `earlier`.
    pub fn since(self, earlier: CpuTime) -> Result<CpuTime> {
        let used = CpuTime {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        };
        if used.total() < 0.0 {
            bail!("a worker process died during the run");
        }
        Ok(used)
    }

    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

struct Stat {
    pid: u32,
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

/// The process `root` and its descendants. Its threads are counted in it already.
fn family(root: u32) -> Result<Vec<Stat>> {
    let mut others: Vec<Stat> = std::fs::read_dir("/proc")
        .context("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(pid).ok())
        .collect();
    let mut family: Vec<Stat> = others.extract_if(.., |stat| stat.pid == root).collect();
    if family.is_empty() {
        bail!("process {root} is gone");
    }
    let mut parent = 0;
    while parent < family.len() {
        let pid = family[parent].pid;
        family.extend(others.extract_if(.., |stat| stat.parent == pid));
        parent += 1;
    }
    Ok(family)
}

/// `/proc/PID/stat`, see proc(5): the name in parentheses may hold anything, the fields follow the last one.
fn stat(pid: u32) -> Result<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text
        .rsplit_once(") ")
        .context("no name in /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| -> Result<u64> {
        let field = fields
            .get(index)
            .ok_or_else(|| anyhow!("/proc/{pid}/stat is short"))?;
        field
            .parse()
            .with_context(|| format!("/proc/{pid}/stat: `{field}`"))
    };
    // Fields 4, 14 and 15 of proc(5)'s count, which starts at 1 with the id and the name.
    let (parent, user_ticks, system_ticks) = (number(1)? as u32, number(11)?, number(12)?);
    Ok(Stat {
        pid,
        parent,
        user_ticks,
        system_ticks,
    })
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("VmRSS")?;
    Ok(kib * 1024)
}

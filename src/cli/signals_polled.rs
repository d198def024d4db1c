//! SIGINT and SIGTERM on systems without Unix's pipes: they are looked for now and then.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lute_net::{Runtime, engine::timers::deadline_after};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use smol::Task;

/// How long a signal may wait.
const INTERVAL: Duration = Duration::from_millis(100);

/// Stops `runtime` when a signal comes; a second one ends the process. Watches until the returned task is dropped.
pub fn stop_on_signal(runtime: &Rc<Runtime>) -> io::Result<Task<()>> {
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset and sets it; the second one ends the process.
        flag::register_conditional_shutdown(signal, 128 + signal, came.clone())?;
        flag::register(signal, came.clone())?;
    }
    let timers = runtime.engine().timers().clone();
    let weak = Rc::downgrade(runtime);
    Ok(runtime.engine().spawn(async move {
        while !came.load(Ordering::SeqCst) {
            let next = deadline_after(Instant::now(), INTERVAL);
            timers.sleep_until(next).await;
        }
        if let Some(runtime) = weak.upgrade() {
            runtime.stop();
        }
    }))
}

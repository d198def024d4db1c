//! SIGINT and SIGTERM: the first one stops gracefully, the second one at once.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
};

use lute_net::{Runtime, engine::reactor::Direction};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};
use smol::Task;

/// Stops `runtime` when a signal comes; a second one ends the process. Watches until the returned task is dropped.
pub fn stop_on_signal(runtime: &Rc<Runtime>) -> io::Result<Task<()>> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, sets it, and writes; the second one ends the process.
        flag::register_conditional_shutdown(signal, 128 + signal, came.clone())?;
        flag::register(signal, came.clone())?;
        pipe::register(signal, writer.try_clone()?)?;
    }
    let reader = runtime.engine().reactor().watch(reader)?;
    let weak = Rc::downgrade(runtime);
    Ok(runtime.engine().spawn(async move {
        while reader.ready(Direction::Read).await.is_ok() {
            let came = matches!(reader.get().read(&mut [0; 16]), Ok(count) if count > 0);
            if let Some(runtime) = weak.upgrade().filter(|_| came) {
                runtime.stop();
            }
        }
    }))
}

//! The connections of a server: how many there may be, what each does, and how they end.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use event_listener::Event;
use slab::Slab;
use smol::Task;

use crate::engine::{
    deadlines::{Deadline, Deadlines},
    limits::FIRST_REQUEST_AT_END,
    timers::deadline_after,
    websocket::{WebSocket, frames},
};

/// Descriptors that are left for the program's own files and outgoing connections.
#[cfg(unix)]
const SPARE_DESCRIPTORS: usize = 32;

/// The connections of one server.
pub struct Connections {
    limit: usize,
    deadlines: Rc<Deadlines>,
    draining: Cell<bool>,
    entries: RefCell<Slab<Entry>>,
    ended: Event,
}

struct Entry {
    task: Option<Task<()>>,
    activity: Activity,
    deadline: usize,
    websocket: Option<Rc<WebSocket>>,
}

/// What a connection's end would cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The first request, which may be on its way.
    Fresh,
    /// A request or its answer.
    Busy,
    /// Nothing: it is kept for another request.
    Idle,
}

impl Connections {
    /// None yet, and never more than `limit`, nor than the process may have descriptors.
    pub fn new(limit: usize, deadlines: Rc<Deadlines>) -> Self {
        Self {
            limit: allowed(limit),
            deadlines,
            draining: Cell::new(false),
            entries: RefCell::default(),
            ended: Event::new(),
        }
    }

    /// Those that are open.
    pub fn count(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Those of them that are WebSockets.
    pub fn websockets(&self) -> usize {
        let entries = self.entries.borrow();
        entries
            .iter()
            .filter(|(_, entry)| entry.websocket.is_some())
            .count()
    }

    /// Whether they end as soon as they can.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// From now on they end as soon as they can; whether that is new.
    pub fn begin_draining(&self) -> bool {
        !self.draining.replace(true)
    }

    /// What the end of this one would cut off.
    pub fn set_activity(&self, key: usize, activity: Activity) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(key) {
            entry.activity = activity;
        }
    }

    /// This one is a WebSocket from now on.
    pub fn set_websocket(&self, key: usize, socket: &Rc<WebSocket>) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(key) {
            entry.websocket = Some(socket.clone());
        }
        if self.is_draining() {
            socket.close(frames::GOING_AWAY, "");
        }
    }

    /// A place for another, and the deadline that can be brought forward when the server ends.
    pub fn add(&self) -> (usize, Deadline) {
        let deadline = self.deadlines.register();
        let entry = Entry {
            task: None,
            activity: Activity::Fresh,
            deadline: deadline.index(),
            websocket: None,
        };
        (self.entries.borrow_mut().insert(entry), deadline)
    }

    /// The task that serves it: dropped when the server closes.
    pub fn set_task(&self, key: usize, task: Task<()>) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(key) {
            entry.task = Some(task);
        }
    }

    /// It has ended by itself.
    pub fn forget(&self, key: usize) {
        let entry = self.entries.borrow_mut().try_remove(key);
        if let Some(task) = entry.and_then(|entry| entry.task) {
            task.detach();
        }
        self.ended.notify(usize::MAX);
    }

    /// Ends what is kept for another request, and gives what has just connected a little time for its first.
    pub fn end_idle(&self) {
        let first_request = deadline_after(Instant::now(), FIRST_REQUEST_AT_END);
        for (_, entry) in self.entries.borrow().iter() {
            if let Some(websocket) = &entry.websocket {
                websocket.close(frames::GOING_AWAY, "");
                continue;
            }
            match entry.activity {
                Activity::Fresh => self.deadlines.bring_forward(entry.deadline, first_request),
                Activity::Busy => {}
                Activity::Idle => self.deadlines.expire(entry.deadline),
            }
        }
    }

    /// Drops all; how many there were.
    pub fn close(&self) -> usize {
        // The tasks are dropped outside the borrow: what they hold may come back here.
        let entries = self.entries.take();
        let count = entries.len();
        for (_, entry) in &entries {
            // Its callback may be who calls this, and its task goes on until it has returned.
            if let Some(websocket) = &entry.websocket {
                websocket.cut();
            }
        }
        drop(entries);
        self.ended.notify(usize::MAX);
        count
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.entries.borrow().len() >= self.limit
    }

    /// Waits for the next end of a connection.
    pub async fn an_end(&self) {
        self.ended.listen().await;
    }

    /// Waits until there is room for another connection.
    pub async fn room(&self) {
        while self.is_full() {
            self.an_end().await;
        }
    }
}

/// The configured number of connections, and always fewer than the process may have descriptors.
fn allowed(configured: usize) -> usize {
    #[cfg(unix)]
    if let Some(descriptors) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        return configured
            .min(descriptors.saturating_sub(SPARE_DESCRIPTORS))
            .max(1);
    }
    configured.max(1)
}

//! Topics: a message that is encoded once and sent to every WebSocket that subscribes.
//!
//! ```
#![doc = include_str!("../examples/open_websocket.txt")]
//! use lute_net::engine::websocket::topics::Topics;
//!
//! let topics = Rc::new(Topics::default());
//! topics.subscribe(b"news", &socket);
//! assert_eq!(topics.publish(b"news", Data::Text("hi"), None), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ptr,
    rc::{Rc, Weak},
};

use super::{
    Data, Role,
    frames::{self, Kind},
    handle::{Sent, WebSocket},
};

/// The topics of one server. A topic is there while somebody subscribes to it.
///
/// ```
/// let topics = lute_net::engine::websocket::topics::Topics::default();
/// assert_eq!(topics.publish(b"news", lute_net::engine::websocket::Data::Text("hi"), None), 0);
/// ```
#[derive(Default)]
pub struct Topics {
    subscribers: RefCell<HashMap<Rc<[u8]>, Subscribers>>,
}

/// In the order in which they connected.
type Subscribers = BTreeMap<u64, Rc<WebSocket>>;

/// A topic that a WebSocket subscribes to.
pub(super) struct Membership {
    topics: Weak<Topics>,
    topic: Rc<[u8]>,
}

impl Topics {
    /// From now on `socket` gets what is published; false when it did already, or is closed.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// let topics = Rc::new(lute_net::engine::websocket::topics::Topics::default());
    /// assert!(topics.subscribe(b"news", &socket) && !topics.subscribe(b"news", &socket));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(self: &Rc<Self>, topic: &[u8], socket: &Rc<WebSocket>) -> bool {
        if !socket.is_open() {
            return false;
        }
        let mut topics = self.subscribers.borrow_mut();
        let name = match topics.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => Rc::from(topic),
        };
        let subscribers = topics.entry(name.clone()).or_default();
        if subscribers
            .insert(socket.number(), socket.clone())
            .is_some()
        {
            return false;
        }
        socket.memberships.borrow_mut().push(Membership {
            topics: Rc::downgrade(self),
            topic: name,
        });
        true
    }

    /// The end of a subscription; whether there was one.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// let topics = Rc::new(lute_net::engine::websocket::topics::Topics::default());
    /// topics.subscribe(b"news", &socket);
    /// assert!(topics.unsubscribe(b"news", &socket) && !topics.unsubscribe(b"news", &socket));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unsubscribe(&self, topic: &[u8], socket: &WebSocket) -> bool {
        let mut memberships = socket.memberships.borrow_mut();
        memberships.retain(|membership| {
            &*membership.topic != topic || !ptr::eq(membership.topics.as_ptr(), self)
        });
        drop(memberships);
        self.remove(topic, socket.number())
    }

    /// Sends a message to all subscribers but the one with the number `except`; to how many.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// let topics = Rc::new(lute_net::engine::websocket::topics::Topics::default());
    /// topics.subscribe(b"news", &socket);
    /// assert_eq!(topics.publish(b"news", Data::Text("hi"), Some(socket.number())), 0, "to all others");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self, topic: &[u8], data: Data<'_>, except: Option<u64>) -> usize {
        let topics = self.subscribers.borrow();
        let Some(subscribers) = topics.get(topic) else {
            return 0;
        };
        let mut frame = Vec::new();
        frames::frame(&mut frame, Role::Server, Kind::of(data), data.bytes());
        subscribers
            .iter()
            .filter(|(number, _)| Some(**number) != except)
            .filter(|(_, socket)| socket.put_encoded(&frame) != Sent::Dropped)
            .count()
    }

    fn remove(&self, topic: &[u8], number: u64) -> bool {
        let mut topics = self.subscribers.borrow_mut();
        let Some(subscribers) = topics.get_mut(topic) else {
            return false;
        };
        let removed = subscribers.remove(&number);
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        drop(topics);
        removed.is_some()
    }
}

impl WebSocket {
    /// Ends all its subscriptions.
    pub(super) fn leave_topics(&self) {
        for membership in self.memberships.take() {
            if let Some(topics) = membership.topics.upgrade() {
                topics.remove(&membership.topic, self.number());
            }
        }
    }
}

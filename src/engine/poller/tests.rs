use std::{
    io::Write,
    num::NonZeroUsize,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::*;

const READ: Interest = Interest {
    read: true,
    write: false,
};

fn events() -> Events {
    Events::with_capacity(NonZeroUsize::new(8).unwrap())
}

/// What comes within `timeout`, with waits as often as it takes.
fn waited(poller: &Poller, timeout: Duration) -> Vec<Event> {
    let (begin, mut found) = (Instant::now(), events());
    loop {
        let left = timeout.saturating_sub(begin.elapsed());
        poller.wait(&mut found, Some(left)).unwrap();
        let all: Vec<_> = found.iter().collect();
        if !all.is_empty() || left.is_zero() {
            return all;
        }
    }
}

#[test]
fn an_event_comes_with_its_key_for_as_long_as_it_is_true() {
    let (poller, (mut near, far)) = (Poller::new().unwrap(), UnixStream::pair().unwrap());
    poller.add(far.as_fd(), 7, READ).unwrap();
    assert_eq!(waited(&poller, Duration::ZERO), []);
    near.write_all(b"a").unwrap();
    for _ in 0..2 {
        let event = Event {
            key: 7,
            readable: true,
            writable: false,
            hung_up: false,
        };
        assert_eq!(waited(&poller, Duration::from_secs(20)), [event]);
    }
    let both = Interest {
        read: false,
        write: true,
    };
    poller.modify(far.as_fd(), 8, both).unwrap();
    let found = waited(&poller, Duration::from_secs(20));
    assert!(found[0].key == 8 && found[0].writable && !found[0].readable);
    poller.delete(far.as_fd()).unwrap();
    assert_eq!(waited(&poller, Duration::ZERO), []);
}

#[test]
fn a_hang_up_comes_whatever_the_interest() {
    let (poller, (near, far)) = (Poller::new().unwrap(), UnixStream::pair().unwrap());
    let none = Interest {
        read: false,
        write: false,
    };
    poller.add(far.as_fd(), 7, none).unwrap();
    drop(near);
    assert!(waited(&poller, Duration::from_secs(20))[0].hung_up);
}

#[test]
fn a_wait_takes_its_time_and_not_much_less() {
    let (poller, mut found) = (Poller::new().unwrap(), events());
    for micros in [300, 5_700, 20_000] {
        let time = Duration::from_micros(micros);
        let begin = Instant::now();
        poller.wait(&mut found, Some(time)).unwrap();
        assert!(begin.elapsed() + Duration::from_millis(1) >= time);
        let begin = Instant::now();
        assert_eq!(waited(&poller, time), []);
        assert!(begin.elapsed() >= time);
    }
}

#[test]
fn a_notification_ends_the_wait_of_another_thread_and_only_one_wait() {
    let (poller, mut found) = (Arc::new(Poller::new().unwrap()), events());
    poller.notify().unwrap();
    poller.wait(&mut found, None).unwrap();
    assert_eq!(found.iter().count(), 0);
    let begin = Instant::now();
    let other = poller.clone();
    let notifies = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.notify()
    });
    poller.wait(&mut found, None).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(20));
    notifies.join().unwrap().unwrap();
}

use std::time::Duration;

use super::super::clock::boot_time;
use super::*;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn tokens(poller: &Poller, timeout: Option<Duration>) -> Vec<u64> {
    let mut ready = Vec::new();
    poller.wait(&mut ready, timeout).unwrap();
    ready.iter().map(|ready| ready.token).collect()
}

#[test]
fn a_timer_goes_off_at_its_moment_and_not_before() {
    let (poller, timer) = (Poller::new().unwrap(), Timer::new().unwrap());
    poller.add(&timer, 7).unwrap();
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    assert!(!timer.fired().unwrap());

    let at = boot_time() + Duration::from_millis(30);
    timer.set(at).unwrap();
    let mut ready = Vec::new();
    while !timer.fired().unwrap() {
        poller.wait(&mut ready, PATIENCE).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: true, closed: false }]);
    }
    assert!(boot_time() >= at);
    assert!(!timer.fired().unwrap(), "told once");
    assert_eq!(tokens(&poller, NOW), [0; 0], "no longer readable");
}

#[test]
fn a_timer_set_to_the_past_goes_off_at_once_and_clearing_takes_it_back() {
    let (poller, timer) = (Poller::new().unwrap(), Timer::new().unwrap());
    poller.add(&timer, 1).unwrap();
    timer.set(Duration::ZERO).unwrap();
    assert_eq!(tokens(&poller, PATIENCE), [1]);
    assert_eq!(tokens(&poller, PATIENCE), [1], "not read, so told again");
    timer.clear().unwrap();
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    assert!(!timer.fired().unwrap());
    timer.set(boot_time() + Duration::from_secs(3600)).unwrap();
    timer.set(boot_time() + Duration::from_millis(1)).unwrap();
    assert_eq!(tokens(&poller, PATIENCE), [1]);
}

#[test]
fn a_wake_from_another_thread_ends_the_waiting() {
    let (poller, wake) = (Poller::new().unwrap(), Wake::new().unwrap());
    poller.add(&wake, 3).unwrap();
    let mut ready = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wake.wake();
            wake.wake();
        });
        poller.wait(&mut ready, PATIENCE).unwrap();
    });
    assert_eq!(ready, [Ready { token: 3, readable: true, closed: false }]);
    // The other may have come between.
    wake.clear();
    assert!(!wake.clear());
}

#[test]
fn removed_things_are_not_told_and_closed_peers_are() {
    let poller = Poller::new().unwrap();
    let (left, right) = super::super::pipe::pair().unwrap();
    poller.add(&left, 1).unwrap();
    assert_eq!(poller.add(&left, 2).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    drop(right);
    assert_eq!(tokens(&poller, PATIENCE), [1]);
    assert_eq!(tokens(&poller, PATIENCE), [1]);
    poller.remove(&left).unwrap();
    assert!(poller.remove(&left).is_err());
    let other = Wake::new().unwrap();
    poller.add(&other, 2).unwrap();
    assert_eq!(tokens(&poller, NOW), [0; 0]);
}

#[test]
fn messages_are_told_until_all_are_read() {
    use super::super::pipe::{Received, pair};
    let poller = Poller::new().unwrap();
    let (left, right) = pair().unwrap();
    poller.add(&right, 1).unwrap();
    left.send(b"one").unwrap();
    left.send(b"two").unwrap();
    let mut buffer = [0; 8];
    for _ in 0..2 {
        assert_eq!(tokens(&poller, PATIENCE), [1]);
        assert_eq!(tokens(&poller, PATIENCE), [1]);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(3));
    }
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    left.send(b"three").unwrap();
    assert_eq!(tokens(&poller, PATIENCE), [1]);
}

#[test]
fn datagrams_are_told_until_all_are_read() {
    let poller = Poller::new().unwrap();
    let [near, far] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    near.set_nonblocking(true).unwrap();
    poller.add(&near, 4).unwrap();
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    let to = near.local_addr().unwrap();
    let mut buffer = [0; 8];
    for round in 0..3 {
        far.send_to(b"one", to).unwrap();
        far.send_to(b"", to).unwrap();
        for _ in 0..2 {
            assert_eq!(tokens(&poller, PATIENCE), [4], "round {round}");
            assert_eq!(tokens(&poller, PATIENCE), [4], "not read, so told again");
            near.recv_from(&mut buffer).unwrap();
        }
        // A word of what was read already may still be on its way.
        let _ = tokens(&poller, NOW);
        assert_eq!(tokens(&poller, NOW), [0; 0]);
        assert!(near.recv_from(&mut buffer).is_err());
    }
    poller.add(&near, 5).unwrap();
    far.send_to(b"one", to).unwrap();
    assert_eq!(tokens(&poller, PATIENCE), [5], "a socket added again");
    poller.remove(&near).unwrap();
    let timer = Timer::new().unwrap();
    poller.add(&timer, 6).unwrap();
    assert_eq!(tokens(&poller, NOW), [0; 0]);
}

#[test]
fn nobody_is_kept_waiting_by_those_before_him() {
    let poller = Poller::new().unwrap();
    let wakes: Vec<Wake> = (0..60).map(|_| Wake::new().unwrap()).collect();
    for (token, wake) in (0..).zip(&wakes) {
        poller.add(wake, token).unwrap();
    }
    for number in [0, 1, 30, 59] {
        wakes[number].wake();
    }
    assert_eq!(tokens(&poller, PATIENCE), [0, 1, 30, 59]);
}

#[test]
fn what_was_closed_is_forgotten_and_makes_room() {
    let poller = Poller::new().unwrap();
    let mut wakes: Vec<Wake> = (0..63).map(|_| Wake::new().unwrap()).collect();
    for (token, wake) in (0..).zip(&wakes) {
        poller.add(wake, token).unwrap();
    }
    let more = Wake::new().unwrap();
    assert_eq!(poller.add(&more, 99).unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    let closed = wakes.remove(5);
    closed.wake();
    drop(closed);
    assert_eq!(tokens(&poller, NOW), [0; 0]);
    poller.add(&more, 99).unwrap();
    more.wake();
    assert_eq!(tokens(&poller, PATIENCE), [99]);
}

#[test]
fn signals_are_read_instead_of_obeyed() {
    let mut signals = Signals::block_and_open(&[Signal::Terminate]).unwrap();
    assert_eq!(signals.next().unwrap(), None);
    request(Signal::Terminate);
    let poller = Poller::new().unwrap();
    poller.add(&signals, 5).unwrap();
    assert_eq!(tokens(&poller, PATIENCE), [5]);
    assert_eq!(signals.next().unwrap(), Some(Signal::Terminate));
    assert_eq!(signals.next().unwrap(), None);
    assert_eq!(tokens(&poller, NOW), [0; 0]);
}

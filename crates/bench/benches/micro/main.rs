//! What the pure parts cost: codec, a step of the core, the making of batches. `cargo bench --package vipdrift-bench`.

mod pair;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use divan::{Bencher, black_box};
use pair::Pair;
use vipdrift_wire::heartbeat::{
    Echo, GROUPS_PER_DATAGRAM, GroupId, GroupState, Health, Heartbeat, Keys, Message, NodeId, Role, States,
    decode, encode,
};
use vipdrift_wire::{Mac, arp, ndp, parse_frame};

fn main() {
    divan::main();
}

fn keys() -> Keys {
    Keys::new("bench", b"0123456789abcdef", None)
}

/// As it is sent while nothing happens, or with so many groups that have changed.
fn heartbeat(changed: usize) -> Message {
    let state = |number: usize| GroupState {
        group: GroupId(number as u64),
        version: 2,
        role: Role::Standby,
        term: 3,
        mounted: false,
        claiming: false,
        proving: false,
        hitless: false,
        demoted: false,
        heir: None,
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        answered_by: None,
    };
    let states = States { base: 1, index: 0, count: 1, groups: (0..changed).map(state).collect() };
    Message::Heartbeat(Heartbeat {
        sender: NodeId::of("alpha"),
        receiver: NodeId::of("bravo"),
        incarnation: 1,
        sequence: 1000,
        echo: Some(Echo { incarnation: 2, sequence: 1000, age: Duration::from_millis(5) }),
        interval: Duration::from_millis(10),
        config_digest: 1,
        health: Health::Healthy,
        solicit: false,
        leaving: false,
        slow_side_alive: true,
        hears_slowly: false,
        states_version: 2,
        states_seen: 2,
        states: (changed > 0).then_some(states),
        errand: None,
        outcome: None,
    })
}

#[divan::bench(args = [0, 1, GROUPS_PER_DATAGRAM])]
fn encode_heartbeat(bencher: Bencher<'_, '_>, changed: usize) {
    let (message, keys) = (heartbeat(changed), keys());
    bencher.bench(|| encode(black_box(&message), &keys));
}

#[divan::bench(args = [0, 1, GROUPS_PER_DATAGRAM])]
fn decode_heartbeat(bencher: Bencher<'_, '_>, changed: usize) {
    let keys = keys();
    let bytes = encode(&heartbeat(changed), &keys);
    bencher.bench(|| decode(black_box(&bytes), &keys).is_ok());
}

#[divan::bench]
fn parse_arp(bencher: Bencher<'_, '_>) {
    let frame = arp::reply(
        Mac([2, 0, 0, 0, 0, 1]),
        Ipv4Addr::new(192, 0, 2, 1),
        Mac([2, 0, 0, 0, 0, 2]),
        Ipv4Addr::new(192, 0, 2, 2),
    );
    bencher.bench(|| parse_frame(black_box(&frame)).is_ok());
}

/// What is sent for so many VIPs that have been mounted, IPv4 and IPv6 in turn.
#[divan::bench(args = [1, 1000])]
fn make_announcements(bencher: Bencher<'_, '_>, vips: u32) {
    let own = Mac([2, 0, 0, 0, 0, 1]);
    bencher.bench(|| {
        (0..vips)
            .map(|number| {
                if number % 2 == 0 {
                    arp::announcement(own, Ipv4Addr::from(0xc000_0200 | number), arp::Operation::Request)
                } else {
                    let address = 0x2001_0db8_u128 << 96 | u128::from(number);
                    ndp::announcement(own, Ipv6Addr::from(address))
                }
            })
            .map(|frame| frame.len())
            .sum::<usize>()
    });
}

/// One heartbeat interval in which nothing happens, both nodes together.
#[divan::bench(args = [1, 250, 1000])]
fn idle_interval_of_two_nodes(bencher: Bencher<'_, '_>, groups: usize) {
    let mut pair = Pair::settled(groups, 1);
    bencher.bench_local(|| pair.interval());
}

/// From the last heartbeat of a dead machine until all its groups are mounted: all that the decider computes on the way.
#[divan::bench(args = [1, 250, 1000], sample_count = 10, sample_size = 1)]
fn take_over_groups(bencher: Bencher<'_, '_>, groups: usize) {
    take_over(bencher, groups, 1);
}

/// The same with one group of so many VIPs.
#[divan::bench(args = [250, 4000], sample_count = 10, sample_size = 1)]
fn take_over_vips(bencher: Bencher<'_, '_>, vips: usize) {
    take_over(bencher, 1, vips);
}

fn take_over(bencher: Bencher<'_, '_>, groups: usize, vips: usize) {
    bencher
        .with_inputs(|| {
            let mut pair = Pair::settled(groups, vips);
            pair.kill();
            pair
        })
        .bench_local_values(|mut pair| pair.take_over(groups * vips));
}

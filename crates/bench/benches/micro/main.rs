//! What the pure parts cost: codec, a step of the core, the making of batches. `cargo bench --package vipdrift-bench`.

mod pair;

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pair::Pair;
use vipdrift_wire::heartbeat::{
    Echo, GROUPS_PER_DATAGRAM, GroupId, GroupState, Health, Heartbeat, Keys, Message, NodeId, Role, States,
    decode, encode,
};
use vipdrift_wire::{Mac, arp, ndp, parse_frame};

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

fn codec(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("heartbeat");
    for changed in [0, 1, GROUPS_PER_DATAGRAM] {
        let message = heartbeat(changed);
        let bytes = encode(&message, &keys);
        group.bench_with_input(BenchmarkId::new("encode", changed), &message, |bencher, message| {
            bencher.iter(|| encode(black_box(message), &keys));
        });
        group.bench_with_input(BenchmarkId::new("decode", changed), &bytes, |bencher, bytes| {
            bencher.iter(|| decode(black_box(bytes), &keys).is_ok());
        });
    }
    group.finish();
    let (one, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let frame = arp::reply(one, Ipv4Addr::new(192, 0, 2, 1), other, Ipv4Addr::new(192, 0, 2, 2));
    criterion.bench_function("parse ARP", |bencher| bencher.iter(|| parse_frame(black_box(&frame)).is_ok()));
}

/// What is sent for so many VIPs that have been mounted, IPv4 and IPv6 in turn.
fn batches(criterion: &mut Criterion) {
    let own = Mac([2, 0, 0, 0, 0, 1]);
    let announce = |number: u32| {
        if number.is_multiple_of(2) {
            arp::announcement(own, Ipv4Addr::from(0xc000_0200 | number), arp::Operation::Request)
        } else {
            ndp::announcement(own, Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(number)))
        }
    };
    let mut group = criterion.benchmark_group("announcements of VIPs");
    for vips in [1_u32, 1000] {
        group.bench_function(BenchmarkId::from_parameter(vips), |bencher| {
            bencher.iter(|| (0..vips).map(announce).map(|frame| frame.len()).sum::<usize>());
        });
    }
    group.finish();
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("both nodes, one heartbeat interval in which nothing happens");
    for groups in [1, 250, 1000] {
        let mut pair = Pair::settled(groups, 1);
        group.bench_function(BenchmarkId::new("groups", groups), |bencher| bencher.iter(|| pair.interval()));
    }
    group.finish();
    // From the last heartbeat of a dead machine until all is mounted: all that the decider computes on the way.
    let mut group = criterion.benchmark_group("takeover");
    group.sample_size(10);
    for (groups, vips) in [(1, 1), (250, 1), (1000, 1), (1, 250), (1, 4000)] {
        let dead = || {
            let mut pair = Pair::settled(groups, vips);
            pair.kill();
            pair
        };
        group.bench_function(format!("{groups} groups of {vips}"), |bencher| {
            bencher.iter_batched(dead, |mut pair| pair.take_over(groups * vips), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group!(name = all; config = settings(); targets = codec, batches, steps);
criterion_main!(all);

//! Streams over a circuit with a narrow place in it, and a clock that only the test moves: how much is queued there.

use super::super::grant::{Pool, Receiving};
use super::super::rate::RoundTrip;
use crate::limits::{INITIAL_WINDOW, MAX_CIRCUIT_CREDIT, MAX_WINDOW, MIN_WINDOW_STEP};
use std::collections::VecDeque;

const TICK: u64 = 500;
const TWENTY_MEGABITS: u64 = 2_500_000;

struct Lane {
    receiving: Receiving,
    /// Of the sender.
    limit: u64,
    sent: u64,
    queued: u64,
    /// Bytes that arrive in so many ticks, and WINDOWs.
    down: VecDeque<u64>,
    up: VecDeque<u64>,
    carried: u64,
    /// Microseconds until which the sender has nothing to send.
    silent: u64,
}

struct World {
    lanes: Vec<Lane>,
    trip: RoundTrip,
    now: u64,
    rate: u64,
    round_trip: u64,
    longest_queue: u64,
    queues: u64,
}

impl World {
    fn new(streams: usize, rate: u64, round_trip_ms: u64) -> Self {
        let lane = || Lane {
            receiving: Receiving::new(),
            limit: INITIAL_WINDOW,
            sent: 0,
            queued: 0,
            down: VecDeque::new(),
            up: VecDeque::new(),
            carried: 0,
            silent: 0,
        };
        Self {
            lanes: std::iter::repeat_with(lane).take(streams).collect(),
            trip: RoundTrip::default(),
            now: 1,
            rate,
            round_trip: round_trip_ms * 1000,
            longest_queue: 0,
            queues: 0,
        }
    }

    fn product(&self) -> u64 {
        self.rate * self.round_trip / 1_000_000
    }

    fn tick(&mut self) {
        let one_way = usize::try_from(self.round_trip / 2 / TICK).unwrap();
        let mut room = self.rate * TICK / 1_000_000;
        for lane in &mut self.lanes {
            while lane.up.len() > one_way {
                lane.limit = lane.limit.max(lane.up.pop_front().unwrap());
            }
            if self.now >= lane.silent {
                lane.queued += lane.limit - lane.sent;
                lane.sent = lane.limit;
            }
            lane.down.push_back(0);
        }
        // In turn, a cell at a time, beginning with another one each tick.
        let first = usize::try_from(self.now / TICK).unwrap() % self.lanes.len();
        while room > 0 && self.lanes.iter().any(|lane| lane.queued > 0) {
            for at in 0..self.lanes.len() {
                let at = (first + at) % self.lanes.len();
                let lane = &mut self.lanes[at];
                let part = lane.queued.min(1075).min(room);
                lane.queued -= part;
                room -= part;
                *lane.down.back_mut().unwrap() += part;
            }
        }
        let queue = self.lanes.iter().map(|lane| lane.queued).sum();
        self.longest_queue = self.longest_queue.max(queue);
        self.queues += queue;
        for at in 0..self.lanes.len() {
            let (mut others, streams) = (0, self.lanes.len() as u64);
            for (other, lane) in self.lanes.iter().enumerate() {
                others += if other == at { 0 } else { lane.receiving.outstanding() };
            }
            let lane = &mut self.lanes[at];
            while lane.down.len() > one_way {
                let came = usize::try_from(lane.down.pop_front().unwrap()).unwrap();
                // A cell ends where the credit does.
                let first = came.min(usize::try_from(lane.receiving.before_awaited()).unwrap());
                assert!(lane.receiving.receive(first));
                assert!(lane.receiving.receive(came - first));
                assert!(lane.receiving.consume(came));
                lane.carried += came as u64;
            }
            lane.receiving.sample(self.now, &mut self.trip);
            let granted = lane.receiving.grant(Pool { others, streams }, self.now, &self.trip);
            lane.up.push_back(granted.unwrap_or(0));
            assert!(lane.receiving.outstanding() <= MAX_WINDOW);
        }
        self.now += TICK;
    }

    /// For so many milliseconds: the share of the narrow place's rate that came through, and the queue there in round trips, on average and
    /// at its longest.
    fn run(&mut self, ms: u64) -> (f64, f64, f64) {
        self.longest_queue = 0;
        self.queues = 0;
        self.lanes.iter_mut().for_each(|lane| lane.carried = 0);
        for _ in 0..ms * 1000 / TICK {
            self.tick();
        }
        let carried: u64 = self.lanes.iter().map(|lane| lane.carried).sum();
        (
            carried as f64 / (self.rate * ms / 1000) as f64,
            (self.queues / (ms * 1000 / TICK)) as f64 / self.product() as f64,
            self.longest_queue as f64 / self.product() as f64,
        )
    }
}

#[test]
fn a_narrow_place_is_filled_and_holds_about_half_a_round_trip() {
    for (rate, round_trip) in [(TWENTY_MEGABITS, 150), (1_000_000, 300), (10_000_000, 100), (5_000_000, 40)] {
        let mut world = World::new(1, rate, round_trip);
        world.run(3000);
        // Also while the round trip is measured again.
        let (share, queue, longest) = world.run(50_000);
        assert!(share > 0.96, "{rate} {round_trip}: {share}");
        assert!(queue < 0.6 && longest < 0.9, "{rate} {round_trip}: {queue} {longest}");
    }
}

#[test]
fn the_search_finds_the_rate_in_a_few_round_trips_and_queues_two_products_for_a_moment_at_most() {
    let mut world = World::new(1, TWENTY_MEGABITS, 150);
    let (_, _, longest) = world.run(1200);
    assert!(longest < 2.1, "{longest}");
    let (share, ..) = world.run(2000);
    assert!(share > 0.95, "{share}");
    let (share, queue, longest) = world.run(1000);
    assert!(share > 0.97, "{share}");
    assert!(queue < 0.7 && longest < 0.9, "{queue} {longest}");
}

#[test]
fn streams_of_a_circuit_queue_no_more_together_but_for_their_least_windows() {
    for streams in [2, 8] {
        let mut world = World::new(streams, TWENTY_MEGABITS, 150);
        world.run(6000);
        let (share, queue, longest) = world.run(10_000);
        // Each keeps what waits for its next WINDOW as well.
        let least = ((streams as u64 - 1) * MIN_WINDOW_STEP) as f64 / world.product() as f64;
        assert!(share > 0.97, "{streams}: {share}");
        assert!(queue < 0.6 + least && longest < 1.0 + least, "{streams}: {queue} {longest}");
        let each: Vec<u64> = world.lanes.iter().map(|lane| lane.carried).collect();
        assert!(each.iter().max().unwrap() < &(2 * each.iter().min().unwrap()), "{each:?}");
    }
}

#[test]
fn a_short_circuit_gets_the_largest_window() {
    let mut world = World::new(1, 160_000_000, 1);
    world.run(300);
    assert!(world.lanes[0].receiving.outstanding() > MAX_WINDOW * 3 / 4);
    // Never more, and four streams have a share each.
    let mut world = World::new(4, 160_000_000, 1);
    world.run(300);
    let all: u64 = world.lanes.iter().map(|lane| lane.receiving.outstanding()).sum();
    assert!((MAX_CIRCUIT_CREDIT / 2..=MAX_CIRCUIT_CREDIT).contains(&all), "{all}");
}

#[test]
fn a_place_that_becomes_wider_narrower_or_farther_is_measured_again() {
    let mut world = World::new(1, TWENTY_MEGABITS, 150);
    for (name, rate, round_trip) in [
        ("narrower", 600_000, 150),
        ("wider", 4_000_000, 150),
        ("farther", 4_000_000, 400),
        ("nearer", 4_000_000, 60),
    ] {
        (world.rate, world.round_trip) = (rate, round_trip * 1000);
        // A queue that is left over takes some looks.
        world.run(25_000);
        let (share, queue, _) = world.run(4000);
        assert!(share > 0.9, "{name}: {share}");
        // The least window is half a product where it is narrow.
        assert!(queue < 1.0, "{name}: {queue}");
    }
}

#[test]
fn a_pause_of_the_sender_takes_no_window() {
    let mut world = World::new(1, TWENTY_MEGABITS, 150);
    world.run(5000);
    let before = world.lanes[0].receiving.outstanding();
    world.lanes[0].silent = world.now + 5_000_000;
    world.run(5000);
    let (share, ..) = world.run(2000);
    assert!(share > 0.9, "{share}");
    assert!(world.lanes[0].receiving.outstanding() > before * 3 / 4);
}

//! A sender, a path with a queue, and a clock that only the test moves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{LEAST_PACKETS, Path};

const PACKET: u64 = 1200;
const FIRST: u64 = 32 * PACKET;
const TWENTY_MEGABITS: u64 = 2_500_000;

/// What the path does.
#[derive(Clone, Copy)]
struct Way {
    /// Bytes a second.
    rate: u64,
    /// Without a queue.
    round_trip: Duration,
    /// What the queue holds, as time.
    room: Duration,
    /// One packet of so many is lost; 0: none.
    loses: u64,
}

const WAY: Way = Way {
    rate: TWENTY_MEGABITS,
    round_trip: Duration::from_millis(50),
    room: Duration::from_millis(200),
    loses: 0,
};

struct Flight {
    sent: Instant,
    back: Instant,
    lost: bool,
}

struct World {
    path: Path,
    now: Instant,
    free: Instant,
    /// When the next packet may leave: as quinn paces them, a window and a quarter in a round trip.
    next: Instant,
    smoothed: Duration,
    flights: VecDeque<Flight>,
    seed: u64,
    /// Acknowledged since the last look, and the longest that a packet waited.
    carried: u64,
    waited: Duration,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            path: Path::new(now, FIRST, PACKET),
            now,
            free: now,
            next: now,
            smoothed: Duration::from_millis(100),
            flights: VecDeque::new(),
            seed: 7,
            carried: 0,
            waited: Duration::ZERO,
        }
    }

    fn chance(&mut self, one_of: u64) -> bool {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        one_of != 0 && (self.seed >> 33).is_multiple_of(one_of)
    }

    fn send(&mut self, way: Way) {
        self.next = self.now + self.smoothed.mul_f64(PACKET as f64 / (1.25 * self.path.window() as f64));
        let wait = self.free.saturating_duration_since(self.now);
        let full = wait > way.room;
        let leaves = self.now + wait + Duration::from_nanos(PACKET * 1_000_000_000 / way.rate);
        if !full {
            self.free = leaves;
            self.waited = self.waited.max(wait);
        }
        let lost = full || self.chance(way.loses);
        let back = (leaves + way.round_trip).max(self.flights.back().map_or(self.now, |last| last.back));
        self.flights.push_back(Flight {
            sent: self.now,
            back,
            lost,
        });
    }

    fn hear(&mut self) {
        let mut lost = 0;
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.back <= self.now) {
            if flight.lost {
                lost += PACKET;
            } else {
                self.carried += PACKET;
                self.smoothed = (self.smoothed * 7 + (self.now - flight.sent)) / 8;
                self.path.acked(self.now, flight.sent, PACKET, false);
            }
        }
        if lost > 0 {
            self.path.lost(lost, false);
        }
    }

    /// Sends all that may be under way for so long; the share of the path's rate that came through, and the longest wait in its queue.
    fn run(&mut self, way: Way, time: Duration) -> (f64, Duration) {
        let until = self.now + time;
        self.carried = 0;
        self.waited = Duration::ZERO;
        while self.now < until {
            let room = (self.flights.len() as u64 + 1) * PACKET <= self.path.window();
            // Acknowledgements come together.
            let heard = self.flights.front().map(|first| first.back + Duration::from_millis(2));
            if room && heard.is_none_or(|heard| self.next <= heard) {
                self.now = self.now.max(self.next);
                self.send(way);
            } else if let Some(heard) = heard {
                self.now = self.now.max(heard);
                self.hear();
            }
        }
        let share = self.carried as f64 / (way.rate as f64 * time.as_secs_f64());
        (share, self.waited)
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_path_is_filled_and_its_queue_is_not() {
    for (rate, round_trip) in [
        (TWENTY_MEGABITS, 50),
        (TWENTY_MEGABITS, 150),
        (12_500_000, 20),
        (125_000, 80),
        (50_000_000, 50),
    ] {
        let way = Way {
            rate,
            round_trip: ms(round_trip),
            room: ms(1000),
            ..WAY
        };
        let mut world = World::new();
        world.run(way, ms(5000));
        let (share, waited) = world.run(way, ms(8000));
        assert!(share > 0.93, "{rate} {round_trip}: {share}");
        // One round trip, ten milliseconds and what comes together; at slow rates the least.
        let least = Duration::from_nanos(LEAST_PACKETS * PACKET * 1_000_000_000 / rate);
        assert!(
            waited < ms(round_trip) * 120 / 100 + ms(14) + least,
            "{rate} {round_trip}: {waited:?}"
        );
    }
}

#[test]
fn the_first_search_doubles_in_a_round_trip_and_ends_as_soon_as_packets_wait() {
    let mut world = World::new();
    let way = Way { room: ms(1000), ..WAY };
    world.run(way, ms(160));
    assert!(world.path.window() >= 3 * FIRST, "{}", world.path.window());
    let (_, waited) = world.run(way, ms(2000));
    // What was sent before the first of them was heard of: two doublings.
    assert!(waited < ms(150), "{waited:?}");
    let (_, waited) = world.run(way, ms(2000));
    assert!(waited < ms(70), "{waited:?}");
}

#[test]
fn one_lost_packet_of_a_hundred_is_not_taken_for_a_full_path() {
    let mut world = World::new();
    let way = Way { loses: 100, ..WAY };
    world.run(way, ms(3000));
    let (share, _) = world.run(way, ms(20_000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn more_losses_than_chance_explains_make_it_yield_and_their_end_makes_it_come_back() {
    let mut world = World::new();
    world.run(WAY, ms(3000));
    let before = world.path.window();
    let bad = Way { loses: 5, ..WAY };
    world.run(bad, ms(3000));
    assert!(world.path.window() < before / 2, "{} of {before}", world.path.window());
    world.run(WAY, ms(3000));
    let (share, _) = world.run(WAY, ms(3000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn a_queue_of_a_few_milliseconds_is_enough() {
    let mut world = World::new();
    let way = Way { room: ms(4), ..WAY };
    world.run(way, ms(5000));
    let (share, _) = world.run(way, ms(8000));
    assert!(share > 0.7, "{share}");
}

#[test]
fn a_path_that_becomes_faster_slower_longer_or_shorter_is_measured_again() {
    let mut world = World::new();
    let sixth = Way {
        rate: TWENTY_MEGABITS / 6,
        ..WAY
    };
    let long = Way {
        round_trip: ms(200),
        ..WAY
    };
    for (name, way) in [
        ("first", WAY),
        ("slower", sixth),
        ("faster", WAY),
        ("longer", long),
        ("shorter", WAY),
    ] {
        // A queue that is left over takes some looks, one each ten seconds.
        world.run(way, ms(33_000));
        let (share, waited) = world.run(way, ms(5000));
        assert!(share > 0.85, "{name}: {share}");
        assert!(waited < way.round_trip + ms(40), "{name}: {waited:?}");
    }
}

#[test]
fn when_nothing_comes_through_it_begins_again_from_the_least() {
    let mut world = World::new();
    world.run(WAY, ms(3000));
    world.path.lost(world.path.window(), true);
    assert_eq!(world.path.window(), LEAST_PACKETS * PACKET);
    world.run(WAY, ms(2000));
    let (share, _) = world.run(WAY, ms(3000));
    assert!(share > 0.9, "{share}");
}

#[test]
fn who_has_little_to_send_keeps_what_was_measured() {
    let mut world = World::new();
    world.run(WAY, ms(3000));
    let before = world.path.window();
    let mut now = world.now;
    for _ in 0..200 {
        let sent = now;
        now += WAY.round_trip;
        world.path.acked(now, sent, PACKET, true);
    }
    assert!(world.path.window() >= before * 3 / 4, "{} of {before}", world.path.window());
}

#[test]
fn a_mark_of_congestion_counts_as_too_many_losses() {
    let mut world = World::new();
    world.run(WAY, ms(3000));
    let before = world.path.window();
    world.path.marked();
    world.run(WAY, ms(60));
    assert!(world.path.window() < before * 4 / 5, "{} of {before}", world.path.window());
}

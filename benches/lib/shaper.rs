//! A wide-area network in user space: one TUN device in the network namespace of each node, and between them links with delay, jitter, loss,
//! a rate and a queue. Written with the standard library and the C library that it is linked with, like `pump.rs`, because the kernel's own
//! netem is often not built. Built and driven by `lib/wan/namespaces.mjs`.
//!
//! It is told what to do on standard input, answers each line with `ok ...`, and ends when its input does:
//! - `node NAME ADDRESS`: opens the device `wan0` in the namespace NAME, whose node has that IPv4 address;
//! - `link FROM TO DELAY JITTER LOSS RATE QUEUE`: from one name to another (`*` for all): microseconds, more or less of them, lost packets of a
//!   million, bits a second (0: no limit), and microseconds that a packet may wait for that rate before the queue drops it at its tail;
//! - `stats`: packets passed on, lost as asked, dropped at the tail of a queue, and refused or not understood, since the start; and the longest
//!   that a packet waited for a rate, and the most that one left later than it was to, in microseconds since the last `stats`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    env,
    error::Error,
    ffi::{c_int, c_ulong, c_void},
    fs::{File, OpenOptions},
    io::{BufRead, ErrorKind, Read, Write},
    net::Ipv4Addr,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    process::exit,
    ptr::null,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

type Failure = Box<dyn Error + Send + Sync>;

const DEVICE: &[u8] = b"wan0";
/// From the kernel's headers, the same on every 64-bit Linux that this runs on.
const CLONE_NEWNET: c_int = 0x4000_0000;
const O_NONBLOCK: c_int = 0o4000;
const TUNSETIFF: c_ulong = 0x4004_54ca;
const IFF_TUN: u16 = 0x0001;
/// Packets without a header in front of them.
const IFF_NO_PI: u16 = 0x1000;
const POLLIN: i16 = 1;

const MAX_PACKET: usize = 2048;
/// Packets that one device may hand over before the others have their turn.
const TURN: usize = 64;
/// How often it looks for commands when nothing else happens.
const LOOK: Duration = Duration::from_millis(20);

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

#[repr(C)]
struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn ppoll(fds: *mut PollFd, count: c_ulong, timeout: *const TimeSpec, mask: *const c_void) -> c_int;
}

/// What a link does, and how far it is.
#[derive(Clone, Copy, Default)]
struct Link {
    delay: Duration,
    jitter: Duration,
    loss: u64,
    rate: u64,
    queue: Duration,
    /// When what waits for the rate has left, as time since the start.
    free: Duration,
    /// When the last packet arrives: none overtakes another.
    last: Duration,
}

struct Node {
    name: String,
    device: File,
}

/// A packet that is under way, by the time of its arrival and then by its number.
type Flying = Reverse<(Duration, u64, usize, Vec<u8>)>;

#[derive(Default)]
struct Counters {
    passed: u64,
    lost: u64,
    dropped: u64,
    refused: u64,
    waited: Duration,
    late: Duration,
}

struct Shaper {
    began: Instant,
    nodes: Vec<Node>,
    addresses: HashMap<Ipv4Addr, usize>,
    /// From one node to another.
    links: HashMap<(usize, usize), Link>,
    flying: BinaryHeap<Flying>,
    /// Buffers that are free again.
    spare: Vec<Vec<u8>>,
    number: u64,
    random: u64,
    counters: Counters,
}

fn main() {
    let seed = env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let (commands, inbox) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.map_or(true, |line| commands.send(line).is_err()) {
                break;
            }
        }
    });
    let shaper = Shaper {
        began: Instant::now(),
        nodes: Vec::new(),
        addresses: HashMap::new(),
        links: HashMap::new(),
        flying: BinaryHeap::new(),
        spare: Vec::new(),
        number: 0,
        random: seed,
        counters: Counters::default(),
    };
    if let Err(error) = shaper.run(&inbox) {
        eprintln!("shaper: {error}");
        exit(1);
    }
}

impl Shaper {
    fn run(mut self, inbox: &Receiver<String>) -> Result<(), Failure> {
        let mut block = [0u8; MAX_PACKET];
        loop {
            loop {
                match inbox.try_recv() {
                    Ok(line) => println!("ok {}", self.command(&line)?),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            for at in self.ready()? {
                for _ in 0..TURN {
                    match self.nodes[at].device.read(&mut block) {
                        Ok(len) => self.take(at, &block[..len]),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
                self.deliver();
            }
            self.deliver();
        }
    }

    fn command(&mut self, line: &str) -> Result<String, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["node", name, address] => {
                let device = open(name)?;
                self.addresses.insert(address.parse()?, self.nodes.len());
                self.nodes.push(Node { name: name.to_owned(), device });
                Ok(name.to_owned())
            }
            ["link", from, to, delay, jitter, loss, rate, queue] => {
                let micros = |text: &str| text.parse().map(Duration::from_micros);
                let link = Link {
                    delay: micros(delay)?,
                    jitter: micros(jitter)?,
                    loss: loss.parse()?,
                    rate: rate.parse()?,
                    queue: micros(queue)?,
                    ..Link::default()
                };
                let fits = |name: &str, node: &Node| name == "*" || name == node.name;
                let mut count = 0;
                for (a, one) in self.nodes.iter().enumerate() {
                    for (b, other) in self.nodes.iter().enumerate() {
                        if a != b && fits(from, one) && fits(to, other) {
                            // What is under way stays in front.
                            let last = self.links.get(&(a, b)).map_or(Duration::ZERO, |link| link.last);
                            self.links.insert((a, b), Link { last, ..link });
                            count += 1;
                        }
                    }
                }
                Ok(count.to_string())
            }
            ["stats"] => {
                let all = &mut self.counters;
                let (waited, late) = (std::mem::take(&mut all.waited), std::mem::take(&mut all.late));
                Ok(format!(
                    "{} {} {} {} {} {}",
                    all.passed,
                    all.lost,
                    all.dropped,
                    all.refused,
                    waited.as_micros(),
                    late.as_micros()
                ))
            }
            _ => Err(format!("not a command: {line}").into()),
        }
    }

    /// Waits until a device has a packet, or one under way arrives; gives the devices that have one.
    fn ready(&mut self) -> Result<Vec<usize>, Failure> {
        let wait = match self.flying.peek() {
            Some(Reverse((at, ..))) => at.saturating_sub(self.began.elapsed()).min(LOOK),
            None => LOOK,
        };
        let timeout = TimeSpec {
            seconds: 0,
            nanoseconds: i64::from(wait.subsec_nanos()),
        };
        let poll = |node: &Node| PollFd {
            fd: node.device.as_raw_fd(),
            events: POLLIN,
            revents: 0,
        };
        let mut fds: Vec<PollFd> = self.nodes.iter().map(poll).collect();
        // SAFETY: the array lives and has that many entries, and no signal mask is given.
        if unsafe { ppoll(fds.as_mut_ptr(), fds.len() as c_ulong, &timeout, null()) } < 0 {
            let error = std::io::Error::last_os_error();
            if error.kind() != ErrorKind::Interrupted {
                return Err(error.into());
            }
        }
        Ok(fds.iter().enumerate().filter(|(_, fd)| fd.revents != 0).map(|(at, _)| at).collect())
    }

    /// One packet that a node sends.
    fn take(&mut self, from: usize, packet: &[u8]) {
        let to = match packet {
            // IPv4, whose destination is the bytes 16 to 19.
            [0x40..=0x4f, .., ] if packet.len() >= 20 => self.addresses.get(&Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19])),
            _ => None,
        };
        let Some(&to) = to else {
            self.counters.refused += 1;
            return;
        };
        let (first, second) = (self.draw(), self.draw());
        let Some(link) = self.links.get_mut(&(from, to)) else {
            self.counters.refused += 1;
            return;
        };
        if first % 1_000_000 < link.loss {
            self.counters.lost += 1;
            return;
        }
        let now = self.began.elapsed();
        let mut leaves = now;
        if link.rate > 0 {
            let wait = link.free.saturating_sub(now);
            if wait > link.queue {
                self.counters.dropped += 1;
                return;
            }
            self.counters.waited = self.counters.waited.max(wait);
            leaves = now + wait + Duration::from_nanos(packet.len() as u64 * 8_000_000_000 / link.rate);
            link.free = leaves;
        }
        let spread = 2 * link.jitter.as_nanos() as u64 + 1;
        let arrives = (leaves + link.delay + Duration::from_nanos(second % spread)).saturating_sub(link.jitter).max(link.last);
        link.last = arrives;
        let mut held = self.spare.pop().unwrap_or_default();
        held.clear();
        held.extend_from_slice(packet);
        self.number += 1;
        self.flying.push(Reverse((arrives, self.number, to, held)));
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        while let Some(Reverse((at, ..))) = self.flying.peek() {
            let now = self.began.elapsed();
            if *at > now {
                break;
            }
            self.counters.late = self.counters.late.max(now - *at);
            let Some(Reverse((_, _, to, packet))) = self.flying.pop() else { break };
            match self.nodes[to].device.write(&packet) {
                Ok(_) => self.counters.passed += 1,
                Err(_) => self.counters.refused += 1,
            }
            self.spare.push(packet);
        }
    }

    /// splitmix64: the same packets are lost in each run of a seed, as far as the packets are the same.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The device in the namespace of that name: it belongs to the namespace in which it was opened.
fn open(name: &str) -> Result<File, Failure> {
    let home = File::open("/proc/thread-self/ns/net")?;
    enter(File::open(format!("/run/netns/{name}"))?.as_raw_fd())?;
    let opened = device();
    enter(home.as_raw_fd())?;
    opened
}

fn enter(namespace: RawFd) -> Result<(), Failure> {
    // SAFETY: a file that is open, and a flag.
    if unsafe { setns(namespace, CLONE_NEWNET) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

fn device() -> Result<File, Failure> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open("/dev/net/tun")?;
    // struct ifreq: a name of 16 bytes, flags, and room.
    let mut request = [0u8; 40];
    request[..DEVICE.len()].copy_from_slice(DEVICE);
    request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: the request is as large as the kernel's struct, and lives.
    if unsafe { ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) } < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(file)
}

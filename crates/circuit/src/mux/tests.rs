//! Two ends of a circuit without its cryptography: what honest ends do to each other in any order, and what a lying one gets.

mod honest;
mod lying;
mod window;

use super::{Mux, MuxEvent, Side};
use crate::error::CircuitError;
use crate::event::StreamId;
use crate::seal::Seal;
use anonnet_cells::{Body, Command, EndReason, Messages, TAG_LEN, cells, split};
use std::collections::{BTreeMap, VecDeque};

/// No cryptography.
struct Plain;

impl Seal for Plain {
    fn seal(&mut self, _: Command, _: &mut [u8; TAG_LEN], _: &mut Body) {}
}

/// What a stream's application has seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct App {
    connected: bool,
    received: u64,
    consumed: u64,
    sent: u64,
    finished: bool,
    heard_finished: bool,
    ended: Option<EndReason>,
    reset: bool,
    resolve: bool,
}

impl App {
    fn over(&self) -> bool {
        self.ended.is_some() || self.reset || (self.finished && self.heard_finished)
    }
}

/// One end, its applications, and the cells on their way to it.
struct Node {
    mux: Mux,
    side: Side,
    out: Vec<u8>,
    inbox: VecDeque<Vec<u8>>,
    apps: BTreeMap<StreamId, App>,
    opened: Vec<StreamId>,
}

/// The byte at an offset of a stream, from one side.
fn byte(side: Side, stream: StreamId, offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8) ^ u64::from(stream).wrapping_mul(97) ^ (side as u64)) as u8
}

impl Node {
    fn new(side: Side) -> Self {
        Self {
            mux: Mux::new(side),
            side,
            out: Vec::new(),
            inbox: VecDeque::new(),
            apps: BTreeMap::new(),
            opened: Vec::new(),
        }
    }

    fn other(&self) -> Side {
        if self.side == Side::Client { Side::LastHop } else { Side::Client }
    }

    fn receive(&mut self, mut cell: Vec<u8>) -> Result<(), CircuitError> {
        let other = self.other();
        let (mux, apps, opened) = (&mut self.mux, &mut self.apps, &mut self.opened);
        for cell in cells(&mut cell)? {
            for message in Messages::new(split(cell)?.body) {
                mux.receive(&message?, &mut |event| match event {
                    MuxEvent::Begin { stream, .. } | MuxEvent::BeginDir { stream } => {
                        opened.push(stream);
                        assert!(apps.insert(stream, App::default()).is_none());
                    }
                    MuxEvent::Resolve { stream, name } => {
                        assert_eq!(name, "example.org");
                        opened.push(stream);
                        assert!(
                            apps.insert(
                                stream,
                                App {
                                    resolve: true,
                                    ..App::default()
                                }
                            )
                            .is_none()
                        );
                    }
                    MuxEvent::Connected { stream } => {
                        let app = apps.get_mut(&stream).unwrap();
                        assert!(!app.connected && !app.over());
                        app.connected = true;
                    }
                    MuxEvent::Data { stream, data } => {
                        let app = apps.get_mut(&stream).unwrap();
                        assert!(!data.is_empty() && !app.heard_finished && !app.over());
                        for value in data {
                            assert_eq!(*value, byte(other, stream, app.received));
                            app.received += 1;
                        }
                    }
                    MuxEvent::Finished { stream } => {
                        let app = apps.get_mut(&stream).unwrap();
                        assert!(!app.heard_finished && !app.over());
                        app.heard_finished = true;
                    }
                    MuxEvent::Ended { stream, reason } => {
                        let app = apps.get_mut(&stream).unwrap();
                        assert!(!app.over() && reason != EndReason::Done);
                        app.ended = Some(reason);
                    }
                    MuxEvent::Credit { stream } => assert!(!apps[&stream].over()),
                    MuxEvent::Resolved { stream, answer } => {
                        let app = apps.get_mut(&stream).unwrap();
                        assert!(app.resolve && !app.over());
                        app.ended = Some(answer.reason);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Sends the next bytes of a stream; gives how many there was credit for.
    fn send(&mut self, stream: StreamId, len: usize) -> usize {
        let app = self.apps.get_mut(&stream).unwrap();
        let data: Vec<u8> = (0..len as u64).map(|i| byte(self.side, stream, app.sent + i)).collect();
        let taken = self.mux.send(&mut Plain, stream, &data, &mut self.out).unwrap_or(0);
        app.sent += taken as u64;
        taken
    }

    fn consume(&mut self, stream: StreamId, len: u64) {
        let app = self.apps.get_mut(&stream).unwrap();
        let len = len.min(app.received - app.consumed);
        app.consumed += len;
        self.mux.consumed(stream, len as usize).unwrap();
    }
}

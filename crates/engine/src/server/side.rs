//! A relay's end of a circuit while it is the last hop, as the driver sees it.

use std::collections::VecDeque;
use std::time::Duration;

use anonnet_cells::{EndReason, Host};
use anonnet_circuit::{ExtendRequest, HopEvent, ServiceRequest};
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_relay::{RelayCircuit, RelayEvent};

use crate::clock::monotonic_ns;
use crate::driver::{Router, Side};
use crate::pipe::{Answer, StreamHandle};

pub(crate) struct RelaySide {
    pub(crate) circuit: RelayCircuit,
}

/// What the client of a circuit asks of its last hop.
pub(crate) enum RelayNote {
    #[cfg(feature = "exit")]
    Begin {
        handle: StreamHandle,
        host: OwnedHost,
        port: u16,
    },
    Directory {
        handle: StreamHandle,
    },
    #[cfg(feature = "exit")]
    Resolve {
        handle: StreamHandle,
        name: String,
    },
    /// A stream to the outside, which this build cannot open.
    #[cfg(not(feature = "exit"))]
    Outside {
        handle: StreamHandle,
    },
    /// A stream to a port of a service.
    Port {
        handle: StreamHandle,
        port: u16,
    },
    Extend(ExtendRequest),
    Service(ServiceRequest),
}

#[cfg(feature = "exit")]
pub(crate) enum OwnedHost {
    Address(std::net::IpAddr),
    Name(String),
}

/// What a stream to there asks for.
#[cfg(feature = "exit")]
fn begin(handle: StreamHandle, host: Host<'_>, port: u16) -> RelayNote {
    let host = match host {
        Host::V4(address) => OwnedHost::Address(address.into()),
        Host::V6(address) => OwnedHost::Address(address.into()),
        Host::Name(name) => OwnedHost::Name(name.to_owned()),
        Host::Service => return RelayNote::Port { handle, port },
    };
    RelayNote::Begin { handle, host, port }
}

#[cfg(not(feature = "exit"))]
fn begin(handle: StreamHandle, host: Host<'_>, port: u16) -> RelayNote {
    match host {
        Host::Service => RelayNote::Port { handle, port },
        _ => RelayNote::Outside { handle },
    }
}

impl Side for RelaySide {
    type Note = RelayNote;

    fn rest(&mut self) {
        if let Ok(hop) = self.circuit.last_hop() {
            hop.rest();
        }
    }

    fn receive(
        &mut self,
        run: &mut [u8],
        _: &mut Vec<u8>,
        router: &mut Router<'_>,
        notes: &mut VecDeque<RelayNote>,
    ) -> Result<(), ErrorKind> {
        let mut again = false;
        let mut sink = |event: RelayEvent<'_>| match event {
            RelayEvent::Hop(HopEvent::Data { stream, data }) => router.data(stream, data),
            RelayEvent::Hop(HopEvent::Credit { stream }) => router.credit(stream),
            RelayEvent::Hop(HopEvent::Finished { stream }) => router.finished(stream),
            RelayEvent::Hop(HopEvent::Ended { stream, reason }) => router.ended(stream, reason.kind()),
            RelayEvent::Hop(HopEvent::Begin { stream, target }) => notes.push_back(begin(router.open(stream), target.host, target.port)),
            #[cfg(not(feature = "exit"))]
            RelayEvent::Hop(HopEvent::Resolve { stream, .. }) => {
                notes.push_back(RelayNote::Outside {
                    handle: router.open(stream),
                });
            }
            RelayEvent::Hop(HopEvent::BeginDir { stream }) => notes.push_back(RelayNote::Directory {
                handle: router.open(stream),
            }),
            #[cfg(feature = "exit")]
            RelayEvent::Hop(HopEvent::Resolve { stream, name }) => {
                notes.push_back(RelayNote::Resolve {
                    handle: router.open(stream),
                    name: name.to_owned(),
                });
            }
            RelayEvent::Hop(HopEvent::Extend(request)) => notes.push_back(RelayNote::Extend(request)),
            RelayEvent::Hop(HopEvent::Service(request)) => notes.push_back(RelayNote::Service(request)),
            RelayEvent::Create(_) => again = true,
        };
        self.circuit.receive(run, &mut sink).map_err(|error| error.kind())?;
        if again { Err(ErrorKind::CircuitProtocol) } else { Ok(()) }
    }

    fn needs_flush(&mut self) -> bool {
        self.circuit.last_hop().is_ok_and(|hop| hop.needs_flush())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit
            .last_hop()
            .map_err(|error| error.kind())?
            .flush(Duration::from_nanos(monotonic_ns()), out)
            .map_err(|error| error.kind())
    }

    fn send(&mut self, stream: u16, data: &[u8], out: &mut Vec<u8>) -> Result<usize, ErrorKind> {
        self.circuit
            .last_hop()
            .map_err(|error| error.kind())?
            .send(stream, data, out)
            .map_err(|error| error.kind())
    }

    fn finish(&mut self, stream: u16, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit
            .last_hop()
            .map_err(|error| error.kind())?
            .finish(stream, out)
            .map_err(|error| error.kind())
    }

    fn reset(&mut self, stream: u16, reason: EndReason, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit
            .last_hop()
            .map_err(|error| error.kind())?
            .refuse(stream, reason, out)
            .map_err(|error| error.kind())
    }

    fn consumed(&mut self, stream: u16, count: usize) -> Result<(), ErrorKind> {
        self.circuit
            .last_hop()
            .map_err(|error| error.kind())?
            .consumed(stream, count)
            .map_err(|error| error.kind())
    }

    fn answer(&mut self, stream: u16, answer: Answer, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        let hop = self.circuit.last_hop().map_err(|error| error.kind())?;
        match answer {
            Answer::Connected => hop.connected(stream, out),
            Answer::Resolved(addresses) => hop.resolved(stream, &addresses, out),
        }
        .map_err(|error| error.kind())
    }
}

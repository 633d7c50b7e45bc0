//! The one size of all packets between a client and its guard, set before the handshake and the same for the life of the link.
//!
//! The client says which by the length of the first destination id, which it draws at random and which is on the first packet. The packets of
//! the handshake have the size already, both ways: a link that comes up has a path that carries it.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use quinn::{ConnectionId, udp::UdpSocketState};

use crate::{
    error::TransportError,
    limits::{CLIENT_UDP_PAYLOAD, CLIENT_UDP_PAYLOAD_JUMBO, CLIENT_UDP_PAYLOAD_ORDINARY},
    random,
};

/// Few, so that a size tells nothing of a path but its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    Least,
    Ordinary,
    Jumbo,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::Least, Self::Ordinary, Self::Jumbo];

    /// UDP payload.
    pub(crate) const fn bytes(self) -> u16 {
        match self {
            Self::Least => CLIENT_UDP_PAYLOAD,
            Self::Ordinary => CLIENT_UDP_PAYLOAD_ORDINARY,
            Self::Jumbo => CLIENT_UDP_PAYLOAD_JUMBO,
        }
    }

    /// Bytes of the first destination id. 20 is what QUIC's programs have.
    const fn id_len(self) -> usize {
        match self {
            Self::Least => 20,
            Self::Ordinary => 19,
            Self::Jumbo => 18,
        }
    }

    /// What the dialler of that id wants.
    pub(crate) fn of(first_id: &ConnectionId) -> Self {
        let said = Self::ALL.into_iter().find(|size| size.id_len() == first_id.len());
        said.unwrap_or(Self::Least)
    }

    /// A first destination id that says this size.
    pub(crate) fn first_id(self) -> Result<ConnectionId, TransportError> {
        let drawn: [u8; 20] = random::bytes()?;
        Ok(ConnectionId::new(drawn.get(..self.id_len()).unwrap_or(&drawn)))
    }
}

/// What this process has learnt about the paths of its links.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// A link came up with the least size only.
    narrow: AtomicBool,
}

impl Paths {
    /// The sizes to try for a link to that address, one after the other.
    pub(crate) fn sizes(&self, address: SocketAddr) -> Vec<Size> {
        let mut sizes = Vec::new();
        if !self.narrow.load(Ordering::Relaxed) {
            if interface_takes(address, Size::Jumbo.bytes()) {
                sizes.push(Size::Jumbo);
            }
            sizes.push(Size::Ordinary);
        }
        sizes.push(Size::Least);
        sizes
    }

    /// A link came up at the last of several tries: the next ones need not wait for the others.
    pub(crate) fn came_up(&self, size: Size, tries: usize) {
        if size == Size::Least && tries > 1 {
            self.narrow.store(true, Ordering::Relaxed);
        }
    }
}

/// How a packet of a handshake of version 1 begins: one that belongs to no connection is ignored, where another would be answered.
const STRAY: [u8; 5] = [0xe0, 0, 0, 0, 1];

/// Whether the interface towards the address takes a datagram of that size in one piece. Only then it leaves.
fn interface_takes(address: SocketAddr, size: u16) -> bool {
    let any = if address.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let Ok(socket) = UdpSocket::bind(any) else { return false };
    // It asks the kernel never to cut a datagram.
    let whole = UdpSocketState::new((&socket).into()).is_ok_and(|state| !state.may_fragment());
    let mut datagram = STRAY.to_vec();
    datagram.resize(usize::from(size), 0);
    whole && socket.send_to(&datagram, address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_a_size_and_every_other_the_least() {
        for size in Size::ALL {
            let [one, other] = [0; 2].map(|_| size.first_id().unwrap());
            assert_eq!(Size::of(&one), size);
            assert_ne!(one, other);
        }
        for other in [8, 10, 17] {
            assert_eq!(Size::of(&ConnectionId::new(&[1; 20][..other])), Size::Least);
        }
    }

    #[test]
    fn after_a_narrow_path_only_the_least_is_tried() {
        let (paths, there) = (Paths::default(), SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
        assert_eq!(paths.sizes(there).last(), Some(&Size::Least));
        assert!(paths.sizes(there).contains(&Size::Ordinary));
        paths.came_up(Size::Ordinary, 2);
        paths.came_up(Size::Least, 1);
        assert!(paths.sizes(there).contains(&Size::Ordinary));
        paths.came_up(Size::Least, 2);
        assert_eq!(paths.sizes(there), [Size::Least]);
    }
}

//! RESOLVED: `reason u8`, then for each address `4 | ip[4]` or `6 | ip[16]`. Reason Done has one address at least, every other reason none.

use crate::end::EndReason;
use crate::error::CellError;
use crate::kind::Kind;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses in one answer.
pub const MAX_RESOLVED_ADDRESSES: usize = 16;
/// The longest RESOLVED in bytes.
pub const MAX_RESOLVED_LEN: usize = 1 + MAX_RESOLVED_ADDRESSES * 17;

const MALFORMED: CellError = CellError::Payload { kind: Kind::Resolved };

/// The answer to a RESOLVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// [`EndReason::Done`] when there are addresses, else why there are none.
    pub reason: EndReason,
    list: &'a [u8],
}

impl<'a> Resolved<'a> {
    /// Reads a payload; all of its addresses are checked here.
    pub fn read(payload: &'a [u8]) -> Result<Self, CellError> {
        let (reason, list) = payload.split_first().ok_or(MALFORMED)?;
        let reason = EndReason::from_byte(*reason).ok_or(MALFORMED)?;
        let (mut rest, mut count) = (list, 0);
        while !rest.is_empty() {
            rest = read_address(rest).ok_or(MALFORMED)?.1;
            count += 1;
        }
        if count > MAX_RESOLVED_ADDRESSES || (count == 0) == (reason == EndReason::Done) {
            return Err(MALFORMED);
        }
        Ok(Self { reason, list })
    }

    /// The addresses, in the exit's order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let mut rest = self.list;
        core::iter::from_fn(move || {
            let (address, after) = read_address(rest)?;
            rest = after;
            Some(address)
        })
    }
}

fn read_address(list: &[u8]) -> Option<(IpAddr, &[u8])> {
    match list.split_first()? {
        (4, rest) => rest.split_first_chunk::<4>().map(|(ip, rest)| (Ipv4Addr::from(*ip).into(), rest)),
        (6, rest) => rest.split_first_chunk::<16>().map(|(ip, rest)| (Ipv6Addr::from(*ip).into(), rest)),
        _ => None,
    }
}

/// The payload of a RESOLVED: the first [`MAX_RESOLVED_ADDRESSES`] addresses, or the reason alone. [`CellError::Payload`] for
/// Done without an address or another reason with one.
pub fn write_resolved(reason: EndReason, addresses: &[IpAddr]) -> Result<Vec<u8>, CellError> {
    if addresses.is_empty() == (reason == EndReason::Done) {
        return Err(MALFORMED);
    }
    let mut payload = vec![reason as u8];
    for address in addresses.iter().take(MAX_RESOLVED_ADDRESSES) {
        match address {
            IpAddr::V4(ip) => {
                payload.push(4);
                payload.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                payload.push(6);
                payload.extend_from_slice(&ip.octets());
            }
        }
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::{MALFORMED, MAX_RESOLVED_ADDRESSES, MAX_RESOLVED_LEN, Resolved, write_resolved};
    use crate::EndReason;
    use core::net::IpAddr;

    #[test]
    fn goes_there_and_back_and_is_cut_at_the_limit() {
        let addresses: Vec<IpAddr> = vec!["1.2.3.4".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let payload = write_resolved(EndReason::Done, &addresses).unwrap();
        let answer = Resolved::read(&payload).unwrap();
        assert_eq!(
            (answer.reason, answer.addresses().collect::<Vec<_>>()),
            (EndReason::Done, addresses.clone())
        );
        let many = vec![addresses[1]; MAX_RESOLVED_ADDRESSES + 1];
        let payload = write_resolved(EndReason::Done, &many).unwrap();
        assert_eq!(payload.len(), MAX_RESOLVED_LEN);
        assert_eq!(Resolved::read(&payload).unwrap().addresses().count(), MAX_RESOLVED_ADDRESSES);
        let payload = write_resolved(EndReason::NotResolved, &[]).unwrap();
        assert_eq!(Resolved::read(&payload).unwrap().reason, EndReason::NotResolved);
    }

    #[test]
    fn refuses_all_else() {
        assert_eq!(write_resolved(EndReason::Done, &[]), Err(MALFORMED));
        assert_eq!(write_resolved(EndReason::Policy, &["::".parse().unwrap()]), Err(MALFORMED));
        let too_many = [[4, 1, 2, 3, 4]; MAX_RESOLVED_ADDRESSES + 1].concat();
        for payload in [
            &[][..],
            &[0],
            &[6, 4, 1, 2, 3, 4],
            &[99],
            &[0, 5, 1, 2, 3, 4],
            &[0, 4, 1, 2, 3],
            &[&[0], too_many.as_slice()].concat(),
        ] {
            assert_eq!(Resolved::read(payload), Err(MALFORMED));
        }
    }
}

//! Exit policies: what a relay connects to on behalf of others.

use crate::error::{PolicyError, Refusal};
use crate::limits::MAX_POLICY_RULES;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

/// Lines such as `accept *:80`, `reject 10.0.0.0/8:*`, `accept [2001:db8::]/32:80-443`; the first that fits decides, and where none
/// does, the target is rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitPolicy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    accept: bool,
    addresses: Addresses,
    ports: RangeInclusive<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    All,
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
}

impl ExitPolicy {
    /// Reads the lines, in order. [`PolicyError`] names the line that is none.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Self, PolicyError> {
        if lines.len() > MAX_POLICY_RULES {
            return Err(PolicyError::TooLong { lines: lines.len() });
        }
        let rules = lines.iter().enumerate().map(|(index, line)| Rule::parse(line.as_ref(), index + 1));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// The lines again, in their one canonical form.
    pub fn lines(&self) -> Vec<String> {
        self.rules.iter().map(ToString::to_string).collect()
    }

    /// Whether this relay connects to an address, after resolving. Addresses that are not of the public internet are refused whatever the lines say,
    /// unless this is a test network (`allow_private`). [`Refusal`] says which of the two it was.
    pub fn check(&self, address: IpAddr, port: u16, allow_private: bool) -> Result<(), Refusal> {
        if !allow_private && !is_public(address) {
            return Err(Refusal::PrivateAddress);
        }
        // An address of IPv4 that comes as one of IPv6 is the same target.
        let address = address.to_canonical();
        match self
            .rules
            .iter()
            .find(|rule| rule.ports.contains(&port) && rule.addresses.contain(address))
        {
            Some(rule) if rule.accept => Ok(()),
            _ => Err(Refusal::Rejected),
        }
    }

    /// Whether there is any address at all that it connects to on that port: asked before a name is resolved.
    pub fn may_allow_port(&self, port: u16) -> bool {
        self.rules
            .iter()
            .filter(|rule| rule.ports.contains(&port))
            .find_map(|rule| match (rule.accept, rule.addresses) {
                (true, _) => Some(true),
                (false, Addresses::All) => Some(false),
                (false, _) => None,
            })
            .unwrap_or(false)
    }
}

impl Rule {
    fn parse(text: &str, line: usize) -> Result<Self, PolicyError> {
        let mut words = text.split_whitespace();
        let accept = match words.next() {
            Some("accept") => true,
            Some("reject") => false,
            _ => return Err(PolicyError::Form { line }),
        };
        let (Some(pattern), None) = (words.next(), words.next()) else {
            return Err(PolicyError::Form { line });
        };
        let (addresses, ports) = pattern.rsplit_once(':').ok_or(PolicyError::Form { line })?;
        Ok(Self {
            accept,
            addresses: Addresses::parse(addresses).ok_or(PolicyError::Address { line })?,
            ports: parse_ports(ports).ok_or(PolicyError::Port { line })?,
        })
    }
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    if text == "*" {
        return Some(1..=u16::MAX);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_number::<u16>(first)?, parse_number::<u16>(last)?);
    (first != 0 && first <= last).then_some(first..=last)
}

/// Digits and nothing else: `parse` alone takes a sign.
fn parse_number<T: core::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

impl Addresses {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(parse_number::<u8>(bits)?)),
            None => (text, None),
        };
        if let Some(address) = address.strip_prefix('[') {
            let bits = bits.unwrap_or(128);
            let address = address.strip_suffix(']')?.parse().ok()?;
            return (bits <= 128).then_some(Self::V6(address, bits));
        }
        let bits = bits.unwrap_or(32);
        let address = address.parse().ok()?;
        (bits <= 32).then_some(Self::V4(address, bits))
    }

    fn contain(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::V4(net, bits), IpAddr::V4(ip)) => within_v4(ip, net, bits),
            (Self::V6(net, bits), IpAddr::V6(ip)) => within_v6(ip, net, bits),
            _ => false,
        }
    }
}

fn within_v4(ip: Ipv4Addr, net: Ipv4Addr, bits: u8) -> bool {
    // All bits are shifted out for /0.
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (u32::from(ip) ^ u32::from(net)) & mask == 0
}

fn within_v6(ip: Ipv6Addr, net: Ipv6Addr, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (u128::from(ip) ^ u128::from(net)) & mask == 0
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.accept { "accept " } else { "reject " })?;
        match self.addresses {
            Addresses::All => f.write_str("*")?,
            Addresses::V4(ip, 32) => write!(f, "{ip}")?,
            Addresses::V4(ip, bits) => write!(f, "{ip}/{bits}")?,
            Addresses::V6(ip, 128) => write!(f, "[{ip}]")?,
            Addresses::V6(ip, bits) => write!(f, "[{ip}]/{bits}")?,
        }
        match (*self.ports.start(), *self.ports.end()) {
            (1, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// What is not of the public internet (the IANA registries of special-purpose addresses, and multicast).
const NOT_PUBLIC_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, and with it the metadata services of clouds.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // The anycast relays of 6to4.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// The same of IPv6, inside the one block that is handed out, 2000::/3.
const NOT_PUBLIC_V6: &[(Ipv6Addr, u8)] = &[
    // Protocol assignments, with Teredo and ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

const GLOBAL_UNICAST_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const SIX_TO_FOUR: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address is one of the public internet. Addresses of IPv6 that carry one of IPv4 (mapped, NAT64, 6to4) are what they carry: through them the
/// packet reaches it.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            if within_v6(ip, NAT64.0, NAT64.1) {
                // The low 32 bits.
                return is_public_v4(Ipv4Addr::from(bits as u32));
            }
            if within_v6(ip, SIX_TO_FOUR.0, SIX_TO_FOUR.1) {
                // The 32 bits after the first 16.
                return is_public_v4(Ipv4Addr::from((bits >> 80) as u32));
            }
            within_v6(ip, GLOBAL_UNICAST_V6.0, GLOBAL_UNICAST_V6.1) && !NOT_PUBLIC_V6.iter().any(|(net, len)| within_v6(ip, *net, *len))
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|(net, len)| within_v4(ip, *net, *len))
}

#[cfg(test)]
mod tests {
    use super::{ExitPolicy, is_public};
    use crate::error::{PolicyError, Refusal};
    use crate::limits::MAX_POLICY_RULES;
    use core::net::IpAddr;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_line_that_fits_decides_and_the_rest_is_rejected() {
        let policy = ExitPolicy::parse(&[
            "reject 8.8.0.0/16:*",
            "reject *:25",
            "accept *:80-443",
            "accept [2606:4700::]/32:*",
            "accept 1.1.1.1:53",
            "reject *:*",
        ])
        .unwrap();
        let allows = |address, port| policy.check(ip(address), port, false) == Ok(());
        assert!(allows("9.9.9.9", 80) && allows("9.9.9.9", 443) && allows("9.9.9.9", 200));
        assert!(!allows("9.9.9.9", 79) && !allows("9.9.9.9", 444));
        assert!(!allows("8.8.8.8", 80) && allows("8.9.8.8", 80));
        assert!(allows("2606:4700::1", 9999) && !allows("2606:4700::1", 25) && !allows("2606:4701::1", 9999));
        assert!(allows("1.1.1.1", 53) && !allows("1.1.1.2", 53) && allows("::ffff:1.1.1.1", 53));
        assert_eq!(ExitPolicy::default().check(ip("9.9.9.9"), 80, true), Err(Refusal::Rejected));
    }

    #[test]
    fn a_port_that_no_address_has_is_known_before_resolving() {
        let policy = ExitPolicy::parse(&["reject 1.0.0.0/8:*", "reject *:25", "accept *:1-80", "accept 9.9.9.9:443"]).unwrap();
        assert!(policy.may_allow_port(80) && policy.may_allow_port(443));
        assert!(!policy.may_allow_port(25) && !policy.may_allow_port(81));
        assert!(!ExitPolicy::default().may_allow_port(80));
    }

    #[test]
    fn lines_come_back_in_one_form_and_what_is_none_is_named() {
        let lines = [
            "accept *:*",
            "reject 10.0.0.0/8:1-1024",
            "accept 1.2.3.4:80",
            "accept [::1]:*",
            "reject [2001:db8::]/32:443",
        ];
        let policy = ExitPolicy::parse(&lines).unwrap();
        assert_eq!(policy.lines(), lines);
        assert_eq!(ExitPolicy::parse(&policy.lines()), Ok(policy));
        assert_eq!(
            ExitPolicy::parse(&["  accept   1.2.3.4/32:80-80 "]).unwrap().lines(),
            ["accept 1.2.3.4:80"]
        );
        for bad in ["", "accept", "allow *:*", "accept *", "accept *:* x", "accept 1.2.3.4"] {
            assert_eq!(ExitPolicy::parse(&["accept *:*", bad]), Err(PolicyError::Form { line: 2 }), "{bad}");
        }
        for bad in [
            "1.2.3:80",
            "1.2.3.4/33:80",
            "1.2.3.4/:+1",
            "::1:80",
            "[::1:80",
            "[::1]/129:80",
            "[1.2.3.4]:80",
            "1.2.3.4/+8:80",
            "a.b:80",
        ] {
            assert!(
                matches!(ExitPolicy::parse(&[format!("accept {bad}")]), Err(PolicyError::Address { line: 1 })),
                "{bad}"
            );
        }
        for bad in ["", "0", "80-", "-80", "443-80", "65536", "+80", "80-443-1"] {
            assert_eq!(
                ExitPolicy::parse(&[format!("accept *:{bad}")]),
                Err(PolicyError::Port { line: 1 }),
                "{bad}"
            );
        }
        assert!(ExitPolicy::parse(&["accept *:*"; MAX_POLICY_RULES]).is_ok());
        let lines = MAX_POLICY_RULES + 1;
        assert_eq!(ExitPolicy::parse(&vec!["accept *:*"; lines]), Err(PolicyError::TooLong { lines }));
    }

    #[test]
    fn attack_39_no_private_address_in_any_disguise() {
        let policy = ExitPolicy::parse(&["accept *:*"]).unwrap();
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "5f00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2002:c0a8:101::1",
        ];
        for address in private {
            assert_eq!(policy.check(ip(address), 80, false), Err(Refusal::PrivateAddress), "{address}");
            assert_eq!(policy.check(ip(address), 80, true), Ok(()), "{address}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1",
            "2a00::1",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ];
        for address in public {
            assert!(is_public(ip(address)), "{address}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(accept|reject)? ?[0-9a-f:.*/\\[\\]-]{0,40}") {
            if let Ok(policy) = ExitPolicy::parse(&[&text]) {
                prop_assert_eq!(ExitPolicy::parse(&policy.lines()), Ok(policy));
            }
        }
    }
}

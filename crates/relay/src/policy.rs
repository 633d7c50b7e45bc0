//! Exit policies: what a relay connects to on behalf of others.

mod address;

use crate::error::{PolicyError, Refusal};
use crate::limits::MAX_POLICY_RULES;
use address::{within_v4, within_v6};

pub use address::is_public;
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

#[cfg(test)]
mod tests {
    use super::ExitPolicy;
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

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(accept|reject)? ?[0-9a-f:.*/\\[\\]-]{0,40}") {
            if let Ok(policy) = ExitPolicy::parse(&[&text]) {
                prop_assert_eq!(ExitPolicy::parse(&policy.lines()), Ok(policy));
            }
        }
    }
}

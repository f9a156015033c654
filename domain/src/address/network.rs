//! The networks that are not the public Internet, in one table, and the function that reads it.
//!
//! Sources: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and later), the IPv6 global unicast registry
//! and RFC 6052, 3056, 4380, 5214 and 8215 for the forms of IPv6 that carry an IPv4 address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// What an address is, if it is no ordinary public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `0.0.0.0` and `::`, which many systems connect to themselves.
    Unspecified,
    /// The rest of `0.0.0.0/8`, "this network".
    ThisNetwork,
    /// The own machine.
    Loopback,
    /// RFC 1918.
    Private,
    /// Behind a carrier's NAT, RFC 6598; also the inside of some clouds.
    CarrierNat,
    /// Good on one link only; where clouds keep their metadata.
    LinkLocal,
    /// A cloud's own service behind a public address.
    CloudPlatform,
    /// Set aside for protocols, and anycast services that may be answered inside the operator's network.
    Protocol,
    /// For examples in documents.
    Documentation,
    /// For measuring network devices.
    Benchmark,
    /// A group and no host.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// Not given out by IANA, or taken back.
    Reserved,
    /// IPv6's private addresses, RFC 4193.
    UniqueLocal,
    /// IPv6's former private addresses, RFC 3879.
    SiteLocal,
    /// Thrown away by routers, RFC 6666.
    Discard,
    /// A public IPv4 address written as `::ffff:a.b.c.d`.
    Mapped,
    /// A public IPv4 address written as `::a.b.c.d`.
    Compatible,
    /// A public IPv4 address written as `::ffff:0:a.b.c.d`.
    Translated,
    /// Behind a NAT64 whose prefix is local, RFC 8215.
    LocalNat64,
    /// A tunnel to a public IPv4 address, RFC 3056.
    SixToFour,
    /// A tunnel through public IPv4 addresses, RFC 4380.
    Teredo,
    /// A site's own tunnel to a public IPv4 address, RFC 5214.
    Isatap,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "this network",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::CloudPlatform => "cloud platform",
            Self::Protocol => "protocol assignment",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::UniqueLocal => "unique-local",
            Self::SiteLocal => "site-local",
            Self::Discard => "discard-only",
            Self::Mapped => "IPv4-mapped",
            Self::Compatible => "IPv4-compatible",
            Self::Translated => "IPv4-translated",
            Self::LocalNat64 => "local NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Isatap => "ISATAP",
        })
    }
}

/// What `ip` is, unless it is a global unicast address: then `None`, and only then may it be dialled.
pub fn refusal(ip: IpAddr) -> Option<Kind> {
    let network = NETWORKS.iter().find(|network| network.net.contains(&ip));
    match (ip, network) {
        (IpAddr::V6(ip), Some(network)) => inside(ip, network.inside).or(network.kind),
        (IpAddr::V6(ip), None) if is_isatap(ip) => inside(ip, &[LOW]).or(Some(Kind::Isatap)),
        (_, network) => network?.kind,
    }
}

/// One row: the first that contains an address decides.
struct Network {
    net: IpNet,
    /// What its addresses are when no IPv4 address inside is refused; `None` lets them pass.
    kind: Option<Kind>,
    /// Where they carry IPv4 addresses.
    inside: &'static [Place],
}

/// Where an IPv4 address stands in the 128 bits of an IPv6 one.
struct Place {
    /// Bits to its right.
    shift: u32,
    /// What it is combined with by exclusive or.
    mask: u32,
}

const LOW: Place = Place { shift: 0, mask: 0 };
const AFTER_16_BITS: Place = Place { shift: 80, mask: 0 };
const TEREDO_SERVER: Place = Place { shift: 64, mask: 0 };
const TEREDO_CLIENT: Place = Place { shift: 0, mask: u32::MAX };

#[rustfmt::skip]
const NETWORKS: &[Network] = &[
    v4([0, 0, 0, 0], 32, Kind::Unspecified),
    v4([0, 0, 0, 0], 8, Kind::ThisNetwork),
    v4([10, 0, 0, 0], 8, Kind::Private),
    v4([100, 64, 0, 0], 10, Kind::CarrierNat),
    v4([127, 0, 0, 0], 8, Kind::Loopback),
    v4([168, 63, 129, 16], 32, Kind::CloudPlatform),  // Azure's own services, from every virtual machine there
    v4([169, 254, 0, 0], 16, Kind::LinkLocal),
    v4([172, 16, 0, 0], 12, Kind::Private),
    v4([192, 0, 0, 0], 24, Kind::Protocol),
    v4([192, 0, 2, 0], 24, Kind::Documentation),
    v4([192, 31, 196, 0], 24, Kind::Protocol),        // AS112
    v4([192, 52, 193, 0], 24, Kind::Protocol),        // AMT
    v4([192, 88, 99, 0], 24, Kind::Protocol),         // 6to4 relays
    v4([192, 168, 0, 0], 16, Kind::Private),
    v4([192, 175, 48, 0], 24, Kind::Protocol),        // AS112
    v4([198, 18, 0, 0], 15, Kind::Benchmark),
    v4([198, 51, 100, 0], 24, Kind::Documentation),
    v4([203, 0, 113, 0], 24, Kind::Documentation),
    v4([224, 0, 0, 0], 4, Kind::Multicast),
    v4([255, 255, 255, 255], 32, Kind::Broadcast),
    v4([240, 0, 0, 0], 4, Kind::Reserved),

    v6(&[], 128, Some(Kind::Unspecified), &[]),
    v6(&[0, 0, 0, 0, 0, 0, 0, 1], 128, Some(Kind::Loopback), &[]),
    v6(&[], 96, Some(Kind::Compatible), &[LOW]),
    v6(&[0, 0, 0, 0, 0, 0xffff], 96, Some(Kind::Mapped), &[LOW]),
    v6(&[0, 0, 0, 0, 0xffff], 96, Some(Kind::Translated), &[LOW]),
    // The one form in real use: behind a NAT64 every receiver without IPv6 has such an address.
    v6(&[0x64, 0xff9b], 96, None, &[LOW]),
    v6(&[0x64, 0xff9b, 1], 48, Some(Kind::LocalNat64), &[LOW]),
    v6(&[0x100], 64, Some(Kind::Discard), &[]),
    v6(&[0x2001], 32, Some(Kind::Teredo), &[TEREDO_SERVER, TEREDO_CLIENT]),
    v6(&[0x2001, 2], 48, Some(Kind::Benchmark), &[]),
    v6(&[0x2001], 23, Some(Kind::Protocol), &[]),
    v6(&[0x2001, 0xdb8], 32, Some(Kind::Documentation), &[]),
    v6(&[0x2002], 16, Some(Kind::SixToFour), &[AFTER_16_BITS]),
    v6(&[0x2620, 0x4f, 0x8000], 48, Some(Kind::Protocol), &[]),  // AS112
    v6(&[0x3ffe], 16, Some(Kind::Reserved), &[]),                // the 6bone's, taken back
    v6(&[0x3fff], 20, Some(Kind::Documentation), &[]),
    v6(&[0xfc00], 7, Some(Kind::UniqueLocal), &[]),
    v6(&[0xfe80], 10, Some(Kind::LinkLocal), &[]),
    v6(&[0xfec0], 10, Some(Kind::SiteLocal), &[]),
    v6(&[0xff00], 8, Some(Kind::Multicast), &[]),
    // All that is left outside 2000::/3, the only part of IPv6 that is given out.
    v6(&[], 3, Some(Kind::Reserved), &[]),
    v6(&[0x4000], 2, Some(Kind::Reserved), &[]),
    v6(&[0x8000], 1, Some(Kind::Reserved), &[]),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8, kind: Kind) -> Network {
    Network { net: IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix), kind: Some(kind), inside: &[] }
}

const fn v6(first: &[u16], prefix: u8, kind: Option<Kind>, inside: &'static [Place]) -> Network {
    let mut bits = 0;
    let mut at = 0;
    while at < first.len() {
        bits |= (first[at] as u128) << (112 - 16 * at);
        at += 1;
    }
    Network { net: IpNet::new_assert(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix), kind, inside }
}

/// What the first refused one of the IPv4 addresses inside `ip` is.
fn inside(ip: Ipv6Addr, places: &[Place]) -> Option<Kind> {
    places.iter().find_map(|place| {
        let bits = (ip.to_bits() >> place.shift) as u32;
        refusal(Ipv4Addr::from_bits(bits ^ place.mask).into())
    })
}

/// Whether the right half is `0000:5efe:a.b.c.d` or `0200:5efe:a.b.c.d`: a form that stands behind any prefix, and so
/// no row of the table.
fn is_isatap(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [_, _, _, _, 0 | 0x0200, 0x5efe, _, _])
}

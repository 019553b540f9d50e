//! Linux's interfaces that are up, and their IPv4 addresses.
//!
//! Source: rtnetlink(7) and netlink(7). Two dumps, of links and of addresses; everything is in the
//! machine's own byte order, and every length is checked.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::interface::Interface;

/// Every IPv4 address of an interface that is up and running.
pub(super) fn list() -> io::Result<Vec<Interface>> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let (mut links, mut found) = (Vec::new(), Vec::new());
    dump(&socket, GET_LINK, &[0; LINK_HEADER], &mut |body| {
        links.extend(link(body));
    })?;
    let mut wanted = [0; ADDRESS_HEADER];
    wanted[0] = INET;
    dump(&socket, GET_ADDRESS, &wanted, &mut |body| {
        found.extend(interface(body, &links));
    })?;
    Ok(found)
}

/// Asks for all there is of a kind; `take` hears the body of each message.
fn dump(socket: &OwnedFd, kind: u16, body: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    // The kind is serial number enough: one question of each, and a fresh socket.
    let serial = u32::from(kind);
    let length = u32::try_from(MESSAGE_HEADER + body.len()).unwrap_or(0);
    let mut request = Vec::from(length.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    request.extend(serial.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(body);
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    // The kernel has the next part ready at once, so that there is nothing to wait for.
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    loop {
        let (_, length) = rustix::net::recv(socket, &mut buffer[..], flags)?;
        let datagram = buffer.get(..length).ok_or_else(malformed)?;
        if read(datagram, serial, take)? == More::None {
            return Ok(());
        }
    }
}

/// Is there more of the dump to come?
#[derive(Debug, PartialEq, Eq)]
enum More {
    Some,
    None,
}

/// The messages of one datagram.
fn read(mut rest: &[u8], serial: u32, take: &mut dyn FnMut(&[u8])) -> io::Result<More> {
    while !rest.is_empty() {
        let length = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok());
        let message = length.and_then(|length| rest.get(..length));
        let message = message.ok_or_else(malformed)?;
        let body = message.get(MESSAGE_HEADER..).ok_or_else(malformed)?;
        let kind = u16_at(message, 4);
        if u32_at(message, 8) == Some(serial) {
            match kind {
                Some(DONE) => return Ok(More::None),
                Some(ERROR) => {
                    let code = u32_at(body, 0).ok_or_else(malformed)?;
                    return Err(io::Error::from_raw_os_error(
                        code.cast_signed().wrapping_neg(),
                    ));
                }
                _ => take(body),
            }
        }
        rest = after(rest, message.len());
    }
    Ok(More::Some)
}

struct Link {
    index: u32,
    name: String,
}

/// A link, if it is up and has a name that can be written down.
fn link(body: &[u8]) -> Option<Link> {
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let name = attribute(body.get(LINK_HEADER..)?, NAME)?;
    let name = std::str::from_utf8(name.split(|byte| *byte == 0).next()?).ok()?;
    (flags & UP_AND_RUNNING == UP_AND_RUNNING).then(|| Link {
        index,
        name: name.to_owned(),
    })
}

/// An address, if it belongs to one of the links.
fn interface(body: &[u8], links: &[Link]) -> Option<Interface> {
    let (family, prefix, index) = (*body.first()?, *body.get(1)?, u32_at(body, 4)?);
    let attributes = body.get(ADDRESS_HEADER..)?;
    // Between two points, ADDRESS is the other end.
    let address = attribute(attributes, LOCAL).or_else(|| attribute(attributes, ADDRESS))?;
    let address: [u8; 4] = address.try_into().ok()?;
    let link = links.iter().find(|link| link.index == index)?;
    (family == INET).then(|| Interface {
        name: link.name.clone(),
        address: Ipv4Addr::from(address),
        prefix,
    })
}

/// The value of the first attribute of a kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        if kind & KIND_BITS == wanted {
            return Some(value);
        }
        rest = after(rest, length);
    }
}

/// What follows something of this length: the next multiple of four, or the end.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// `struct nlmsghdr`: length, kind, flags, serial number, port.
const MESSAGE_HEADER: usize = 16;
/// `struct ifinfomsg`: family, type, index at 4, flags at 8, change.
const LINK_HEADER: usize = 16;
/// `struct ifaddrmsg`: family, prefix, flags, scope, index at 4.
const ADDRESS_HEADER: usize = 8;
/// `struct rtattr`: length, kind.
const ATTRIBUTE_HEADER: usize = 4;
/// `NLMSG_ERROR` and `NLMSG_DONE`
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `RTM_GETLINK` and `RTM_GETADDR`
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_DUMP: u16 = 0x301;
/// `NLA_TYPE_MASK`
const KIND_BITS: u16 = 0x3FFF;
/// `IFLA_IFNAME`, `IFA_ADDRESS` and `IFA_LOCAL`
const NAME: u16 = 3;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFF_UP | IFF_RUNNING`
const UP_AND_RUNNING: u32 = 0x41;
/// `AF_INET`
const INET: u8 = 2;
/// The kernel sends no more than 32 KiB at a time.
const MAX_DATAGRAM: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in list {
            let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap();
            bytes.extend(length.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn message(kind: u16, serial: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(MESSAGE_HEADER + body.len()).unwrap();
        let mut bytes = Vec::from(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(u32::from(serial).to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link_body(index: u32, flags: u32, name: &[u8]) -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        body.extend(attributes(&[(20, b"x"), (NAME, name)]));
        body
    }

    fn address_body(index: u32, prefix: u8, list: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; ADDRESS_HEADER];
        (body[0], body[1]) = (INET, prefix);
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body.extend(attributes(list));
        body
    }

    /// What the two dumps come to.
    fn parsed(links: &[u8], addresses: &[u8]) -> io::Result<Vec<String>> {
        let (mut known, mut found) = (Vec::new(), Vec::new());
        read(links, GET_LINK.into(), &mut |body| known.extend(link(body)))?;
        read(addresses, GET_ADDRESS.into(), &mut |body| {
            found.extend(interface(body, &known));
        })?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    fn dumps() -> (Vec<u8>, Vec<u8>) {
        let links = [
            message(16, GET_LINK, &link_body(1, UP_AND_RUNNING, b"lo\0")),
            message(16, GET_LINK, &link_body(2, 0x1043, b"tailscale0\0")),
            message(16, GET_LINK, &link_body(3, 1, b"not-running\0")),
            message(16, GET_LINK, &link_body(4, 0x40, b"down\0")),
            message(16, 1, &link_body(5, UP_AND_RUNNING, b"of-another-dump\0")),
        ]
        .concat();
        let address =
            |index, prefix, list| message(20, GET_ADDRESS, &address_body(index, prefix, list));
        let addresses = [
            address(1, 8, &[(ADDRESS, &[127, 0, 0, 1])]),
            address(
                2,
                32,
                &[(ADDRESS, &[9, 9, 9, 9]), (LOCAL, &[100, 101, 102, 103])],
            ),
            address(2, 10, &[(LOCAL | 0x8000, &[100, 64, 0, 1])]),
            address(3, 32, &[(LOCAL, &[100, 64, 0, 2])]),
            address(4, 32, &[(LOCAL, &[100, 64, 0, 3])]),
            address(5, 32, &[(LOCAL, &[100, 64, 0, 4])]),
            address(2, 32, &[(LOCAL, &[100, 64, 0])]),
            address(2, 32, &[(7, &[100, 64, 0, 5])]),
            message(DONE, GET_ADDRESS, &[0; 4]),
        ]
        .concat();
        (links, addresses)
    }

    #[test]
    fn only_what_is_up_and_well_formed_is_an_interface() {
        let (links, addresses) = dumps();
        assert_eq!(
            parsed(&links, &addresses).unwrap(),
            [
                "lo:127.0.0.1/8",
                "tailscale0:100.101.102.103/32",
                "tailscale0:100.64.0.1/10"
            ]
        );
    }

    #[test]
    fn a_dump_ends_with_done_or_an_error() {
        let more = |bytes: &[u8]| read(bytes, GET_LINK.into(), &mut |_| {});
        assert_eq!(more(&[]).unwrap(), More::Some);
        assert_eq!(more(&message(16, GET_LINK, &[])).unwrap(), More::Some);
        assert_eq!(more(&message(DONE, GET_LINK, &[0; 4])).unwrap(), More::None);
        assert_eq!(more(&message(DONE, 1, &[0; 4])).unwrap(), More::Some);
        let refused = more(&message(ERROR, GET_LINK, &(-13_i32).to_ne_bytes()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn no_bytes_do_harm() {
        let (links, addresses) = dumps();
        for end in 0..links.len() {
            let _ = parsed(&links[..end], &addresses);
        }
        for end in 0..addresses.len() {
            let _ = parsed(&links, &addresses[..end]);
        }
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..20_000 {
            let (mut links, mut addresses) = (links.clone(), addresses.clone());
            for _ in 0..=random(4) {
                let (at, value) = (random(links.len()), random(256));
                links[at] = u8::try_from(value).unwrap();
                let (at, value) = (random(addresses.len()), random(256));
                addresses[at] = u8::try_from(value).unwrap();
            }
            let _ = parsed(&links, &addresses);
        }
    }
}

//! Which addresses a host of little trust may lead to.
//!
//! Asked with what the name was resolved to, on every connect: a name can change its address between two of them, and
//! what looks public may be the machine's own network. Pure.

use std::net::{IpAddr, SocketAddr};

use super::origin::Origin;
use crate::config::is_public;

/// The exceptions that the operator has made.
pub(super) struct Guard {
    /// Names of hosts, and addresses.
    pub(super) allow_hosts: Vec<String>,
}

impl Guard {
    /// Takes out the addresses that the origin may not lead to. The error is one of them, if none is left.
    pub(super) fn check(&self, origin: &Origin, addresses: &mut Vec<SocketAddr>) -> Result<(), IpAddr> {
        if !origin.reach.public_only || self.allow_hosts.contains(&origin.host) {
            return Ok(());
        }
        let first = addresses.first().map(SocketAddr::ip);
        addresses.retain(|address| self.allows(address.ip()));
        first.filter(|_| addresses.is_empty()).map_or(Ok(()), Err)
    }

    fn allows(&self, address: IpAddr) -> bool {
        let written = address.to_canonical().to_string();
        is_public(address) || self.allow_hosts.contains(&written)
    }
}

//! The rows of the table: what each measures, against what.

use super::contender::{Arm, Fate, Vendors};
use super::event::Size;
use super::topic::Load;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) arm: Arm,
    /// What it is compared with in the same rounds, beside the floor.
    pub(crate) base: Option<Arm>,
}

/// Eight tenants, half of them at each vendor.
const SMALL: Arm = Arm {
    load: Load { size: Size::Small, tenants: 8, batch: 200, raw: false },
    vendors: Vendors::Half,
    tls: false,
    linger_ms: 100,
    fate: Fate::Sent,
};
const LARGE: Arm = Arm { load: Load { size: Size::Large, ..SMALL.load }, ..SMALL };

/// All of them, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    Row { name: "small", what: "340 B, 8 tenants", arm: SMALL, base: Some(SMALL) },
    Row { name: "large", what: "1,020 B, 8 tenants", arm: LARGE, base: Some(LARGE) },
];

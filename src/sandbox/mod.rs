//! Simulated vendors: as strict as the real ones, with faults to order.

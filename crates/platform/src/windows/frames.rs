//! ARP and Neighbor Discovery without a driver.

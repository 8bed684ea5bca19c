//! News of addresses, links and routes.

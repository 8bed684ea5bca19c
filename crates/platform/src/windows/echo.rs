//! ICMP echo requests and replies (RFC 792, RFC 4443).

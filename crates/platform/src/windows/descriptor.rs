//! What one process hands to another when it starts it: handles and sockets, under numbers that both know.

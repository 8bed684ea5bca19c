//! Where programs of this machine reach the daemon: a named pipe.

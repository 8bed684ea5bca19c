//! Messages between two processes of one machine (named pipes in message mode): whole, in order, with a clear end.

//! Files: reading and writing at a place, and who may open them.

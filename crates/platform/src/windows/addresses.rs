//! Mounting, unmounting and listing addresses (IP Helper, netioapi.h). For the keeper: blocking.

//! Running on time although the machine is busy.

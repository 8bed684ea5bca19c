//! Windows error codes (winerror.h).

pub(super) const OK: u32 = 0;
/// `ERROR_GEN_FAILURE`: the kernel here refused what Windows would have done.
pub(super) const GENERAL_FAILURE: u32 = 31;
/// `ERROR_BAD_NET_NAME`: nobody answers.
pub(super) const BAD_NET_NAME: u32 = 67;
/// `ERROR_INVALID_PARAMETER`.
pub(super) const INVALID_PARAMETER: u32 = 87;
/// `ERROR_NOT_FOUND`.
pub(super) const NOT_FOUND: u32 = 1168;
/// `ERROR_OBJECT_ALREADY_EXISTS`.
pub(super) const ALREADY_EXISTS: u32 = 5010;
/// `IP_REQ_TIMED_OUT` (ipexport.h).
pub(super) const TIMED_OUT: u32 = 11_010;

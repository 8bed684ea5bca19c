//! TLS for HTTPS checks: by rustls, and on Windows by the system's own (Schannel), which needs no C compiler to build.

#[cfg(unix)]
mod rustls;
#[cfg(windows)]
mod schannel;

#[cfg(unix)]
pub(crate) use rustls::Tls;
#[cfg(windows)]
pub(crate) use schannel::Tls;

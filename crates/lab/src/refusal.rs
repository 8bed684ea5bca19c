//! Why a machine does not permit an enclosure, and what would.

use std::io;

use nix::errno::Errno;

/// Why the enclosure could not be made, in words that end with the command that permits it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's and Arch's hardened kernels).
    #[error(
        "this machine does not let ordinary users make namespaces (kernel.unprivileged_userns_clone = 0): could not \
         {doing}; run as root, or permit it with `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
    )]
    UnprivilegedUserNamespaces {
        /// What was being done.
        doing: &'static str,
    },
    /// `kernel.apparmor_restrict_unprivileged_userns` is not 0 (Ubuntu 23.10 and later).
    #[error(
        "AppArmor takes away the rights of ordinary users inside namespaces \
         (kernel.apparmor_restrict_unprivileged_userns = 1): could not {doing}; run as root, or permit it with `sudo \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
    )]
    AppArmor {
        /// What was being done.
        doing: &'static str,
    },
    /// A limit such as `user.max_user_namespaces` is 0 or used up.
    #[error(
        "no more namespaces are allowed on this machine ({limit} = {value}): could not {doing}; permit them with \
         `sudo sysctl -w {limit}=10000`"
    )]
    Limit {
        /// Name of the limit.
        limit: &'static str,
        /// Its value.
        value: String,
        /// What was being done.
        doing: &'static str,
    },
    /// The kernel was built without them.
    #[error(
        "this kernel has no namespaces of the kinds that are needed (network, pid, mount, IPC, host name, user)"
    )]
    Unsupported,
    /// No limit explains the refusal: a container or a security module forbids it.
    #[error(
        "something forbids namespaces to this program, most likely a container or a security module: could not \
         {doing}: {source}; run on the machine itself, {who}or start the container with `--privileged`"
    )]
    Forbidden {
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
        /// "as root, " where that would help.
        who: &'static str,
    },
    /// The caller had started threads: a user namespace can only be entered by a process with one thread.
    #[error("enclose() was called too late: {threads} threads are running, call it first thing in main")]
    Threads {
        /// How many.
        threads: usize,
    },
    /// The program could not be started again.
    #[error("could not start this program again inside the enclosure: {source}")]
    Start {
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Refused {
    /// Finds the cause of a refusal by reading the limits of this machine.
    ///
    /// `root`: whether the user who started the program is root.
    pub(crate) fn because(errno: Errno, doing: &'static str, root: bool) -> Self {
        Self::explain(errno, doing, root, |name| {
            std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))
                .ok()
                .map(|text| text.trim().to_owned())
        })
    }

    fn explain(
        errno: Errno,
        doing: &'static str,
        root: bool,
        sysctl: impl Fn(&str) -> Option<String>,
    ) -> Self {
        if errno == Errno::EINVAL || errno == Errno::ENOSYS {
            return Self::Unsupported;
        }
        // Exceeding a limit is ENOSPC, before Linux 4.9 also EUSERS.
        let limits = [
            "user.max_user_namespaces",
            "user.max_net_namespaces",
            "user.max_pid_namespaces",
            "user.max_mnt_namespaces",
            "user.max_ipc_namespaces",
            "user.max_uts_namespaces",
        ];
        if errno == Errno::ENOSPC || errno == Errno::EUSERS {
            let found =
                limits.iter().find_map(|&limit| Some((limit, sysctl(limit)?)).filter(|(_, v)| v == "0"));
            let (limit, value) = found.unwrap_or((limits[0], sysctl(limits[0]).unwrap_or_default()));
            return Self::Limit { limit, value, doing };
        }
        if !root && sysctl("kernel.unprivileged_userns_clone").as_deref() == Some("0") {
            return Self::UnprivilegedUserNamespaces { doing };
        }
        if sysctl("kernel.apparmor_restrict_unprivileged_userns").is_some_and(|value| value != "0") {
            return Self::AppArmor { doing };
        }
        Self::Forbidden { doing, source: errno.into(), who: if root { "" } else { "as root, " } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: Errno, sysctls: &[(&str, &str)]) -> String {
        let find =
            |name: &str| sysctls.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Refused::explain(errno, "make namespaces", false, find).to_string()
    }

    #[test]
    fn each_cause_names_the_command_that_permits_it() {
        let cases = [
            (
                Errno::EPERM,
                "kernel.unprivileged_userns_clone",
                "0",
                "sysctl -w kernel.unprivileged_userns_clone=1",
            ),
            (
                Errno::EPERM,
                "kernel.apparmor_restrict_unprivileged_userns",
                "1",
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (Errno::ENOSPC, "user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
            (Errno::ENOSPC, "user.max_net_namespaces", "0", "sysctl -w user.max_net_namespaces=10000"),
        ];
        for (errno, name, value, command) in cases {
            let words = explained(errno, &[(name, value)]);
            assert!(words.contains(command), "{words}");
        }
        let words = explained(Errno::EPERM, &[("kernel.unprivileged_userns_clone", "1")]);
        assert!(words.contains("container") && words.contains("as root"), "{words}");
        assert!(explained(Errno::EINVAL, &[]).contains("kernel has no namespaces"));
    }
}

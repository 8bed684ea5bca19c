//! The list of system calls that a sandboxed process keeps (seccomp(2)).
//!
//! Written for both C libraries and for x86_64 and aarch64; a name that only one of them has stands under `cfg`.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// Allowed whatever the arguments.
const PLAIN: &[c_long] = &[
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_signalfd4,
    libc::SYS_pipe2,
    // Sockets that exist. `connect` reaches other programs' Unix sockets, as logging and readiness messages do.
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Files that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    // A record for the journal that is too large for a datagram. It cannot be run: mappings are not executable.
    libc::SYS_memfd_create,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_close,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads and signals.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_getparam,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_get_priority_max,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time and facts about this process and machine.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
];

/// A condition on one argument.
fn argument(
    number: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, String> {
    let condition =
        SeccompCondition::new(number, length, operator, value).map_err(|error| error.to_string())?;
    SeccompRule::new(vec![condition]).map_err(|error| error.to_string())
}

/// Argument `number`, an int, is one of `values`.
fn one_of(number: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, String> {
    values
        .iter()
        .map(|&value| {
            argument(number, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
        })
        .collect()
}

/// Of the bits `mask` of argument `number`, exactly `value` are set.
fn bits(number: u8, mask: u64, value: u64) -> Result<Vec<SeccompRule>, String> {
    Ok(vec![argument(number, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)?])
}

/// Allowed with certain arguments.
fn conditional() -> Result<Vec<(c_long, Vec<SeccompRule>)>, String> {
    let flags = |flags: libc::c_int| u64::from(flags.cast_unsigned());
    let writing = flags(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND);
    let executable = flags(libc::PROT_EXEC);
    // A thread of this process and nothing else: no new process, no new namespace.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = flags(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
    let own = std::process::id().cast_signed();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "request numbers fit 32 bits; the type differs by C library"
    )]
    let requests = [libc::FIONBIO, libc::FIOCLEX].map(|request| request as libc::c_int);
    Ok(vec![
        (libc::SYS_socket, one_of(0, &[libc::AF_UNIX])?),
        (libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX])?),
        (libc::SYS_ioctl, one_of(1, &requests)?),
        (libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_TIMERSLACK])?),
        (libc::SYS_openat, bits(2, writing, flags(libc::O_RDONLY))?),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, bits(1, writing, flags(libc::O_RDONLY))?),
        (libc::SYS_mmap, bits(2, executable, 0)?),
        (libc::SYS_mprotect, bits(2, executable, 0)?),
        (libc::SYS_clone, bits(0, thread | flags(namespaces), thread)?),
        // abort(3) and panics; not other processes of the same user.
        (libc::SYS_tgkill, one_of(0, &[own])?),
        // The calling thread's own nice value.
        (libc::SYS_setpriority, one_of(1, &[0])?),
        // Reading limits of this process, not setting them.
        (libc::SYS_prlimit64, bits(2, u64::MAX, 0)?),
    ])
}

/// One filter for this machine.
fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter =
        SeccompFilter::new(rules, otherwise, matched, architecture).map_err(|error| error.to_string())?;
    BpfProgram::try_from(filter).map_err(|error| error.to_string())
}

/// Installs the list in all threads.
pub(super) fn install() -> Result<(), String> {
    // The flags of clone3(2) are behind a pointer, where no filter can look. Told that the kernel does not have it, the
    // C library uses clone(2), whose flags can be seen. Of two filters the stricter verdict holds, so the list allows it.
    let no_clone3 = compile(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = PLAIN.iter().map(|&call| (call, Vec::new())).collect();
    rules.extend(conditional()?);
    rules.insert(libc::SYS_clone3, Vec::new());
    let list = compile(rules, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow)?;
    apply_filter_all_threads(&no_clone3).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&list).map_err(|error| error.to_string())
}

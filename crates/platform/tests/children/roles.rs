//! What the child processes of these tests do.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use vipdrift_platform::clock::boot_time;
use vipdrift_platform::pipe::{MessagePipe, Received};
use vipdrift_platform::poll::{Poller, Timer, Wake};
use vipdrift_platform::process::{inherited, inherited_bytes, memory_file};
use vipdrift_platform::{realtime, sandbox};

pub(crate) fn run(role: &str, arguments: &[String]) {
    let number = |position: usize| arguments[position].parse().unwrap();
    match role {
        "idle" => idle(MessagePipe::from(inherited(number(0)).unwrap())),
        "take" => take(number(0), number(1)),
        "sandbox" => sandboxed(),
        "refusals" => refusals(),
        "realtime" => real_time(),
        other => panic!("no role {other}"),
    }
}

/// Says that it is here, then waits until the other end is closed.
fn idle(pipe: MessagePipe) {
    pipe.send(b"here").unwrap();
    let mut buffer = [0; 16];
    while pipe.receive(&mut buffer).unwrap() != Received::Closed {
        // A new poller each time, so that no descriptor but the inherited ones is open for long; and none is while
        // the parent counts, because it counts before it closes: hence poll(2) and no epoll.
        let mut waiting =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&pipe), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut waiting, nix::poll::PollTimeout::NONE).unwrap();
    }
    std::process::exit(7);
}

fn take(pipe: i32, file: i32) {
    let bytes = inherited_bytes(file).unwrap();
    let taken = MessagePipe::from(inherited(pipe).unwrap());
    let same = if bytes.iter().all(|&byte| byte == 0xA5) { "all A5" } else { "damaged" };
    let own = memory_file(c"own", b"").unwrap();
    let refused = |number: i32| if inherited(number).is_err() { "refused" } else { "GIVEN" };
    let text = format!(
        "{} bytes, {same}; taken twice: {}; own: {}; closed: {}",
        bytes.len(),
        refused(pipe),
        refused(own.as_raw_fd()),
        refused(file)
    );
    taken.send(text.as_bytes()).unwrap();
    taken.send(b"last words").unwrap();
}

fn status(fields: &[&str]) {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        if fields.contains(&name) {
            println!("{name}: {}", value.trim());
        }
    }
}

/// The name of the error that a system call left, or `ALLOWED`.
fn outcome(result: i64) -> String {
    if result >= 0 { "ALLOWED".to_owned() } else { format!("{:?}", nix::errno::Errno::last()) }
}

fn tell(name: &str, result: io::Result<()>) {
    match result {
        Ok(()) => println!("{name}: ok"),
        Err(error) => println!("{name}: {error}"),
    }
}

/// The name of the error of something that the filter must forbid.
fn forbidden<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "ALLOWED".to_owned(),
        Err(error) => format!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

fn sandboxed() {
    let _ = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).output();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let log = memory_file_for_writing();

    let account = sandbox::account("nobody").unwrap();
    let dropped = sandbox::drop_privileges(account.as_ref()).unwrap();
    println!("dropped to: {:?}", dropped.user);
    // A thread that exists before the filter is bound by it as well.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        wait.recv().unwrap();
        forbidden(UdpSocket::bind("127.0.0.1:0"))
    });
    sandbox::filter_system_calls().unwrap();
    go.send(()).unwrap();
    println!("from another thread: {}", thread.join().unwrap());

    status(&[
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Uid",
        "Gid",
        "Groups",
    ]);
    forbidden_calls();
    allowed_calls(&udp, &listener, &mut client, &log);
}

fn memory_file_for_writing() -> std::fs::File {
    nix::sys::memfd::memfd_create(c"log", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap().into()
}

fn forbidden_calls() {
    use std::fs::OpenOptions;
    println!("open for writing: {}", forbidden(OpenOptions::new().write(true).open("/dev/null")));
    println!("create a file: {}", forbidden(std::fs::File::create("/tmp/vipdrift-must-not-exist")));
    println!("append to a file: {}", forbidden(OpenOptions::new().append(true).open("/dev/null")));
    println!("unlink: {}", forbidden(std::fs::remove_file("/tmp/vipdrift-must-not-exist")));
    for (name, family) in [
        ("AF_INET", libc::AF_INET),
        ("AF_INET6", libc::AF_INET6),
        ("AF_PACKET", libc::AF_PACKET),
        ("AF_NETLINK", libc::AF_NETLINK),
    ] {
        // SAFETY: socket(2) takes no pointer.
        println!("socket {name}: {}", outcome(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) }.into()));
    }
    let null = std::ptr::null::<libc::c_void>();
    let call = |name: &str, number: libc::c_long, arguments: [libc::c_long; 4]| {
        let [a, b, c, d] = arguments;
        // SAFETY: none of these calls is given a pointer but null or to a string; were one allowed, it would fail with
        // EFAULT or EINVAL, or change nothing but this process.
        println!("{name}: {}", outcome(unsafe { libc::syscall(number, a, b, c, d) }));
    };
    let program = c"/bin/true".as_ptr() as libc::c_long;
    call("execve", libc::SYS_execve, [program, 0, 0, 0]);
    call("fork", libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0]);
    call("clone3", libc::SYS_clone3, [0, 0, 0, 0]);
    call("ptrace", libc::SYS_ptrace, [0, 0, 0, 0]);
    call("mount", libc::SYS_mount, [0, 0, 0, 0]);
    call("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0]);
    call("kill", libc::SYS_kill, [std::process::id().into(), 0, 0, 0]);
    call("bind", libc::SYS_bind, [0, 0, 0, 0]);
    call("setuid", libc::SYS_setuid, [0, 0, 0, 0]);
    call("memory of another process", libc::SYS_process_vm_readv, [1, 0, 0, 0]);
    let limits = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    let limits = (&raw const limits) as libc::c_long;
    call("set a limit", libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), limits, 0]);
    // SAFETY: a new anonymous mapping, chosen by the kernel, touches nothing that exists.
    let mapped = unsafe {
        libc::mmap(
            null.cast_mut(),
            4096,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    println!("executable memory: {}", outcome(if mapped == libc::MAP_FAILED { -1 } else { 0 }));
}

fn allowed_calls(udp: &UdpSocket, listener: &TcpListener, client: &mut TcpStream, mut log: &std::fs::File) {
    tell(
        "udp over an existing socket",
        udp.send_to(b"beat", udp.local_addr().unwrap()).and_then(|_| {
            let mut buffer = [0; 16];
            udp.recv_from(&mut buffer).map(drop)
        }),
    );
    tell(
        "accept over an existing socket",
        listener.accept().and_then(|(mut server, _)| {
            client.set_nonblocking(false)?;
            client.write_all(b"x")?;
            server.read_exact(&mut [0])
        }),
    );
    tell("unix socket", std::os::unix::net::UnixDatagram::unbound().map(drop));
    tell("open for reading", std::fs::read("/proc/self/stat").map(drop));
    tell(
        "write to an open file",
        log.write_all(b"a line\n").and_then(|()| log.set_len(2)).and_then(|()| log.sync_all()),
    );
    tell(
        "threads",
        std::thread::Builder::new().name("later".to_owned()).spawn(|| ()).map(|t| t.join().unwrap()),
    );
    tell("poller, timer, wake", waiting());
    tell("memory", {
        let mut growing: Vec<u8> = Vec::new();
        (0..20_000_000u32).for_each(|i| growing.push(i.to_le_bytes()[0]));
        if growing[12_345_678] == 78 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    });
    // Refused or not by the kernel's rules, but not by the filter: its own thread's policy can always be lowered.
    let parameters = no_priority();
    // SAFETY: the kernel only reads the parameters, which live across the call.
    let lowered =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const parameters) };
    tell("scheduling", if lowered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) });
    tell("random", {
        let mut bytes = [0u8; 8];
        // SAFETY: the kernel writes at most 8 bytes to `bytes`.
        let written = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if written == 8 { Ok(()) } else { Err(io::Error::last_os_error()) }
    });
    tell("tokio", tokio_works(listener));
}

fn waiting() -> io::Result<()> {
    let (poller, timer, wake) = (Poller::new()?, Timer::new()?, Wake::new()?);
    poller.add(&timer, 1)?;
    poller.add(&wake, 2)?;
    timer.set(boot_time() + Duration::from_millis(1))?;
    let mut ready = Vec::new();
    while !timer.fired()? {
        poller.wait(&mut ready, Some(Duration::from_secs(5)))?;
    }
    wake.wake();
    poller.wait(&mut ready, Some(Duration::from_secs(5)))?;
    if wake.clear() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The slow thread's runtime, made after the filter: timers, Unix and inherited TCP sockets, another thread's wake-up.
fn tokio_works(listener: &TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = listener.try_clone()?;
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let nobody = tokio::time::timeout(Duration::from_millis(2), listener.accept()).await;
        assert!(nobody.is_err());
        let (mut left, mut right) = tokio::net::UnixStream::pair()?;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        left.write_all(b"hello").await?;
        right.read_exact(&mut [0; 5]).await?;
        tokio::task::spawn_blocking(|| ()).await.map_err(io::Error::other)
    })
}

fn effective() -> String {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    text.lines().find(|line| line.starts_with("CapEff")).unwrap().to_owned()
}

fn refusals() {
    let before = effective();
    // Even where such a user exists, root is no user to drop to.
    println!("unknown user: {:?}", sandbox::account("vipdrift-nobody").unwrap());
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv().is_err());
    println!("two threads: {}", sandbox::drop_privileges(None).unwrap_err());
    drop(stop);
    thread.join().unwrap();
    println!("CapEff after: {}", if effective() == before { "unchanged" } else { "CHANGED" });
    // Without a user to become, the capabilities go all the same.
    println!("dropped without a user: {:?}", sandbox::drop_privileges(None).unwrap().user);
    status(&["CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"]);
}

fn no_priority() -> libc::sched_param {
    // SAFETY: all-zero bytes are a valid sched_param, a C struct of integers.
    unsafe { std::mem::zeroed() }
}

#[expect(clippy::cast_possible_truncation, reason = "a policy")]
fn policy() -> String {
    // SAFETY: takes no pointer; 0 is the calling thread.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) } as libc::c_int;
    let mut parameters = no_priority();
    // SAFETY: the kernel writes to `parameters` only.
    unsafe { libc::syscall(libc::SYS_sched_getparam, 0, &raw mut parameters) };
    let reset = if policy & libc::SCHED_RESET_ON_FORK == 0 { "" } else { " | SCHED_RESET_ON_FORK" };
    match policy & !libc::SCHED_RESET_ON_FORK {
        libc::SCHED_OTHER => "SCHED_OTHER".to_owned(),
        libc::SCHED_FIFO => format!("SCHED_FIFO{reset}, priority {}", parameters.sched_priority),
        other => format!("policy {other}"),
    }
}

fn real_time() {
    let say = |name: &str, result: Result<(), realtime::Error>| match result {
        Ok(()) => println!("{name}: ok"),
        Err(error) => println!("{name}: {error}"),
    };
    let privileged =
        caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_RESOURCE).unwrap();
    println!("may raise limits: {privileged}");
    say("raise_limits", realtime::raise_limits());
    say("absurd priority", realtime::real_time(200));
    say("real_time", realtime::real_time(10));
    println!("policy: {}", policy());
    println!("policy of a later thread: {}", std::thread::spawn(policy).join().unwrap());
    say("lock_memory", realtime::lock_memory());
    // SAFETY: a new anonymous mapping, chosen by the kernel, touches nothing that exists.
    let reserved = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            64 << 20,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if reserved == libc::MAP_FAILED {
        println!("mapping: {}", io::Error::last_os_error());
    } else {
        // SAFETY: the first byte of a mapping that was just made and is writable.
        unsafe { reserved.cast::<u8>().write(1) };
    }
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").to_owned()
    };
    println!("resident KiB: {}", kib("VmRSS"));
    println!("locked KiB: {}", kib("VmLck"));
    // In a session of its own, whose autogroup no other test shares; and in an ordinary thread, where slack counts.
    let _ = nix::unistd::setsid();
    std::thread::spawn(move || {
        say("fallback", realtime::fallback());
        println!("timer slack: {}", nix::sys::prctl::get_timerslack().unwrap());
    })
    .join()
    .unwrap();
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_RTTIME).unwrap();
    println!("runaway limit: {soft}");
}

//! How long a thread computes at a stretch while others wait for the processor, and so how soon it gets its own turn.
//!
//! Linux from 6.12 on lets a thread ask for short turns (`sched_setattr(2)`: `sched_runtime` of an ordinary thread). It gets no
//! more of the processor than before, but what wakes with a short turn to do goes before who is in the middle of a long one.
//! A redirect is twenty microseconds of work, and would wait milliseconds behind a worker or a session of Postgres that counts.

/// A tenth of a millisecond, the shortest that the kernel takes.
#[cfg(target_os = "linux")]
const TURN_NS: u64 = 100_000;

/// Asks for short turns for this thread. Kernels that know none, and containers that do not let a process ask, leave it as
/// it was; so does a policy that an operator chose (`chrt`).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate has this call in safe Rust: two system calls on a struct of this frame")]
pub fn shorten() {
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
    const THIS_THREAD: libc::pid_t = 0;
    const NO_FLAGS: libc::c_uint = 0;
    let mut attr = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `attr` lives through both calls, and the kernel writes SIZE bytes to it at most, which is what it has.
    unsafe {
        let read = libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut attr, SIZE, NO_FLAGS);
        if read == 0 && attr.sched_policy == libc::SCHED_OTHER as u32 {
            attr.sched_runtime = TURN_NS;
            libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const attr, NO_FLAGS);
        }
    }
}

/// There is no such call here.
#[cfg(not(target_os = "linux"))]
pub fn shorten() {}

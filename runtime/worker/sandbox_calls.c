/* seccomp: the system calls that LuaJIT, the loop, its threads and libc need, and no others.
 *
 * What is not named here fails with EPERM. A few things no program does by mistake: they end the
 * process. Arguments in memory cannot be looked at, so a call whose meaning stands there is either
 * harmless altogether or not allowed.
 */
#include "worker/sandbox_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* memory and threads */
    "brk",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "mincore",
    "msync",
    "membarrier",
    "rseq",
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "set_tid_address",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "exit",
    "exit_group",
    /* signals of its own */
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sigaltstack",
    "pause",
    "restart_syscall",
    "setitimer",
    "getitimer",
    /* time */
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    /* who and where */
    "getpid",
    "gettid",
    "getppid",
    "getpgrp",
    "getpgid",
    "getsid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "getpriority",
    "getrlimit",
    "uname",
    "sysinfo",
    "getcpu",
    "getrandom",
    "getcwd",
    "umask",
    /* descriptors */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "eventfd",
    "eventfd2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* files; where they may be is Landlock's. Nothing that changes a mode, an owner or an
     * attribute, and no truncate(): those Landlock does not see, or not in every version. */
    "access",
    "faccessat",
    "faccessat2",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "readlink",
    "readlinkat",
    "getdents64",
    "chdir",
    "fchdir",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "fadvise64",
    "readahead",
    "flock",
    "copy_file_range",
    "sendfile",
    /* sockets that are there already: the server's, and those that it connects */
    "recvfrom",
    "recvmsg",
    "shutdown",
    "getsockopt",
    "getsockname",
    "getpeername",
};

/* Ends the process. */
static const char *const deadly[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "move_mount",
    "fsmount",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "add_key",
    "keyctl",
    "request_key",
    "open_by_handle_at",
    "reboot",
    "swapon",
    "swapoff",
    "iopl",
    "ioperm",
};

/* Not there, so that what asks falls back to what a filter can look at. */
static const char *const unknown[] = {
    "clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "sendmmsg", "recvmmsg",
};

enum { OWN_PID = -1, ANY = 0 };

/* A call with some arguments only. Three conditions at most; `mask` 0 ends them. */
struct rule {
    const char *name;
    struct {
        unsigned arg;
        uint64_t mask;
        int64_t value;
    } is[3];
};

#define ALL UINT64_MAX
#define INT UINT32_C(0xffffffff) /* an int, whatever the rest of the register holds */
#define WHEN(call, n, mask_, value_) \
    {                                \
        call,                        \
        {                            \
            {                        \
                n, mask_, value_     \
            }                        \
        }                            \
    }
#define WHEN2(call, n, mask_, value_, n2, mask2, value2) \
    {                                                    \
        call,                                            \
        {                                                \
            {n, mask_, value_},                          \
            {                                            \
                n2, mask2, value2                        \
            }                                            \
        }                                                \
    }

/* Threads and nothing else: not a process, not a namespace. */
#define THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define NOT_THREAD                                                                             \
    (CLONE_VFORK | CLONE_PTRACE | CLONE_PIDFD | CLONE_PARENT | CLONE_NEWNS | CLONE_NEWCGROUP | \
     CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_IO)

/* Memory that RLIMIT_DATA does not count is not to be had: shared without a file, stacks that grow.
 */
#define MAP_KIND (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_HUGETLB)

static const struct rule rules[] = {
    WHEN("clone", 0, THREAD | NOT_THREAD, THREAD),
    WHEN("mmap", 3, MAP_KIND, MAP_PRIVATE),
    WHEN("mmap", 3, MAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS),
    WHEN("mmap", 3, MAP_KIND, MAP_SHARED),
    WHEN("tgkill", 0, ALL, OWN_PID),
    WHEN("kill", 0, ALL, OWN_PID),
    WHEN("rt_tgsigqueueinfo", 0, ALL, OWN_PID),
    WHEN2("prlimit64", 0, INT, 0, 2, ALL, 0), /* asking, not setting */
    WHEN2("prlimit64", 0, ALL, OWN_PID, 2, ALL, 0),
    WHEN("prctl", 0, INT, PR_SET_NAME),
    WHEN("prctl", 0, INT, PR_GET_NAME),
    WHEN("prctl", 0, INT, PR_GET_DUMPABLE),

    /* O_TRUNC goes with writing only: before version 3, Landlock lets truncate what may be read. */
    WHEN("open", 1, O_TRUNC, 0),
    WHEN("open", 1, O_TRUNC | O_ACCMODE, O_TRUNC | O_WRONLY),
    WHEN("open", 1, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDWR),
    WHEN("openat", 2, O_TRUNC, 0),
    WHEN("openat", 2, O_TRUNC | O_ACCMODE, O_TRUNC | O_WRONLY),
    WHEN("openat", 2, O_TRUNC | O_ACCMODE, O_TRUNC | O_RDWR),

    /* No F_SETOWN and F_SETSIG: they send signals anywhere. */
    WHEN("fcntl", 1, INT, F_DUPFD),
    WHEN("fcntl", 1, INT, F_DUPFD_CLOEXEC),
    WHEN("fcntl", 1, INT, F_GETFD),
    WHEN("fcntl", 1, INT, F_SETFD),
    WHEN("fcntl", 1, INT, F_GETFL),
    WHEN2("fcntl", 1, INT, F_SETFL, 2, O_ASYNC, 0),
    WHEN("fcntl", 1, INT, F_GETLK),
    WHEN("fcntl", 1, INT, F_SETLK),
    WHEN("fcntl", 1, INT, F_SETLKW),
    WHEN("fcntl", 1, INT, F_OFD_GETLK),
    WHEN("fcntl", 1, INT, F_OFD_SETLK),
    WHEN("fcntl", 1, INT, F_OFD_SETLKW),
    WHEN("ioctl", 1, INT, FIONREAD),
    WHEN("ioctl", 1, INT, FIONBIO),
    WHEN("ioctl", 1, INT, FIOCLEX),
    WHEN("ioctl", 1, INT, FIONCLEX),
    WHEN("ioctl", 1, INT, TCGETS), /* isatty() */

    WHEN("sendto", 4, ALL, 0), /* to whom the socket is connected */
    WHEN("sendmsg", 2, MSG_FASTOPEN, 0),
    WHEN2("setsockopt", 1, INT, IPPROTO_TCP, 2, INT, TCP_NODELAY),
    WHEN2("setsockopt", 1, INT, IPPROTO_TCP, 2, INT, TCP_KEEPIDLE),
    WHEN2("setsockopt", 1, INT, IPPROTO_TCP, 2, INT, TCP_KEEPINTVL),
    WHEN2("setsockopt", 1, INT, IPPROTO_TCP, 2, INT, TCP_KEEPCNT),
    WHEN2("setsockopt", 1, INT, IPPROTO_TCP, 2, INT, TCP_USER_TIMEOUT),
    WHEN2("setsockopt", 1, INT, SOL_SOCKET, 2, INT, SO_KEEPALIVE),
    WHEN2("setsockopt", 1, INT, SOL_SOCKET, 2, INT, SO_REUSEADDR),
    WHEN2("setsockopt", 1, INT, SOL_SOCKET, 2, INT, SO_SNDBUF),
    WHEN2("setsockopt", 1, INT, SOL_SOCKET, 2, INT, SO_RCVBUF),
};

/* TCP sockets, for an app with `net`. They are for the server to connect: see gate.h. */
#define STREAM_BITS (INT & ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
#define TCP(family, protocol)                                \
    {                                                        \
        "socket",                                            \
        {                                                    \
            {0, INT, family}, {1, STREAM_BITS, SOCK_STREAM}, \
            {                                                \
                2, INT, protocol                             \
            }                                                \
        }                                                    \
    }
static const struct rule net_rules[] = {
    TCP(AF_INET, 0),
    TCP(AF_INET, IPPROTO_TCP),
    TCP(AF_INET6, 0),
    TCP(AF_INET6, IPPROTO_TCP),
};

/* For calls_seal(), which takes it away again. */
static const struct rule seal_rules[] = {
    WHEN("seccomp", 0, INT, SECCOMP_SET_MODE_FILTER),
    WHEN("prctl", 0, INT, PR_GET_SECCOMP),
};

static const struct rule truncate_rules[] = {{.name = "openat2"}};

/* Said as what it is: not permitted by the manifest. */
static const char *const no_access[] = {"socket", "connect", "bind", "listen"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool calls_supported(void)
{
    const uint32_t action = SECCOMP_RET_KILL_PROCESS;

    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* A call that this architecture or libseccomp does not know has no number to be called by. */
static int add(scmp_filter_ctx filter,
               uint32_t action,
               const char *name,
               unsigned count,
               const struct scmp_arg_cmp *conditions)
{
    const int number = seccomp_syscall_resolve_name(name);

    return number < 0 ? 0 : seccomp_rule_add_array(filter, action, number, count, conditions);
}

static int
add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add(filter, action, names[i], 0, NULL);
    return rc;
}

static int add_rules(scmp_filter_ctx filter, const struct rule *rule, size_t count)
{
    int rc = 0;

    for (; count > 0 && rc == 0; count--, rule++) {
        struct scmp_arg_cmp conditions[COUNT(rule->is)];
        unsigned used = 0;

        for (; used < COUNT(rule->is) && rule->is[used].mask; used++) {
            const int64_t value = rule->is[used].value;
            const uint64_t datum = value == OWN_PID ? (uint64_t)getpid() : (uint64_t)value;

            conditions[used] =
                SCMP_CMP64(rule->is[used].arg, SCMP_CMP_MASKED_EQ, rule->is[used].mask, datum);
        }
        rc = add(filter, SCMP_ACT_ALLOW, rule->name, used, conditions);
    }
    return rc;
}

static int fill(scmp_filter_ctx filter, const struct sandbox *sandbox, bool truncate_held)
{
    const bool net = sandbox->net && *sandbox->net;
    const size_t closed = net ? 1 : 0; /* the first of no_access is socket */
    int rc;

    /* No 32-bit calls: the rules are about this architecture's. */
    if ((rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) != 0)
        return rc;
    /* A tree of comparisons instead of a list; an older libseccomp makes the list. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if ((rc = add_names(filter, SCMP_ACT_ALLOW, allowed, COUNT(allowed))) != 0 ||
        (rc = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly, COUNT(deadly))) != 0 ||
        (rc = add_names(filter, SCMP_ACT_ERRNO(ENOSYS), unknown, COUNT(unknown))) != 0 ||
        (rc = add_names(filter, SCMP_ACT_ERRNO(EACCES), no_access + closed,
                        COUNT(no_access) - closed)) != 0 ||
        (rc = add_rules(filter, rules, COUNT(rules))) != 0)
        return rc;
    rc = net ? add_rules(filter, net_rules, COUNT(net_rules))
             : add_rules(filter, seal_rules, COUNT(seal_rules));
    if (rc != 0)
        return rc;
    if (truncate_held)
        return add_rules(filter, truncate_rules, COUNT(truncate_rules));
    return add(filter, SCMP_ACT_ERRNO(ENOSYS), "openat2", 0, NULL);
}

static bool load(scmp_filter_ctx filter, int rc, struct err *err)
{
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 || err_set(err, "SANDBOX_FAILED", "seccomp: %s", strerror(-rc));
}

bool calls_enter(const struct sandbox *sandbox, bool truncate_held, struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    if (!filter)
        return err_set(err, "SANDBOX_FAILED", "seccomp: out of memory");
    return load(filter, fill(filter, sandbox, truncate_held), err);
}

bool calls_seal(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc;

    if (!filter)
        return err_set(err, "SANDBOX_FAILED", "seccomp: out of memory");
    if ((rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0)) == 0 &&
        (rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)) == 0 &&
        (rc = add(filter, SCMP_ACT_ERRNO(EPERM), "clone", 0, NULL)) == 0)
        rc = add(filter, SCMP_ACT_ERRNO(EPERM), "seccomp", 0, NULL);
    return load(filter, rc, err);
}

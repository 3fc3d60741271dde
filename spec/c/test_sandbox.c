/* What a process can and cannot do once it has entered the sandbox: each case is a process. */
#include "worker/sandbox.h"
#include "worker/sandbox_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"

static char root[64], app[80], out[80], secret[96];
static pid_t parent;
static int link_fds[2];
static unsigned supported;

static const char *at(const char *dir, const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *to = path[next++ % 4];

    snprintf(to, sizeof(path[0]), "%s/%s", dir, name);
    return to;
}

static void put(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* errno of what should fail; 0: it worked. */
#define TRIED(call) ((call) < 0 ? errno : 0)

static int opened(const char *path, int flags)
{
    const int fd = open(path, flags, 0600);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

/* --- what must work --- */

static int reads_app(void)
{
    return opened(at(app, "index.lua"), O_RDONLY);
}

static int lists_app(void)
{
    return opened(app, O_RDONLY | O_DIRECTORY);
}

static int writes_out(void)
{
    const char *from = at(out, "new"), *to = at(out, "renamed");

    return opened(from, O_RDWR | O_CREAT | O_EXCL) || opened(from, O_WRONLY | O_TRUNC) ||
           TRIED(mkdir(at(out, "folder"), 0700)) || TRIED(rename(from, to)) ||
           TRIED(rename(to, at(out, "folder/moved"))) || TRIED(unlink(at(out, "folder/moved"))) ||
           TRIED(rmdir(at(out, "folder")));
}

static void *in_thread(void *arg)
{
    *(int *)arg = opened(secret, O_RDONLY);
    return NULL;
}

/* Threads start, and are held as well. */
static int threads(void)
{
    pthread_t thread;
    int error = 0;

    if (pthread_create(&thread, NULL, in_thread, &error) != 0)
        return EAGAIN;
    pthread_join(thread, NULL);
    return error == EACCES ? 0 : EINVAL;
}

static void *waits(void *arg)
{
    pause();
    return arg;
}

/* Threads that are there go on, and are held as well; there are no more. */
static int seals(void)
{
    static int error = -1;
    pthread_t thread, other;
    struct err err;
    int rc;

    if (pthread_create(&thread, NULL, waits, NULL) != 0)
        return 250;
    if (!sandbox_seal(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 251;
    }
    rc = pthread_create(&other, NULL, in_thread, &error);
    return rc == 0 || error != -1 ? 252 : rc;
}

static int seals_twice(void)
{
    struct err err;

    return !sandbox_seal(&err) || sandbox_seal(&err) ? 1 : 0;
}

static int filters(void)
{
    return TRIED(syscall(SYS_seccomp, 1, 0, NULL));
}

static int makes_code(void)
{
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return code == MAP_FAILED ? errno : TRIED(mprotect(code, 4096, PROT_READ | PROT_EXEC));
}

static void nothing(int number)
{
    (void)number;
}

static int signals_itself(void)
{
    signal(SIGUSR1, nothing);
    return TRIED(kill(getpid(), SIGUSR1)) || raise(SIGUSR1) != 0;
}

static int speaks_to_server(void)
{
    char byte;

    return TRIED(send(link_fds[1], "x", 1, 0)) || TRIED(recv(link_fds[1], &byte, 1, MSG_DONTWAIT));
}

static int small_memory(void)
{
    void *block = malloc(8u << 20);

    if (!block)
        return ENOMEM;
    memset(block, 1, 8u << 20);
    free(block);
    return 0;
}

/* --- what must not --- */

static int reads_passwd(void)
{
    return opened("/etc/passwd", O_RDONLY);
}

static int reads_secret(void)
{
    return opened(secret, O_RDONLY);
}

static int reads_by_dots(void)
{
    return opened(at(app, "../secret"), O_RDONLY);
}

static int reads_by_link(void)
{
    const char *link = at(out, "link");
    int error;

    if (symlink(secret, link) != 0)
        return 0;
    error = opened(link, O_RDONLY);
    unlink(link);
    return error;
}

static int hard_link(void)
{
    return TRIED(link(secret, at(out, "hard")));
}

static int writes_app(void)
{
    return opened(at(app, "index.lua"), O_WRONLY);
}

static int creates_in_app(void)
{
    return opened(at(app, "new.lua"), O_WRONLY | O_CREAT);
}

static int truncates_app(void)
{
    return opened(at(app, "index.lua"), O_RDONLY | O_TRUNC);
}

/* Flags in memory, which no filter sees: only where Landlock does. */
static int truncates_by_openat2(void)
{
    const uint64_t how[3] = {O_RDONLY | O_TRUNC, 0, 0};

    return TRIED(syscall(437, AT_FDCWD, at(app, "index.lua"), how, sizeof(how)));
}

static int truncates_by_name(void)
{
    return TRIED(truncate(at(app, "index.lua"), 0));
}

static int removes_app(void)
{
    return TRIED(unlink(at(app, "index.lua")));
}

static int changes_mode(void)
{
    return TRIED(chmod(secret, 0777));
}

static int changes_owner(void)
{
    return TRIED(chown(secret, 1, 1));
}

static int sets_attribute(void)
{
    return TRIED(setxattr(secret, "user.x", "y", 1, 0));
}

static int reads_server(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)parent);
    return opened(path, O_RDONLY);
}

static int writes_server(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/mem", (int)parent);
    return opened(path, O_RDWR);
}

static int forks(void)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return TRIED(pid);
}

static int forks_raw(void)
{
#ifdef SYS_fork
    const long pid = syscall(SYS_fork);

    if (pid == 0)
        _exit(0);
    return TRIED(pid);
#else
    return EPERM;
#endif
}

static int clones(void)
{
    const long pid = syscall(SYS_clone, CLONE_VM | SIGCHLD, NULL, NULL, NULL, NULL);

    return TRIED(pid);
}

static int clones_new(void)
{
    char args[88] = {0};
    const long pid = syscall(435, args, sizeof(args));

    if (pid == 0)
        _exit(0);
    return TRIED(pid);
}

static int executes(void)
{
    char *const argv[] = {"true", NULL};

    return TRIED(execv("/bin/true", argv));
}

static int executes_file(void)
{
    const int fd = open(at(app, "index.lua"), O_RDONLY);
    char *const none[] = {NULL};

    return TRIED(syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH));
}

static int memory_file(void)
{
    return TRIED(memfd_create("x", 0));
}

static int tcp_socket(void)
{
    return TRIED(socket(AF_INET, SOCK_STREAM, 0));
}

static int udp_socket(void)
{
    return TRIED(socket(AF_INET, SOCK_DGRAM, 0));
}

static int unix_socket(void)
{
    return TRIED(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int raw_socket(void)
{
    return TRIED(socket(AF_PACKET, SOCK_RAW, 0));
}

static int multipath_socket(void)
{
    return TRIED(socket(AF_INET, SOCK_STREAM, 262));
}

static struct sockaddr_in loopback(void)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int connects(void)
{
    const struct sockaddr_in to = loopback();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? 0 : TRIED(syscall(SYS_connect, fd, &to, sizeof(to)));
}

static int connects_fast(void)
{
    struct sockaddr_in to = loopback();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? 0 : TRIED(sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&to, sizeof(to)));
}

static int connects_fast_by_message(void)
{
    struct sockaddr_in to = loopback();
    struct iovec part = {"x", 1};
    struct msghdr message = {
        .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? 0 : TRIED(sendmsg(fd, &message, MSG_FASTOPEN));
}

static int listens(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? 0 : TRIED(listen(fd, 1));
}

static int binds(void)
{
    const struct sockaddr_in to = loopback();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? 0 : TRIED(bind(fd, (const void *)&to, sizeof(to)));
}

static int kills_server(void)
{
    return TRIED(kill(parent, SIGTERM));
}

static int kills_group(void)
{
    return TRIED(kill(0, 0));
}

static int kills_all(void)
{
    return TRIED(kill(-1, 0));
}

static int kills_by_thread(void)
{
    return TRIED(syscall(SYS_tkill, parent, SIGTERM));
}

static int kills_by_descriptor(void)
{
    return TRIED(fcntl(link_fds[1], F_SETOWN, parent));
}

static int chooses_signal(void)
{
    return TRIED(fcntl(link_fds[1], F_SETSIG, SIGKILL));
}

static int types_in_terminal(void)
{
    return TRIED(ioctl(0, TIOCSTI, "x"));
}

static int limits_server(void)
{
    const struct rlimit none = {0, 0};

    return TRIED(prlimit(parent, RLIMIT_NOFILE, &none, NULL));
}

static int raises_limit(void)
{
    const struct rlimit many = {4096, 4096};

    return TRIED(setrlimit(RLIMIT_NOFILE, &many));
}

static int slows_server(void)
{
    return TRIED(setpriority(PRIO_PROCESS, (id_t)parent, 19));
}

static int becomes_nobody(void)
{
    return TRIED(setuid(65534));
}

static int uses_ring(void)
{
    return TRIED(syscall(425, 8, NULL));
}

static int many_files(void)
{
    for (int i = 0; i < 4096; i++) {
        if (dup(0) < 0)
            return errno;
    }
    return 0;
}

static int large_file(void)
{
    static char block[1 << 16];
    const int fd = open(at(out, "large"), O_WRONLY | O_CREAT, 0600);

    for (int i = 0; i < 64; i++) {
        if (write(fd, block, sizeof(block)) < 0)
            return errno;
    }
    return 0;
}

static int mapped(int flags)
{
    const size_t size = (size_t)10 << 30;
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

    return block == MAP_FAILED ? errno : 0;
}

static int much_memory(void)
{
    return mapped(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

static int shared_memory(void)
{
    return mapped(MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE);
}

static int growing_memory(void)
{
    return mapped(MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_NORESERVE);
}

/* Memory that no longer counts as data because it was made read-only ends as well. */
static int hidden_memory(void)
{
    const size_t size = 4u << 20;

    for (int i = 0; i < 4096; i++) {
        void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (block == MAP_FAILED)
            return errno;
        if (mprotect(block, size, PROT_READ) != 0)
            return errno;
    }
    return 0;
}

/* --- what ends the process --- */

static int traces(void)
{
    return TRIED(ptrace(PTRACE_ATTACH, parent, NULL, NULL));
}

static int reads_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {root, 1};

    return TRIED(process_vm_readv(parent, &here, 1, &there, 1, 0));
}

static int mounts(void)
{
    return TRIED(syscall(SYS_mount, "none", out, "tmpfs", 0, NULL));
}

static int unshares(void)
{
    return TRIED(unshare(CLONE_NEWUSER));
}

static int programs_kernel(void)
{
    return TRIED(syscall(SYS_bpf, 0, NULL, 0));
}

#if defined(__x86_64__)
/* The 32-bit gate: getpid, by its number there. */
static int old_gate(void)
{
    long result = 20;

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return 0;
}
#endif

enum { ENDS = -1 };
enum { NET = 1, SMALL = 2, OLD = 4 /* as on Linux 6.1: Landlock 2 */ };

struct
try {
    const char *name;
    int (*run)(void);
    int expected; /* errno, or ENDS: SIGSYS */
    unsigned needs;
    unsigned options;
};

#define CALLS SANDBOX_CALLS
#define FILES SANDBOX_FILES

static const struct try tries[] = {
    {"read the app", reads_app, 0, 0, 0},
    {"list the app", lists_app, 0, 0, 0},
    {"write", writes_out, 0, 0, 0},
    {"threads", threads, 0, FILES, 0},
    {"seal", seals, EPERM, CALLS, 0},
    {"seal twice", seals_twice, 0, CALLS, 0},
    {"filter with net", filters, EPERM, CALLS, NET},
    {"code", makes_code, 0, 0, 0},
    {"itself", signals_itself, 0, 0, 0},
    {"link", speaks_to_server, 0, 0, 0},
    {"memory", small_memory, 0, 0, SMALL},
    {"tcp with net", tcp_socket, 0, 0, NET},

    {"passwd", reads_passwd, EACCES, FILES, 0},
    {"secret", reads_secret, EACCES, FILES, 0},
    {"dots", reads_by_dots, EACCES, FILES, 0},
    {"symlink", reads_by_link, EACCES, FILES, 0},
    {"hard link", hard_link, EXDEV, FILES, 0},
    {"write app", writes_app, EACCES, FILES, 0},
    {"create in app", creates_in_app, EACCES, FILES, 0},
    {"truncate app", truncates_app, EPERM, CALLS, 0},
    {"truncate by name", truncates_by_name, EPERM, CALLS, 0},
    {"truncate by openat2", truncates_by_openat2, EACCES, FILES, 0},
    {"remove", removes_app, EACCES, FILES, 0},
    {"mode", changes_mode, EPERM, CALLS, 0},
    {"owner", changes_owner, EPERM, CALLS, 0},
    {"attribute", sets_attribute, EPERM, CALLS, 0},
    {"environment", reads_server, EACCES, FILES, 0},
    {"server's memory", writes_server, EACCES, FILES, 0},
    {"fork", forks, EPERM, CALLS, 0},
    {"fork, raw", forks_raw, EPERM, CALLS, 0},
    {"clone", clones, EPERM, CALLS, 0},
    {"clone3", clones_new, ENOSYS, CALLS, 0},
    {"exec", executes, EPERM, CALLS, 0},
    {"execveat", executes_file, EPERM, CALLS, 0},
    {"memfd", memory_file, EPERM, CALLS, 0},
    {"tcp", tcp_socket, EACCES, CALLS, 0},
    {"udp", udp_socket, EACCES, CALLS, 0},
    {"udp with net", udp_socket, EPERM, CALLS, NET},
    {"unix", unix_socket, EACCES, CALLS, 0},
    {"unix with net", unix_socket, EPERM, CALLS, NET},
    {"raw with net", raw_socket, EPERM, CALLS, NET},
    {"multipath with net", multipath_socket, EPERM, CALLS, NET},
    {"connect", connects, EACCES, CALLS, NET},
    {"fast open", connects_fast, EPERM, CALLS, NET},
    {"fast open, sendmsg", connects_fast_by_message, EPERM, CALLS, NET},
    {"listen", listens, EACCES, CALLS, NET},
    {"bind", binds, EACCES, CALLS, NET},
    {"kill", kills_server, EPERM, SANDBOX_SIGNALS, 0},
    {"kill group", kills_group, EPERM, CALLS, 0},
    {"kill all", kills_all, EPERM, CALLS, 0},
    {"tkill", kills_by_thread, EPERM, CALLS, 0},
    {"F_SETOWN", kills_by_descriptor, EPERM, CALLS, 0},
    {"F_SETSIG", chooses_signal, EPERM, CALLS, 0},
    {"TIOCSTI", types_in_terminal, EPERM, CALLS, 0},
    {"prlimit", limits_server, EPERM, CALLS, 0},
    {"raise a limit", raises_limit, EPERM, CALLS, 0},
    {"priority", slows_server, EPERM, CALLS, 0},
    {"setuid", becomes_nobody, EPERM, CALLS, 0},
    {"io_uring", uses_ring, ENOSYS, CALLS, 0},
    {"files", many_files, EMFILE, 0, 0},
    {"large file", large_file, EFBIG, 0, SMALL},
    {"10 GB", much_memory, ENOMEM, 0, SMALL},
    {"shared memory", shared_memory, EPERM, CALLS, SMALL},
    {"growing memory", growing_memory, EPERM, CALLS, SMALL},
    {"hidden memory", hidden_memory, ENOMEM, 0, SMALL},

    {"read the app, 6.1", reads_app, 0, FILES, OLD},
    {"write, 6.1", writes_out, 0, FILES, OLD},
    {"secret, 6.1", reads_secret, EACCES, FILES, OLD},
    {"write app, 6.1", writes_app, EACCES, FILES, OLD},
    {"truncate app, 6.1", truncates_app, EPERM, FILES | CALLS, OLD},
    {"truncate by name, 6.1", truncates_by_name, EPERM, FILES | CALLS, OLD},
    {"truncate by openat2, 6.1", truncates_by_openat2, ENOSYS, FILES | CALLS, OLD},
    {"kill, 6.1", kills_server, EPERM, FILES | CALLS, OLD},
    {"connect, 6.1", connects, EACCES, FILES | CALLS, OLD | NET},

    {"ptrace", traces, ENDS, CALLS, 0},
    {"process_vm_readv", reads_memory, ENDS, CALLS, 0},
    {"mount", mounts, ENDS, CALLS, 0},
    {"unshare", unshares, ENDS, CALLS, 0},
    {"bpf", programs_kernel, ENDS, CALLS, 0},
#if defined(__x86_64__)
    {"int 80", old_gate, ENDS, CALLS, 0},
#endif
};

static void enter(unsigned options)
{
    const char *const read[] = {app, "/nowhere/at/all", NULL};
    const char *const write[] = {out, NULL};
    const char *const net[] = {"127.0.0.1:9", NULL};
    const struct sandbox sandbox = {.read = read,
                                    .write = write,
                                    .net = options & NET ? net : NULL,
                                    .memory = options & SMALL ? 64u << 20 : 0,
                                    .file_size = options & SMALL ? 1u << 20 : 0};
    struct err err;
    unsigned applied = 0;

    if (options & OLD) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !landlock_enter(&sandbox, 2, &err) ||
            !calls_enter(&sandbox, false, &err))
            _exit(200);
        return;
    }
    if (!sandbox_enter(&sandbox, &applied, &err)) {
        fprintf(stderr, "%s\n", err.message);
        _exit(200);
    }
    if (applied != supported)
        _exit(201);
}

static bool without_limits(const struct try *try)
{
#if defined(__SANITIZE_ADDRESS__)
    return try->options == SMALL && try->expected == ENOMEM;
#else
    (void)try;
    return false;
#endif
}

static void check(const struct try *try)
{
    pid_t pid;
    int status;

    if ((try->needs & supported) != try->needs || without_limits(try)) {
        printf("%s: not here\n", try->name);
        return;
    }
    CHECK(send(link_fds[0], "x", 1, 0) == 1);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0); /* so that what should not get out does not end the test */
        enter(try->options);
        _exit(try->run());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (try->expected == ENDS ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS
                              : !WIFEXITED(status) || WEXITSTATUS(status) != try->expected) {
        fprintf(stderr, "%s: expected %d, got exit %d, signal %d\n", try->name, try->expected,
                WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        exit(1);
    }
}

/* Nothing that was tried has changed what is outside. */
static void check_untouched(void)
{
    struct stat info;

    CHECK(stat(secret, &info) == 0 && (info.st_mode & 0777) == 0644 && info.st_size == 6);
    CHECK(stat(at(app, "index.lua"), &info) == 0 && info.st_size == 9);
}

static void *wait_for_end(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);
    return NULL;
}

/* Landlock would hold one thread only: the process is told, not half locked. */
static void test_threads_before(void)
{
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        const struct sandbox sandbox = {0};
        struct err err;
        unsigned applied;
        pthread_t thread;

        pthread_mutex_lock(&gate);
        pthread_create(&thread, NULL, wait_for_end, &gate);
        _exit(sandbox_enter(&sandbox, &applied, &err) ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_names(void)
{
    char text[128];

    sandbox_missing(SANDBOX_ALL, SANDBOX_ALL & ~(SANDBOX_FILES | SANDBOX_CALLS), text,
                    sizeof(text));
    CHECK_STR(text, "files (Landlock), calls (seccomp)");
    sandbox_missing(SANDBOX_ALL, SANDBOX_ALL, text, sizeof(text));
    CHECK_STR(text, "");
    sandbox_missing(SANDBOX_ALL, 0, text, 20);
    CHECK_STR(text, "privileges (no_new_");
    for (unsigned part = 1; part < SANDBOX_ALL; part <<= 1)
        CHECK(strchr(sandbox_part_name(part), '('));
    CHECK((supported & (SANDBOX_NO_NEW_PRIVS | SANDBOX_LIMITS)) ==
          (SANDBOX_NO_NEW_PRIVS | SANDBOX_LIMITS));
}

int main(void)
{
    parent = getpid();
    supported = sandbox_supported();
    strcpy(root, "/tmp/buntime-sandbox-XXXXXX");
    CHECK(mkdtemp(root));
    snprintf(app, sizeof(app), "%s/app", root);
    snprintf(out, sizeof(out), "%s/out", root);
    snprintf(secret, sizeof(secret), "%s/secret", root);
    CHECK(mkdir(app, 0755) == 0 && mkdir(out, 0755) == 0);
    put(secret, "secret");
    put(at(app, "index.lua"), "return {}");
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link_fds) == 0);

    test_names();
    test_threads_before();
    for (size_t i = 0; i < LEN(tries); i++)
        check(&tries[i]);
    check_untouched();

    unlink(at(out, "large"));
    unlink(at(app, "index.lua"));
    unlink(secret);
    rmdir(app);
    rmdir(out);
    CHECK(rmdir(root) == 0);
    return 0;
}

/* The worker's end of the gate. The program's own connect() and getaddrinfo() come before libc's
 * for it and for every library it loads; they do what libc's do until gate_enter() was called.
 */
#include "worker/gate.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/gate_impl.h"

static int gate = -1; /* set before the process has threads */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

void gate_enter(int fd)
{
    gate = fd;
}

/* --- asking --- */

static int taken_socket(struct msghdr *message)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    int fd = -1;

    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    return fd;
}

static bool exchange(const struct gate_question *question, struct gate_answer *answer, int *fd)
{
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec part = {answer, sizeof(*answer)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    ssize_t len;

    if (send(gate, question, sizeof(*question), MSG_NOSIGNAL) != sizeof(*question))
        return false;
    do
        len = recvmsg(gate, &message, MSG_CMSG_CLOEXEC);
    while (len < 0 && errno == EINTR);
    if (len != sizeof(*answer))
        return false;
    *fd = taken_socket(&message);
    return true;
}

static bool ask(const struct gate_question *question, struct gate_answer *answer, int *fd)
{
    bool ok;

    pthread_mutex_lock(&turn);
    ok = exchange(question, answer, fd);
    pthread_mutex_unlock(&turn);
    return ok;
}

/* --- connect --- */

/* What the library has set on its socket so far. */
static void copy_options(int from, int to)
{
    static const struct {
        int level, name;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE},  {IPPROTO_TCP, TCP_NODELAY},
                   {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_KEEPINTVL},
                   {IPPROTO_TCP, TCP_KEEPCNT},  {IPPROTO_TCP, TCP_USER_TIMEOUT}};

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        int value = 0;
        socklen_t len = sizeof(value);

        if (getsockopt(from, options[i].level, options[i].name, &value, &len) == 0)
            setsockopt(to, options[i].level, options[i].name, &value, len);
    }
}

/* Waits as connect() does on a socket that may block. */
static int finish(int fd)
{
    struct pollfd poll_for = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    while (poll(&poll_for, 1, -1) < 0) {
        if (errno != EINTR)
            return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return -1;
    errno = error;
    return error ? -1 : 0;
}

/* `fresh` takes the place of `fd`, with the number, the flags and the options of it. */
static int replace(int fd, int fresh)
{
    const int flags = fcntl(fd, F_GETFL), close_on_exec = fcntl(fd, F_GETFD);
    int rc;

    copy_options(fd, fresh);
    rc = dup3(fresh, fd, close_on_exec & FD_CLOEXEC ? O_CLOEXEC : 0);
    close(fresh);
    if (rc < 0)
        return -1;
    if (flags & O_NONBLOCK) {
        errno = EINPROGRESS;
        return -1;
    }
    fcntl(fd, F_SETFL, flags);
    return finish(fd);
}

static int connect_by_gate(int fd, const void *to, size_t len)
{
    struct gate_question question = {.op = GATE_CONNECT};
    struct gate_answer answer;
    int fresh = -1;

    memcpy(&question.address, to, len);
    if (!ask(&question, &answer, &fresh) || (answer.error == 0 && fresh < 0)) {
        errno = EACCES;
        return -1;
    }
    if (answer.error) {
        errno = answer.error;
        return -1;
    }
    return replace(fd, fresh);
}

static size_t address_size(const struct sockaddr *to)
{
    if (to->sa_family == AF_INET)
        return sizeof(struct sockaddr_in);
    return to->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : 0;
}

/* By its symbol only: the C library declares connect() with a type that no definition can have. */
int gate_connect(int fd, const struct sockaddr *to, socklen_t len) __asm__("connect")
    __attribute__((visibility("default")));

int gate_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (gate >= 0 && to && len >= sizeof(to->sa_family)) {
        const size_t size = address_size(to);

        if (size && len >= size)
            return connect_by_gate(fd, to, size);
    }
    return (int)syscall(SYS_connect, fd, to, len);
}

/* --- getaddrinfo --- */

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static look_up_fn *libc_look_up(void)
{
    static look_up_fn *found;
    void *symbol;

    if (!found && (symbol = dlsym(RTLD_NEXT, "getaddrinfo")))
        memcpy(&found, &symbol, sizeof(found));
    return found;
}

/* One address as libc's own list, so that libc's freeaddrinfo() frees it. */
static int append(struct addrinfo **end,
                  const struct sockaddr_in6 *address,
                  const char *service,
                  const struct addrinfo *hints)
{
    char host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];

    if (hints->ai_family != AF_UNSPEC && hints->ai_family != (int)address->sin6_family)
        return EAI_NONAME;
    if (getnameinfo((const void *)address,
                    (socklen_t)address_size((const struct sockaddr *)address), host, sizeof(host),
                    NULL, 0, NI_NUMERICHOST) != 0)
        return EAI_FAIL;
    return libc_look_up()(host, service, hints, end);
}

static int append_all(const struct gate_answer *answer,
                      const char *service,
                      const struct addrinfo *hints,
                      struct addrinfo **list)
{
    struct addrinfo **end = list;
    int rc = EAI_NONAME;

    *list = NULL;
    for (uint32_t i = 0; i < answer->count && i < GATE_ADDRESSES_MAX; i++) {
        const int one = append(end, &answer->addresses[i], service, hints);

        if (one != 0 && !*list)
            rc = one;
        while (*end)
            end = &(*end)->ai_next;
    }
    return *list ? 0 : rc;
}

static int look_up_by_gate(const char *host,
                           const char *service,
                           const struct addrinfo *hints,
                           struct addrinfo **list)
{
    struct gate_question question = {.op = GATE_LOOK_UP};
    struct gate_answer answer;
    int none = -1;

    if (strlen(host) > GATE_HOST_MAX)
        return EAI_NONAME;
    strcpy(question.host, host);
    if (!ask(&question, &answer, &none))
        return EAI_FAIL;
    return answer.error ? answer.error : append_all(&answer, service, hints, list);
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict host,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict list)
{
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){0};
    int rc;

    if (gate < 0 || !host)
        return libc_look_up()(host, service, hints, list);
    numeric.ai_flags = (numeric.ai_flags & ~AI_ADDRCONFIG) | AI_NUMERICHOST;
    rc = libc_look_up()(host, service, &numeric, list);
    if (rc != EAI_NONAME || (hints && (hints->ai_flags & AI_NUMERICHOST)))
        return rc;
    return look_up_by_gate(host, service, &numeric, list);
}

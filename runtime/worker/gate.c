#include "worker/gate.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ev/loop.h"
#include "ev/poll.h"
#include "worker/gate_impl.h"
#include "worker/reach.h"

/* Look-ups block a thread of the pool each; apps must not take all of them. */
enum { LOOK_UPS_MAX = 4, REFUSALS_MAX = 16, SEND_BUFFER = 8 * 1024 };

/* One look-up. Outlives its gate. */
struct look_up {
    struct job job;
    struct gate *gate; /* NULL: gone meanwhile */
    struct hall *hall;
    struct look_up *next;
    char host[GATE_HOST_MAX + 1];
    struct gate_answer answer;
};

/* What the gates of a loop share. */
struct hall {
    struct loop_guest guest;
    struct loop *loop; /* NULL: closed, and gone with the last look-up */
    unsigned running;
    struct look_up *first, **last; /* waiting for their turn */
};

struct gate {
    struct loop *loop;
    struct hall *hall;
    struct poll poll;
    int fd;
    struct reach *reach;
    struct look_up *looking; /* until it is answered, nothing else is asked */
    void *app;
    void (*refused)(void *app, const char *what);
    char *refusals[REFUSALS_MAX];
};

static const char hall_kind;

static void hall_close(struct loop_guest *guest)
{
    struct hall *hall = (struct hall *)guest;

    while (hall->first) {
        struct look_up *next = hall->first->next;

        if (hall->first->gate)
            hall->first->gate->looking = NULL;
        free(hall->first);
        hall->first = next;
    }
    hall->loop = NULL;
    if (hall->running == 0)
        free(hall);
}

static struct hall *hall_of(struct loop *loop)
{
    struct hall *hall = (struct hall *)loop_guest(loop, &hall_kind);

    if (hall)
        return hall;
    hall = mem_alloc(sizeof(*hall));
    hall->loop = loop;
    hall->guest.kind = &hall_kind;
    hall->guest.close = hall_close;
    hall->last = &hall->first;
    loop_add_guest(loop, &hall->guest);
    return hall;
}

/* --- answers --- */

/* For good: its worker is gone, or does not speak as gate_worker.c does. Whoever waits is told. */
static void shut(struct gate *gate)
{
    poll_stop(&gate->poll);
    shutdown(gate->fd, SHUT_RDWR);
}

static void send_answer(struct gate *gate, const struct gate_answer *answer, int socket_fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)answer, sizeof(*answer)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (socket_fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &socket_fd, sizeof(int));
    }
    if (sendmsg(gate->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        shut(gate);
}

static void tell_refused(struct gate *gate, const char *what)
{
    for (size_t i = 0; i < REFUSALS_MAX; i++) {
        if (gate->refusals[i] && strcmp(gate->refusals[i], what) == 0)
            return;
        if (gate->refusals[i])
            continue;
        gate->refusals[i] = mem_copy(what);
        if (gate->refused)
            gate->refused(gate->app, what);
        return;
    }
}

/* --- looking names up --- */

static void work(struct job *job)
{
    struct look_up *look = (struct look_up *)job;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;

    look->answer.error = getaddrinfo(look->host, NULL, &hints, &list);
    if (look->answer.error != 0)
        return;
    for (const struct addrinfo *info = list; info; info = info->ai_next) {
        if (look->answer.count == GATE_ADDRESSES_MAX ||
            info->ai_addrlen > sizeof(look->answer.addresses[0]))
            break;
        memcpy(&look->answer.addresses[look->answer.count++], info->ai_addr, info->ai_addrlen);
    }
    freeaddrinfo(list);
}

static void start_next(struct hall *hall)
{
    while (hall->first && hall->running < LOOK_UPS_MAX) {
        struct look_up *look = hall->first;

        hall->first = look->next;
        if (!hall->first)
            hall->last = &hall->first;
        if (!look->gate) {
            free(look);
            continue;
        }
        hall->running++;
        loop_submit(hall->loop, &look->job);
    }
}

static void watch(struct gate *gate);

static void tell_found(struct gate *gate, struct look_up *look)
{
    gate->looking = NULL;
    for (uint32_t i = 0; i < look->answer.count; i++)
        reach_learn(gate->reach, look->host, (const void *)&look->answer.addresses[i]);
    watch(gate);
    send_answer(gate, &look->answer, -1);
}

static void looked_up(struct job *job)
{
    struct look_up *look = (struct look_up *)job;
    struct hall *hall = look->hall;

    hall->running--;
    if (look->gate)
        tell_found(look->gate, look);
    free(look);
    if (hall->loop)
        start_next(hall);
    else if (hall->running == 0)
        free(hall);
}

static void look_up(struct gate *gate, const char *host)
{
    struct look_up *look;

    if (!reach_name(gate->reach, host)) {
        const struct gate_answer refusal = {.error = EAI_FAIL};

        tell_refused(gate, host);
        send_answer(gate, &refusal, -1);
        return;
    }
    look = mem_alloc(sizeof(*look));
    look->job = (struct job){.work = work, .done = looked_up};
    look->gate = gate;
    look->hall = gate->hall;
    snprintf(look->host, sizeof(look->host), "%s", host);
    gate->looking = look;
    poll_stop(&gate->poll);
    *gate->hall->last = look;
    gate->hall->last = &look->next;
    start_next(gate->hall);
}

/* --- connecting --- */

static int begin_connection(const struct sockaddr *to, socklen_t len, int *error)
{
    const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd >= 0 && (connect(fd, to, len) == 0 || errno == EINPROGRESS))
        return fd;
    *error = errno;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void refuse_address(struct gate *gate, const struct sockaddr *to, socklen_t len)
{
    char host[64], port[8], what[80];

    if (getnameinfo(to, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(what, sizeof(what), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    tell_refused(gate, what);
}

static void connect_for(struct gate *gate, const struct gate_question *question)
{
    const struct sockaddr *to = (const void *)&question->address;
    const socklen_t len =
        to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    struct gate_answer answer = {0};
    int fd = -1;

    if (reach_address(gate->reach, to)) {
        fd = begin_connection(to, len, &answer.error);
    } else {
        answer.error = EACCES;
        refuse_address(gate, to, len);
    }
    send_answer(gate, &answer, fd);
    if (fd >= 0)
        close(fd);
}

/* --- questions --- */

static void on_ready(struct poll *poll, unsigned events)
{
    struct gate *gate = (struct gate *)((char *)poll - offsetof(struct gate, poll));
    struct gate_question question = {0};
    const ssize_t len = recv(gate->fd, &question, sizeof(question), MSG_DONTWAIT);

    (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len == sizeof(question) && question.op == GATE_CONNECT)
        connect_for(gate, &question);
    else if (len == sizeof(question) && question.op == GATE_LOOK_UP &&
             memchr(question.host, '\0', sizeof(question.host)))
        look_up(gate, question.host);
    else
        shut(gate);
}

static void watch(struct gate *gate)
{
    struct err err;

    if (!poll_start(gate->loop, &gate->poll, gate->fd, POLL_READ, &err))
        shut(gate);
}

struct gate *gate_new(const struct gate_options *options, int fd, struct err *err)
{
    struct gate *gate = mem_alloc(sizeof(*gate));
    const int send_buffer = SEND_BUFFER; /* few answers, with few sockets, can lie unread */

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    gate->loop = options->loop;
    gate->hall = hall_of(options->loop);
    gate->poll.ready = on_ready;
    gate->fd = fd;
    gate->reach = reach_new(options->net);
    gate->app = options->app;
    gate->refused = options->refused;
    if (poll_start(gate->loop, &gate->poll, fd, POLL_READ, err))
        return gate;
    gate_free(gate);
    return NULL;
}

void gate_free(struct gate *gate)
{
    if (!gate)
        return;
    poll_stop(&gate->poll);
    if (gate->looking)
        gate->looking->gate = NULL;
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        free(gate->refusals[i]);
    reach_free(gate->reach);
    close(gate->fd);
    free(gate);
}

bool gate_pair(int fds[2], struct err *err)
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0 ||
           err_set(err, "WORKER_FAILED", "socketpair: %s", strerror(errno));
}

/* A sandboxed process reaches what its net names, by the gate, and nothing else. */
#include "worker/gate.h"
#include "worker/gate_impl.h"
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ev/loop.h"

#include "check.h"

static struct loop *loop;
static uint16_t open_port, closed_port;
static int listeners[2];
static char refused[1024];

static int listen_on(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (const void *)&at, sizeof(at)) == 0 && listen(fd, 64) == 0);
    CHECK(getsockname(fd, (void *)&at, &len) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static struct sockaddr_in to(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* errno, or 0 with `*fd` connected. */
static int connected(uint16_t port, int type, int *fd)
{
    const struct sockaddr_in there = to(port);

    *fd = socket(AF_INET, SOCK_STREAM | type, 0);
    if (*fd < 0)
        return errno;
    return connect(*fd, (const void *)&there, sizeof(there)) == 0 ? 0 : errno;
}

/* --- in the worker --- */

static int reaches(void)
{
    int fd;

    return connected(open_port, 0, &fd) || send(fd, "x", 1, 0) != 1 ||
           (fcntl(fd, F_GETFL) & O_NONBLOCK) || fcntl(fd, F_GETFD) != 0;
}

static int reaches_later(void)
{
    const struct sockaddr_in there = to(open_port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = -1, delay = 0;
    socklen_t len = sizeof(error);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const void *)&there, sizeof(there)) == 0 || errno != EINPROGRESS)
        return 1;
    if (poll(&wait, 1, 10000) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return 2;
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &delay, &len);
    return error || !delay || !(fcntl(fd, F_GETFL) & O_NONBLOCK) ||
           fcntl(fd, F_GETFD) != FD_CLOEXEC || send(fd, "x", 1, 0) != 1;
}

static int other_port(void)
{
    int fd;

    return connected(closed_port, 0, &fd);
}

static int past_the_gate(void)
{
    const struct sockaddr_in there = to(open_port);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    return syscall(SYS_connect, fd, &there, sizeof(there)) == 0 ? 0 : errno;
}

static int unix_path(void)
{
    const struct sockaddr there = {.sa_family = AF_UNIX, .sa_data = "/tmp/x"};

    return connect(0, &there, sizeof(there)) == 0 ? 0 : errno;
}

static int by_name(const char *name, uint16_t port)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char service[8];
    int rc, fd;

    snprintf(service, sizeof(service), "%u", port);
    if ((rc = getaddrinfo(name, service, &hints, &list)) != 0)
        return 100 - rc;
    fd = socket(list->ai_family, SOCK_STREAM, 0);
    rc = connect(fd, list->ai_addr, list->ai_addrlen) == 0 ? 0 : errno;
    freeaddrinfo(list);
    close(fd);
    return rc;
}

static int named(void)
{
    return by_name("localhost", open_port);
}

static int named_other_port(void)
{
    return by_name("localhost", closed_port);
}

static int not_named(void)
{
    return by_name("elsewhere.invalid", open_port);
}

static int not_looked_up(void)
{
    int fd;

    return connected(open_port, 0, &fd);
}

static void *many_times(void *arg)
{
    for (int i = 0; i < 20 && *(int *)arg == 0; i++) {
        int fd = -1;

        *(int *)arg = i % 2 ? named() : connected(open_port, 0, &fd);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static int from_threads(void)
{
    pthread_t threads[4];
    int results[4] = {0};

    if (named() != 0)
        return 1;
    for (size_t i = 0; i < LEN(threads); i++)
        pthread_create(&threads[i], NULL, many_times, &results[i]);
    for (size_t i = 0; i < LEN(threads); i++)
        pthread_join(threads[i], NULL);
    return results[0] | results[1] | results[2] | results[3];
}

static int gate_fd;

static int shut(void)
{
    int fd;

    return connected(open_port, 0, &fd) == EACCES ? 0 : 1;
}

static int garbage(void)
{
    return send(gate_fd, "garbage", 7, MSG_NOSIGNAL) == 7 ? shut() : 1;
}

static int no_terminator(void)
{
    struct gate_question question = {.op = GATE_LOOK_UP};

    memset(question.host, 'x', sizeof(question.host));
    return send(gate_fd, &question, sizeof(question), MSG_NOSIGNAL) > 0 ? shut() : 1;
}

/* Asks on and on without taking an answer. */
static int floods(void)
{
    struct gate_question question = {.op = GATE_CONNECT};
    const struct sockaddr_in there = to(open_port);

    memcpy(&question.address, &there, sizeof(there));
    fcntl(gate_fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 20000; i++) {
        struct pollfd wait = {.fd = gate_fd, .events = POLLOUT};

        if (send(gate_fd, &question, sizeof(question), MSG_NOSIGNAL) < 0)
            poll(&wait, 1, 10);
    }
    return 0;
}

struct
try {
    const char *name;
    int (*run)(void);
    const char *net; /* %u: the open port */
    int expected;
    const char *refused;
};

static const struct try tries[] = {
    {"connect", reaches, "127.0.0.1:%u", 0, ""},
    {"connect later", reaches_later, "127.0.0.1:%u", 0, ""},
    {"any host", reaches, "*:%u", 0, ""},
    {"any port", reaches, "127.0.0.1:*", 0, ""},
    {"other port", other_port, "127.0.0.1:%u", EACCES, "port"},
    {"other host", reaches, "127.0.0.2:%u", 1, "host"},
    {"past the gate", past_the_gate, "127.0.0.1:%u", EACCES, ""},
    {"unix", unix_path, "127.0.0.1:%u", EACCES, ""},
    {"by name", named, "localhost:%u", 0, ""},
    {"by name, any", named, "*:%u", 0, ""},
    {"by name, other port", named_other_port, "localhost:%u", EACCES, "port"},
    {"not named", not_named, "localhost:%u", 100 - EAI_FAIL, "elsewhere.invalid"},
    {"not looked up", not_looked_up, "localhost:%u", EACCES, "host"},
    {"threads", from_threads, "localhost:%u", 0, ""},
    {"garbage", garbage, "*:*", 0, ""},
    {"no terminator", no_terminator, "*:*", 0, ""},
    {"floods", floods, "*:*", 0, ""},
};

static void on_refused(void *app, const char *what)
{
    (void)app;
    snprintf(refused, sizeof(refused), "%s", what);
}

static int in_worker(const struct try *try, const char *const *net, int fd)
{
    const struct sandbox sandbox = {.net = net};
    unsigned applied;
    struct err err;

    alarm(60);
    if (!sandbox_enter(&sandbox, &applied, &err))
        return 200;
    gate_fd = fd;
    gate_enter(fd);
    return try->run();
}

static void drain(void)
{
    int fd;

    while ((fd = accept4(listeners[0], NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

static int run(const struct try *try)
{
    char text[64];
    const char *const net[] = {text, NULL};
    const struct gate_options options = {.loop = loop, .net = net, .refused = on_refused};
    struct gate *gate;
    struct err err;
    int fds[2], status;
    pid_t pid;

    snprintf(text, sizeof(text), strchr(try->net, '%') ? "%.*s%u" : "%.*s",
             (int)strcspn(try->net, "%"), try->net, open_port);
    CHECK(gate_pair(fds, &err));
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        _exit(in_worker(try, net, fds[1]));
    }
    close(fds[1]);
    gate = gate_new(&options, fds[0], &err);
    CHECK(gate);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        loop_turn(loop, 2);
        drain();
    }
    loop_turn(loop, 0);
    gate_free(gate);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static unsigned descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void check(const struct try *try)
{
    char what[64];
    int got;

    refused[0] = '\0';
    got = run(try);
    drain();
    if (got != try->expected)
        fprintf(stderr, "%s: expected %d, got %d\n", try->name, try->expected, got);
    CHECK(got == try->expected);
    if (strcmp(try->refused, "port") == 0)
        snprintf(what, sizeof(what), "127.0.0.1:%u", closed_port);
    else if (strcmp(try->refused, "host") == 0)
        snprintf(what, sizeof(what), "127.0.0.1:%u", open_port);
    else
        snprintf(what, sizeof(what), "%s", try->refused);
    CHECK_STR(refused, what);
}

/* A worker that asks and is gone, and a loop that ends while names are looked up. */
static void test_gone(void)
{
    struct gate_question question = {.op = GATE_LOOK_UP, .host = "localhost"};
    const char *const net[] = {"localhost:1", NULL};
    const struct gate_options options = {.loop = loop, .net = net};
    struct gate *gates[12];
    struct err err;

    for (size_t i = 0; i < LEN(gates); i++) {
        int fds[2];

        CHECK(gate_pair(fds, &err) && (gates[i] = gate_new(&options, fds[0], &err)));
        CHECK(send(fds[1], &question, sizeof(question), 0) == sizeof(question));
        close(fds[1]);
    }
    loop_turn(loop, 1000);
    for (size_t i = 0; i < LEN(gates); i++)
        gate_free(gates[i]);
    loop_free(loop);
}

int main(void)
{
    struct err err;
    unsigned before;

    loop = loop_new(&err);
    CHECK(loop);
    listeners[0] = listen_on(&open_port);
    listeners[1] = listen_on(&closed_port);
    fcntl(listeners[0], F_SETFL, O_NONBLOCK);
    if (!(sandbox_supported() & SANDBOX_NETWORK))
        return 0;
    check(&tries[0]);
    before = descriptors();
    for (size_t i = 0; i < LEN(tries); i++)
        check(&tries[i]);
    CHECK(descriptors() == before);
    test_gone();
    return 0;
}

/* A crowd of connections to one server, for bench/waiting.lua and bench/pause.lua.
 *
 *   crowd events PORT COUNT
 *     opens event streams, asks for a broadcast, waits until every stream has it, and prints the
 *     seconds that took
 *   crowd sockets PORT COUNT RATE SECONDS
 *     opens WebSockets, sends so many messages a second in turn over all of them, and prints how
 *     many were sent, how many came back, and the milliseconds of the 99th percentile after the
 *     first second
 *   crowd requests PORT COUNT RATE SECONDS PATH
 *     the same with GET of a path; prints how many were answered
 *   crowd probe PORT 1 PATH SECONDS PID
 *     asks for a path every millisecond, and prints how often, the milliseconds of the 99th
 *     percentile and of the worst, and the most that the main thread of the process computed
 *     between a question and its answer
 *
 * With all open it says "open" and waits for SIGHUP before it goes on. One thread. Anything
 * unexpected ends it with status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 32, FRAME = 6 + MESSAGE, ECHO = 2 + MESSAGE, LATENCIES = 10000 };

struct client {
    int fd;
    char in[256];
    size_t len;
};

static struct client *clients;
static int count, epoll;
static struct sockaddr_in address;
static unsigned long latencies[LATENCIES]; /* by tenths of a millisecond */
static double warm_at;                     /* what was sent before does not count there */

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(const char *request)
{
    const int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
        die("write");
    return fd;
}

/* Reads until `end` was seen. What lies behind it is dropped. */
static void read_until(struct client *c, const char *end)
{
    c->len = 0;
    for (;;) {
        const ssize_t got = read(c->fd, c->in + c->len, sizeof(c->in) - c->len);
        if (got <= 0)
            die("read");
        c->len += (size_t)got;
        if (memmem(c->in, c->len, end, strlen(end)))
            break;
        if (c->len > sizeof(c->in) / 2) {
            memmove(c->in, c->in + c->len - 32, 32);
            c->len = 32;
        }
    }
    c->len = 0;
}

static void open_all(const char *request, const char *end)
{
    clients = calloc((size_t)count, sizeof(*clients));
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        clients[i].fd = dial(request);
        read_until(&clients[i], end);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
            die("epoll_ctl");
    }
}

static void wait_until_told(void)
{
    sigset_t go;
    int which;

    sigemptyset(&go);
    sigaddset(&go, SIGHUP);
    sigprocmask(SIG_BLOCK, &go, NULL);
    puts("open");
    fflush(stdout);
    sigwait(&go, &which);
}

static void events(void)
{
    static const char word[] = "everybody";
    struct epoll_event ready[256];
    double began;
    int left = count;

    open_all("GET /crowd/events HTTP/1.1\r\nHost: localhost\r\n\r\n", "hello\n");
    wait_until_told();
    began = now();
    dial("GET /crowd/broadcast HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (left > 0) {
        const int n = epoll_wait(epoll, ready, 256, 20000);
        if (n <= 0)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            const ssize_t got = read(c->fd, c->in + c->len, sizeof(c->in) - c->len);
            if (got <= 0)
                die("read");
            c->len += (size_t)got;
            if (!memmem(c->in, c->len, word, sizeof(word) - 1))
                continue;
            c->len = 0;
            left--;
        }
    }
    printf("%.4f\n", now() - began);
}

/* The answers to GET, which all have the length of the first. Only how much came is looked at. */
static unsigned long take_answers(struct client *c, size_t size)
{
    char bytes[4096];
    const ssize_t got = read(c->fd, bytes, sizeof(bytes));
    unsigned long answers;

    if (got <= 0)
        die("read");
    c->len += (size_t)got;
    answers = c->len / size;
    c->len %= size;
    return answers;
}

static size_t answer_size(const char *request)
{
    char bytes[4096];
    const int fd = dial(request);
    const ssize_t got = read(fd, bytes, sizeof(bytes));

    if (got <= 0 || !memmem(bytes, (size_t)got, " 200 ", 5))
        die("no good answer");
    close(fd);
    return (size_t)got;
}

static double percentile_99(void)
{
    unsigned long total = 0, seen = 0;
    int i = 0;

    for (int k = 0; k < LATENCIES; k++)
        total += latencies[k];

    while (i < LATENCIES - 1 && (seen += latencies[i]) < total * 99 / 100)
        i++;
    return (i + 1) / 10.0;
}

/* Seconds that the thread of this file has computed. */
static double computed(int schedstat)
{
    char text[64] = "";

    if (pread(schedstat, text, sizeof(text) - 1, 0) <= 0)
        die("schedstat");
    return atof(text) / 1e9;
}

static void probe(const char *path, double seconds, const char *pid)
{
    char request[512], bytes[4096];
    const struct timespec pause = {.tv_nsec = 1000000};
    double worst = 0, most = 0, end;
    unsigned long asked = 0;

    snprintf(bytes, sizeof(bytes), "/proc/%s/schedstat", pid);
    const int schedstat = open(bytes, O_RDONLY | O_CLOEXEC);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    const size_t size = answer_size(request);
    const int fd = dial(request);
    for (size_t got = 0; got < size;)
        got += (size_t)read(fd, bytes, sizeof(bytes));
    wait_until_told();
    for (end = now() + seconds; now() < end; asked++) {
        const double before = computed(schedstat), began = now();
        if (write(fd, request, strlen(request)) < 0)
            die("write");
        for (size_t left = size; left > 0;) {
            const ssize_t got = read(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes));
            if (got <= 0)
                die("read");
            left -= (size_t)got;
        }
        const double took = now() - began, busy = computed(schedstat) - before;
        const long tenths = (long)(took * 10000);
        latencies[tenths < LATENCIES ? tenths : LATENCIES - 1]++;
        worst = took > worst ? took : worst;
        most = busy > most ? busy : most;
        nanosleep(&pause, NULL);
    }
    printf("%lu %.1f %.1f %.1f\n", asked, percentile_99(), worst * 1000, most * 1000);
}

static void requests(double rate, double seconds, const char *path)
{
    struct epoll_event ready[256];
    unsigned long sent = 0, answered = 0;
    char request[512];
    const int len =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    const size_t size = answer_size(request);
    double began;

    open_all(request, "\r\n\r\n");
    wait_until_told();
    began = now();
    for (double t; (t = now() - began) < seconds || answered < sent;) {
        const unsigned long due = t < seconds ? (unsigned long)(t * rate) : sent;
        while (sent < due && sent - answered < (unsigned long)count)
            if (write(clients[sent++ % (unsigned long)count].fd, request, (size_t)len) != len)
                die("write");
        const int n = epoll_wait(epoll, ready, 256, 1);
        for (int i = 0; i < n; i++)
            answered += take_answers(ready[i].data.ptr, size);
        if (t > seconds + 5)
            die("answers are missing");
    }
    printf("%lu\n", answered);
}

/* A masked text frame; the mask is zero. The message begins with the time it was sent at. */
static void send_frame(struct client *c)
{
    char frame[FRAME + 1];

    memset(frame, 0, sizeof(frame));
    frame[0] = (char)0x81;
    frame[1] = (char)(0x80 | MESSAGE);
    snprintf(frame + 6, MESSAGE + 1, "%032.6f", now());
    if (write(c->fd, frame, FRAME) != FRAME)
        die("write");
}

static unsigned long take_echoes(struct client *c)
{
    unsigned long echoes = 0;
    size_t at = 0;
    char text[MESSAGE + 1] = "";
    const ssize_t got = read(c->fd, c->in + c->len, sizeof(c->in) - c->len);

    if (got <= 0)
        die("read");
    c->len += (size_t)got;
    for (; c->len - at >= ECHO; at += ECHO, echoes++) {
        if (c->in[at] != (char)0x81 || c->in[at + 1] != MESSAGE)
            die("not an echo");
        memcpy(text, c->in + at + 2, MESSAGE);
        const double sent_at = atof(text);
        const long tenths = (long)((now() - sent_at) * 10000);
        if (sent_at >= warm_at)
            latencies[tenths < LATENCIES ? tenths : LATENCIES - 1]++;
    }
    memmove(c->in, c->in + at, c->len - at);
    c->len -= at;
    return echoes;
}

static unsigned long drain(int ms)
{
    struct epoll_event ready[256];
    const int n = epoll_wait(epoll, ready, 256, ms);
    unsigned long echoes = 0;

    for (int i = 0; i < n; i++)
        echoes += take_echoes(ready[i].data.ptr);
    return echoes;
}

static void sockets(double rate, double seconds)
{
    unsigned long sent = 0, echoed = 0;
    double began;

    open_all("GET /crowd/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             "\r\n\r\n");
    wait_until_told();
    began = now();
    warm_at = began + 1;
    for (double t; (t = now() - began) < seconds;) {
        const unsigned long due = (unsigned long)(t * rate);
        for (int i = 0; sent < due && i < 100; i++)
            send_frame(&clients[sent++ % (unsigned long)count]);
        echoed += drain(sent < due ? 0 : 1);
    }
    for (const double end = now() + 5; echoed < sent && now() < end;)
        echoed += drain(100);
    printf("%lu %lu %.1f\n", sent, echoed, percentile_99());
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    count = atoi(argv[3]);
    address = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(argv[2])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (strcmp(argv[1], "events") == 0)
        events();
    else if (strcmp(argv[1], "probe") == 0 && argc == 7)
        probe(argv[4], atof(argv[5]), argv[6]);
    else if (argc == 6)
        sockets(atof(argv[4]), atof(argv[5]));
    else if (argc == 7)
        requests(atof(argv[4]), atof(argv[5]), argv[6]);
    return 0;
}

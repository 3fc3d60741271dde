/* Fetches below Lua: names that resolve slowly, more requests than connections, closing at every
 * moment.
 *
 * The server is a thread of this program. What HTTP looks like is the integration spec's business.
 */
#include "check.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "data/fetch.h"
#include "ev/loop.h"

enum { CLIENTS_MAX = 1000, SLOW_MS = 300 };

static struct loop *loop;
static int listener;
static unsigned short port;

/* --- names --- */

/* Found before libc's: a resolver that takes its time for one name. */
int getaddrinfo(const char *restrict name,
                const char *restrict service,
                const struct addrinfo *restrict hints,
                struct addrinfo **restrict found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

    if (name && strcmp(name, "slow.test") == 0) {
        usleep(SLOW_MS * 1000);
        return EAI_NONAME;
    }
    memcpy(&real, &symbol, sizeof(real));
    return real(name, service, hints, found);
}

/* --- the server --- */

/* 4 MB of zeros, packed. */
static void answer_zeros(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                               "Connection: close\r\n\r\n";
    FILE *pipe = popen("head -c 4194304 /dev/zero | gzip -9", "r");
    static char packed[64 << 10];
    size_t len;

    CHECK(pipe);
    len = fread(packed, 1, sizeof(packed), pipe);
    pclose(pipe);
    CHECK(write(fd, head, strlen(head)) > 0 && write(fd, packed, len) == (ssize_t)len);
    close(fd);
}

/* "GET /hold" is never answered, "GET /big" with 2000 bytes, others with "hello". */
static void answer(int fd)
{
    static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    static const char big[] = "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n%02000d";
    char in[4096], out[4096];
    const ssize_t len = read(fd, in, sizeof(in) - 1);

    if (len <= 0) {
        close(fd);
        return;
    }
    in[len] = '\0';
    if (strncmp(in, "GET /hold", 9) == 0)
        return;
    if (strncmp(in, "GET /zeros", 10) == 0) {
        answer_zeros(fd);
        return;
    }
    snprintf(out, sizeof(out), strncmp(in, "GET /big", 8) == 0 ? big : hello, 0);
    CHECK(write(fd, out, strlen(out)) > 0);
}

static void *serve(void *arg)
{
    static struct pollfd polled[CLIENTS_MAX];
    nfds_t count = 1;

    (void)arg;
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    while (poll(polled, count, -1) > 0) {
        for (nfds_t i = 1; i < count; i++) {
            if (polled[i].revents)
                answer(polled[i].fd);
            if (fcntl(polled[i].fd, F_GETFD) < 0)
                polled[i].fd = -1; /* closed: poll() leaves it out */
        }
        if ((polled[0].revents & POLLIN) && count < CLIENTS_MAX)
            polled[count++] = (struct pollfd){.fd = accept(listener, NULL, NULL), .events = POLLIN};
    }
    return NULL;
}

static void start_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    pthread_t thread;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(listener, 1000) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    port = ntohs(at.sin_port);
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    CHECK(pthread_detach(thread) == 0);
}

/* --- helpers --- */

static struct fetch_meter meter = {.most = 1 << 20};
static unsigned calls;

static void count_call(struct fetch *fetch, void *arg)
{
    (void)fetch;
    (void)arg;
    calls++;
}

static struct fetch *get_from(const char *host, const char *path, struct fetch_options o)
{
    struct fetch *fetch;
    struct err err;
    char url[128];

    snprintf(url, sizeof(url), "http://%s:%u%s", host, port, path);
    o.url = url;
    o.method = "GET";
    o.meter = &meter;
    o.max_size = UINT64_MAX;
    o.body_size = -1;
    if (!o.changed)
        o.changed = count_call;
    fetch = fetch_open(loop, &o, &err);
    CHECK(fetch);
    return fetch;
}

static struct fetch *get(const char *path)
{
    return get_from("127.0.0.1", path, (struct fetch_options){.timeout_ms = 20000});
}

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

static void turn_until_done(const struct fetch *fetch)
{
    const uint64_t end = now_ms() + 20000;

    while (!fetch_is_done(fetch) && now_ms() < end)
        loop_turn(loop, 100);
    CHECK(fetch_is_done(fetch));
}

static void turn_for(uint64_t ms)
{
    const uint64_t end = now_ms() + ms;

    while (now_ms() < end)
        loop_turn(loop, 5);
}

static void check_hello(struct fetch *fetch)
{
    turn_until_done(fetch);
    CHECK(!fetch_code(fetch) && fetch_status(fetch) == 200);
    CHECK(str_equal(fetch_received(fetch), STR("hello")));
    fetch_close(fetch);
}

/* --- tests --- */

static void test_tells_on_a_later_turn(void)
{
    struct fetch *fetch;

    calls = 0;
    fetch = get("/");
    CHECK(calls == 0);
    turn_until_done(fetch);
    CHECK(calls == 1);
    CHECK(meter.used == 5);
    check_hello(fetch);
    CHECK(meter.used == 0);
}

static void test_closes_at_any_moment(void)
{
    fetch_close(get("/"));
    for (uint64_t ms = 0; ms < 10; ms++) {
        struct fetch *fetch = get(ms % 2 ? "/" : "/hold");
        turn_for(ms);
        fetch_close(fetch);
    }
    turn_for(10);
    CHECK(meter.used == 0);
}

static struct fetch *couple[2];

/* Whichever is first ends both, while the other may have news of its own. */
static void close_both(struct fetch *fetch, void *arg)
{
    (void)arg;
    if (!fetch_is_done(fetch))
        return;
    for (int i = 0; i < 2; i++) {
        fetch_close(couple[i]);
        couple[i] = NULL;
    }
}

static void test_one_may_close_another_when_told(void)
{
    const uint64_t end = now_ms() + 20000;

    for (unsigned round = 0; round < 20; round++) {
        for (int i = 0; i < 2; i++)
            couple[i] = get_from("127.0.0.1", "/", (struct fetch_options){.changed = close_both});
        usleep(1000 * (round % 3));
        while (couple[0] && now_ms() < end)
            loop_turn(loop, 100);
        CHECK(!couple[0]);
    }
}

/* The longest that the loop stood still. */
static uint64_t longest_turn(uint64_t ms)
{
    const uint64_t end = now_ms() + ms;
    uint64_t longest = 0;

    while (now_ms() < end) {
        const uint64_t began = now_ms();
        loop_turn(loop, 1);
        if (now_ms() - began > longest)
            longest = now_ms() - began;
    }
    return longest;
}

static void test_slow_names_hold_nothing_up(void)
{
    struct fetch *fetch = get_from("slow.test", "/", (struct fetch_options){0});
    uint64_t began;

    CHECK(longest_turn(SLOW_MS / 2) < SLOW_MS / 3);
    CHECK(!fetch_is_done(fetch));
    check_hello(get("/"));
    turn_until_done(fetch);
    CHECK_STR(fetch_code(fetch), "DNS_FAILED");
    fetch_close(fetch);

    fetch = get_from("slow.test", "/", (struct fetch_options){0});
    turn_for(10);
    began = now_ms();
    fetch_close(fetch); /* does not wait for the resolver */
    CHECK(now_ms() - began < SLOW_MS / 3);
    usleep((SLOW_MS + 50) * 1000); /* its thread would look like a leak */
}

static void test_more_than_there_are_connections(void)
{
    enum { HELD = 300, MORE = 20 };
    struct fetch *held[HELD], *more[MORE], *late;

    for (int i = 0; i < HELD; i++)
        held[i] = get("/hold");
    for (int i = 0; i < MORE; i++)
        more[i] = get("/");
    late = get_from("127.0.0.1", "/", (struct fetch_options){.timeout_ms = 50});
    turn_until_done(late); /* times out while it waits for a connection */
    CHECK_STR(fetch_code(late), "TIMEOUT");
    fetch_close(late);
    for (int i = 0; i < MORE; i++)
        CHECK(!fetch_is_done(more[i]));
    for (int i = HELD - 1; i >= 0; i--) /* those that wait first, then those that run */
        fetch_close(held[i]);
    for (int i = 0; i < MORE; i++)
        check_hello(more[i]);
}

static void test_bounds_what_all_hold(void)
{
    struct fetch *first, *second;

    meter.most = 3000;
    first = get("/big");
    turn_until_done(first);
    CHECK(!fetch_code(first) && meter.used == 2000);
    second = get("/big");
    turn_until_done(second);
    CHECK_STR(fetch_code(second), "BODY_TOO_LARGE");
    fetch_consume(first);
    CHECK(meter.used == 0);
    fetch_close(second);
    fetch_close(first);
    meter.most = 1 << 20;
}

/* A stream is paused with what libcurl has unpacked already: consuming hands it on, from outside.
 */
static void test_consuming_tells_on_a_later_turn(void)
{
    const struct fetch_options o = {.stream = true};
    struct fetch *fetch = get_from("127.0.0.1", "/zeros", o);
    size_t received = 0;

    while (!fetch_is_done(fetch)) {
        const unsigned before = calls;
        received += fetch_received(fetch).len;
        fetch_consume(fetch);
        CHECK(calls == before);
        for (uint64_t end = now_ms() + 5000; calls == before && now_ms() < end;)
            loop_turn(loop, 1);
        CHECK(calls > before);
    }
    received += fetch_received(fetch).len;
    CHECK(!fetch_code(fetch) && received == 4 << 20);
    fetch_close(fetch);
    CHECK(meter.used == 0);
}

static void test_a_thousand_take_one_connection(void)
{
    const uint64_t began = clock_now_ns();

    for (int i = 0; i < 1000; i++)
        check_hello(get("/"));
    printf("fetch, one after the other: %llu us\n",
           (unsigned long long)(clock_now_ns() - began) / 1000000);
}

int main(void)
{
    struct err err;

    unsetenv("http_proxy");
    unsetenv("all_proxy");
    start_server();
    loop = loop_new(&err);
    CHECK(loop && fetch_load(&err));
    test_tells_on_a_later_turn();
    test_closes_at_any_moment();
    test_one_may_close_another_when_told();
    test_slow_names_hold_nothing_up();
    test_more_than_there_are_connections();
    test_bounds_what_all_hold();
    test_consuming_tells_on_a_later_turn();
    test_a_thousand_take_one_connection();
    loop_free(loop);
    return 0;
}

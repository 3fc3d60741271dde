/* A server and its raw client on one thread: the client looks, the loop turns, in turns. */
#pragma once

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ev/loop.h"
#include "http/exchange.h"
#include "http/server.h"

static struct loop *loop;
static struct http_server *server;
static uint16_t port;

static void serve(const struct server_options *options)
{
    struct err err;
    CHECK(loop = loop_new(&err));
    CHECK(server = http_server_new(loop, options, &err));
    port = 0;
    int fd = http_listen_tcp("127.0.0.1", &port, &err);
    CHECK(fd >= 0 && port > 0);
    CHECK(http_server_listen(server, fd, &err));
}

static void serve_no_more(void)
{
    http_server_free(server);
    loop_free(loop);
}

static int connect_client(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void turn_for(uint64_t ms)
{
    uint64_t end = clock_now_ns() + ms * 1000000;
    do {
        loop_turn(loop, 1);
    } while (clock_now_ns() < end);
}

/* What the client has got so far. */
struct got {
    char *bytes;
    size_t len;
    bool closed, reset;
};

static void got_free(struct got *got)
{
    free(got->bytes);
    *got = (struct got){0};
}

static void take(int fd, struct got *got)
{
    char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0) {
        got->bytes = realloc(got->bytes, got->len + (size_t)n + 1);
        memcpy(got->bytes + got->len, bytes, (size_t)n);
        got->len += (size_t)n;
        got->bytes[got->len] = '\0';
    }
    got->reset |= n < 0 && errno != EAGAIN;
    got->closed |= n == 0 || (n < 0 && errno != EAGAIN);
}

static void put(int fd, const char *bytes, size_t len, struct got *got)
{
    while (len > 0 && !got->reset) {
        ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            bytes += n, len -= (size_t)n;
        got->reset |= n < 0 && errno != EAGAIN;
        loop_turn(loop, n > 0 ? 0 : 1);
        take(fd, got);
    }
}

/* The end of the `count`th response in `text`, by Content-Length; NULL if it is not there yet. */
static const char *responses_end(const struct got *got, int count)
{
    const char *at = got->bytes;
    for (; at && count > 0; count--) {
        const char *blank = strstr(at, "\r\n\r\n");
        const char *length = strstr(at, "Content-Length: ");
        if (!blank)
            return NULL;
        size_t size = length && length < blank ? strtoul(length + 16, NULL, 10) : 0;
        if (strncmp(at, "HTTP/1.1 100", 12) == 0)
            count++;
        if ((size_t)(got->bytes + got->len - (blank + 4)) < size)
            return NULL;
        at = blank + 4 + size;
    }
    return at;
}

/* Turns until `count` responses are there (0: until the server closes). */
static void await(int fd, struct got *got, int count, uint64_t most_ms)
{
    uint64_t end = clock_now_ns() + most_ms * 1000000;
    while (!got->closed && clock_now_ns() < end) {
        if (count > 0 && responses_end(got, count))
            return;
        loop_turn(loop, 1);
        take(fd, got);
    }
}

/* One connection, these bytes, what came back until the server closed or `count` answers. */
static inline struct got talk(const char *bytes, size_t len, int count)
{
    struct got got = {0};
    int fd = connect_client();
    put(fd, bytes, len, &got);
    await(fd, &got, count, 5000);
    close(fd);
    turn_for(2);
    return got;
}

#define TALK(text, count) talk((text), strlen(text), (count))
#define HAS(got, text) ((got).bytes && strstr((got).bytes, (text)) != NULL)

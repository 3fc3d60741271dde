#include "data/redis_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PORT = 6379, PORT_MAX = 65535, NUMBER_MAX = 65535 };

void redis_server_fini(struct redis_server *server)
{
    if (server->password)
        explicit_bzero(server->password, strlen(server->password));
    free(server->host);
    free(server->user);
    free(server->password);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* NULL: a `%` that is no escape, or a NUL. */
static char *unescape(const char *at, size_t len)
{
    char *text = mem_alloc(len + 1), *out = text;

    for (const char *end = at + len; at < end; at++) {
        const bool escape = *at == '%';
        const int high = escape && end - at > 2 ? hex_digit(at[1]) : -1;
        const int low = high >= 0 ? hex_digit(at[2]) : -1;

        if (escape && (low < 0 || high + low == 0)) {
            free(text);
            return NULL;
        }
        *out++ = escape ? (char)(high * 16 + low) : *at;
        at += escape ? 2 : 0;
    }
    return text;
}

/* A number up to `most` that is all of the text; `none` for an empty one. */
static bool read_number(const char *at, size_t len, unsigned most, unsigned none, unsigned *number)
{
    unsigned value = 0;

    if (len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(at[i] - '0');
    }
    *number = len == 0 ? none : value;
    return value <= most;
}

static bool read_login(struct redis_server *server, const char *at, size_t len)
{
    const char *colon = memchr(at, ':', len);
    const size_t user_len = colon ? (size_t)(colon - at) : len;

    if (user_len > 0 && !(server->user = unescape(at, user_len)))
        return false;
    if (colon && !(server->password = unescape(colon + 1, len - user_len - 1)))
        return false;
    return server->password != NULL;
}

/* host, host:port, [address]:port */
static bool read_place(struct redis_server *server, const char *at, size_t len)
{
    const char *close = len > 0 && *at == '[' ? memchr(at, ']', len) : NULL;
    const char *after = close ? close + 1 : at;
    const char *colon = memchr(after, ':', len - (size_t)(after - at));
    const char *host = close ? at + 1 : at;
    const size_t host_len = close ? (size_t)(close - host) : colon ? (size_t)(colon - at) : len;
    const char *port = colon ? colon + 1 : at + len;

    server->host = host_len > 0 ? mem_copy_n(host, host_len) : mem_copy("127.0.0.1");
    return read_number(port, (size_t)(at + len - port), PORT_MAX, PORT, &server->port) &&
           server->port > 0;
}

static bool read_url(struct redis_server *server, const char *at)
{
    const size_t len = strcspn(at, "/?#");
    const char *place = at, *number = at + len;

    for (size_t i = 0; i < len; i++) {
        if (at[i] == '@')
            place = at + i + 1;
    }
    if (place > at && !read_login(server, at, (size_t)(place - at) - 1))
        return false;
    if (!read_place(server, place, (size_t)(number - place)))
        return false;
    number += *number == '/';
    return read_number(number, strlen(number), NUMBER_MAX, 0, &server->number);
}

bool redis_server_parse(struct redis_server *server, const char *url, struct err *err)
{
    *server = (struct redis_server){.host = NULL};
    if (strncmp(url, "unix:///", 8) == 0) {
        server->local = true;
        server->host = mem_copy(url + 7);
        return true;
    }
    if (strncmp(url, "rediss://", 9) == 0)
        return err_set(err, "INVALID_URL", "TLS (rediss://) is not supported; use a tunnel");
    if (strncmp(url, "redis://", 8) != 0)
        return err_set(err, "INVALID_URL",
                       "the URL must begin with redis:// or unix:///, as redis://localhost:6379/0");
    if (read_url(server, url + 8))
        return true;
    redis_server_fini(server);
    return err_set(err, "INVALID_URL", "the URL must be as redis://user:password@host:port/number");
}

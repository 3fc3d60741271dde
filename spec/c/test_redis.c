/* What of Redis needs no server: URLs, commands, flat replies. */
#include <string.h>

#include "check.h"
#include "data/redis_impl.h"

static const struct {
    const char *url, *host, *user, *password;
    unsigned port, number;
} urls[] = {
    {"redis://h", "h", NULL, NULL, 6379, 0},
    {"redis://", "127.0.0.1", NULL, NULL, 6379, 0},
    {"redis://h:1/", "h", NULL, NULL, 1, 0},
    {"redis://:p@h/3", "h", NULL, "p", 6379, 3},
    {"redis://u:p%40%3a%2F@h:7/15", "h", "u", "p@:/", 7, 15},
    {"redis://u:a@b@h", "h", "u", "a@b", 6379, 0},
    {"redis://[::1]:7/2", "::1", NULL, NULL, 7, 2},
    {"redis://[::1]", "::1", NULL, NULL, 6379, 0},
    {"unix:///run/redis.sock", "/run/redis.sock", NULL, NULL, 0, 0},
};

static const char *const refused[] = {
    "",
    "http://h",
    "rediss://h",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:x",
    "redis://h/x",
    "redis://h/0?db=1",
    "redis://h/1/2",
    "redis://secret%zz@h",
    "redis://:secret%00@h",
    "redis://:secret%@h",
    "redis://secret@h", /* a user without a password */
    "unix://relative",
};

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void test_urls(void)
{
    struct redis_server server;
    struct err err;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        CHECK(redis_server_parse(&server, urls[i].url, &err));
        CHECK_STR(server.host, urls[i].host);
        CHECK(same(server.user, urls[i].user));
        CHECK(same(server.password, urls[i].password));
        CHECK(server.port == urls[i].port && server.number == urls[i].number);
        redis_server_fini(&server);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        CHECK(!redis_server_parse(&server, refused[i], &err));
        CHECK_STR(err.code, "INVALID_URL");
        CHECK(!strstr(err.message, "secret"));
    }
}

static void test_commands(void)
{
    struct buf out = {0};

    redis_put_command(&out, 2);
    redis_put_argument(&out, STR("GET"));
    redis_put_argument(&out, (struct str){"a\0\r\n", 4});
    CHECK(str_equal(buf_str(&out), STR("*2\r\n$3\r\nGET\r\n$4\r\na\0\r\n\r\n")));
    buf_fini(&out);
}

static void test_values_come_back(void)
{
    static const struct redis_value values[] = {
        {.type = REDIS_LIST, .integer = 3},
        {.type = REDIS_NIL},
        {.type = REDIS_INTEGER, .integer = INT64_MIN},
        {.type = REDIS_STRING, .bytes = {"", 0}},
        {.type = REDIS_STRING, .bytes = {"a\0b", 3}},
        {.type = REDIS_ERROR, .bytes = {"ERR no", 6}},
    };
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    struct buf flat = {0};
    const char *at;

    for (size_t i = 0; i < COUNT; i++)
        redis_put(&flat, &values[i]);
    at = flat.data;
    for (size_t i = 0; i < COUNT; i++) {
        struct redis_value value;

        at = redis_get(at, &value);
        CHECK(value.type == values[i].type);
        CHECK(value.type >= REDIS_STRING ? str_equal(value.bytes, values[i].bytes)
                                         : value.integer == values[i].integer);
    }
    CHECK(at == flat.data + flat.len);
    buf_fini(&flat);
}

static void test_backoff(void)
{
    unsigned ms = 0, sum = 0;

    for (int i = 0; i < 10; i++)
        sum += ms = redis_backoff(ms);
    CHECK(redis_backoff(0) == 50 && redis_backoff(50) == 100);
    CHECK(ms == 2000 && sum == 50 + 100 + 200 + 400 + 800 + 1600 + 4 * 2000);
}

int main(void)
{
    test_urls();
    test_commands();
    test_values_come_back();
    test_backoff();
    return 0;
}

#include "app/auth.h"

#include "app/attempts.h"
#include "app/origin.h"
#include "app/server.h"
#include "data/keyring.h"
#include "http/exchange.h"
#include "plugin/plugins.h"

#include "check.h"

enum { HEADERS_MAX = 4 };

struct call {
    const char *ip, *host; /* NULL: 127.0.0.1, localhost:8000 */
    const char *headers[2 * HEADERS_MAX];
};

static struct exchange *make(const struct call *call)
{
    struct header headers[HEADERS_MAX + 1];
    size_t count = 0;
    struct exchange_init init = {.method = STR("POST"), .target = STR("/api/plugins/reload")};
    struct exchange *x;

    headers[count++] =
        (struct header){STR("host"), str_of(call->host ? call->host : "localhost:8000")};
    for (size_t i = 0; i < HEADERS_MAX && call->headers[2 * i]; i++)
        headers[count++] =
            (struct header){str_of(call->headers[2 * i]), str_of(call->headers[2 * i + 1])};
    init.headers = headers;
    init.header_count = count;
    if (call->ip)
        init.ip = str_of(call->ip);
    x = exchange_new(&init, NULL);
    CHECK(x);
    return x;
}

static void say(bool failed, const char *title)
{
    if (failed)
        fprintf(stderr, "%s:\n", title);
}

/* --- loopback --- */

static const struct {
    const char *title;
    struct call call;
    bool local;
} places[] = {
    {"curl", {.ip = "127.0.0.1"}, true},
    {"another loopback address", {.ip = "127.8.9.10", .host = "127.8.9.10:1"}, true},
    {"IPv6", {.ip = "::1", .host = "[::1]:8000"}, true},
    {"IPv4 in IPv6", {.ip = "::ffff:127.0.0.1", .host = "localhost"}, true},
    {"capitals", {.host = "LocalHost:80"}, true},
    {"mapped host", {.host = "[::ffff:127.0.0.1]"}, true},
    {"another machine", {.ip = "192.168.1.5"}, false},
    {"another machine by IPv6", {.ip = "2001:db8::1"}, false},
    {"another machine in IPv6", {.ip = "::ffff:10.0.0.1"}, false},
    {"no address", {.ip = ""}, false},
    {"a name that resolves to us", {.host = "evil.example:8000"}, false},
    {"a name that begins as an address", {.host = "127.0.0.1.evil.example"}, false},
    {"a name that begins as localhost", {.host = "localhost.evil.example"}, false},
    {"a short address", {.host = "127.1"}, false},
    {"another address", {.host = "10.0.0.1:8000"}, false},
    {"another IPv6 address", {.host = "[::2]:8000"}, false},
    {"an open bracket", {.host = "[::1"}, false},
    {"an empty bracket", {.host = "[]"}, false},
    {"a user", {.host = "localhost@evil.example"}, false},
    {"a bad port", {.host = "localhost:80x"}, false},
    {"an empty port", {.host = "localhost:"}, false},
    {"an empty host", {.host = ""}, false},
    {"Forwarded", {.headers = {"forwarded", "for=1.2.3.4"}}, false},
    {"X-Forwarded-For", {.headers = {"x-forwarded-for", "127.0.0.1"}}, false},
    {"X-Forwarded-Proto", {.headers = {"x-forwarded-proto", "https"}}, false},
    {"X-Forwarded-anything", {.headers = {"x-forwarded-y", ""}}, false},
    {"X-Real-IP", {.headers = {"x-real-ip", "127.0.0.1"}}, false},
    {"X-Forward is no proxy's", {.headers = {"x-forward", "1"}}, true},
};

static void test_places(void)
{
    for (size_t i = 0; i < LEN(places); i++) {
        struct exchange *x = make(&places[i].call);

        say(origin_is_local(x) != places[i].local, places[i].title);
        CHECK(origin_is_local(x) == places[i].local);
        exchange_free(x);
    }
}

/* --- other sites --- */

static const struct {
    const char *title;
    struct call call;
    bool foreign;
} sites[] = {
    {"curl", {.host = NULL}, false},
    {"our own page", {.headers = {"origin", "http://localhost:8000"}}, false},
    {"capitals", {.headers = {"origin", "http://LOCALHOST:8000"}}, false},
    {"behind TLS", {.host = "a.example", .headers = {"origin", "https://a.example"}}, false},
    {"default port written out",
     {.host = "a.example:443", .headers = {"origin", "https://a.example"}},
     false},
    {"default port of http",
     {.host = "a.example", .headers = {"origin", "http://a.example:80"}},
     false},
    {"IPv6", {.host = "[::1]:8000", .headers = {"origin", "http://[::1]:8000"}}, false},
    {"another site", {.headers = {"origin", "http://evil.example"}}, true},
    {"another port", {.headers = {"origin", "http://localhost:3000"}}, true},
    {"no port", {.headers = {"origin", "http://localhost"}}, true},
    {"the wrong default", {.host = "a:80", .headers = {"origin", "https://a"}}, true},
    {"a name that begins so", {.headers = {"origin", "http://localhost:8000.evil.example"}}, true},
    {"a name that ends so", {.host = "a", .headers = {"origin", "http://evil.a"}}, true},
    {"a user", {.headers = {"origin", "http://x@localhost:8000"}}, true},
    {"a path", {.headers = {"origin", "http://localhost:8000/"}}, true},
    {"null", {.headers = {"origin", "null"}}, true},
    {"empty", {.headers = {"origin", ""}}, true},
    {"an extension", {.headers = {"origin", "chrome-extension://localhost:8000"}}, true},
    {"a file", {.headers = {"origin", "file://localhost:8000"}}, true},
    {"two in one", {.headers = {"origin", "http://localhost:8000 http://evil.example"}}, true},
    {"two, the last ours",
     {.headers = {"origin", "http://evil.example", "origin", "http://localhost:8000"}},
     true},
    {"two of ours",
     {.headers = {"origin", "http://localhost:8000", "origin", "http://localhost:8000"}},
     true},
    {"Origin counts before Sec-Fetch-Site",
     {.headers = {"origin", "http://localhost:8000", "sec-fetch-site", "cross-site"}},
     false},
    {"a foreign Origin is not excused",
     {.headers = {"origin", "http://evil.example", "sec-fetch-site", "same-origin"}},
     true},
    {"same-origin", {.headers = {"sec-fetch-site", "same-origin"}}, false},
    {"typed in", {.headers = {"sec-fetch-site", "none"}}, false},
    {"same-site", {.headers = {"sec-fetch-site", "same-site"}}, true},
    {"cross-site", {.headers = {"sec-fetch-site", "cross-site"}}, true},
    {"an empty Sec-Fetch-Site", {.headers = {"sec-fetch-site", ""}}, true},
    {"two Sec-Fetch-Site",
     {.headers = {"sec-fetch-site", "cross-site", "sec-fetch-site", "none"}},
     true},
    {"X-Buntime-Internal does not help",
     {.headers = {"origin", "http://evil.example", "x-buntime-internal", "true"}},
     true},
};

static void test_sites(void)
{
    for (size_t i = 0; i < LEN(sites); i++) {
        struct exchange *x = make(&sites[i].call);

        say(origin_is_foreign(x) != sites[i].foreign, sites[i].title);
        CHECK(origin_is_foreign(x) == sites[i].foreign);
        exchange_free(x);
    }
}

/* --- who may call --- */

#define KEY "correct horse"

static const struct {
    const char *title, *key; /* RUNTIME_ROOT_KEY, or NULL */
    struct call call;
    bool reading; /* not a mutating call */
    unsigned status;
    const char *result; /* the principal, or the code */
} calls[] = {
    {"no key, local", NULL, {.ip = NULL}, false, 0, "local"},
    {"no key, elsewhere", NULL, {.ip = "10.0.0.1"}, false, 401, "AUTH_REQUIRED"},
    {"no key, elsewhere, reading", NULL, {.ip = "10.0.0.1"}, true, 401, "AUTH_REQUIRED"},
    {"no key to compare with", NULL, {.headers = {"x-api-key", "x"}}, false, 0, "local"},
    {"no key, another site",
     NULL,
     {.headers = {"origin", "http://evil.example"}},
     false,
     403,
     "CROSS_SITE_REQUEST"},
    {"no key, another site, reading",
     NULL,
     {.headers = {"origin", "http://evil.example"}},
     true,
     0,
     "local"},
    {"X-API-Key", KEY, {.ip = "10.0.0.1", .headers = {"x-api-key", KEY}}, false, 0, "root"},
    {"Bearer", KEY, {.headers = {"authorization", "Bearer " KEY}}, false, 0, "root"},
    {"bearer", KEY, {.headers = {"authorization", "bearer  " KEY}}, false, 0, "root"},
    {"through a proxy",
     KEY,
     {.headers = {"x-api-key", KEY, "x-forwarded-for", "1.2.3.4"}},
     false,
     0,
     "root"},
    {"both, X-API-Key counts",
     KEY,
     {.headers = {"x-api-key", "no", "authorization", "Bearer " KEY}},
     false,
     401,
     "AUTH_REQUIRED"},
    {"an empty X-API-Key is none",
     KEY,
     {.headers = {"x-api-key", "", "authorization", "Bearer " KEY}},
     false,
     0,
     "root"},
    {"local without the key", KEY, {.ip = NULL}, true, 401, "AUTH_REQUIRED"},
    {"Basic", KEY, {.headers = {"authorization", "Basic " KEY}}, false, 401, "AUTH_REQUIRED"},
    {"wrong", KEY, {.headers = {"x-api-key", "wrong"}}, false, 401, "AUTH_REQUIRED"},
    {"a part", KEY, {.headers = {"x-api-key", "correct"}}, false, 401, "AUTH_REQUIRED"},
    {"more", KEY, {.headers = {"x-api-key", KEY "s"}}, false, 401, "AUTH_REQUIRED"},
    {"with a key, from another site",
     KEY,
     {.headers = {"x-api-key", KEY, "origin", "http://evil.example"}},
     false,
     403,
     "CROSS_SITE_REQUEST"},
};

static struct server make_server(struct settings *settings)
{
    const struct keyring_options options = {.root_key = settings->root_key};

    return (struct server){.settings = settings, .keyring = keyring_new(&options)};
}

static void drop_server(struct server *server)
{
    auth_fini(server);
    keyring_free(server->keyring);
}

static void test_calls(void)
{
    for (size_t i = 0; i < LEN(calls); i++) {
        struct settings settings = {.root_key = (char *)(uintptr_t)calls[i].key};
        struct server server = make_server(&settings);
        struct exchange *x = make(&calls[i].call);
        struct denial denial = {.status = 0};
        struct identity who;
        const bool ok =
            auth_authorize(&server, x, "plugins:read", !calls[i].reading, &who, &denial);
        const char *got = ok ? who.principal : denial.code;

        say(strcmp(got, calls[i].result) != 0, calls[i].title);
        CHECK_STR(got, calls[i].result);
        CHECK(ok == (calls[i].status == 0));
        CHECK(denial.status == calls[i].status);
        if (denial.status == 403) /* it is known who it was */
            CHECK_STR(who.principal, calls[i].key ? "root" : "local");
        exchange_free(x);
        drop_server(&server);
    }
}

/* --- wrong keys --- */

static void test_guessing(void)
{
    struct settings settings = {.root_key = (char *)(uintptr_t)KEY};
    struct server server = make_server(&settings);
    struct exchange *wrong = make(&(struct call){.headers = {"x-api-key", "no"}});
    struct exchange *right = make(&(struct call){.headers = {"x-api-key", KEY}});
    struct exchange *other = make(&(struct call){.ip = "10.0.0.1", .headers = {"x-api-key", KEY}});
    struct exchange *none = make(&(struct call){.ip = NULL});
    struct denial denial = {.status = 0};
    struct identity who;

    for (int i = 0; i < 20; i++) { /* a missing key is not a wrong one */
        CHECK(!auth_authorize(&server, none, "", true, &who, &denial));
        CHECK(denial.status == 401 && denial.retry_after == 0);
    }
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        CHECK(auth_authorize(&server, right, "", true, &who, &denial));
        CHECK(!auth_authorize(&server, wrong, "", true, &who, &denial));
        CHECK(denial.status == 401);
    }
    CHECK(!auth_authorize(&server, wrong, "", true, &who, &denial));
    CHECK(denial.status == 429 && denial.retry_after >= 59 && denial.retry_after <= 60);
    CHECK_STR(denial.code, "TOO_MANY_REQUESTS");
    CHECK(!auth_authorize(&server, right, "", false, &who, &denial)); /* else guessing went on */
    CHECK(denial.status == 429);
    CHECK(auth_authorize(&server, other, "", true, &who, &denial));

    exchange_free(wrong);
    exchange_free(right);
    exchange_free(other);
    exchange_free(none);
    drop_server(&server);
}

static void add(struct attempts *a, const char *ip, unsigned times, uint64_t now)
{
    while (times-- > 0)
        attempts_add(a, str_of(ip), now);
}

static void test_window(void)
{
    struct attempts a = {.len = 0};
    const struct str ip = STR("10.0.0.1");

    CHECK(attempts_wait(&a, ip, 1000) == 0);
    add(&a, "10.0.0.1", 1, 1000);
    add(&a, "10.0.0.1", 8, 30000);
    CHECK(attempts_wait(&a, ip, 30000) == 0); /* nine */
    add(&a, "10.0.0.1", 1, 40000);
    CHECK(attempts_wait(&a, ip, 40000) == 21); /* until the first is a minute old */
    CHECK(attempts_wait(&a, ip, 60999) == 1);
    CHECK(attempts_wait(&a, ip, 61000) == 0);
    add(&a, "10.0.0.1", 1, 61000); /* again ten within a minute */
    CHECK(attempts_wait(&a, ip, 61000) == 29);
    attempts_fini(&a);
}

static void test_networks(void)
{
    struct attempts a = {.len = 0};

    add(&a, "2001:db8:1:2:3::4", 5, 1000);
    add(&a, "2001:db8:1:2::9", 5, 1000);
    CHECK(attempts_wait(&a, STR("2001:db8:1:2:ffff::1"), 1000) == 60); /* one /64 */
    CHECK(attempts_wait(&a, STR("2001:db8:1:3::1"), 1000) == 0);
    add(&a, "::ffff:10.0.0.1", 10, 1000);
    CHECK(attempts_wait(&a, STR("10.0.0.1"), 1000) == 60);
    CHECK(attempts_wait(&a, STR("10.0.0.2"), 1000) == 0);
    add(&a, "fe80::1%eth0", 10, 1000);
    CHECK(attempts_wait(&a, STR("fe80::2"), 1000) == 60);
    CHECK(attempts_wait(&a, STR("::1"), 1000) == 0);
    attempts_fini(&a);
}

/* However many there are, memory stays and the busy ones are remembered. */
static void test_bound(void)
{
    struct attempts a = {.len = 0};
    char ip[32];

    add(&a, "10.9.9.9", 10, 1000);
    for (unsigned i = 0; i < 3 * ATTEMPT_PEERS_MAX; i++) {
        snprintf(ip, sizeof(ip), "10.1.%u.%u", i / 250, i % 250);
        add(&a, ip, 1, 1000 + i);
        add(&a, "10.9.9.9", 1, 1000 + i);
        CHECK(a.len <= ATTEMPT_PEERS_MAX);
    }
    CHECK(a.len == ATTEMPT_PEERS_MAX);
    CHECK(attempts_wait(&a, STR("10.9.9.9"), 5000) > 0);
    attempts_fini(&a);
}

int main(void)
{
    test_places();
    test_sites();
    test_calls();
    test_guessing();
    test_window();
    test_networks();
    test_bound();
    return 0;
}

/* permissions.net: what its entries may look like, and what they let through. */
#include "base/hostport.h"
#include "worker/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "check.h"

static const struct {
    const char *text, *host; /* host NULL: not one */
    unsigned port;
} texts[] = {
    {"db:5432", "db", 5432},
    {"api.example.com:443", "api.example.com", 443},
    {"*:443", "*", 443},
    {"db:*", "db", 0},
    {"*:*", "*", 0},
    {"10.0.0.1:80", "10.0.0.1", 80},
    {"[::1]:6379", "::1", 6379},
    {"a_b-c:1", "a_b-c", 1},
    {"db", NULL, 0},
    {"db:", NULL, 0},
    {":80", NULL, 0},
    {"db:0", NULL, 0},
    {"db:65536", NULL, 0},
    {"db:99999999999999999999", NULL, 0},
    {"db:8x", NULL, 0},
    {"::1:80", NULL, 0},
    {"[db]:80", NULL, 0},
    {"[::1:80", NULL, 0},
    {"]:80", NULL, 0},
    {"[]:80", NULL, 0},
    {"http://db:80", NULL, 0},
    {"*.example.com:80", NULL, 0},
    {"a b:80", NULL, 0},
    {"", NULL, 0},
};

static void test_texts(void)
{
    for (size_t i = 0; i < LEN(texts); i++) {
        struct hostport got;
        const bool ok = hostport_parse(texts[i].text, &got);

        if (ok != (texts[i].host != NULL))
            fprintf(stderr, "%s\n", texts[i].text);
        CHECK(ok == (texts[i].host != NULL));
        CHECK(!ok || (str_equal(got.host, str_of(texts[i].host)) && got.port == texts[i].port));
    }
}

static union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} made;

static const struct sockaddr *address(const char *text, uint16_t port)
{
    memset(&made, 0, sizeof(made));
    if (strchr(text, ':')) {
        made.six.sin6_family = AF_INET6;
        made.six.sin6_port = htons(port);
        CHECK(inet_pton(AF_INET6, text, &made.six.sin6_addr) == 1);
    } else {
        made.four.sin_family = AF_INET;
        made.four.sin_port = htons(port);
        CHECK(inet_pton(AF_INET, text, &made.four.sin_addr) == 1);
    }
    return &made.any;
}

static bool lets(const struct reach *reach, const char *text, uint16_t port)
{
    return reach_address(reach, address(text, port));
}

static void test_names(void)
{
    const char *const net[] = {"db:5432", "cache:*", "nonsense", NULL};
    struct reach *reach = reach_new(net);

    CHECK(reach_name(reach, "db") && reach_name(reach, "DB") && reach_name(reach, "db."));
    CHECK(!reach_name(reach, "db2") && !reach_name(reach, "nonsense") && !reach_name(reach, ""));
    CHECK(!lets(reach, "10.0.0.1", 5432)); /* not looked up yet */

    reach_learn(reach, "db", address("10.0.0.1", 0));
    reach_learn(reach, "Db", address("fd00::1", 0));
    reach_learn(reach, "cache", address("10.0.0.2", 0));
    CHECK(lets(reach, "10.0.0.1", 5432) && lets(reach, "fd00::1", 5432));
    CHECK(lets(reach, "::ffff:10.0.0.1", 5432)); /* the same host */
    CHECK(!lets(reach, "10.0.0.1", 5433) && !lets(reach, "10.0.0.3", 5432));
    CHECK(lets(reach, "10.0.0.2", 1) && !lets(reach, "127.0.0.1", 1));
    reach_free(reach);
}

static void test_addresses(void)
{
    const char *const net[] = {"10.0.0.1:80", "[fd00::1]:80", "*:443", NULL};
    struct reach *reach = reach_new(net);

    CHECK(lets(reach, "10.0.0.1", 80) && lets(reach, "fd00::1", 80));
    CHECK(!lets(reach, "10.0.0.1", 81) && !lets(reach, "10.0.0.2", 80));
    CHECK(lets(reach, "192.0.2.7", 443) && lets(reach, "fd00::2", 443));
    CHECK(reach_name(reach, "anything.example"));
    reach_learn(reach, "anything.example", address("192.0.2.7", 0));
    CHECK(!lets(reach, "192.0.2.7", 80));
    reach_free(reach);

    made.any.sa_family = AF_UNIX;
    reach = reach_new((const char *const[]){"*:*", NULL});
    CHECK(!reach_address(reach, &made.any));
    reach_free(reach);
    reach = reach_new(NULL);
    CHECK(!lets(reach, "127.0.0.1", 80) && !reach_name(reach, "localhost"));
    reach_free(reach);
}

/* Many addresses of one name: the newest count. */
static void test_many(void)
{
    struct reach *reach = reach_new((const char *const[]){"db:1", NULL});
    char text[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250);
        reach_learn(reach, "db", address(text, 0));
        reach_learn(reach, "db", address(text, 0));
    }
    CHECK(lets(reach, "10.0.3.249", 1) && lets(reach, "10.0.3.1", 1) &&
          !lets(reach, "10.0.0.1", 1));
    reach_free(reach);
}

int main(void)
{
    test_texts();
    test_names();
    test_addresses();
    test_many();
    return 0;
}

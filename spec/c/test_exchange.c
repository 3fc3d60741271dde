/* The exchange, on its memory transport: what is set is what is read, and what is sent. */
#include "check.h"

#include "base/buf.h"
#include "http/exchange.h"

static void check_text(struct str got, const char *want, int line)
{
    if (!got.at != !want || (want && (got.len != strlen(want) || memcmp(got.at, want, got.len)))) {
        fprintf(stderr, "line %d: got \"%.*s\", want \"%s\"\n", line, (int)got.len,
                got.at ? got.at : "(absent)", want ? want : "(absent)");
        exit(1);
    }
}

#define CHECK_TEXT(got, want) check_text((got), (want), __LINE__)

static struct exchange *make(const char *method, const char *target)
{
    struct exchange_init init = {.method = str_of(method), .target = str_of(target)};
    return exchange_new(&init, NULL);
}

static void test_targets(void)
{
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/", "/", NULL},
        {"/a/b?x=1&y=2", "/a/b", "x=1&y=2"},
        {"/a?", "/a", ""},
        {"/a?b?c", "/a", "b?c"},
        {"/a//b/./c/../d", "/a/b/d", NULL},
        {"/a%2Fb", "/a%2Fb", NULL},
        {"http://example.com/x?y", "/x", "y"},
        {"https://example.com", "/", NULL},
        {"http://example.com?q", "/", "q"},
        {"/http://x", "/http:/x", NULL},
        {"/%zz", NULL, NULL},
        {"/%00", NULL, NULL},
        {"/a%2f..%2fb", NULL, NULL},
        {"a", NULL, NULL},
        {"", NULL, NULL},
        {"*", NULL, NULL},
        {"?x", "/", "x"},
    };
    for (size_t i = 0; i < LEN(rows); i++) {
        struct exchange *x = make("GET", rows[i].target);
        if (!rows[i].path) {
            CHECK(!x);
            continue;
        }
        CHECK(x);
        CHECK_TEXT(exchange_path(x), rows[i].path);
        CHECK_TEXT(exchange_query(x), rows[i].query);
        exchange_free(x);
    }
}

static void test_request(void)
{
    const struct header headers[] = {{STR("Host"), STR("example.com:8000")},
                                     {STR("X-A"), STR("1")},
                                     {STR("x-a"), STR("2")},
                                     {STR("bad name"), STR("x")},
                                     {STR("x-bad"), STR("a\r\nb: c")}};
    struct exchange_init init = {.method = STR("POST"),
                                 .target = STR("/p"),
                                 .body = STR("hello"),
                                 .headers = headers,
                                 .header_count = LEN(headers),
                                 .ip = STR("10.0.0.1"),
                                 .id = STR("abc-1")};
    struct exchange *x = exchange_new(&init, NULL);
    CHECK(x);
    CHECK_STR(exchange_id(x).at, "abc-1");
    CHECK_TEXT(exchange_method(x), "POST");
    CHECK_TEXT(exchange_body(x), "hello");
    CHECK_TEXT(exchange_ip(x), "10.0.0.1");
    CHECK_TEXT(exchange_scheme(x), "http");
    CHECK_TEXT(exchange_authority(x), "example.com:8000");
    CHECK_TEXT(exchange_header(x, STR("X-a")), "1");
    CHECK_TEXT(exchange_header(x, STR("content-length")), "5");
    CHECK_TEXT(exchange_header(x, STR("x-bad")), NULL);
    CHECK(exchange_header_count(x) == 4);
    CHECK_TEXT(exchange_header_at(x, 2).name, "x-a");
    CHECK_TEXT(exchange_header_at(x, 2).value, "2");

    exchange_set_method(x, STR("PUT"));
    exchange_set_path(x, STR("/q/../r"));
    exchange_set_path(x, STR("no path"));
    exchange_set_query(x, STR("k=v"));
    exchange_set_body(x, STR("hello world"));
    exchange_set_header(x, STR("X-A"), STR("3"));
    exchange_set_header(x, STR("X-B"), STR("4"));
    exchange_set_header(x, STR("X-B"), STR("5\n"));
    exchange_set_header(x, STR("Host"), STR("other"));
    CHECK_TEXT(exchange_method(x), "PUT");
    CHECK_TEXT(exchange_path(x), "/r");
    CHECK_TEXT(exchange_query(x), "k=v");
    CHECK_TEXT(exchange_body(x), "hello world");
    CHECK_TEXT(exchange_header(x, STR("content-length")), "11");
    CHECK_TEXT(exchange_header(x, STR("x-a")), "3");
    CHECK_TEXT(exchange_header(x, STR("x-b")), "4");
    CHECK_TEXT(exchange_authority(x), "other");
    CHECK(exchange_header_count(x) == 4);
    exchange_remove_header(x, STR("X-A"));
    CHECK_TEXT(exchange_header(x, STR("x-a")), NULL);
    exchange_set_query(x, (struct str){0});
    CHECK_TEXT(exchange_query(x), NULL);
    exchange_free(x);
}

static void test_ids(void)
{
    static const struct {
        const char *id;
        bool kept;
    } rows[] = {
        {"a", true},
        {"A.b_c-9", true},
        {"", false},
        {"a b", false},
        {"a/b", false},
        {"\xc3\xa9", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         true},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false},
    };
    for (size_t i = 0; i < LEN(rows); i++) {
        struct header header = {STR("X-Request-Id"), str_of(rows[i].id)};
        struct exchange_init init = {.target = STR("/"), .headers = &header, .header_count = 1};
        struct exchange *x = exchange_new(&init, NULL);
        CHECK(str_equal(exchange_id(x), header.value) == rows[i].kept);
        CHECK(rows[i].kept || (exchange_id(x).len == 36 && exchange_id(x).at[14] == '4'));
        exchange_free(x);
    }
}

static unsigned sent;

static void on_send(struct exchange *x, void *owner)
{
    CHECK(owner == &sent && exchange_owner(x) == owner);
    sent++;
}

static void test_response(void)
{
    struct exchange_init init = {.target = STR("/"), .id = STR("id1")};
    struct exchange *x = exchange_new(&init, on_send);
    exchange_watch(x, NULL, &sent);
    CHECK(!exchange_has_response(x));
    exchange_respond(x, 404);
    exchange_res_add_header(x, STR("X-Old"), STR("gone"));
    exchange_res_set_body(x, STR("old"));
    exchange_respond(x, 200);
    CHECK(exchange_has_response(x) && exchange_res_header_count(x) == 0);
    CHECK_TEXT(exchange_res_body(x), NULL);
    for (int i = 0; i < 20; i++)
        exchange_res_add_header(x, STR("Set-Cookie"), STR("a=b"));
    exchange_res_set_header(x, STR("X-Request-ID"), STR("forged"));
    exchange_res_set_header(x, STR("x-one"), STR("1"));
    exchange_res_set_header(x, STR("X-One"), STR("2"));
    exchange_res_add_header(x, STR("x-split"), STR("a\r\nset-cookie: b"));
    exchange_set_status(x, 201);
    exchange_res_set_body(x, STR("new"));
    exchange_send(x);
    CHECK(sent == 1 && exchange_status(x) == 201);
    CHECK(exchange_res_header_count(x) == 22);
    CHECK_TEXT(exchange_res_header_at(x, 19).name, "set-cookie");
    CHECK_TEXT(exchange_res_header_at(x, 20).name, "x-one");
    CHECK_TEXT(exchange_res_header_at(x, 20).value, "2");
    CHECK_TEXT(exchange_res_header_at(x, 21).name, "x-request-id");
    CHECK_TEXT(exchange_res_header_at(x, 21).value, "id1");
    CHECK_TEXT(exchange_res_body(x), "new");
    exchange_free(x);
}

static void test_removal(void)
{
    struct exchange *x = make("GET", "/");
    exchange_respond(x, 200);
    exchange_res_add_header(x, STR("a"), STR("1"));
    exchange_res_add_header(x, STR("b"), STR("2"));
    exchange_res_add_header(x, STR("A"), STR("3"));
    exchange_res_add_header(x, STR("a"), STR("4"));
    exchange_res_remove_header(x, STR("A"));
    CHECK(exchange_res_header_count(x) == 1);
    CHECK_TEXT(exchange_res_header_at(x, 0).value, "2");
    exchange_free(x);
}

static void test_error(void)
{
    struct exchange_init init = {.method = STR("GET"), .target = STR("/"), .id = STR("id2")};
    struct exchange *x = exchange_new(&init, NULL);
    exchange_respond_error(x, 500, "INTERNAL_SERVER_ERROR", "no \"luck\"", "a\nb");
    CHECK(exchange_status(x) == 500);
    CHECK_TEXT(exchange_res_header_at(x, 0).value, "application/json");
    CHECK_TEXT(
        exchange_res_body(x),
        "{\"success\":false,\"code\":\"INTERNAL_SERVER_ERROR\",\"message\":\"no \\\"luck\\\"\","
        "\"requestId\":\"id2\",\"traceback\":\"a\\nb\"}");
    exchange_respond_error(x, 404, "NOT_FOUND", "m", NULL);
    CHECK_TEXT(
        exchange_res_body(x),
        "{\"success\":false,\"code\":\"NOT_FOUND\",\"message\":\"m\",\"requestId\":\"id2\"}");
    exchange_free(x);
}

static void test_head_has_no_body(void)
{
    struct exchange *x = make("HEAD", "/");
    exchange_respond(x, 200);
    exchange_res_set_body(x, STR("body"));
    exchange_send(x);
    CHECK(exchange_res_body(x).len == 0);
    exchange_free(x);
}

/* The sanitizer tells of what is not freed, or freed too early. */
static void test_taken_body(void)
{
    struct exchange *x = make("GET", "/");
    struct buf bytes = {0};
    exchange_respond(x, 200);
    for (int i = 0; i < 2; i++) { /* the second time takes the place of the first */
        buf_puts(&bytes, "0123456789");
        exchange_res_take_body(x, &bytes, (struct str){bytes.data + 2, 3});
        CHECK(!bytes.data && bytes.len == 0);
        CHECK_TEXT(exchange_res_body(x), "234");
    }
    exchange_res_set_body(x, exchange_res_body(x)); /* as a hook that leaves it as it is */
    exchange_send(x);
    CHECK_TEXT(exchange_res_body(x), "234");
    exchange_free(x);
}

int main(void)
{
    test_targets();
    test_request();
    test_ids();
    test_response();
    test_removal();
    test_error();
    test_head_has_no_body();
    test_taken_body();
    return 0;
}

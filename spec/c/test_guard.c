/* Raw bytes against the server: what a strict one refuses is refused in our own words, whether it
 * comes alone, behind another request, or byte by byte; what is good is served.
 */
#include "test_server_support.h"

#include "http/body.h"

enum { BODY_LIMIT = 1000 };

static unsigned served;

static void on_request(void *app, struct exchange *x)
{
    (void)app;
    served++;
    exchange_respond(x, 200);
    exchange_res_set_body(x, STR("ok"));
    exchange_send(x);
}

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* `status` 200: served, and the connection goes on. Rows with an embedded NUL give their length. */
static const struct row {
    const char *bytes;
    unsigned status;
    const char *says; /* must be in the refusal; may be NULL */
    size_t len;
} rows[] = {
    /* good ones */
    {GET "\r\n", 200, NULL, 0},
    {"\r\n" GET "\r\n", 200, NULL, 0},
    {"HEAD / HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {"OPTIONS /x HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {"PROPFIND / HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {"GET /?q=%20|{}[]\"<>^`\\ HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {"GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {GET "X-A:\r\nX-B: \t \r\nX-C:c\r\nX-D: \xff\x80 d\td \r\n\r\n", 200, NULL, 0},
    {"GET / HTTP/1.1\r\nHOST:\ta.example.com:8080\r\n\r\n", 200, NULL, 0},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, NULL, 0},
    {"GET / HTTP/1.1\r\nHost: [fe80::1:2.3.4.5]\r\n\r\n", 200, NULL, 0},
    {"GET http://a/x HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {"GET https://A?x HTTP/1.1\r\n" HOST "\r\n", 200, NULL, 0},
    {POST "Content-Length: 0\r\n\r\n", 200, NULL, 0},
    {POST "Content-Length: 5\r\n\r\nhello", 200, NULL, 0},
    {POST "content-length:\t005\r\n\r\nGET /", 200, NULL, 0},
    {POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200, NULL, 0},
    {CHUNKED "5\r\nhello\r\n0\r\n\r\n", 200, NULL, 0},
    {CHUNKED "A\r\n" TEN "\r\n00a;x=\"y\"\t;z\r\n" TEN "\r\n0;e\r\nX: y\r\nZ:\r\n\r\n", 200, NULL,
     0},
    {POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", 200, NULL, 0},
    {GET "Expect: 100-continue\r\n\r\n", 200, NULL, 0},
    {GET "Connection: keep-alive, x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", 200, NULL, 0},

    /* two views of where a body ends */
    {POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "together", 0},
    {POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "together", 0},
    {POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, "more than one", 0},
    {POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "more than one", 0},
    {POST "Content-Length: 5, 5\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length: +5\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length: -5\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length: 5 \r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length: 0x5\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length: 5a\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Content-Length:\r\n\r\n", 400, "Content-Length", 0},
    {POST "Content-Length: 18446744073709551621\r\n\r\nhello", 400, "Content-Length", 0},
    {POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: identity\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding:\r\n\r\n", 400, "Transfer-Encoding", 0},
    {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL,
     0},
    {POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "header name", 0},
    {POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400, "header name", 0},
    {POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "folded", 0},
    {POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, NULL, 0},
    {POST "Transfer_Encoding: chunked\rContent-Length: 5\r\n\r\nhello", 400, "CRLF", 0},
    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0", 0},

    /* chunks */
    {CHUNKED "g\r\n", 400, "chunked", 0},
    {CHUNKED "\r\n", 400, "chunked", 0},
    {CHUNKED ";x\r\n", 400, "chunked", 0},
    {CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5\r\nhello0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5\r\nhello\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5\r\nhello\r0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5\r\rhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "5;\x01\r\nhello\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "1;" HUNDRED HUNDRED HUNDRED "\r\nx\r\n0\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "00000000000000000\r\n\r\n", 400, "chunked", 0},
    {CHUNKED "0\r\nno colon\r\n\r\n", 400, "trailers", 0},
    {CHUNKED "0\r\n: x\r\n\r\n", 400, "trailers", 0},
    {CHUNKED "0\r\n folded\r\n\r\n", 400, "trailers", 0},
    {CHUNKED "0\r\nX: a\nb\r\n\r\n", 400, "trailers", 0},
    {CHUNKED "0\r\nX: a\r\n\n", 400, "trailers", 0},

    /* sizes */
    {POST "Content-Length: 1001\r\n\r\n", 413, "BODY_TOO_LARGE", 0},
    {POST "Content-Length: 999999999999999999\r\n\r\n", 413, "BODY_TOO_LARGE", 0},
    {POST "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", 413, "BODY_TOO_LARGE", 0},
    {CHUNKED "3e9\r\n", 413, "BODY_TOO_LARGE", 0},
    {CHUNKED "1\r\nx\r\n3e8\r\n", 413, "BODY_TOO_LARGE", 0},
    {CHUNKED "fffffffffffffff\r\n", 413, "BODY_TOO_LARGE", 0},

    /* lines and bytes */
    {"GET / HTTP/1.1\n" HOST "\r\n", 400, "CRLF", 0},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "CRLF", 0},
    {GET "\n", 400, "CRLF", 0},
    {GET "X: a\rb\r\n\r\n", 400, "CRLF", 0},
    {GET "X: a\r\r\n\r\n", 400, "CRLF", 0},
    {GET "X: a\r\n b\r\n\r\n", 400, "folded", 0},
    {GET "X: a\r\n\tb\r\n\r\n", 400, "folded", 0},
    {GET "X: a\0b\r\n\r\n", 400, "control byte", sizeof(GET "X: a\0b\r\n\r\n") - 1},
    {GET "X\0: b\r\n\r\n", 400, "control byte", sizeof(GET "X\0: b\r\n\r\n") - 1},
    {"GET /\0 HTTP/1.1\r\n" HOST "\r\n", 400, "control byte",
     sizeof("GET /\0 HTTP/1.1\r\n" HOST "\r\n") - 1},
    {GET "X: a\x01\r\n\r\n", 400, "control byte", 0},
    {GET "X: a\x7f\r\n\r\n", 400, "control byte", 0},
    {GET "X: a\x0b\r\n\r\n", 400, "control byte", 0},
    {"\x16\x03\x01\x02", 400, "control byte", 0},
    {"\n\n\n\n", 400, "CRLF", 0},
    {"\r\n\r\n", 400, NULL, 0},
    {"\r\n\r\n" GET "\r\n", 400, NULL, 0},
    {"junk\r\n", 400, NULL, 0},
    {" " GET "\r\n", 400, "method", 0},

    /* names */
    {GET "X : a\r\n\r\n", 400, "header name", 0},
    {GET ": a\r\n\r\n", 400, "header name", 0},
    {GET "X\r\n\r\n", 400, "header name", 0},
    {GET "X(: a\r\n\r\n", 400, "header name", 0},
    {GET "X Y: a\r\n\r\n", 400, "header name", 0},
    {GET "\xc3\xa9: a\r\n\r\n", 400, "header name", 0},

    /* the request line */
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400, "method", 0},
    {"GET\r\n" HOST "\r\n", 400, "method", 0},
    {"GET /\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET /  HTTP/1.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400, NULL, 0},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET /#x HTTP/1.1\r\n" HOST "\r\n", 400, "target", 0},
    {"GET x HTTP/1.1\r\n" HOST "\r\n", 400, "target", 0},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", 400, "target", 0},
    {"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 400, "target", 0},
    {"GET http://b/ HTTP/1.1\r\n" HOST "\r\n", 400, "another host", 0},
    {"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, "another host", 0},
    {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400, "another host", 0},
    {"TRACE / HTTP/1.1\r\n" HOST "\r\n", 405, "METHOD_NOT_ALLOWED", 0},
    {"CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 405, "METHOD_NOT_ALLOWED", 0},
    {"GET / http/1.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET / HTTP/1.10\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET / HTTP/1,1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET / HTTP/x.1\r\n" HOST "\r\n", 400, NULL, 0},
    {"GET / HTTP/1.2\r\n" HOST "\r\n", 505, "VERSION", 0},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", 505, "VERSION", 0},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", 505, "VERSION", 0},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "VERSION", 0},

    /* Host */
    {"GET / HTTP/1.1\r\n\r\n", 400, "missing Host", 0},
    {GET HOST "\r\n", 400, "more than one Host", 0},
    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400, "more than one Host", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400, "malformed Host", 0},
    {"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", 400, "malformed Host", 0},

    /* expectations */
    {POST "Expect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", 417, "EXPECTATION_FAILED", 0},
    {GET "Expect: x\r\n\r\n", 417, "EXPECTATION_FAILED", 0},
};

/* Nothing that h2o says on its own may reach a client. */
static void check_words(const struct got *got)
{
    CHECK(!HAS(*got, "text/plain") && !HAS(*got, "Invalid Request") && !HAS(*got, "not found"));
    CHECK(!HAS(*got, "\r\n\r\nBad Request"));
}

static void check_refusal(const struct row *row, const struct got *got, const char *at)
{
    char line[32];
    sprintf(line, "HTTP/1.1 %u ", row->status);
    CHECK(at && strncmp(at, line, strlen(line)) == 0);
    CHECK(strstr(at, "\r\nConnection: close\r\n") && strstr(at, "\r\nServer: buntime\r\n"));
    CHECK(strstr(at, "\r\nDate: ") && strstr(at, "\r\ncontent-type: application/json\r\n"));
    const char *id = strstr(at, "\r\nx-request-id: ");
    CHECK(id && strcspn(id + 16, "\r") == 36);
    CHECK(strstr(at, "\r\n\r\n{\"success\":false,\"code\":\""));
    char member[80] = "\"requestId\":\"";
    strncat(member, id + 16, 36);
    CHECK(strstr(at, member));
    CHECK(!row->says || strstr(at, row->says));
    CHECK(got->closed && !got->reset);
}

static const char second[] = "GET /after HTTP/1.1\r\nHost: a\r\nX-Request-Id: after\r\n\r\n";

/* One row behind `before` good requests; fed whole or in single bytes. */
static void try_row(const struct row *row, int before, bool single)
{
    struct got got = {0};
    char bytes[8192];
    size_t len = 0, size = row->len ? row->len : strlen(row->bytes);
    for (int i = 0; i < before; i++)
        len +=
            (size_t)sprintf(bytes + len, "%s", i % 2 ? CHUNKED "1\r\nx\r\n0\r\n\r\n" : GET "\r\n");
    memcpy(bytes + len, row->bytes, size);
    len += size;
    /* behind a bad one nothing is served, whatever it looks like */
    memcpy(bytes + len, second, sizeof(second) - 1);
    len += sizeof(second) - 1;
    served = 0;
    int fd = connect_client();
    size_t step = single ? 1 : len;
    for (size_t i = 0; i < len && !got.closed; i += step)
        put(fd, bytes + i, step, &got);
    bool good = row->status == 200;
    await(fd, &got, good ? before + 2 : 0, 5000);
    check_words(&got);
    CHECK(served == (unsigned)before + (good ? 2 : 0));
    if (!good)
        check_refusal(row, &got, before ? responses_end(&got, before) : got.bytes);
    close(fd);
    got_free(&got);
}

static const struct row *current;

/* A failed check ends the program; say at which row. */
static void name_row(int status, void *arg)
{
    (void)arg;
    if (status != 0 && current)
        fprintf(stderr, "in the row %s\n", current->bytes);
}

static void test_rows(void)
{
    for (size_t i = 0; i < LEN(rows); i++) {
        current = &rows[i];
        for (int before = 0; before < 3; before++)
            try_row(&rows[i], before, false);
        try_row(&rows[i], 0, true);
        try_row(&rows[i], 1, true);
    }
    current = NULL;
    turn_for(20);
    CHECK(http_server_open_exchanges(server) == 0);
}

/* Head sizes around the limits. */
static void test_head_limits(void)
{
    for (int over = 0; over < 2; over++) {
        char *bytes = malloc(40000);
        size_t len = (size_t)sprintf(bytes, GET "X: ");
        while (len < HEAD_SIZE_MAX - 4 + (size_t)over)
            bytes[len++] = 'x';
        memcpy(bytes + len, "\r\n\r\n", 4);
        served = 0;
        struct got got = talk(bytes, len + 4, over ? 0 : 1);
        CHECK(HAS(got, over ? "HTTP/1.1 431 " : "HTTP/1.1 200 ") && served == (over ? 0 : 1));
        got_free(&got);

        len = (size_t)sprintf(bytes, GET);
        for (int i = 0; i < 99 + over; i++)
            len += (size_t)sprintf(bytes + len, "X-%d: y\r\n", i);
        len += (size_t)sprintf(bytes + len, "\r\n");
        got = talk(bytes, len, over ? 0 : 1);
        CHECK(HAS(got, over ? "HTTP/1.1 431 " : "HTTP/1.1 200 "));
        got_free(&got);
        free(bytes);
    }
    char *bytes = malloc(40000);
    memset(bytes, 'x', 40000); /* a request line that never ends */
    memcpy(bytes, "GET /", 5);
    struct got got = talk(bytes, 40000, 0);
    CHECK(HAS(got, "HTTP/1.1 431 ") && HAS(got, "HEADERS_TOO_LARGE") && !got.reset);
    got_free(&got);
    free(bytes);
}

/* Trailers may not go on for ever, nor may the digits of a size. */
static void test_long_trailers(void)
{
    char *bytes = malloc(20000);
    size_t len = (size_t)sprintf(bytes, CHUNKED "0\r\n");
    for (int i = 0; i < 600; i++)
        len += (size_t)sprintf(bytes + len, "X-%d: yyyy\r\n", i);
    struct got got = talk(bytes, len, 0);
    CHECK(HAS(got, "HTTP/1.1 400 ") && HAS(got, "trailers"));
    got_free(&got);
    free(bytes);
}

/* A body over the limit is refused while it is being sent, and the client gets to read it. */
static void test_large_body_is_refused_early(void)
{
    size_t size = 8 << 20;
    char *bytes = malloc(size);
    size_t head =
        (size_t)sprintf(bytes, POST "Content-Length: %zu\r\nX-Request-Id: big1\r\n\r\n", size);
    memset(bytes + head, 'b', size - head);
    struct got got = talk(bytes, size, 0);
    CHECK(HAS(got, "HTTP/1.1 413 ") && HAS(got, "x-request-id: big1\r\n") && !got.reset);
    CHECK(HAS(got, "\"requestId\":\"big1\"") && got.closed);
    got_free(&got);
    free(bytes);
}

static void test_head_refused_without_body(void)
{
    struct got got = TALK("HEAD / HTTP/1.1\r\nX: y\r\n\r\n", 0);
    CHECK(HAS(got, "HTTP/1.1 400 ") && !HAS(got, "{"));
    got_free(&got);
}

/* Every cut of a few streams must give what the whole gives: the scanners keep no false state. */
static void test_cuts(void)
{
    static const char *const streams[] = {
        GET "X: y\r\n\r\n" CHUNKED "3;e\r\nabc\r\n0\r\nT: u\r\n\r\n" POST
            "Content-Length: 3\r\n\r\nabc",
        GET "\r\n" POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        CHUNKED "1\r\nx\r\nz\r\n",
    };
    static const unsigned want[] = {3, 1, 0};
    for (size_t i = 0; i < LEN(streams); i++) {
        size_t len = strlen(streams[i]);
        for (size_t cut = 1; cut < len; cut++) {
            struct got got = {0};
            int fd = connect_client();
            served = 0;
            put(fd, streams[i], cut, &got);
            loop_turn(loop, 0);
            put(fd, streams[i] + cut, len - cut, &got);
            await(fd, &got, i == 0 ? 3 : 0, 2000);
            CHECK(served == want[i]);
            CHECK(i == 0 || HAS(got, "HTTP/1.1 400 "));
            check_words(&got);
            close(fd);
            got_free(&got);
        }
    }
}

static unsigned next_random(void)
{
    static unsigned seed = 12345;
    seed = seed * 1103515245 + 12345;
    return seed >> 8;
}

/* Takes a byte out, puts one in, or changes one. */
static size_t mutate(char *bytes, size_t len)
{
    static const char palette[] = "\r\n\r\n \t:;,0159afxX/\0\x7f\xff";
    size_t at = next_random() % len;
    char c = palette[next_random() % (sizeof(palette) - 1)];
    switch (next_random() % 3) {
    case 0:
        memmove(bytes + at, bytes + at + 1, len - at - 1);
        return len - 1;
    case 1:
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = c;
        return len + 1;
    default:
        bytes[at] = c;
        return len;
    }
}

/* Whatever comes: as many good answers as requests served, at most one refusal behind them, and
 * no word of h2o's own. A request of which the end is missing is met by closing our side.
 */
static void test_mutations(void)
{
    for (int i = 0; i < 3000; i++) {
        const struct row *row = &rows[next_random() % LEN(rows)];
        size_t size = row->len ? row->len : strlen(row->bytes);
        char bytes[4096];
        size_t len = size;
        memcpy(bytes, row->bytes, size);
        for (unsigned n = 1 + next_random() % 2; n > 0; n--)
            len = mutate(bytes, len);
        memcpy(bytes + len, second, sizeof(second) - 1);
        len += sizeof(second) - 1;
        struct got got = {0};
        int fd = connect_client();
        served = 0;
        put(fd, bytes, len, &got);
        shutdown(fd, SHUT_WR);
        await(fd, &got, 0, 5000);
        CHECK(got.closed);
        check_words(&got);
        unsigned answers = 0, good = 0;
        for (const char *at = got.bytes; at && (at = strstr(at, "HTTP/1.1 ")); at += 9) {
            answers += at[9] >= '2' && at[9] <= '5';
            good += strncmp(at, "HTTP/1.1 200", 12) == 0;
        }
        CHECK(good == served && answers <= good + 1);
        close(fd);
        got_free(&got);
    }
    turn_for(20);
    CHECK(http_server_open_exchanges(server) == 0);
}

static void bench(void)
{
    static const char request[] = GET
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.7\r\nAccept-Encoding: gzip, deflate, br\r\n"
        "Cookie: sid=8a7b6c5d4e3f2a1b; theme=dark; lang=en-US\r\nCache-Control: no-cache\r\n\r\n";
    static const char small[] = "GET /hello/api/greeting HTTP/1.1\r\nHost: localhost:8000\r\n\r\n";
    static const char *const names[] = {"browser", "wrk"};
    const char *const texts[] = {request, small};
    const size_t sizes[] = {sizeof(request) - 1, sizeof(small) - 1};
    enum { N = 200000 };
    for (int i = 0; i < 2; i++) {
        uint64_t start = clock_now_ns();
        for (int j = 0; j < N; j++) {
            struct head head = {0};
            CHECK(head_scan(&head, texts[i], sizes[i]) == SCAN_DONE);
        }
        printf("%s head, %zu bytes: %.0f ns\n", names[i], sizes[i],
               (double)(clock_now_ns() - start) / N);
    }
}

int main(void)
{
    static const struct server_options options = {
        .on_request = on_request, .body_limit = BODY_LIMIT, .client_timeout = 30000};
    on_exit(name_row, NULL);
    serve(&options);
    test_rows();
    test_head_limits();
    test_long_trailers();
    test_large_body_is_refused_early();
    test_head_refused_without_body();
    test_cuts();
    test_mutations();
    serve_no_more();
    bench();
    return 0;
}

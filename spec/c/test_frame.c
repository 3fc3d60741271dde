/* worker/frame: what is written is read back, and nothing else is taken for it. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "worker/frame.h"

static struct frame only(const struct buf *bytes)
{
    struct str rest = buf_str(bytes);
    struct frame frame;

    CHECK(frame_next(&rest, &frame) == FRAME_WHOLE);
    CHECK(rest.len == 0);
    return frame;
}

static void test_numbers(void)
{
    struct buf out = {0};
    struct frame frame;
    struct frame_reader r;

    frame_add_u32(&out, FRAME_CREDIT, 0xFEDCBA98u, 0x01020304);
    frame = only(&out);
    CHECK(frame.type == FRAME_CREDIT);
    CHECK(frame.stream == (0xFEDCBA98u));
    r = frame_reader(frame.payload);
    CHECK(frame_get_u32(&r) == (0x01020304));
    CHECK(!r.bad);
    CHECK(frame_get_u32(&r) == (0));
    CHECK(r.bad);
    buf_fini(&out);
}

/* Each cut of two frames but the last is a wait for more, and gives the whole ones before. */
static void test_cuts(void)
{
    struct buf out = {0};

    frame_add_bytes(&out, FRAME_PIECE, 7, STR("some bytes"));
    frame_add(&out, FRAME_END, 7);
    for (size_t len = 0; len <= out.len; len++) {
        struct str rest = {out.data, len};
        struct frame frame;
        const size_t first = FRAME_HEAD + 10;
        CHECK(frame_next(&rest, &frame) == (len < first ? FRAME_MORE : FRAME_WHOLE));
        if (len < first)
            continue;
        CHECK(frame.type == FRAME_PIECE);
        CHECK(frame.payload.len == 10);
        CHECK(frame_next(&rest, &frame) == (len < out.len ? FRAME_MORE : FRAME_WHOLE));
    }
    buf_fini(&out);
}

static void test_bad(void)
{
    static const char *const heads[] = {
        "\xFF\xFF\xFF\x01\0\0\0\0", /* too long */
        "\x01\x00\x08\x01\0\0\0\0", /* one byte too long */
        "\x00\x00\x00\x00\0\0\0\0", /* no type */
        "\x00\x00\x00\xFF\0\0\0\0", /* no such type */
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct str rest = {heads[i], FRAME_HEAD};
        struct frame frame;
        CHECK(frame_next(&rest, &frame) == FRAME_BAD);
    }
}

static void test_too_long(void)
{
    struct buf out = {0};
    size_t at;

    frame_add(&out, FRAME_READY, 0);
    at = frame_begin(&out, FRAME_LOG, 0);
    buf_reserve(&out, FRAME_MAX + 1);
    out.len += FRAME_MAX + 1;
    CHECK(!frame_end(&out, at));
    CHECK(only(&out).type == (FRAME_READY));
    buf_fini(&out);
}

static void test_text(void)
{
    struct buf out = {0};
    struct frame_reader r;
    struct str s;

    frame_put_str(&out, STR("text"));
    frame_put_str(&out, STR(""));
    frame_put_str(&out, (struct str){0});
    r = frame_reader(buf_str(&out));
    s = frame_get_str(&r);
    CHECK_STR(s.at, "text");
    s = frame_get_str(&r);
    CHECK(s.at);
    CHECK(s.len == (0));
    CHECK(!frame_get_str(&r).at);
    CHECK(!r.bad);
    out.data[8] = 'x'; /* where the first one's NUL is */
    r = frame_reader(buf_str(&out));
    CHECK(!frame_get_str(&r).at);
    CHECK(r.bad);
    buf_fini(&out);
}

static void test_err(void)
{
    struct err err, copy;
    struct buf out = {0};
    struct frame_reader r;

    err_at(&err, "apps/a/index.lua", 12, "no such thing");
    frame_put_err(&out, &err);
    r = frame_reader(buf_str(&out));
    CHECK(frame_get_err(&r, &copy));
    CHECK_STR(copy.code, err.code);
    CHECK_STR(copy.message, err.message);
    CHECK_STR(copy.file, err.file);
    CHECK(copy.line == 12);
    r = frame_reader((struct str){out.data, out.len - 1});
    CHECK(!frame_get_err(&r, &copy));
    buf_fini(&out);
}

static void test_hello(void)
{
    static const char *const read[] = {"/a", "/b", NULL};
    const struct frame_hello hello = {
        .name = STR("@ns/app"), .dir = STR("apps/app"), .memory = 1 << 30, .flags = FRAME_FRESH};
    struct buf out = {0};
    struct frame_hello got;

    frame_add_hello(&out, &hello, read, NULL, NULL);
    CHECK(frame_read_hello(only(&out).payload, &got));
    CHECK_STR(got.name.at, "@ns/app");
    CHECK(!got.version.at);
    CHECK(got.memory == 1 << 30);
    CHECK(got.flags == FRAME_FRESH);
    CHECK(got.read_count == 2);
    CHECK_STR(frame_get_str(&got.read).at, "/a");
    CHECK_STR(frame_get_str(&got.read).at, "/b");
    CHECK(got.net_count == (0));
    buf_fini(&out);
}

static void put_request(struct buf *out, uint32_t headers)
{
    static const char *const texts[] = {"GET", "/x", "a=1", "id", "::1", "http", "localhost"};

    for (size_t i = 0; i < 7; i++)
        frame_put_str(out, str_of(texts[i]));
    frame_put_u32(out, 2);
    frame_put_u64(out, 4);
    frame_put_u32(out, headers);
    frame_put_str(out, STR("accept"));
    frame_put_str(out, STR("*/*"));
    buf_puts(out, "body");
}

static void test_request(void)
{
    struct buf out = {0}, more = {0};
    struct frame_request request;

    put_request(&out, 1);
    CHECK(frame_read_request(buf_str(&out), &request));
    CHECK_STR(request.path.at, "/x");
    CHECK(request.strip == 2);
    CHECK_STR(frame_get_str(&request.headers).at, "accept");
    CHECK_STR(frame_get_str(&request.headers).at, "*/*");
    CHECK(str_equal(request.body, STR("body")));
    for (size_t len = 0; len < out.len - 4; len++)
        CHECK(!frame_read_request((struct str){out.data, len}, &request));
    put_request(&more, UINT32_MAX);
    CHECK(!frame_read_request(buf_str(&more), &request));
    buf_fini(&out);
    buf_fini(&more);
}

int main(void)
{
    test_numbers();
    test_cuts();
    test_bad();
    test_too_long();
    test_text();
    test_err();
    test_hello();
    test_request();
    return 0;
}

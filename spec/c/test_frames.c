#include <string.h>

#include "check.h"
#include "http/frames.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };

static struct frames f;
static uint8_t bytes[1 << 20];
static size_t len, kept, used;

static void reset(void)
{
    f = (struct frames){.body_limit = 1000, .preface = sizeof(preface) - 1};
    len = 0;
}

static void add(const void *data, size_t size)
{
    memcpy(bytes + len, data, size);
    len += size;
}

static void
add_frame(unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t size)
{
    const uint8_t head[9] = {
        (uint8_t)(size >> 16),   (uint8_t)(size >> 8),   (uint8_t)size,
        (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    add(head, sizeof(head));
    if (size > 0)
        add(payload, size);
}

static enum frames_result scan_at(uint64_t now_ms)
{
    const enum frames_result result = frames_scan(&f, bytes, len, now_ms, &kept, &used);
    memmove(bytes, bytes + used, len - used);
    len -= used;
    return result;
}

static enum frames_result scan(void)
{
    return scan_at(5000);
}

static void add_request(uint32_t stream, unsigned flags)
{
    add_frame(HEADERS, flags | END_HEADERS, stream, "\x82\x84\x87", 3);
}

/* --- */

static void test_preface(void)
{
    for (size_t cut = 0; cut < sizeof(preface); cut++) {
        reset();
        f.preface = 0;
        add(preface, cut);
        CHECK(scan() == FRAMES_OK && used == cut && kept == cut);
        CHECK(frames_partial(&f) == (cut < sizeof(preface) - 1));
        add(preface + cut, sizeof(preface) - 1 - cut);
        add_request(1, END_STREAM);
        CHECK(scan() == FRAMES_OK && len == 0);
    }
    reset();
    f.preface = 0;
    add("GET / HTTP/1.1\r\n", 16);
    CHECK(scan() == FRAMES_CUT && f.error == 1);
}

/* However the bytes are cut, the same is found and kept. */
static void test_pieces(void)
{
    static uint8_t all[4096], out[4096];
    reset();
    add_frame(SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    add_request(1, 0);
    add_frame(0xAA, 0, 0, "unknown", 7);
    add_frame(DATA, END_STREAM, 1, "body", 4);
    add_frame(HEADERS, PADDED | WITH_PRIORITY, 3, "\2\0\0\0\0\1\x82\x84pp", 10);
    add_frame(CONTINUATION, END_HEADERS, 3, "\x40\1a\1b", 5);
    add_frame(WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
    const size_t total = len;
    memcpy(all, bytes, len);
    for (size_t piece = 1; piece <= total; piece++) {
        size_t out_len = 0;
        reset();
        for (size_t at = 0; at < total; at += piece) {
            add(all + at, piece < total - at ? piece : total - at);
            enum frames_result result = frames_scan(&f, bytes, len, 1, &kept, &used);
            CHECK(result == FRAMES_OK);
            memcpy(out + out_len, bytes, kept);
            out_len += kept;
            memmove(bytes, bytes + used, len - used);
            len -= used;
            CHECK(len < 9);
        }
        CHECK(len == 0 && !frames_partial(&f) && out_len == total - 16);
        CHECK(!memcmp(out, all, 15 + 12) && !memcmp(out + 27, all + 27 + 16, total - 27 - 16));
        CHECK(f.window_sum == 256 && f.last_stream == 3 && f.block_fields == 3);
        CHECK(f.upload_count == 1 && f.uploads[0].stream == 3);
    }
}

static void test_bodies(void)
{
    static const char body[600];
    reset();
    add_request(1, 0);
    add_frame(DATA, 0, 1, body, 600);
    CHECK(scan() == FRAMES_OK && f.upload_count == 1 && f.uploads[0].fresh);
    CHECK(f.uploads[0].seen == 600);
    add_request(3, END_STREAM);
    add_frame(DATA, 0, 1, body, 600);
    CHECK(scan() == FRAMES_TOO_LARGE && f.stream == 1 && used == 12 && len == 609);
    f.uploads[0].refused = true; /* as the caller does */
    add_frame(DATA, 0, 1, body, 600);
    add_request(5, END_STREAM);
    CHECK(scan() == FRAMES_OK && kept == 12 && len == 0 && f.swallowed == 1200);
    add_frame(DATA, END_STREAM, 1, "", 0);
    CHECK(scan() == FRAMES_OK && kept == 0 && f.upload_count == 0);

    reset();
    add_request(1, 0);
    add_frame(RST_STREAM, 0, 1, "\0\0\0\10", 4);
    CHECK(scan() == FRAMES_OK && f.upload_count == 0);
}

static void test_trailers(void)
{
    reset();
    add_request(1, 0);
    add_frame(DATA, 0, 1, "x", 1);
    add_frame(HEADERS, END_STREAM | END_HEADERS, 1, "\0\1a\1b", 5);
    CHECK(scan() == FRAMES_TRAILERS && f.stream == 1 && used == 12 + 10);
    CHECK(scan() == FRAMES_OK && len == 0 && f.upload_count == 0);
}

static void test_many_uploads(void)
{
    reset();
    for (uint32_t i = 0; i < FRAMES_UPLOADS; i++)
        add_request(2 * i + 1, 0);
    CHECK(scan() == FRAMES_OK && f.upload_count == FRAMES_UPLOADS);
    f.uploads[7].refused = true;
    add_request(1001, 0);
    CHECK(scan() == FRAMES_OK && frames_upload(&f, 1001) && !frames_upload(&f, 15));
    add_request(1003, 0);
    CHECK(scan() == FRAMES_CUT && f.error == 11);
}

/* --- floods --- */

static const struct flood {
    unsigned type, flags, stream;
    const char *payload;
    size_t size;
    unsigned burst, per_second;
} floods[] = {
    {RST_STREAM, 0, 1, "\0\0\0\10", 4, 200, 50},
    {SETTINGS, 0, 0, NULL, 0, 32, 4},
    {SETTINGS, 1, 0, NULL, 0, 32, 4},
    {PING, 0, 0, "12345678", 8, 100, 20},
    {PING, 1, 0, "12345678", 8, 100, 20},
    {DATA, 0, 1, NULL, 0, 100, 20},
    {DATA, PADDED, 1, "\5ppppp", 6, 100, 20},
    {PRIORITY, 0, 9, "\0\0\0\0\20", 5, 300, 100},
    {WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4, 2000, 1000},
    {0x10, 0, 0, "u", 1, 300, 100},
    {GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8, 300, 100},
};

static void test_floods(void)
{
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        const struct flood *flood = &floods[i];
        reset();
        CHECK(scan_at(5000) == FRAMES_OK);
        for (unsigned n = 0; n < flood->burst; n++)
            add_frame(flood->type, flood->flags, flood->stream, flood->payload, flood->size);
        CHECK(scan_at(5000) == FRAMES_OK);
        for (unsigned n = 0; n < flood->per_second; n++)
            add_frame(flood->type, flood->flags, flood->stream, flood->payload, flood->size);
        CHECK(scan_at(6001) == FRAMES_OK); /* a second later there may be some more */
        add_frame(flood->type, flood->flags, flood->stream, flood->payload, flood->size);
        CHECK(scan_at(6002) == FRAMES_CUT && f.error == 11 && f.why);
    }
}

static void test_credit(void)
{
    reset();
    CHECK(scan() == FRAMES_OK);
    for (unsigned n = 0; n < 2000; n++)
        add_frame(WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
    CHECK(scan() == FRAMES_OK);
    frames_credit(&f, FRAME_WINDOW, 1);
    add_frame(WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
    CHECK(scan() == FRAMES_OK);
    add_frame(WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
    CHECK(scan() == FRAMES_CUT);
}

/* --- header blocks --- */

static void test_blocks(void)
{
    static uint8_t many[600];
    static const char large[16384];
    memset(many, 0x82, sizeof(many));
    reset();
    add_frame(HEADERS, END_HEADERS | END_STREAM, 1, many, 512);
    CHECK(scan() == FRAMES_OK);
    add_frame(HEADERS, END_HEADERS | END_STREAM, 3, many, 513);
    CHECK(scan() == FRAMES_CUT && f.error == 11);

    reset(); /* 64 KiB and no more: one literal that does not end */
    add_frame(HEADERS, END_STREAM, 1, "\0\1a\x7F\x81\xFF\x7F", 7);
    for (int i = 0; i < 3; i++)
        add_frame(CONTINUATION, 0, 1, large, sizeof(large));
    CHECK(scan() == FRAMES_OK);
    add_frame(CONTINUATION, 0, 1, large, sizeof(large));
    CHECK(scan() == FRAMES_CUT && f.error == 11);

    reset();
    add_frame(HEADERS, END_STREAM, 1, "\x82", 1);
    for (int i = 0; i < 15; i++)
        add_frame(CONTINUATION, 0, 1, "\x82", 1);
    CHECK(scan() == FRAMES_OK);
    add_frame(CONTINUATION, 0, 1, "\x82", 1);
    CHECK(scan() == FRAMES_CUT && f.error == 11);
}

static const struct wrong {
    const char *what;
    unsigned type, flags, stream;
    const char *payload;
    size_t size;
    unsigned error;
} wrong[] = {
    {"CONTINUATION alone", CONTINUATION, 0, 1, "\x82", 1, 1},
    {"PUSH_PROMISE", PUSH_PROMISE, 4, 1, "\0\0\0\2", 4, 1},
    {"padding too long", HEADERS, 12, 1, "\7\x82\x82", 3, 1},
    {"padding, too short", HEADERS, 12, 1, "", 0, 6},
    {"priority, too short", HEADERS, 36, 1, "\0\0\0\0", 4, 6},
    {"a field cut off", HEADERS, 4, 1, "\0\1a\5b", 5, 9},
    {"an index cut off", HEADERS, 4, 1, "\xFF\x80", 2, 9},
    {"an index too large", HEADERS, 4, 1, "\xFF\x80\x80\x80\x80\x01", 6, 9},
    {"a length too large", HEADERS, 4, 1, "\0\1a\x7F\x80\x80\x80\x80\x01", 9, 9},
};

static void test_wrong(void)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        reset();
        add_frame(wrong[i].type, wrong[i].flags, wrong[i].stream, wrong[i].payload, wrong[i].size);
        if (scan() != FRAMES_CUT || f.error != wrong[i].error) {
            fprintf(stderr, "%s: error %u\n", wrong[i].what, f.error);
            exit(1);
        }
    }
    reset();
    add("\0\x40\1\0\0\0\0\0\1", 9); /* 16385 bytes */
    CHECK(scan() == FRAMES_CUT && f.error == 6);
}

static void test_interrupted(void)
{
    reset();
    add_frame(HEADERS, 0, 1, "\x82", 1);
    CHECK(scan() == FRAMES_OK && frames_partial(&f));
    add_frame(CONTINUATION, 0, 3, "\x82", 1);
    CHECK(scan() == FRAMES_CUT && f.error == 1);
    reset();
    add_frame(HEADERS, 0, 1, "\x82", 1);
    add_frame(PING, 0, 0, "12345678", 8);
    CHECK(scan() == FRAMES_CUT && f.error == 1);
}

int main(void)
{
    test_preface();
    test_pieces();
    test_bodies();
    test_trailers();
    test_many_uploads();
    test_floods();
    test_credit();
    test_blocks();
    test_wrong();
    test_interrupted();
    printf("ok\n");
    return 0;
}

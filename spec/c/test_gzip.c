/* gzip: what comes out can be read again, the same each time, and the cache keeps its bound. */
#include <stdint.h>

#include <zlib.h>

#include "http/gzip.h"

#include "check.h"

static char text[20000];

static void check_unpacks(struct str packed, struct str plain)
{
    static char out[sizeof(text)];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.at,
                  .avail_in = (uInt)packed.len,
                  .next_out = (Bytef *)out,
                  .avail_out = sizeof(out)};

    CHECK(inflateInit2(&z, 15 + 16) == Z_OK);
    CHECK(inflate(&z, Z_FINISH) == Z_STREAM_END);
    CHECK(str_equal((struct str){out, z.total_out}, plain));
    inflateEnd(&z);
}

static void test_pack(void)
{
    struct gzip_cache *cache = gzip_cache_new(100000);
    const struct str plain = {text, sizeof(text)};
    struct buf first = {0}, again = {0}, noise = {0};
    char random[64];

    CHECK(gzip_pack(cache, "a", plain, &first) && first.len < plain.len);
    check_unpacks(buf_str(&first), plain);
    CHECK(gzip_cache_bytes(cache) == first.len + 1);
    CHECK(gzip_pack(cache, "a", STR("the cache does not look at the bytes"), &again));
    CHECK(str_equal(buf_str(&first), buf_str(&again)));
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (char)(i * 151 + i * i * 83);
    for (int round = 0; round < 2; round++) {
        CHECK(!gzip_pack(cache, "b", (struct str){random, sizeof(random)}, &noise));
        CHECK(!gzip_pack(NULL, "b", STR(""), &noise));
    }
    buf_fini(&first);
    buf_fini(&again);
    buf_fini(&noise);
    gzip_cache_free(cache);
}

static void test_bounds(void)
{
    struct gzip_cache *cache = gzip_cache_new(4000);
    char key[32];

    for (int i = 0; i < 1000; i++) {
        struct buf out = {0};

        snprintf(key, sizeof(key), "key-%d", i);
        CHECK(gzip_pack(cache, key, (struct str){text, 2000}, &out));
        CHECK(gzip_cache_bytes(cache) <= 4000);
        buf_fini(&out);
    }
    CHECK(gzip_cache_bytes(cache) > 2000);
    gzip_cache_free(cache);
}

static void test_types(void)
{
    CHECK(gzip_is_text(STR("text/html; charset=utf-8")) && gzip_is_text(STR("image/svg+xml")));
    CHECK(!gzip_is_text(STR("image/png")) && !gzip_is_text(STR("application/zip")));
    CHECK(!gzip_is_text(STR("text")));
}

int main(void)
{
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "lorem ipsum "[i % 12];
    test_pack();
    test_bounds();
    test_types();
    return 0;
}

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

#include "check.h"

#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    }

static const struct {
    struct str in;
    const char *want;
} strings[] = {
    {BYTES(""), "\"\""},
    {BYTES("plain text"), "\"plain text\""},
    {BYTES("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {BYTES("\0a\x1f\x7f"), "\"\\u0000a\\u001f\x7f\""},
    {BYTES("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8D\x8A"),
     "\"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8D\x8A\""},
    {BYTES("a\xFFz"), "\"a\xEF\xBF\xBDz\""},
    {BYTES("\xC0\xAF"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                 /* overlong */
    {BYTES("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}, /* surrogate */
    {BYTES("\xE2\x82"), "\"\xEF\xBF\xBD\""},                             /* cut off */
    {BYTES("\xE2\x82\""), "\"\xEF\xBF\xBD\\\"\""},
};

static void test_json_strings(void)
{
    struct buf buf = {0};

    for (size_t i = 0; i < LEN(strings); i++) {
        buf_reset(&buf);
        buf_json_string(&buf, strings[i].in);
        CHECK_STR(buf.data, strings[i].want);
    }
    buf_fini(&buf);
    CHECK(utf8_valid(STR("h\xC3\xA9")) && !utf8_valid(STR("h\xC3")) && utf8_valid(STR("")));
    CHECK(!utf8_valid(STR("\xF4\x90\x80\x80")) && utf8_valid(STR("\xF4\x8F\xBF\xBF")));
}

static void test_growth(void)
{
    struct buf buf = {0};
    char *at;

    CHECK(buf_str(&buf).len == 0 && buf_str(&buf).at);
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%03d", i);
    CHECK(buf.len == 3000 && strlen(buf.data) == 3000);
    CHECK(strncmp(buf.data + 2997, "999", 3) == 0);

    at = buf_reserve(&buf, 10000);
    memset(at, 'x', 10000);
    buf.len += 10000;
    buf_putc(&buf, '!');
    CHECK(buf.data[13000] == '!' && buf.data[13001] == '\0');
    buf_reset(&buf);
    buf_add(&buf, NULL, 0);
    CHECK(buf.len == 0 && buf.cap > 10000);
    buf_fini(&buf);
    CHECK(!buf.data && buf.cap == 0);
}

static void test_arena(void)
{
    struct arena arena = {0};
    char *first = arena_copy(&arena, STR("first"));

    for (size_t i = 0; i < 3000; i++) {
        char *block = arena_alloc(&arena, i % 1500);
        for (size_t j = 0; j < i % 1500; j++)
            CHECK(block[j] == 0);
        memset(block, 'x', i % 1500);
        CHECK((size_t)block % 16 == 0);
    }
    CHECK_STR(first, "first");
    CHECK_STR(arena_printf(&arena, "%s-%d", "a", 7), "a-7");
    arena_fini(&arena);
}

static void test_strings(void)
{
    char *text = mem_printf("%d %s", 4, "x");

    CHECK_STR(text, "4 x");
    free(text);
    CHECK(mem_copy(NULL) == NULL);
    CHECK(str_equal_nocase(STR("Content-TYPE"), STR("content-type")));
    CHECK(!str_equal_nocase(STR("a["), STR("a{")));
    CHECK(!str_equal_nocase(STR("a"), STR("ab")));
    CHECK(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
    CHECK(str_starts((struct str){0}, STR("")));
}

int main(void)
{
    test_json_strings();
    test_growth();
    test_arena();
    test_strings();
    printf("ok\n");
    return 0;
}

#include "base/err.h"

#include "check.h"

static void test_place_and_context(void)
{
    struct err err;

    CHECK(!err_at(&err, "plugins/todo/manifest.yaml", 7, "unknown key \"%s\"", "rute"));
    CHECK(!err_wrap(&err, "plugin \"%s\"", "todo"));
    CHECK_STR(err.code, "INVALID");
    CHECK_STR(err.file, "plugins/todo/manifest.yaml");
    CHECK(err.line == 7);
    CHECK_STR(err.message, "plugin \"todo\": plugins/todo/manifest.yaml:7: unknown key \"rute\"");

    CHECK(!err_at(&err, "a.yaml", 0, "empty"));
    CHECK_STR(err.message, "a.yaml: empty");
}

static void test_set_forgets_the_old_place(void)
{
    struct err err;

    err_at(&err, "a.lua", 3, "boom");
    strcpy(err.traceback, "trace");
    CHECK(!err_set(&err, "OTHER", "then: %s", err.message));
    CHECK_STR(err.message, "then: a.lua:3: boom");
    CHECK_STR(err.code, "OTHER");
    CHECK_STR(err.file, "");
    CHECK_STR(err.traceback, "");
    CHECK(err.line == 0);

    err_set(&err, "A_CODE_THAT_IS_TOO_LONG_IS_CUT_AT_THE_END", "x");
    CHECK(strlen(err.code) == sizeof(err.code) - 1);
}

/* Cut text says so, and never ends in half a character. */
static void test_cut(void)
{
    char text[3 * ERR_MESSAGE_MAX];
    struct err err;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_set(&err, "A", "%s", text);
    CHECK(strlen(err.message) == ERR_MESSAGE_MAX - 1);
    CHECK_STR(err.message + ERR_MESSAGE_MAX - 5, "x...");

    for (size_t shift = 0; shift < 3; shift++) {
        for (size_t i = 0; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 3);
        text[sizeof(text) - 1] = '\0';
        err_set(&err, "A", "%.*s%s", (int)shift, "ab", text);
        const size_t len = strlen(err.message);
        CHECK_STR(err.message + len - 6, "\xE2\x82\xAC...");
    }
    err_wrap(&err, "%s", text);
    CHECK(strlen(err.message) < ERR_MESSAGE_MAX);
}

int main(void)
{
    test_place_and_context();
    test_set_forgets_the_old_place();
    test_cut();
    printf("ok\n");
    return 0;
}

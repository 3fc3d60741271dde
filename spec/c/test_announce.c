/* The texts of announced reloads. */
#include "app/announce.h"

#include "base/log.h"
#include "plugin/reload.h"

#include "check.h"

static void test_questions(void)
{
    static const struct reload_options cases[] = {
        {.changed = false}, {.changed = true},
        {.strict = true},   {.changed = true, .strict = true, .only = "@acme/shop"},
        {.only = "cs"},
    };

    for (size_t i = 0; i < LEN(cases); i++) {
        char *text = announce_question(&cases[i]), *name = NULL;
        struct reload_options got = {.only = NULL};

        CHECK(announce_read(str_of(text), &got, &name));
        CHECK(got.changed == cases[i].changed && got.strict == cases[i].strict && !got.dry_run);
        CHECK(!cases[i].only == !got.only);
        if (got.only)
            CHECK_STR(got.only, cases[i].only);
        free(text);
        free(name);
    }
}

static void test_no_questions(void)
{
    static const char *const odd[] = {"", "reload", "reload ", "reload c", "exit - x", "Reload - "};

    for (size_t i = 0; i < LEN(odd); i++) {
        struct reload_options options = {.only = NULL};
        char *name = NULL;

        CHECK(!announce_read(str_of(odd[i]), &options, &name) && !name);
    }
}

static void test_answers(void)
{
    struct err one, two;
    const struct reload_item items[] = {
        {.name = "good"}, {.name = "@a/\"b\"", .err = &one}, {.name = "c", .err = &two}};
    struct reload_result result = {.ok = true, .generation = 7, .duration_ms = 12};
    struct buf out = {0};

    announce_write_answer(&out, &result, 1000);
    CHECK_STR(out.data,
              "{\"ok\":true,\"generation\":7,\"durationMs\":12,\"errors\":[],\"more\":0}");
    CHECK(announce_is_good(buf_str(&out)) && !announce_is_good(announce_not_supported()));

    log_secret_add("very-secret-value");
    err_set(&one, "LOAD_FAILED", "plugin.lua:1: very-secret-value");
    err_set(&two, "INIT_FAILED", "no");
    result = (struct reload_result){.generation = 1, .items = items, .len = LEN(items)};
    buf_reset(&out);
    announce_write_answer(&out, &result, 1000);
    CHECK(!announce_is_good(buf_str(&out)));
    CHECK(strstr(out.data, "\"name\":\"@a/\\\"b\\\"\",\"code\":\"LOAD_FAILED\",\"message\":"));
    CHECK(strstr(out.data,
                 "},{\"name\":\"c\",\"code\":\"INIT_FAILED\",\"message\":\"no\"}],\"more\":0}"));
    CHECK(!strstr(out.data, "secret"));

    result = (struct reload_result){.ok = true, .unknown = true};
    buf_reset(&out);
    announce_write_answer(&out, &result, 1000);
    CHECK(!announce_is_good(buf_str(&out)) && strstr(out.data, "PLUGIN_NOT_FOUND"));
    buf_fini(&out);
}

/* It has to fit into one message. */
static void test_many_errors(void)
{
    enum { COUNT = 200, MAX = 3000 };
    static struct reload_item items[COUNT];
    struct reload_result result = {.items = items, .len = COUNT};
    struct buf out = {0};
    struct err err;

    err_set(&err, "LOAD_FAILED", "%0*d", 400, 1);
    for (int i = 0; i < COUNT; i++)
        items[i] = (struct reload_item){.name = "p", .err = &err};
    announce_write_answer(&out, &result, MAX);
    CHECK(out.len <= MAX && strstr(out.data, ",\"more\":19"));
    buf_reset(&out);
    announce_write_answer(&out, &result, 1 << 20);
    CHECK(strstr(out.data, "\"more\":180}"));
    buf_fini(&out);
}

int main(void)
{
    test_questions();
    test_no_questions();
    test_answers();
    test_many_errors();
    return 0;
}

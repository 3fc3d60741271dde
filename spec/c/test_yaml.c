#include "conf/yaml.h"

#include "base/buf.h"

#include "check.h"

/* Writes a value so that types show: strings quoted, numbers bare. */
static void dump(const struct value *value, struct buf *out)
{
    switch (value->type) {
    case VALUE_NULL:
        buf_puts(out, "null");
        break;
    case VALUE_BOOL:
        buf_puts(out, value->boolean ? "true" : "false");
        break;
    case VALUE_NUMBER:
        buf_printf(out, "%.17g", value->number);
        break;
    case VALUE_STRING:
        buf_json_string(out, value->string);
        break;
    case VALUE_LIST:
        buf_putc(out, '[');
        for (size_t i = 0; i < value->list.len; i++) {
            buf_puts(out, i ? "," : "");
            dump(value->list.items[i], out);
        }
        buf_putc(out, ']');
        break;
    case VALUE_MAP:
        buf_putc(out, '{');
        for (size_t i = 0; i < value->map.len; i++) {
            buf_puts(out, i ? "," : "");
            buf_json_string(out, value->map.entries[i].key);
            buf_putc(out, ':');
            dump(value->map.entries[i].value, out);
        }
        buf_putc(out, '}');
        break;
    }
}

/* `want` is the value as above, or the problems, each on a line. */
static const struct {
    const char *text, *want;
} cases[] = {
    {"a: yes\nb: no\nc: on\nd: off\ne: y",
     "{\"a\":\"yes\",\"b\":\"no\",\"c\":\"on\",\"d\":\"off\",\"e\":\"y\"}"},
    {"[true, True, TRUE, tRUE, false, False, FALSE]",
     "[true,true,true,\"tRUE\",false,false,false]"},
    {"[0, 7, -7, +7, 007, 0o17, 0xFf, 1_000, 0b1]", "[0,7,-7,7,7,15,255,\"1_000\",\"0b1\"]"},
    {"[1.5, .5, 1., -1.5e3, 1E-2, 1e, e1, ., -, +, 1.2.3]",
     "[1.5,0.5,1,-1500,0.01,\"1e\",\"e1\",\".\",\"-\",\"+\",\"1.2.3\"]"},
    {"[9007199254740992, -9007199254740992, 0x20000000000000]",
     "[9007199254740992,-9007199254740992,9007199254740992]"},
    {"9007199254740993", "f:1:1: 9007199254740993 is more than a number can hold exactly; write it "
                         "in quotes to keep its digits\n"},
    {"0x20000000000001", "f:1:1: 0x20000000000001 is more than a number can hold exactly; write it "
                         "in quotes to keep its digits\n"},
    {"-.INF", "f:1:1: -.INF is more than a number can hold exactly; write it in quotes to keep its "
              "digits\n"},
    {"-.nan", "\"-.nan\""},
    {"2024-01-01", "\"2024-01-01\""},
    {"12:30:00", "\"12:30:00\""},
    {"['1', \"true\", '', \"null\"]", "[\"1\",\"true\",\"\",\"null\"]"},
    {"\"\\u00e9\\n\\x41\"", "\"\xC3\xA9\\nA\""},
    {"a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\\n\"}"},
    {"{}", "{}"},
    {"[]", "[]"},
    {"a: {b: [1, {c: d}]}", "{\"a\":{\"b\":[1,{\"c\":\"d\"}]}}"},
    {"1: a\ntrue: b", "{\"1\":\"a\",\"true\":\"b\"}"},
    {"a: &x 1\nb: *x\nc: &x 2\nd: *x", "{\"a\":1,\"b\":1,\"c\":2,\"d\":2}"},
    {"[!!str 1, !!int 1, !!float 1.5, !!bool true, !!seq [1], !!map {}, ! 2]",
     "[\"1\",1,1.5,true,[1],{},\"2\"]"},
    {"!!bool 1", "f:1:1: tagged as a boolean, but it is a number\n"},
    {"!!map [1]", "f:1:1: tagged as a map, but it is a list\n"},
    {"!<tag:example.com,2000:x> 1", "f:1:1: unknown tag \"tag:example.com,2000:x\"\n"},
    {"%YAML 1.1\n---\na: 1\n", "{\"a\":1}"},
    {"a: 1\n...\n", "{\"a\":1}"},
    {"", ""},
    {"# only\n", ""},
    {"a: 1\n---\n", "f:2:1: a second document; a manifest is a single one\n"},
    {"a: ~", "f:1:4: \"a\" is null; give it a value or leave it out\n"},
    {"a: !!null ''", "f:1:4: \"a\" is null; give it a value or leave it out\n"},
    {"- ", "f:1:2: a list item is null; give it a value or leave it out\n"},
    {"b: 1\na: 1\nb: 2\na: 3\nb: 4",
     "f:4:1: duplicate key \"a\" (also on line 2)\nf:3:1: duplicate key \"b\" (also on line 1)\n"
     "f:5:1: duplicate key \"b\" (also on line 3)\n"},
    {"a: [1", "f:2:1: invalid YAML: did not find expected ',' or ']' (while parsing a flow "
              "sequence, from line 1)\n"},
    {"a: 'x", "f:1:6: invalid YAML: found unexpected end of stream (while scanning a quoted "
              "scalar, from line 1)\n"},
    {"a: \"\xC3\xA9\xFF\"", "f:1:6: invalid YAML: invalid leading UTF-8 octet\n"},
    {"a: \x01", "f:1:4: invalid YAML: control characters are not allowed\n"},
    {"*a", "f:1:1: unknown alias *a\n"},
    {"&a [*a]", "f:1:5: the alias *a lies inside its own anchor\n"},
    {"*a : 1", "f:1:1: a key must be a string\n"},
    {"&a b: 1", "{\"b\":1}"},
};

static void check_case(const char *text, size_t len, const char *want)
{
    struct arena arena = {0};
    struct problems problems = {0};
    struct buf got = {0};
    const struct value *root = yaml_read(&arena, (struct str){text, len}, "f", "X", &problems);

    for (size_t i = 0; i < problems.len; i++) {
        char *line = problem_text(&problems.items[i]);
        buf_printf(&got, "%s\n", line);
        free(line);
    }
    if (!problems.len && root)
        dump(root, &got);
    if (strcmp(got.data ? got.data : "", want) != 0) {
        fprintf(stderr, "%.200s\n--- got\n%s\n--- want\n%s\n", text, got.data ? got.data : "",
                want);
        exit(1);
    }
    problems_fini(&problems);
    buf_fini(&got);
    arena_fini(&arena);
}

static void test_places(void)
{
    static const char text[] = "a:\n  - b: x\n    c: [1, \xC3\xA9, 3]\n";
    struct arena arena = {0};
    struct problems problems = {0};
    const struct value *root = yaml_read(&arena, str_of(text), "f", "X", &problems);
    const struct value *item = value_get(root, "a")->list.items[0];
    const struct value *list = value_get(item, "c");

    CHECK(item->line == 2 && item->column == 5);
    CHECK(item->map.entries[1].line == 3 && item->map.entries[1].column == 5);
    CHECK(list->line == 3 && list->column == 8);
    CHECK(list->list.items[2]->column == 15); /* columns count characters */
    CHECK(!value_get(root, "b") && !value_get(list, "b") && !value_get(NULL, "b"));
    CHECK(strcmp(value_type_name(VALUE_MAP), "a map") == 0);
    arena_fini(&arena);
}

/* What grows without bound in other readers ends here, quickly, with a message. */
static void test_bombs(void)
{
    struct buf text = {0};

    for (int i = 0; i < 1000000; i++)
        buf_putc(&text, '[');
    check_case(text.data, text.len, "f:1:65: nested deeper than 64 levels\n");

    buf_reset(&text);
    buf_puts(&text, "[");
    for (int i = 0; i < 300000; i++)
        buf_puts(&text, "1,");
    buf_puts(&text, "]");
    check_case(text.data, text.len, "f:1:200000: more than 100000 values, aliases followed\n");

    buf_reset(&text);
    for (int i = 0; i < 1001; i++)
        buf_printf(&text, "- &a%d x\n", i);
    check_case(text.data, text.len, "f:1001:3: more than 1000 anchors\n");

    /* Aliases may not hide depth: each level holds the one before. */
    buf_reset(&text);
    buf_puts(&text, "- &a0 [x]\n");
    for (int i = 1; i < 70; i++)
        buf_printf(&text, "- &a%d [*a%d]\n", i, i - 1);
    check_case(text.data, text.len, "f:63:9: nested deeper than 64 levels\n");
    buf_fini(&text);
}

int main(void)
{
    for (size_t i = 0; i < LEN(cases); i++)
        check_case(cases[i].text, strlen(cases[i].text), cases[i].want);
    test_places();
    test_bombs();
    printf("ok %zu cases\n", LEN(cases));
    return 0;
}

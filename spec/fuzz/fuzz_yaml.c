/* A document. What is read without a problem keeps what the reader promises, comes out the same
 * when it is read again, and the same when it is written in another way; problems are where text
 * is.
 */
#include "fuzz.h"

#include <math.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "conf/yaml.h"

static size_t count_lines(struct str text)
{
    size_t lines = 1;

    for (size_t i = 0; i < text.len; i++)
        lines += text.at[i] == '\n' || text.at[i] == '\r' || (unsigned char)text.at[i] >= 0x80;
    return lines; /* NEL, LS and PS are breaks too: that many at most */
}

/* --- what is promised --- */

static void check_string(struct str s)
{
    require(s.at != NULL && s.at[s.len] == '\0' && strlen(s.at) == s.len);
    require(utf8_valid(s));
}

static void check_keys(const struct value *map)
{
    for (size_t i = 0; i < map->map.len; i++) {
        check_string(map->map.entries[i].key);
        for (size_t j = 0; j < i && i < 50; j++)
            require(!str_equal(map->map.entries[i].key, map->map.entries[j].key));
    }
}

static void check_value(const struct value *value, unsigned depth, size_t lines)
{
    require(depth <= 64 && value->line >= 1 && value->line <= lines && value->column >= 1);
    require(value->type != VALUE_NULL);
    if (value->type == VALUE_NUMBER)
        require(isfinite(value->number));
    else if (value->type == VALUE_STRING)
        check_string(value->string);
    else if (value->type == VALUE_MAP)
        check_keys(value);
    for (size_t i = 0; value->type == VALUE_LIST && i < value->list.len; i++)
        check_value(value->list.items[i], depth + 1, lines);
    for (size_t i = 0; value->type == VALUE_MAP && i < value->map.len; i++)
        check_value(value->map.entries[i].value, depth + 1, lines);
}

/* --- written in another way: flow, everything escaped --- */

static uint32_t code_point(const char *at, size_t len)
{
    const unsigned char first = (unsigned char)at[0];
    uint32_t point = len == 1 ? first : first & (0x7Fu >> len);

    for (size_t i = 1; i < len; i++)
        point = point << 6 | ((unsigned char)at[i] & 0x3F);
    return point;
}

static void write_string(struct str s, struct buf *out)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < s.len;) {
        bool valid = true;
        const size_t len = utf8_next(s.at + i, s.len - i, &valid);
        const uint32_t point = code_point(s.at + i, len);
        if (point > ' ' && point <= '~' && point != '"' && point != '\\')
            buf_putc(out, (char)point);
        else
            buf_printf(out, "\\U%08X", point);
        i += len;
    }
    buf_putc(out, '"');
}

static void write_value(const struct value *value, struct buf *out);

static void write_map(const struct value *value, struct buf *out)
{
    buf_putc(out, '{');
    for (size_t i = 0; i < value->map.len; i++) {
        buf_puts(out, i ? ", ? " : "? "); /* no limit of length for a key */
        write_string(value->map.entries[i].key, out);
        buf_puts(out, " : ");
        write_value(value->map.entries[i].value, out);
    }
    buf_putc(out, '}');
}

static void write_value(const struct value *value, struct buf *out)
{
    switch (value->type) {
    case VALUE_NULL:
        break;
    case VALUE_BOOL:
        buf_puts(out, value->boolean ? "true" : "false");
        break;
    case VALUE_NUMBER:
        if (value->number == floor(value->number) && fabs(value->number) <= 0x1p53)
            buf_printf(out, "%.0f", value->number);
        else
            buf_printf(out, "%.17g", value->number);
        break;
    case VALUE_STRING:
        write_string(value->string, out);
        break;
    case VALUE_LIST:
        buf_putc(out, '[');
        for (size_t i = 0; i < value->list.len; i++) {
            buf_puts(out, i ? ", " : "");
            write_value(value->list.items[i], out);
        }
        buf_putc(out, ']');
        break;
    case VALUE_MAP:
        write_map(value, out);
        break;
    }
}

static const struct value *read(struct arena *arena, struct str text, struct problems *problems)
{
    char *copy = exact_copy(text);
    const struct value *value =
        yaml_read(arena, (struct str){copy, text.len}, "file", "CODE", problems);

    free(copy); /* nothing may point into it */
    return value;
}

static void check_written(const struct value *value)
{
    struct arena arena = {0};
    struct problems problems = {0};
    struct buf text = {0};
    const struct value *again;

    write_value(value, &text);
    if (text.len < 100000) { /* aliases make much of little */
        again = read(&arena, buf_str(&text), &problems);
        require(again && problems.len == 0 && value_equal(value, again));
    }
    buf_fini(&text);
    problems_fini(&problems);
    arena_fini(&arena);
}

/* --- problems --- */

static bool is_shown(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7F)
            return false;
    }
    return true;
}

static void check_problems(const struct problems *problems, size_t lines)
{
    for (size_t i = 0; i < problems->len; i++) {
        const struct problem *problem = &problems->items[i];
        require(problem->line >= 1 && problem->line <= lines + 1 && problem->column >= 1);
        require(problem->message[0] && is_shown(problem->message));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str text = {(const char *)data, size};
    struct arena arena = {0}, other = {0};
    struct problems problems = {0}, again = {0};
    const struct value *value = read(&arena, text, &problems);
    const struct value *twin = read(&other, text, &again);

    check_problems(&problems, count_lines(text));
    require(problems.len == again.len && (value == NULL) == (twin == NULL));
    require(!value || value_equal(value, twin));
    if (value && problems.len == 0) {
        check_value(value, 1, count_lines(text));
        check_written(value);
    }
    problems_fini(&problems);
    problems_fini(&again);
    arena_fini(&arena);
    arena_fini(&other);
    return 0;
}

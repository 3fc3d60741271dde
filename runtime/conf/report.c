#include "conf/report.h"

#include <math.h>

#include "base/buf.h"
#include "base/suggest.h"

enum { QUOTE_MAX = 100 };

bool report_at(const struct report *r, const struct value *value, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(r->problems, false, r->code, r->file, value->line, value->column, fmt, args);
    va_end(args);
    return false;
}

bool report_key(const struct report *r, const struct value_entry *entry, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(r->problems, false, r->code, r->file, entry->line, entry->column, fmt, args);
    va_end(args);
    return false;
}

void report_warning(const struct report *r, unsigned line, unsigned column, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(r->problems, true, r->code, r->file, line, column, fmt, args);
    va_end(args);
}

bool report_file(const struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(r->problems, false, r->code, r->file, 0, 0, fmt, args);
    va_end(args);
    return false;
}

const char *report_quote(const struct report *r, struct str text)
{
    struct buf quoted = {0};
    const char *copy;

    buf_json_string(&quoted, text);
    if (text.len > QUOTE_MAX) {
        buf_reset(&quoted);
        buf_json_string(&quoted, (struct str){text.at, QUOTE_MAX});
        buf_puts(&quoted, "...");
    }
    copy = arena_copy(r->arena, buf_str(&quoted));
    buf_fini(&quoted);
    return copy;
}

/* What YAML made of a word that its author took for something else. */
static const char *hint(const struct value *value, enum value_type wanted)
{
    static const char *const words[] = {"yes", "no", "on", "off"};

    if (wanted == VALUE_STRING && (value->type == VALUE_NUMBER || value->type == VALUE_BOOL))
        return "; write it in quotes";
    if (wanted != VALUE_BOOL || value->type != VALUE_STRING)
        return "";
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (str_equal_nocase(value->string, str_of(words[i])))
            return "; yes, no, on and off are strings in YAML 1.2";
    }
    return "";
}

static const char *describe(const struct report *r, const struct value *value)
{
    switch (value->type) {
    case VALUE_BOOL:
        return value->boolean ? "the boolean true" : "the boolean false";
    case VALUE_NUMBER:
        return arena_printf(r->arena, "the number %.17g", value->number);
    case VALUE_STRING:
        return arena_printf(r->arena, "the string %s", report_quote(r, value->string));
    default:
        return value_type_name(value->type);
    }
}

bool report_wanted(const struct report *r,
                   const char *name,
                   const struct value *value,
                   const char *wanted)
{
    if (value->type == VALUE_NULL)
        return false; /* told when it was read */
    return report_at(r, value, "%s must be %s, got %s", name, wanted, describe(r, value));
}

bool report_type(const struct report *r,
                 const char *name,
                 const struct value *value,
                 enum value_type type)
{
    if (value->type == type)
        return true;
    if (value->type == VALUE_NULL)
        return false; /* told when it was read */
    return report_at(r, value, "%s must be %s, got %s%s", name,
                     type == VALUE_BOOL ? "true or false" : value_type_name(type),
                     describe(r, value), hint(value, type));
}

const char *report_text(const struct report *r, const char *name, const struct value *value)
{
    if (!report_type(r, name, value, VALUE_STRING))
        return NULL;
    if (value->string.len == 0) {
        report_at(r, value, "%s is empty", name);
        return NULL;
    }
    return value->string.at;
}

static const char *near(const char *word, const char *const *known)
{
    for (const char *const *one = known; *one; one++) {
        if (strcmp(word, *one) == 0)
            return NULL;
    }
    for (const char *const *one = known; *one; one++) {
        if (str_equal_nocase(str_of(word), str_of(*one)))
            return *one;
    }
    return suggest(word, known);
}

void report_near_miss(const struct report *r,
                      const struct value_entry *entry,
                      const char *where,
                      const char *const *known)
{
    const char *word = near(entry->key.at, known);

    if (word)
        report_warning(r, entry->line, entry->column, "%sunknown key %s; did you mean \"%s\"?",
                       where, report_quote(r, entry->key), word);
}

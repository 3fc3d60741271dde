#include "base/log_impl.h"

#include <string.h>

/* The text is what our own encoder wrote, so this finds the seams and checks nothing else. */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct str from(struct str s, size_t at)
{
    return (struct str){s.at + at, s.len - at};
}

static struct str trim(struct str s)
{
    while (s.len && is_space(s.at[0]))
        s = from(s, 1);
    while (s.len && is_space(s.at[s.len - 1]))
        s.len--;
    return s;
}

static size_t string_len(struct str s)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.at[i] == '\\')
            i++;
        else if (s.at[i] == '"')
            return i + 1;
    }
    return s.len;
}

/* Up to the comma or bracket that ends the value. */
static size_t value_len(struct str s)
{
    size_t depth = 0, i = 0;

    while (i < s.len) {
        const char c = s.at[i];
        if (c == '"') {
            i += string_len(from(s, i));
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return i;
        if (c == '}' || c == ']')
            depth--;
        i++;
    }
    return s.len;
}

bool log_fields_open(struct str json, struct str *rest)
{
    json = trim(json);
    if (json.len < 2 || json.at[0] != '{' || json.at[json.len - 1] != '}')
        return false;
    *rest = (struct str){json.at + 1, json.len - 2};
    return true;
}

bool log_fields_next(struct str *rest, struct log_field *field)
{
    struct str s = trim(*rest);
    size_t len;

    if (s.len && s.at[0] == ',')
        s = trim(from(s, 1));
    if (s.len == 0 || s.at[0] != '"')
        return false;
    len = string_len(s);
    field->key = (struct str){s.at, len};
    s = trim(from(s, len));
    if (s.len == 0 || s.at[0] != ':')
        return false;
    s = trim(from(s, 1));
    len = value_len(s);
    field->value = trim((struct str){s.at, len});
    *rest = from(s, len);
    return field->value.len > 0;
}

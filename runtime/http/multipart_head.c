#include <string.h>

#include "base/utf8.h"
#include "http/chars.h"
#include "http/multipart_impl.h"

/* --- parameters: `; name=value; name="value"` --- */

struct param {
    struct str name, value; /* value: raw, without its quotes */
    bool quoted;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_spaces(struct str *s)
{
    while (s->len && is_space(*s->at)) {
        s->at++;
        s->len--;
    }
}

static struct str take(struct str *s, size_t count)
{
    const struct str taken = {s->at, count};

    s->at += count;
    s->len -= count;
    return taken;
}

static bool take_char(struct str *s, char c)
{
    skip_spaces(s);
    if (!s->len || *s->at != c)
        return false;
    take(s, 1);
    return true;
}

/* The bytes before the closing quote; an open quote ends with the text. */
static size_t quoted_length(struct str s)
{
    size_t i = 0;

    while (i < s.len && s.at[i] != '"')
        i += s.at[i] == '\\' && i + 1 < s.len && strchr("\"\\", s.at[i + 1]) ? 2 : 1;
    return i < s.len ? i : s.len;
}

static size_t plain_length(struct str s)
{
    size_t i = 0;

    while (i < s.len && s.at[i] != ';' && !is_space(s.at[i]))
        i++;
    return i;
}

static bool next_param(struct str *rest, struct param *param)
{
    if (!take_char(rest, ';'))
        return false;
    skip_spaces(rest);
    param->name = take(rest, span(rest->at, rest->len, CHAR_TOKEN));
    if (!param->name.len || !take_char(rest, '='))
        return false;
    skip_spaces(rest);
    param->quoted = rest->len && *rest->at == '"';
    if (!param->quoted) {
        param->value = take(rest, plain_length(*rest));
        return true;
    }
    take(rest, 1);
    param->value = take(rest, quoted_length(*rest));
    if (rest->len)
        take(rest, 1);
    return true;
}

static bool is_named(struct str name, const char *wanted)
{
    return str_equal_nocase(name, str_of(wanted));
}

/* --- content types --- */

/* Leaves the parameters. */
static bool take_type(struct str *rest, const char *type)
{
    struct str word;
    size_t len = 0;

    skip_spaces(rest);
    while (len < rest->len && rest->at[len] != ';' && !is_space(rest->at[len]))
        len++;
    word = take(rest, len);
    return is_named(word, type);
}

bool multipart_is(struct str content_type)
{
    return take_type(&content_type, "multipart/form-data");
}

static bool is_boundary(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.at[i];
        const unsigned char low = c | 0x20;

        if (!((c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') ||
              (c && strchr("'()+_,-./:=? ", c))))
            return false;
    }
    return s.len > 0 && s.len <= MULTIPART_BOUNDARY_MAX;
}

bool multipart_boundary(struct str content_type, struct str *boundary)
{
    struct param param;

    if (!take_type(&content_type, "multipart/form-data"))
        return false;
    while (next_param(&content_type, &param)) {
        if (!is_named(param.name, "boundary"))
            continue;
        *boundary = param.value;
        return is_boundary(param.value);
    }
    return false;
}

/* --- texts --- */

static int hex(char c)
{
    const char low = (char)(c | 0x20);

    if (c >= '0' && c <= '9')
        return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The byte of a %XX at the start, or -1. */
static int escaped(struct str s)
{
    if (s.len < 3 || s.at[0] != '%' || hex(s.at[1]) < 0 || hex(s.at[2]) < 0)
        return -1;
    return hex(s.at[1]) * 16 + hex(s.at[2]);
}

/* A quote in a name is %22 for browsers, as the line ends %0D and %0A are, and \" for curl. */
static struct str put_plain(char *out, const struct param *param)
{
    struct str rest = param->value;
    size_t len = 0;

    while (rest.len) {
        const int byte = escaped(rest);

        if (byte == '"' || byte == '\r' || byte == '\n') {
            out[len++] = (char)byte;
            take(&rest, 3);
            continue;
        }
        if (param->quoted && rest.len > 1 && *rest.at == '\\' && strchr("\"\\", rest.at[1]))
            take(&rest, 1);
        out[len++] = *take(&rest, 1).at;
    }
    return (struct str){out, len};
}

/* RFC 5987: UTF-8'language'text. Absent when it is not that. */
static struct str put_extended(char *out, struct str value)
{
    const char *quote;
    size_t len = 0;

    if (!str_starts(value, STR("UTF-8'")) && !str_starts(value, STR("utf-8'")))
        return (struct str){NULL, 0};
    take(&value, 6);
    quote = memchr(value.at, '\'', value.len);
    if (!quote)
        return (struct str){NULL, 0};
    take(&value, (size_t)(quote - value.at) + 1);
    while (value.len) {
        const int byte = escaped(value);

        out[len++] = byte >= 0 ? (char)byte : *value.at;
        take(&value, byte >= 0 ? 3 : 1);
    }
    return (struct str){out, len};
}

/* --- the head --- */

struct disposition {
    struct param name, filename, extended;
    bool has_name, has_filename, has_extended;
};

static void keep_first(struct param *slot, bool *has, const struct param *param)
{
    if (!*has)
        *slot = *param;
    *has = true;
}

static bool read_disposition(struct str text, struct disposition *d)
{
    struct param param;

    if (!take_type(&text, "form-data"))
        return false;
    while (next_param(&text, &param)) {
        if (is_named(param.name, "name"))
            keep_first(&d->name, &d->has_name, &param);
        else if (is_named(param.name, "filename"))
            keep_first(&d->filename, &d->has_filename, &param);
        else if (is_named(param.name, "filename*"))
            keep_first(&d->extended, &d->has_extended, &param);
    }
    return d->has_name;
}

static bool next_line(struct str *rest, struct str *line)
{
    const char *end = memmem(rest->at, rest->len, "\r\n", 2);

    if (!end)
        return false;
    *line = take(rest, (size_t)(end - rest->at));
    take(rest, 2);
    return true;
}

static void trim(struct str *s)
{
    skip_spaces(s);
    while (s->len && is_space(s->at[s->len - 1]))
        s->len--;
}

/* The first line of each name counts. */
static void find_values(struct str head, struct str *disposition, struct str *type)
{
    struct str line;

    while (next_line(&head, &line)) {
        const struct str name = take(&line, span(line.at, line.len, CHAR_TOKEN));

        if (!line.len || *line.at != ':')
            continue;
        take(&line, 1);
        trim(&line);
        if (!disposition->at && is_named(name, "content-disposition"))
            *disposition = line;
        else if (!type->at && is_named(name, "content-type"))
            *type = line;
    }
}

bool multipart_read_head(struct str head, char *text, struct multipart_part *part)
{
    struct str disposition = {NULL, 0}, type = {NULL, 0};
    struct disposition d = {.has_name = false};

    *part = (struct multipart_part){.name = {NULL, 0}};
    find_values(head, &disposition, &type);
    if (!disposition.at || !read_disposition(disposition, &d))
        return false;
    part->name = put_plain(text, &d.name);
    text += part->name.len;
    if (d.has_extended)
        part->filename = put_extended(text, d.extended.value);
    if (!part->filename.at && d.has_filename)
        part->filename = put_plain(text, &d.filename);
    if (type.len && span_text(type.at, type.len) == type.len)
        part->type = type;
    return true;
}

/* --- file names --- */

static struct str last_part(struct str name)
{
    for (size_t i = name.len; i > 0; i--) {
        if (name.at[i - 1] == '/' || name.at[i - 1] == '\\')
            return (struct str){name.at + i, name.len - i};
    }
    return name;
}

/* U+0080 to U+009F are control characters as well. */
static bool is_control(const char *at, size_t len)
{
    const unsigned char c = (unsigned char)*at;

    return (len == 1 && (c < 0x20 || c == 0x7F)) ||
           (len == 2 && c == 0xC2 && (unsigned char)at[1] < 0xA0);
}

size_t multipart_basename(struct str filename, char *out)
{
    struct str rest = last_part(filename);
    size_t len = 0;

    while (rest.len) {
        bool valid = true;
        const struct str taken = take(&rest, utf8_next(rest.at, rest.len, &valid));
        const struct str put = valid ? taken : STR("\xEF\xBF\xBD");

        if (is_control(put.at, put.len))
            continue;
        if (len + put.len > MULTIPART_NAME_MAX)
            break;
        memcpy(out + len, put.at, put.len);
        len += put.len;
    }
    if ((len == 1 && out[0] == '.') || (len == 2 && out[0] == '.' && out[1] == '.'))
        len = 0;
    out[len] = '\0';
    return len;
}

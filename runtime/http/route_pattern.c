#include "http/route_pattern.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/lua_pattern.h"
#include "http/route.h"

/* --- canonical text --- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t route_canonical(struct str segment, char out[SEGMENT_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < segment.len; i++) {
        char c = segment.at[i];
        int high = c == '%' && i + 2 < segment.len ? hex(segment.at[i + 1]) : -1;
        int low = high >= 0 ? hex(segment.at[i + 2]) : -1;
        if (len == SEGMENT_MAX)
            return SIZE_MAX;
        if (low >= 0) {
            i += 2;
            c = (char)(high * 16 + low);
        }
        out[len++] = c;
    }
    return len;
}

/* --- reading --- */

static bool bad(const struct pattern *pattern, struct err *err, const char *what)
{
    char text[200];
    size_t len = pattern->text.len < sizeof(text) ? pattern->text.len : sizeof(text) - 1;
    memcpy(text, pattern->text.at, len);
    text[len] = '\0';
    return err_set(err, "INVALID_ROUTE", "route \"%s\": %s", text, what);
}

/* The length of the segment at `s`: up to a slash outside of braces. SIZE_MAX: unbalanced. */
static size_t segment_length(struct str s)
{
    bool param = s.len > 0 && s.at[0] == ':';
    unsigned depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '{' && param)
            depth++;
        else if (s.at[i] == '}' && param && depth > 0)
            depth--;
        else if (s.at[i] == '/' && depth == 0)
            return i;
    }
    return depth == 0 ? s.len : SIZE_MAX;
}

static bool check_bound(struct pattern *pattern, struct str bound, struct err *err)
{
    const char *problem = lua_pattern_problem(bound);
    char text[120];

    if (!problem)
        return true;
    snprintf(text, sizeof(text), "the Lua pattern in braces: %s", problem);
    return bad(pattern, err, text);
}

static bool read_param(struct pattern *pattern, struct part *part, struct str s, struct err *err)
{
    part->kind = PARAM;
    if (s.at[s.len - 1] == '?') {
        part->optional = true;
        s.len--;
    }
    part->text = (struct str){s.at + 1, s.len - 1};
    const char *brace = memchr(s.at, '{', s.len);
    if (brace) {
        part->text.len = (size_t)(brace - s.at) - 1;
        part->constraint = (struct str){brace + 1, (size_t)(s.at + s.len - brace) - 2};
        if (s.at[s.len - 1] != '}' || part->constraint.len == 0)
            return bad(pattern, err, "expected :name{pattern}");
        if (!check_bound(pattern, part->constraint, err))
            return false;
    }
    for (size_t i = 0; i < part->text.len; i++) {
        if (strchr(":*?{}", part->text.at[i]))
            return bad(pattern, err, "a parameter's name cannot hold any of : * ? { }");
    }
    return part->text.len > 0 || bad(pattern, err, "a parameter without a name");
}

static bool read_part(struct pattern *pattern, struct part *part, struct str s, struct err *err)
{
    char text[SEGMENT_MAX];
    *part = (struct part){.kind = FIXED, .text = s};
    if (s.len > 0 && s.at[0] == ':')
        return read_param(pattern, part, s, err);
    if (str_equal(s, STR("*")))
        part->kind = STAR;
    else if (s.len > 0 && memchr(s.at, '*', s.len))
        return bad(pattern, err, "a \"*\" must be a whole segment");
    else if (route_canonical(s, text) == SIZE_MAX)
        return bad(pattern, err, "a segment is longer than 255 bytes");
    return true;
}

static bool check_names(const struct pattern *pattern, struct err *err)
{
    for (size_t i = 0; i < pattern->count; i++) {
        const struct part *part = &pattern->parts[i];
        if (part->optional && i + 1 < pattern->count)
            return bad(pattern, err, "only the last parameter can be optional");
        for (size_t j = 0; j < i && part->kind == PARAM; j++) {
            if (pattern->parts[j].kind == PARAM && str_equal(pattern->parts[j].text, part->text))
                return bad(pattern, err, "two parameters of one name");
        }
    }
    return pattern->names <= ROUTE_PARAMS_MAX || bad(pattern, err, "more than 32 parameters");
}

bool route_pattern_read(struct pattern *pattern, struct str text, struct err *err)
{
    pattern->text = text;
    if (str_equal(text, STR("*")))
        text = STR("/*");
    if (text.len == 0 || text.at[0] != '/')
        return bad(pattern, err, "must start with \"/\"");
    const char *at = text.at + 1, *end = text.at + text.len;
    for (size_t len; at <= end; at += len + 1) {
        struct str rest = {at, (size_t)(end - at)};
        if (pattern->count == SEGMENTS_MAX)
            return bad(pattern, err, "more than 64 segments");
        if ((len = segment_length(rest)) == SIZE_MAX)
            return bad(pattern, err, "unbalanced braces");
        struct part *part = &pattern->parts[pattern->count++];
        if (!read_part(pattern, part, (struct str){at, len}, err))
            return false;
        if (part->kind == STAR && at + len == end)
            part->kind = REST;
        pattern->names += part->kind == PARAM || part->kind == REST;
    }
    return check_names(pattern, err);
}

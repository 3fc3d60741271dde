#include "conf/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"

enum { FILE_MAX = 1024 * 1024 };

struct pair {
    const char *name, *value;
};

struct dotenv {
    struct arena arena;
    struct pair *pairs;
    size_t len;
};

struct scanner {
    const char *at, *end; /* *end is NUL */
    const char *path;
    unsigned line;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct scanner *s)
{
    while (is_blank(*s->at))
        s->at++;
}

static void skip_line(struct scanner *s)
{
    while (s->at < s->end && *s->at != '\n')
        s->at++;
    if (s->at < s->end) {
        s->at++;
        s->line++;
    }
}

static struct str take_name(struct scanner *s)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    const char *start = s->at;

    if (strspn(s->at, first))
        s->at += strspn(s->at, all);
    return (struct str){start, (size_t)(s->at - start)};
}

/* In double quotes: \n, \r, \t and the byte itself for any other. */
static char unescape(char c)
{
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
}

static bool take_quoted(struct scanner *s, char quote, struct buf *value, struct err *err)
{
    const unsigned line = s->line;

    for (s->at++; s->at < s->end && *s->at != quote; s->at++) {
        const bool escape = quote == '"' && *s->at == '\\' && s->at + 1 < s->end;

        if (escape)
            s->at++;
        s->line += *s->at == '\n';
        buf_putc(value, escape ? unescape(*s->at) : *s->at);
    }
    if (s->at == s->end)
        return err_at(err, s->path, line, "a quote that does not end");
    s->at++;
    skip_blanks(s);
    if (*s->at && *s->at != '\n' && *s->at != '#')
        return err_at(err, s->path, s->line, "text after the closing quote");
    return true;
}

/* Up to the end of the line or a "#" behind a blank, without the blanks around. */
static void take_bare(struct scanner *s, struct buf *value)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at != '\n' &&
           !(*s->at == '#' && (s->at == start || is_blank(s->at[-1]))))
        s->at++;
    buf_add(value, start, (size_t)(s->at - start));
    while (value->len && is_blank(value->data[value->len - 1]))
        value->data[--value->len] = '\0';
}

static void set(struct dotenv *env, struct str name, const struct buf *value)
{
    const struct pair pair = {arena_copy(&env->arena, name),
                              arena_copy(&env->arena, buf_str(value))};

    for (size_t i = 0; i < env->len; i++) {
        if (strcmp(env->pairs[i].name, pair.name) == 0) {
            env->pairs[i] = pair;
            return;
        }
    }
    env->pairs = mem_resize(env->pairs, (env->len + 1) * sizeof(*env->pairs));
    env->pairs[env->len++] = pair;
}

static bool take_line(struct scanner *s, struct dotenv *env, struct err *err)
{
    struct buf value = {0};
    struct str name;
    bool ok = true;

    skip_blanks(s);
    if (*s->at == '\n' || *s->at == '#' || s->at == s->end) {
        skip_line(s);
        return true;
    }
    if (strncmp(s->at, "export", 6) == 0 && is_blank(s->at[6])) {
        s->at += 6;
        skip_blanks(s);
    }
    name = take_name(s);
    skip_blanks(s);
    if (name.len == 0 || *s->at != '=')
        return err_at(err, s->path, s->line, "expected NAME=value");
    s->at++;
    skip_blanks(s);
    if (*s->at == '"' || *s->at == '\'')
        ok = take_quoted(s, *s->at, &value, err);
    else
        take_bare(s, &value);
    if (ok) {
        set(env, name, &value);
        skip_line(s);
    }
    buf_fini(&value);
    return ok;
}

static bool parse(struct dotenv *env, const char *path, struct str text, struct err *err)
{
    struct scanner s = {.at = text.at, .end = text.at + text.len, .path = path, .line = 1};

    if (text.len && memchr(text.at, '\0', text.len))
        return err_set(err, "INVALID", "%s: a NUL character", path);
    if (str_starts(text, STR("\xEF\xBB\xBF")))
        s.at += 3;
    while (s.at < s.end) {
        if (!take_line(&s, env, err))
            return false;
    }
    return true;
}

struct dotenv *dotenv_read(const char *path, struct err *err)
{
    struct dotenv *env = mem_alloc(sizeof(*env));
    struct buf text = {0};
    const bool ok = file_read(path, FILE_MAX, &text, err) && parse(env, path, buf_str(&text), err);

    buf_fini(&text);
    if (ok)
        return env;
    dotenv_free(env);
    return NULL;
}

const char *dotenv_get(const struct dotenv *env, const char *name)
{
    for (size_t i = 0; env && i < env->len; i++) {
        if (strcmp(env->pairs[i].name, name) == 0)
            return env->pairs[i].value;
    }
    return NULL;
}

void dotenv_free(struct dotenv *env)
{
    if (!env)
        return;
    arena_fini(&env->arena);
    free(env->pairs);
    free(env);
}

size_t dotenv_count(const struct dotenv *env)
{
    return env->len;
}

const char *dotenv_name_at(const struct dotenv *env, size_t i)
{
    return env->pairs[i].name;
}

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void err_clear(struct err *err)
{
    err->code[0] = '\0';
    err->message[0] = '\0';
    err->file[0] = '\0';
    err->line = 0;
    err->traceback[0] = '\0';
}

/* Where to cut `text` so that no UTF-8 character is cut through. */
static size_t boundary(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    return at;
}

/* `len` is what snprintf() would have written. */
static void mark_cut(char *text, size_t size, int len)
{
    static const char dots[] = "...";

    if (len >= 0 && (size_t)len >= size)
        memcpy(text + boundary(text, size - sizeof(dots)), dots, sizeof(dots));
}

static void format(char *out, size_t size, const char *fmt, va_list args)
{
    mark_cut(out, size, vsnprintf(out, size, fmt, args));
}

/* The arguments of every setter may point into `err` itself, so the text is made first. */
bool err_set(struct err *err, const char *code, const char *fmt, ...)
{
    char text[ERR_MESSAGE_MAX], word[sizeof(err->code)];
    va_list args;

    va_start(args, fmt);
    format(text, sizeof(text), fmt, args);
    va_end(args);
    snprintf(word, sizeof(word), "%s", code);
    err_clear(err);
    memcpy(err->code, word, sizeof(word));
    memcpy(err->message, text, strlen(text) + 1);
    return false;
}

bool err_at(struct err *err, const char *file, unsigned line, const char *fmt, ...)
{
    char text[ERR_MESSAGE_MAX], name[ERR_FILE_MAX];
    va_list args;

    va_start(args, fmt);
    format(text, sizeof(text), fmt, args);
    va_end(args);
    mark_cut(name, sizeof(name), snprintf(name, sizeof(name), "%s", file));
    if (line)
        err_set(err, "INVALID", "%s:%u: %s", name, line, text);
    else
        err_set(err, "INVALID", "%s: %s", name, text);
    memcpy(err->file, name, strlen(name) + 1);
    err->line = line;
    return false;
}

bool err_wrap(struct err *err, const char *fmt, ...)
{
    char context[ERR_MESSAGE_MAX], text[ERR_MESSAGE_MAX];
    va_list args;

    va_start(args, fmt);
    format(context, sizeof(context), fmt, args);
    va_end(args);
    mark_cut(text, sizeof(text), snprintf(text, sizeof(text), "%s: %s", context, err->message));
    memcpy(err->message, text, strlen(text) + 1);
    return false;
}

#include "http/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"

/* version "-" trace-id "-" parent-id "-" flags */
enum { ID_AT = 3, ID_LEN = 32, PARENT_AT = 36, SPAN_LEN = 16, FLAGS_AT = 53, LENGTH = 55 };

static bool is_hex(const char *text, size_t len)
{
    return strspn(text, "0123456789abcdef") >= len;
}

static bool is_zero(const char *text, size_t len)
{
    return strspn(text, "0") >= len;
}

/* Version 00 has just this length; a later one may go on after another "-". */
static bool is_valid(const char *text, size_t len)
{
    if (!is_hex(text, 2) || memcmp(text, "ff", 2) == 0)
        return false;
    if (len > LENGTH && (memcmp(text, "00", 2) == 0 || text[LENGTH] != '-'))
        return false;
    return text[2] == '-' && is_hex(text + ID_AT, ID_LEN) && !is_zero(text + ID_AT, ID_LEN) &&
           text[PARENT_AT - 1] == '-' && is_hex(text + PARENT_AT, SPAN_LEN) &&
           !is_zero(text + PARENT_AT, SPAN_LEN) && text[FLAGS_AT - 1] == '-' &&
           is_hex(text + FLAGS_AT, 2);
}

static unsigned low_digit(char hex)
{
    return (unsigned)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
}

static void random_hex(struct random_pool *pool, char *out, size_t len)
{
    unsigned char bytes[16];

    do {
        random_take(pool, bytes, len / 2);
        for (size_t i = 0; i < len / 2; i++)
            snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    } while (is_zero(out, len));
}

static void make_text(struct trace *trace)
{
    snprintf(trace->text, sizeof(trace->text), "00-%s-%s-%s", trace->id, trace->span,
             trace->sampled ? "01" : "00");
}

bool trace_join(struct trace *trace, struct str header, struct random_pool *pool)
{
    char text[LENGTH + 2] = "";

    if (!header.at || header.len < LENGTH || header.len > 512)
        return false;
    memcpy(text, header.at, header.len > LENGTH ? LENGTH + 1 : LENGTH);
    if (!is_valid(text, header.len))
        return false;
    *trace = (struct trace){.sampled = low_digit(text[FLAGS_AT + 1]) & 1};
    memcpy(trace->id, text + ID_AT, ID_LEN);
    memcpy(trace->parent, text + PARENT_AT, SPAN_LEN);
    random_hex(pool, trace->span, SPAN_LEN);
    make_text(trace);
    return true;
}

void trace_begin(struct trace *trace, struct random_pool *pool)
{
    *trace = (struct trace){.sampled = true};
    random_hex(pool, trace->id, ID_LEN);
    random_hex(pool, trace->span, SPAN_LEN);
    make_text(trace);
}

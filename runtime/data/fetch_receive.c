#include <ctype.h>

#include "data/fetch_impl.h"

enum {
    HEAD_MAX = 256 << 10,
    HEADERS_MAX = 1000,
    STREAM_BUFFER = 64 << 10,   /* a stream with so much waiting is paused */
    IGNORED_BODY_MAX = 1 << 20, /* of a redirect; to save a connection is not worth more */
};

/* --- the head --- */

static struct str trim(struct str s)
{
    while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = (struct str){s.at + 1, s.len - 1};
    while (s.len > 0 && strchr(" \t\r\n", s.at[s.len - 1]))
        s.len--;
    return s;
}

/* The header that starts at `*at` of the head. */
static bool next(const struct fetch *f, size_t *at, struct fetch_header *h)
{
    const struct str rest = {f->head.data + *at, f->head.len - *at};
    const char *colon, *end;

    if (rest.len == 0)
        return false;
    colon = memchr(rest.at, ':', rest.len);
    end = memchr(rest.at, '\n', rest.len);
    h->name = (struct str){rest.at, (size_t)(colon - rest.at)};
    h->value = (struct str){colon + 1, (size_t)(end - colon - 1)};
    *at += (size_t)(end - rest.at) + 1;
    return true;
}

struct str fetch_find_header(const struct fetch *f, struct str name)
{
    struct fetch_header h;

    for (size_t at = 0; next(f, &at, &h);) {
        if (str_equal(h.name, name))
            return h.value;
    }
    return (struct str){NULL, 0};
}

bool fetch_next_header(const struct fetch *f, size_t *at, struct fetch_header *h)
{
    do {
        if (!next(f, at, h))
            return false;
    } while (f->decoded && (str_equal(h->name, STR("content-encoding")) ||
                            str_equal(h->name, STR("content-length"))));
    return true;
}

static void add_header(struct fetch *f, struct str line)
{
    const char *colon = memchr(line.at, ':', line.len);
    struct str name, value;
    char *lower;

    if (!colon)
        return; /* libcurl takes such lines, we know nothing to do with them */
    name = trim((struct str){line.at, (size_t)(colon - line.at)});
    value = trim((struct str){colon + 1, line.len - (size_t)(colon + 1 - line.at)});
    lower = buf_reserve(&f->head, name.len);
    for (size_t i = 0; i < name.len; i++)
        lower[i] = (char)tolower((unsigned char)name.at[i]);
    f->head.len += name.len;
    buf_putc(&f->head, ':');
    buf_add_str(&f->head, value);
    buf_putc(&f->head, '\n');
}

/* An obs-fold: more of the header before. */
static void add_fold(struct fetch *f, struct str line)
{
    if (f->head.len == 0)
        return;
    f->head.len--;
    buf_putc(&f->head, ' ');
    buf_add_str(&f->head, line);
    buf_putc(&f->head, '\n');
}

static bool is_redirect(const struct fetch *f)
{
    const unsigned s = f->status;

    return f->follow && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           fetch_find_header(f, STR("location")).len > 0;
}

static void end_head(struct fetch *f)
{
    const struct str coding = fetch_find_header(f, STR("content-encoding"));
    long status = 0;

    curl.easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) { /* 100 Continue, 103 Early Hints: the real one follows */
        buf_reset(&f->head);
        return;
    }
    f->status = (unsigned)status;
    f->redirecting = is_redirect(f);
    f->has_head = !f->redirecting;
    f->decoded = coding.len > 0 && !f->encoded_by_caller && strcmp(f->method, "HEAD") != 0;
    if (f->stream && f->has_head)
        fetcher_add_news(f);
}

size_t fetch_on_header(char *at, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;
    const struct str raw = {at, one * len}, line = trim(raw);

    f->active_ms = loop_now_ms(f->fetcher->loop);
    if (f->has_head || f->redirecting) /* trailers */
        return raw.len;
    if (str_starts(raw, STR("HTTP/"))) {
        buf_reset(&f->head);
        f->head_count = 0;
        return raw.len;
    }
    if (++f->head_count > HEADERS_MAX || f->head.len + raw.len > HEAD_MAX) {
        fetch_fail(f, "BAD_RESPONSE", "the response has too many headers");
        return 0;
    }
    if (line.len == 0)
        end_head(f);
    else if (at[0] == ' ' || at[0] == '\t')
        add_fold(f, line);
    else
        add_header(f, line);
    return raw.len;
}

/* --- the body --- */

static bool fits(struct fetch *f, size_t more)
{
    if (f->received_total + more > f->max_size)
        fetch_fail(f, "BODY_TOO_LARGE", "the body has more than %llu bytes",
                   (unsigned long long)f->max_size);
    else if (f->meter->used + more > f->meter->most)
        fetch_fail(f, "BODY_TOO_LARGE", "the bodies being received together exceed %zu bytes",
                   f->meter->most);
    return !f->code;
}

size_t fetch_on_body(char *at, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;

    len *= one;
    f->active_ms = loop_now_ms(f->fetcher->loop);
    if (f->redirecting) {
        f->received_total += len;
        return f->received_total > IGNORED_BODY_MAX ? 0 : len;
    }
    if (f->stream && f->received.len >= STREAM_BUFFER) {
        f->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (len > 0 && !fits(f, len))
        return 0;
    f->received_total += len;
    f->meter->used += len;
    buf_add(&f->received, at, len);
    if (f->stream)
        fetcher_add_news(f);
    return len;
}

/* --- what is sent --- */

size_t fetch_on_send(char *into, size_t one, size_t room, void *arg)
{
    struct fetch *f = arg;
    const size_t left = f->body.len - f->body_at;
    const size_t len = left < one * room ? left : one * room;

    if (left == 0 && f->body_ended)
        return 0;
    if (left == 0) {
        f->body_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    memcpy(into, f->body.data + f->body_at, len);
    f->body_at += len;
    if (f->body_at == f->body.len) {
        buf_reset(&f->body);
        f->body_at = 0;
        fetcher_add_news(f);
    }
    return len;
}

#include "worker/frame.h"

#include <assert.h>
#include <string.h>

#define ABSENT UINT32_MAX

/* --- numbers --- */

static void store(char *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (char)(value >> (8 * i));
}

static uint64_t load(const char *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return value;
}

/* --- frames --- */

enum frame_result frame_next(struct str *input, struct frame *frame)
{
    size_t len;
    unsigned type;

    if (input->len < FRAME_HEAD)
        return FRAME_MORE;
    len = (size_t)load(input->at, 3);
    type = (unsigned char)input->at[3];
    if (len > FRAME_MAX || type == 0 || type >= FRAME_TYPES)
        return FRAME_BAD;
    if (input->len < FRAME_HEAD + len)
        return FRAME_MORE;
    frame->type = (enum frame_type)type;
    frame->stream = (uint32_t)load(input->at + 4, 4);
    frame->payload = (struct str){input->at + FRAME_HEAD, len};
    input->at += FRAME_HEAD + len;
    input->len -= FRAME_HEAD + len;
    return FRAME_WHOLE;
}

size_t frame_begin(struct buf *out, enum frame_type type, uint32_t stream)
{
    const size_t at = out->len;
    char head[FRAME_HEAD] = {0, 0, 0, (char)type};

    store(head + 4, stream, 4);
    buf_add(out, head, sizeof(head));
    return at;
}

bool frame_end(struct buf *out, size_t at)
{
    const size_t len = out->len - at - FRAME_HEAD;

    if (len > FRAME_MAX) {
        out->len = at;
        return false;
    }
    store(out->data + at, len, 3);
    return true;
}

void frame_add(struct buf *out, enum frame_type type, uint32_t stream)
{
    frame_end(out, frame_begin(out, type, stream));
}

void frame_add_u32(struct buf *out, enum frame_type type, uint32_t stream, uint32_t value)
{
    const size_t at = frame_begin(out, type, stream);

    frame_put_u32(out, value);
    frame_end(out, at);
}

void frame_add_bytes(struct buf *out, enum frame_type type, uint32_t stream, struct str bytes)
{
    const size_t at = frame_begin(out, type, stream);

    assert(bytes.len <= FRAME_MAX);
    buf_add_str(out, bytes);
    frame_end(out, at);
}

/* --- writing --- */

void frame_put_u32(struct buf *out, uint32_t value)
{
    char bytes[4];

    store(bytes, value, sizeof(bytes));
    buf_add(out, bytes, sizeof(bytes));
}

void frame_put_u64(struct buf *out, uint64_t value)
{
    char bytes[8];

    store(bytes, value, sizeof(bytes));
    buf_add(out, bytes, sizeof(bytes));
}

void frame_put_str(struct buf *out, struct str s)
{
    char *at;

    if (!s.at || s.len >= ABSENT) {
        frame_put_u32(out, ABSENT);
        return;
    }
    at = buf_reserve(out, 4 + s.len + 1);
    store(at, s.len, 4);
    if (s.len)
        memcpy(at + 4, s.at, s.len);
    at[4 + s.len] = '\0';
    out->len += 4 + s.len + 1;
}

void frame_put_err(struct buf *out, const struct err *err)
{
    frame_put_str(out, str_of(err->code));
    frame_put_str(out, str_of(err->message));
    frame_put_str(out, str_of(err->file));
    frame_put_u32(out, err->line);
    frame_put_str(out, str_of(err->traceback));
}

/* --- reading --- */

struct frame_reader frame_reader(struct str payload)
{
    return (struct frame_reader){payload.at, payload.at + payload.len, false};
}

static const char *take(struct frame_reader *r, size_t len)
{
    const char *at = r->at;

    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    return at;
}

uint32_t frame_get_u32(struct frame_reader *r)
{
    const char *at = take(r, 4);

    return at ? (uint32_t)load(at, 4) : 0;
}

uint64_t frame_get_u64(struct frame_reader *r)
{
    const char *at = take(r, 8);

    return at ? load(at, 8) : 0;
}

struct str frame_get_str(struct frame_reader *r)
{
    const uint32_t len = frame_get_u32(r);
    const char *at;

    if (r->bad || len == ABSENT)
        return (struct str){0};
    at = take(r, (size_t)len + 1);
    if (!at || at[len] != '\0') {
        r->bad = true;
        return (struct str){0};
    }
    return (struct str){at, len};
}

struct str frame_get_rest(struct frame_reader *r)
{
    const struct str rest = {r->at, (size_t)(r->end - r->at)};

    r->at = r->end;
    return r->bad ? (struct str){0} : rest;
}

static void copy_text(char *to, size_t size, struct str from)
{
    const size_t len = from.len < size - 1 ? from.len : size - 1;

    if (len)
        memcpy(to, from.at, len);
    to[len] = '\0';
}

bool frame_get_err(struct frame_reader *r, struct err *err)
{
    err_clear(err);
    copy_text(err->code, sizeof(err->code), frame_get_str(r));
    copy_text(err->message, sizeof(err->message), frame_get_str(r));
    copy_text(err->file, sizeof(err->file), frame_get_str(r));
    err->line = frame_get_u32(r);
    copy_text(err->traceback, sizeof(err->traceback), frame_get_str(r));
    return !r->bad;
}

/* `count` texts are to come: where they begin, for who reads them one by one later. */
static struct frame_reader skip_texts(struct frame_reader *r, uint32_t count)
{
    struct frame_reader from = *r;

    for (uint32_t i = 0; i < count && !r->bad; i++)
        frame_get_str(r);
    from.end = r->at;
    return from;
}

/* --- what some frames say --- */

bool frame_read_hello(struct str payload, struct frame_hello *hello)
{
    struct frame_reader r = frame_reader(payload);

    hello->name = frame_get_str(&r);
    hello->version = frame_get_str(&r);
    hello->base = frame_get_str(&r);
    hello->dir = frame_get_str(&r);
    hello->entrypoint = frame_get_str(&r);
    hello->worker = frame_get_str(&r);
    hello->tmp = frame_get_str(&r);
    hello->data = frame_get_str(&r);
    hello->memory = frame_get_u64(&r);
    hello->watchdog_ms = frame_get_u64(&r);
    hello->log_level = frame_get_u32(&r);
    hello->flags = frame_get_u32(&r);
    hello->read_count = frame_get_u32(&r);
    hello->read = skip_texts(&r, hello->read_count);
    hello->write_count = frame_get_u32(&r);
    hello->write = skip_texts(&r, hello->write_count);
    hello->net_count = frame_get_u32(&r);
    hello->net = skip_texts(&r, hello->net_count);
    return !r.bad;
}

static void put_texts(struct buf *out, const char *const *texts)
{
    uint32_t count = 0;

    while (texts && texts[count])
        count++;
    frame_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++)
        frame_put_str(out, str_of(texts[i]));
}

void frame_add_hello(struct buf *out,
                     const struct frame_hello *hello,
                     const char *const *read,
                     const char *const *write,
                     const char *const *net)
{
    const size_t at = frame_begin(out, FRAME_HELLO, 0);

    frame_put_str(out, hello->name);
    frame_put_str(out, hello->version);
    frame_put_str(out, hello->base);
    frame_put_str(out, hello->dir);
    frame_put_str(out, hello->entrypoint);
    frame_put_str(out, hello->worker);
    frame_put_str(out, hello->tmp);
    frame_put_str(out, hello->data);
    frame_put_u64(out, hello->memory);
    frame_put_u64(out, hello->watchdog_ms);
    frame_put_u32(out, hello->log_level);
    frame_put_u32(out, hello->flags);
    put_texts(out, read);
    put_texts(out, write);
    put_texts(out, net);
    frame_end(out, at);
}

bool frame_read_request(struct str payload, struct frame_request *request)
{
    struct frame_reader r = frame_reader(payload);

    request->method = frame_get_str(&r);
    request->path = frame_get_str(&r);
    request->query = frame_get_str(&r);
    request->id = frame_get_str(&r);
    request->ip = frame_get_str(&r);
    request->scheme = frame_get_str(&r);
    request->authority = frame_get_str(&r);
    request->strip = frame_get_u32(&r);
    request->body_length = frame_get_u64(&r);
    request->header_count = frame_get_u32(&r);
    if (request->header_count > FRAME_MAX)
        return false;
    request->headers = skip_texts(&r, 2 * request->header_count);
    request->body = frame_get_rest(&r);
    return !r.bad;
}

bool frame_read_response(struct str payload, struct frame_response *response)
{
    struct frame_reader r = frame_reader(payload);

    response->status = frame_get_u32(&r);
    response->complete = frame_get_u32(&r);
    response->length = frame_get_u64(&r);
    response->header_count = frame_get_u32(&r);
    if (response->header_count > FRAME_MAX)
        return false;
    response->headers = skip_texts(&r, 2 * response->header_count);
    response->body = frame_get_rest(&r);
    return !r.bad;
}

bool frame_read_log(struct str payload, struct frame_log *log)
{
    struct frame_reader r = frame_reader(payload);

    log->level = frame_get_u32(&r);
    log->message = frame_get_str(&r);
    log->request_id = frame_get_str(&r);
    log->fields = frame_get_str(&r);
    log->traceback = frame_get_str(&r);
    return !r.bad;
}

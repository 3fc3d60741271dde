#include "http/frames.h"

#include <string.h>

enum {
    HEADER_SIZE = 9,
    FRAME_SIZE_MAX = 16384, /* we announce no other */

    /* What is above is answered 431, if it is below these. */
    BLOCK_SIZE_MAX = 64 * 1024,
    BLOCK_FRAMES_MAX = 16,
    BLOCK_FIELDS_MAX = 512,
};

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { CONTINUATION = 9 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 0x20 };
enum { PROTOCOL_ERROR = 1, FRAME_SIZE_ERROR = 6, COMPRESSION_ERROR = 9, ENHANCE_YOUR_CALM = 11 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_SIZE = sizeof(preface) - 1 };

static const struct {
    uint32_t burst, per_second;
    const char *why;
} limits[FRAME_KINDS] = {
    [FRAME_RESET] = {200, 50, "too many streams were reset"},
    [FRAME_SETTINGS] = {32, 4, "too many SETTINGS"},
    [FRAME_PING] = {100, 20, "too many PINGs"},
    [FRAME_EMPTY] = {100, 20, "too many empty frames"},
    [FRAME_PRIORITY] = {300, 100, "too many PRIORITY frames"},
    [FRAME_WINDOW] = {2000, 1000, "too many WINDOW_UPDATEs"},
    [FRAME_UNKNOWN] = {300, 100, "too many frames of unknown types"},
};

static bool cut(struct frames *f, uint32_t error, const char *why)
{
    f->error = error;
    f->why = why;
    return false;
}

/* --- counting --- */

bool frames_count(struct frames *f, enum frame_kind kind, uint32_t n)
{
    f->level[kind] += n;
    return f->level[kind] <= limits[kind].burst || cut(f, ENHANCE_YOUR_CALM, limits[kind].why);
}

void frames_credit(struct frames *f, enum frame_kind kind, uint32_t n)
{
    f->level[kind] -= n < f->level[kind] ? n : f->level[kind];
}

static void pass_time(struct frames *f, uint64_t now_ms)
{
    const uint64_t second = now_ms / 1000;
    if (second == f->second)
        return;
    const uint64_t passed = second - f->second < 1000 ? second - f->second : 1000;
    for (unsigned kind = 0; kind < FRAME_KINDS; kind++)
        frames_credit(f, kind, limits[kind].per_second * (uint32_t)passed);
    f->second = second;
}

/* --- bodies on their way --- */

struct upload *frames_upload(struct frames *f, uint32_t stream)
{
    for (uint32_t i = f->upload_count; i > 0; i--) {
        if (f->uploads[i - 1].stream == stream)
            return &f->uploads[i - 1];
    }
    return NULL;
}

static void remove_upload(struct frames *f, uint32_t stream)
{
    struct upload *upload = frames_upload(f, stream);
    if (upload)
        *upload = f->uploads[--f->upload_count];
    f->upload = NULL;
}

static void forget_refused(struct frames *f)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->upload_count; i++) {
        if (!f->uploads[i].refused)
            f->uploads[kept++] = f->uploads[i];
    }
    f->upload_count = kept;
}

static bool add_upload(struct frames *f, uint32_t stream)
{
    if (f->upload_count == FRAMES_UPLOADS)
        forget_refused(f);
    if (f->upload_count == FRAMES_UPLOADS)
        return cut(f, ENHANCE_YOUR_CALM, "too many request bodies at once");
    f->uploads[f->upload_count++] = (struct upload){.stream = stream, .fresh = true};
    return true;
}

/* --- header blocks: where fields start, nothing of what they say --- */

enum {
    FIELD,
    INDEX_THEN_FIELD,
    INDEX_THEN_VALUE,
    NAME_LENGTH,
    NAME_LENGTH_MORE,
    NAME,
    VALUE_LENGTH,
    VALUE_LENGTH_MORE,
    VALUE,
};

static bool begin_field(struct frames *f, uint8_t byte)
{
    /* indexed; literal, to be indexed; size update; literal */
    const unsigned bits = byte & 0x80 ? 7 : byte & 0x40 ? 6 : byte & 0x20 ? 5 : 4;
    const bool alone = bits == 7 || bits == 5;
    const uint8_t mask = (uint8_t)((1U << bits) - 1);
    f->shift = 0;
    f->number = 0;
    if ((byte & mask) == mask)
        f->hpack = alone ? INDEX_THEN_FIELD : INDEX_THEN_VALUE;
    else if (!alone)
        f->hpack = (byte & mask) == 0 ? NAME_LENGTH : VALUE_LENGTH;
    return ++f->block_fields <= BLOCK_FIELDS_MAX ||
           cut(f, ENHANCE_YOUR_CALM, "too many header fields");
}

/* One more byte of an integer. */
static bool add_number(struct frames *f, uint8_t byte, uint8_t next)
{
    if (f->shift > 21)
        return cut(f, COMPRESSION_ERROR, "an integer of a header block is too large");
    f->number += (uint32_t)(byte & 0x7F) << f->shift;
    f->shift += 7;
    if (!(byte & 0x80))
        f->hpack = next;
    return true;
}

static bool begin_string(struct frames *f, uint8_t byte)
{
    f->number = byte & 0x7F;
    f->shift = 0;
    f->hpack++; /* the length goes on */
    if (f->number < 0x7F)
        f->hpack++; /* the string */
    return true;
}

static bool on_field_byte(struct frames *f, uint8_t byte)
{
    switch (f->hpack) {
    case FIELD:
        return begin_field(f, byte);
    case INDEX_THEN_FIELD:
        return add_number(f, byte, FIELD);
    case INDEX_THEN_VALUE:
        return add_number(f, byte, VALUE_LENGTH);
    case NAME_LENGTH:
    case VALUE_LENGTH:
        return begin_string(f, byte);
    default:
        return add_number(f, byte, f->hpack + 1);
    }
}

static void end_empty_string(struct frames *f)
{
    if ((f->hpack == NAME || f->hpack == VALUE) && f->number == 0)
        f->hpack = f->hpack == NAME ? VALUE_LENGTH : FIELD;
}

static bool scan_fields(struct frames *f, const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (f->hpack == NAME || f->hpack == VALUE) {
            const size_t n = f->number < len - i ? f->number : len - i;
            f->number -= (uint32_t)n;
            i += n;
        } else if (!on_field_byte(f, at[i++])) {
            return false;
        }
        end_empty_string(f);
    }
    return true;
}

/* A piece of the payload of HEADERS or CONTINUATION: [padding's length] [priority] fields padding
 */
static bool scan_block(struct frames *f, const uint8_t *at, size_t len, uint32_t left)
{
    if (len > 0 && f->padded) {
        f->padded = false;
        f->trail = *at;
        if (f->trail + f->lead > left - 1)
            return cut(f, PROTOCOL_ERROR, "padding of HEADERS is too long");
        at++, len--, left--;
    }
    const size_t lead = f->lead < len ? f->lead : len;
    f->lead -= (uint32_t)lead;
    at += lead, len -= lead, left -= (uint32_t)lead;
    const size_t fields = left > f->trail ? left - f->trail : 0;
    return scan_fields(f, at, len < fields ? len : fields);
}

static bool end_block(struct frames *f)
{
    f->in_block = false;
    return f->hpack == FIELD || cut(f, COMPRESSION_ERROR, "a header block ends within a field");
}

/* --- frames --- */

struct frame_head {
    uint32_t length, stream;
    uint8_t type, flags;
};

static uint32_t read32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool add_to_block(struct frames *f, const struct frame_head *head)
{
    f->block_size += head->length;
    f->lead = f->trail = 0;
    f->padded = false;
    if (head->length == 0 && !frames_count(f, FRAME_EMPTY, 1))
        return false;
    if (++f->block_frames > BLOCK_FRAMES_MAX || f->block_size > BLOCK_SIZE_MAX)
        return cut(f, ENHANCE_YOUR_CALM, "a header block is too large");
    return true;
}

static bool on_headers(struct frames *f, const struct frame_head *head)
{
    const bool ends = head->flags & END_STREAM;
    const bool known = head->stream <= f->last_stream;
    if (!known)
        f->last_stream = head->stream;
    if (known)
        remove_upload(f, head->stream);
    else if (!ends && !add_upload(f, head->stream))
        return false;
    frames_credit(f, FRAME_PRIORITY, 2);
    frames_credit(f, FRAME_UNKNOWN, 2);
    f->in_block = true;
    f->block_stream = head->stream;
    f->block_size = f->block_frames = f->block_fields = 0;
    f->hpack = FIELD;
    if (!add_to_block(f, head))
        return false;
    f->padded = head->flags & PADDED;
    f->lead = head->flags & WITH_PRIORITY ? 5 : 0;
    return f->lead + f->padded <= head->length ||
           cut(f, FRAME_SIZE_ERROR, "a HEADERS frame is too short");
}

static bool on_continuation(struct frames *f, const struct frame_head *head)
{
    (void)head;
    if (!f->in_block)
        return cut(f, PROTOCOL_ERROR, "CONTINUATION without HEADERS");
    return add_to_block(f, head);
}

/* A frame that is all padding is one that brings nothing, too. */
static bool on_data(struct frames *f, const struct frame_head *head)
{
    const uint32_t nothing = head->flags & PADDED ? 256 : 0;
    f->upload = frames_upload(f, head->stream);
    if (head->length <= nothing && !(head->flags & END_STREAM) && !frames_count(f, FRAME_EMPTY, 1))
        return false;
    if (!f->upload)
        return true; /* h2o tells */
    f->upload->size += head->length;
    f->dropping = f->upload->refused;
    if (f->dropping)
        f->swallowed += head->length;
    return true;
}

static bool on_reset(struct frames *f, const struct frame_head *head)
{
    remove_upload(f, head->stream);
    return frames_count(f, FRAME_RESET, 1);
}

static bool on_window_update(struct frames *f, const struct frame_head *head)
{
    (void)head;
    f->increment = 0;
    return frames_count(f, FRAME_WINDOW, 1);
}

static bool on_settings(struct frames *f, const struct frame_head *head)
{
    (void)head;
    return frames_count(f, FRAME_SETTINGS, 1);
}

static bool on_ping(struct frames *f, const struct frame_head *head)
{
    (void)head;
    return frames_count(f, FRAME_PING, 1);
}

static bool on_priority(struct frames *f, const struct frame_head *head)
{
    (void)head;
    return frames_count(f, FRAME_PRIORITY, 1);
}

static bool on_push_promise(struct frames *f, const struct frame_head *head)
{
    (void)head;
    return cut(f, PROTOCOL_ERROR, "PUSH_PROMISE from a client");
}

static bool on_unknown(struct frames *f, const struct frame_head *head)
{
    (void)head;
    f->dropping = true;
    return frames_count(f, FRAME_UNKNOWN, 1);
}

static bool (*const on_frame[])(struct frames *f, const struct frame_head *head) = {
    [DATA] = on_data,
    [HEADERS] = on_headers,
    [PRIORITY] = on_priority,
    [RST_STREAM] = on_reset,
    [SETTINGS] = on_settings,
    [PUSH_PROMISE] = on_push_promise,
    [PING] = on_ping,
    [GOAWAY] = on_unknown, /* we never push: nothing to end */
    [WINDOW_UPDATE] = on_window_update,
    [CONTINUATION] = on_continuation,
};

static struct frame_head read_head(const uint8_t *at)
{
    return (struct frame_head){
        .length = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2],
        .type = at[3],
        .flags = at[4],
        .stream = read32(at + 5) & 0x7FFFFFFF,
    };
}

/* What the caller has to deal with before the frame is looked at. */
static enum frames_result before(struct frames *f, const struct frame_head *head)
{
    const struct upload *upload = NULL;
    if (f->stopped)
        return FRAMES_OK;
    if (head->type == DATA || (head->type == HEADERS && head->stream <= f->last_stream))
        upload = frames_upload(f, head->stream);
    if (!upload || upload->refused)
        return FRAMES_OK;
    f->stream = head->stream;
    if (head->type == HEADERS)
        return FRAMES_TRAILERS;
    return upload->size + head->length > f->body_limit ? FRAMES_TOO_LARGE : FRAMES_OK;
}

static enum frames_result begin_frame(struct frames *f, const struct frame_head *head)
{
    if (head->length > FRAME_SIZE_MAX && !cut(f, FRAME_SIZE_ERROR, "a frame is too large"))
        return FRAMES_CUT;
    if (f->in_block && (head->type != CONTINUATION || head->stream != f->block_stream) &&
        !cut(f, PROTOCOL_ERROR, "a header block is interrupted"))
        return FRAMES_CUT;
    const enum frames_result result = before(f, head);
    f->stopped = result != FRAMES_OK;
    if (f->stopped)
        return result;
    f->count += head->type != CONTINUATION;
    f->left = head->length;
    f->type = head->type;
    f->flags = head->flags;
    f->dropping = false;
    f->upload = NULL;
    bool (*on)(struct frames *, const struct frame_head *) =
        head->type <= CONTINUATION ? on_frame[head->type] : on_unknown;
    return on(f, head) ? FRAMES_OK : FRAMES_CUT;
}

static bool on_payload(struct frames *f, const uint8_t *at, size_t len)
{
    switch (f->type) {
    case DATA:
        if (f->upload)
            f->upload->seen += len;
        return true;
    case HEADERS:
    case CONTINUATION:
        return scan_block(f, at, len, f->left);
    case WINDOW_UPDATE:
        for (size_t i = 0; i < len; i++)
            f->increment = f->increment << 8 | at[i];
        return true;
    default:
        return true;
    }
}

static bool end_frame(struct frames *f, uint32_t stream)
{
    if (f->type == DATA && f->flags & END_STREAM && f->upload)
        remove_upload(f, f->upload->stream);
    f->upload = NULL;
    if (f->type == WINDOW_UPDATE && stream == 0)
        f->window_sum += f->increment & 0x7FFFFFFF;
    if ((f->type == HEADERS || f->type == CONTINUATION) && f->flags & END_HEADERS)
        return end_block(f);
    return true;
}

static enum frames_result scan_preface(struct frames *f, const uint8_t *at, size_t len, size_t *n)
{
    *n = PREFACE_SIZE - f->preface;
    if (*n > len)
        *n = len;
    if (memcmp(at, preface + f->preface, *n) != 0) {
        cut(f, PROTOCOL_ERROR, "not HTTP/2");
        return FRAMES_CUT;
    }
    f->preface += (unsigned)*n;
    return FRAMES_OK;
}

/* Moves `n` bytes from r to w, or takes them out. */
static size_t keep(const struct frames *f, uint8_t *at, size_t w, size_t r, size_t n)
{
    if (f->dropping)
        return w;
    if (w != r)
        memmove(at + w, at + r, n);
    return w + n;
}

enum frames_result
frames_scan(struct frames *f, uint8_t *at, size_t len, uint64_t now_ms, size_t *kept, size_t *used)
{
    size_t r = 0, w = 0;
    enum frames_result result = FRAMES_OK;
    pass_time(f, now_ms);
    if (f->preface < PREFACE_SIZE && (result = scan_preface(f, at, len, &r)) == FRAMES_OK)
        w = r;
    while (result == FRAMES_OK && r < len) {
        if (f->left > 0) {
            const size_t n = f->left < len - r ? f->left : len - r;
            if (!on_payload(f, at + r, n))
                result = FRAMES_CUT;
            w = keep(f, at, w, r, n);
            r += n;
            f->left -= (uint32_t)n;
        } else {
            if (len - r < HEADER_SIZE)
                break;
            const struct frame_head head = read_head(at + r);
            if ((result = begin_frame(f, &head)) != FRAMES_OK)
                break;
            f->frame_stream = head.stream;
            w = keep(f, at, w, r, HEADER_SIZE);
            r += HEADER_SIZE;
        }
        if (result == FRAMES_OK && f->left == 0 && !end_frame(f, f->frame_stream))
            result = FRAMES_CUT;
    }
    *kept = w;
    *used = r;
    return result;
}

bool frames_partial(const struct frames *f)
{
    return f->left > 0 || f->in_block || f->preface < PREFACE_SIZE;
}

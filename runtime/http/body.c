#include "http/body.h"

#include "http/chars.h"

static const struct refusal bad_chunk = {400, "BAD_REQUEST", "malformed chunked body"};
static const struct refusal bad_trailers = {400, "BAD_REQUEST", "malformed or too long trailers"};
static const struct refusal too_large = {413, "BODY_TOO_LARGE", "the request body is too large"};

enum {
    SIZE,      /* the digits */
    EXTENSION, /* after a semicolon */
    SIZE_LF,   /* the line's CR was seen */
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,      /* at the start of a line */
    TRAILER_NAME, /* in it, before the colon */
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

enum scan_result body_init(struct body *body, const struct head *head, uint64_t limit)
{
    *body = (struct body){.limit = limit, .chunked = head->framing == HEAD_CHUNKED};
    if (body->chunked)
        return SCAN_MORE;
    body->left = head->framing == HEAD_LENGTH ? head->length : 0;
    if (body->left > limit) {
        body->refusal = &too_large;
        return SCAN_REFUSED;
    }
    return body->left > 0 ? SCAN_MORE : SCAN_DONE;
}

static enum scan_result refuse(struct body *body, const struct refusal *refusal)
{
    body->refusal = refusal;
    return SCAN_REFUSED;
}

static enum scan_result go_to(struct body *body, unsigned state)
{
    body->state = state;
    body->count = 0;
    return SCAN_MORE;
}

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static enum scan_result on_size(struct body *body, char c)
{
    if (http_chars[(unsigned char)c] & CHAR_HEX) {
        if (++body->count > 15)
            return refuse(body, &bad_chunk);
        body->left = body->left * 16 + hex_value(c);
        return SCAN_MORE;
    }
    if (body->count == 0)
        return refuse(body, &bad_chunk);
    if (c == ';')
        return go_to(body, EXTENSION);
    return c == '\r' ? go_to(body, SIZE_LF) : refuse(body, &bad_chunk);
}

static enum scan_result on_extension(struct body *body, char c)
{
    if (c == '\r')
        return go_to(body, SIZE_LF);
    bool text = c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7F);
    return text && ++body->count <= CHUNK_EXTENSION_MAX ? SCAN_MORE : refuse(body, &bad_chunk);
}

static enum scan_result on_size_end(struct body *body, char c)
{
    if (c != '\n')
        return refuse(body, &bad_chunk);
    body->total += body->left;
    if (body->total > body->limit)
        return refuse(body, &too_large);
    return go_to(body, body->left > 0 ? DATA : TRAILER);
}

static enum scan_result on_trailer(struct body *body, char c)
{
    if (body->left++ > TRAILERS_SIZE_MAX)
        return refuse(body, &bad_trailers);
    bool token = http_chars[(unsigned char)c] & CHAR_TOKEN;
    switch (body->state) {
    case TRAILER:
        if (c == '\r')
            return go_to(body, END_LF);
        return token ? go_to(body, TRAILER_NAME) : refuse(body, &bad_trailers);
    case TRAILER_NAME:
        if (c == ':')
            return go_to(body, TRAILER_VALUE);
        return token ? SCAN_MORE : refuse(body, &bad_trailers);
    case TRAILER_VALUE:
        if (c == '\r')
            return go_to(body, TRAILER_LF);
        return c == '\t' || span_text(&c, 1) ? SCAN_MORE : refuse(body, &bad_trailers);
    case TRAILER_LF:
        return c == '\n' ? go_to(body, TRAILER) : refuse(body, &bad_trailers);
    default:
        return c == '\n' ? SCAN_DONE : refuse(body, &bad_trailers);
    }
}

static enum scan_result on_framing(struct body *body, char c)
{
    switch (body->state) {
    case SIZE:
        return on_size(body, c);
    case EXTENSION:
        return on_extension(body, c);
    case SIZE_LF:
        return on_size_end(body, c);
    case DATA_CR:
        return c == '\r' ? go_to(body, DATA_LF) : refuse(body, &bad_chunk);
    case DATA_LF:
        return c == '\n' ? go_to(body, SIZE) : refuse(body, &bad_chunk);
    default:
        return on_trailer(body, c);
    }
}

/* Takes what there is of body->left. */
static size_t skip(struct body *body, size_t len)
{
    size_t n = body->left < len ? (size_t)body->left : len;
    body->left -= n;
    return n;
}

enum scan_result body_scan(struct body *body, const char *at, size_t len, size_t *used)
{
    size_t i = 0;
    enum scan_result result = SCAN_MORE;
    if (!body->chunked) {
        *used = skip(body, len);
        return body->left == 0 ? SCAN_DONE : SCAN_MORE;
    }
    while (i < len && result == SCAN_MORE) {
        if (body->state == DATA) {
            i += skip(body, len - i);
            if (body->left == 0)
                go_to(body, DATA_CR);
        } else {
            result = on_framing(body, at[i++]);
        }
    }
    *used = i;
    return result;
}

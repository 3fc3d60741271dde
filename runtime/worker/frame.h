/* What the server and a worker process say to each other, as bytes. Pure: no I/O, no state.
 *
 * A frame is 8 bytes of head (payload's length, 24 bits; type; stream, 32 bits; little-endian) and
 * a payload. A stream is one request; frames about the process have stream 0. Text in a payload is
 * a length, the bytes and a NUL, so that it can be lent as a C string too. The other side is not
 * trusted: a reader that runs over its end, or finds no NUL, is bad and stays so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
    FRAME_HEAD = 8,
    FRAME_MAX = 512 * 1024,         /* of a payload */
    FRAME_PIECE_MAX = 64 * 1024,    /* of a body, in one frame */
    FRAME_INLINE_MAX = 256 * 1024,  /* a body of so many bytes goes with its head */
    FRAME_WINDOW = 256 * 1024,      /* bytes of a body that may be on their way, each direction */
    FRAME_HEADERS_MAX = 256,        /* of a response */
    FRAME_HEADER_BYTES = 64 * 1024, /* names and values of a response's headers */
};

enum frame_type {
    /* to the worker */
    FRAME_HELLO = 1, /* what it is; the first */
    FRAME_REQUEST,
    FRAME_BODY,       /* bytes of the request's body */
    FRAME_CANCEL,     /* nobody waits for the answer any more */
    FRAME_RESUME,     /* what was revoked (worker/page.h) is all behind */
    FRAME_IDLE,       /* run onIdle */
    FRAME_END_EVENTS, /* end event streams: their clients come back */
    FRAME_TERMINATE,  /* run onTerminate and end */
    /* to the server */
    FRAME_READY,
    FRAME_LOAD_FAILED, /* an err; the process ends */
    FRAME_RESPONSE,
    FRAME_PIECE, /* bytes of the response's body */
    FRAME_END,
    FRAME_ABORT,
    FRAME_NOT_MINE, /* the app has no such route */
    FRAME_LOG,
    FRAME_FAULT, /* an err; an answer follows */
    /* both ways */
    FRAME_CREDIT, /* so many bytes of the body were taken */
    FRAME_TYPES,
};

struct frame {
    enum frame_type type;
    uint32_t stream;
    struct str payload;
};

enum frame_result { FRAME_MORE, FRAME_WHOLE, FRAME_BAD };

/* Takes the next frame off `input`; its payload is borrowed from there. */
enum frame_result frame_next(struct str *input, struct frame *frame);

/* --- writing --- */

size_t frame_begin(struct buf *out, enum frame_type type, uint32_t stream);
/* `at` is what begin gave. False: it got too long, and nothing of it is left. */
bool frame_end(struct buf *out, size_t at);
void frame_put_u32(struct buf *out, uint32_t value);
void frame_put_u64(struct buf *out, uint64_t value);
void frame_put_str(struct buf *out, struct str s); /* absent stays absent */
void frame_put_err(struct buf *out, const struct err *err);
/* Frames without a payload, with a number, and with bytes. */
void frame_add(struct buf *out, enum frame_type type, uint32_t stream);
void frame_add_u32(struct buf *out, enum frame_type type, uint32_t stream, uint32_t value);
void frame_add_bytes(struct buf *out, enum frame_type type, uint32_t stream, struct str bytes);

/* --- reading --- */

struct frame_reader {
    const char *at, *end;
    bool bad;
};

struct frame_reader frame_reader(struct str payload);
uint32_t frame_get_u32(struct frame_reader *r);
uint64_t frame_get_u64(struct frame_reader *r);
struct str frame_get_str(struct frame_reader *r);
struct str frame_get_rest(struct frame_reader *r);
bool frame_get_err(struct frame_reader *r, struct err *err);

/* --- what some frames say --- */

struct frame_hello {
    struct str name, version, base, dir, entrypoint;
    struct str worker, tmp, data; /* data: where files go that are named without a place */
    uint64_t memory, watchdog_ms; /* watchdog_ms 0: off */
    uint32_t log_level;
    uint32_t flags; /* enum frame_hello_flag */
    /* What the sandbox opens (worker/policy.h): so many texts each, read by frame_get_str(). */
    struct frame_reader read, write, net;
    uint32_t read_count, write_count, net_count;
};

enum frame_hello_flag {
    FRAME_FRESH = 1, /* a VM for each request */
    FRAME_DEVELOPMENT = 2,
    FRAME_UNCONFINED = 4, /* RUNTIME_SANDBOX=off */
};

bool frame_read_hello(struct str payload, struct frame_hello *hello);
/* NULL-terminated lists, or NULL. */
void frame_add_hello(struct buf *out,
                     const struct frame_hello *hello,
                     const char *const *read,
                     const char *const *write,
                     const char *const *net);

/* The heads of a request and a response. Headers follow as pairs of text: `headers` reads them,
 * and `body` is what comes after, the whole body or its beginning.
 */
struct frame_request {
    struct str method, path, query, id, ip, scheme, authority;
    uint32_t strip;
    uint64_t body_length;
    uint32_t header_count;
    struct frame_reader headers;
    struct str body;
};

bool frame_read_request(struct str payload, struct frame_request *request);

struct frame_response {
    uint32_t status;
    bool complete;   /* `body` is all of it; else pieces come, and an end */
    uint64_t length; /* of the body; UINT64_MAX: not known */
    uint32_t header_count;
    struct frame_reader headers;
    struct str body;
};

bool frame_read_response(struct str payload, struct frame_response *response);

struct frame_log {
    uint32_t level;
    struct str message, request_id, fields, traceback;
};

bool frame_read_log(struct str payload, struct frame_log *log);

/* The watch over what a client sends on an HTTP/2 connection: the order and number of its frames,
 * the size of its header blocks and request bodies. It looks at frame headers and at how fields are
 * delimited within header blocks; what it does not find fault with, h2o reads.
 *
 * Pure: no sockets, no allocation. It is fed the bytes as they come, once each. It takes frames
 * out that nobody needs to see: of unknown types, and the body of requests that were refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests whose body is on its way. h2o allows 100 at a time. */
enum { FRAMES_UPLOADS = 128 };

/* What is counted; each kind may come so often at once, and so often a second, see frames.c. */
enum frame_kind {
    FRAME_RESET, /* a request given up by either side */
    FRAME_SETTINGS,
    FRAME_PING,
    FRAME_EMPTY, /* DATA, HEADERS or CONTINUATION that bring nothing */
    FRAME_PRIORITY,
    FRAME_WINDOW,
    FRAME_UNKNOWN,
    FRAME_KINDS,
};

enum frames_result {
    FRAMES_OK,
    FRAMES_CUT,       /* the connection is to end: `error` and `why` */
    FRAMES_TOO_LARGE, /* before a DATA frame by which `stream` is over the body limit */
    FRAMES_TRAILERS,  /* before the trailers of `stream` */
};

struct upload {
    uint32_t stream;
    bool fresh;                 /* began since somebody last looked; cleared by who looks */
    bool refused;               /* what comes of it is taken out */
    unsigned ticks;             /* of the caller */
    uint64_t size;              /* bytes announced so far */
    uint64_t seen, seen_before; /* bytes that came; the caller's mark */
};

struct frames {
    /* of the caller */
    size_t body_limit;

    /* results */
    uint32_t stream;
    uint32_t error;   /* an HTTP/2 error code */
    const char *why;  /* static */
    size_t swallowed; /* bytes of DATA taken out; the caller takes note of them and clears it */

    unsigned preface; /* how much of it came */
    uint32_t left;    /* of the current frame's payload */
    uint32_t frame_stream;
    uint8_t type, flags;
    bool dropping;         /* the current frame is taken out */
    bool stopped;          /* at the frame header to come, which the caller knows of now */
    struct upload *upload; /* of the current DATA frame */

    bool in_block;
    uint32_t block_stream, block_size, block_frames, block_fields;
    uint32_t lead, trail; /* of the current frame: bytes before the fields, padding behind */
    uint8_t hpack;        /* state within a field */
    bool padded;          /* the padding's length is still to come */
    uint32_t number, shift;

    uint32_t last_stream;
    uint64_t second;
    uint32_t level[FRAME_KINDS];
    uint64_t count;      /* frames that began, those that go on with a header block aside */
    uint64_t window_sum; /* of all WINDOW_UPDATEs for the connection */
    uint32_t increment;
    uint32_t upload_count;
    struct upload uploads[FRAMES_UPLOADS];
};

/* Looks at `len` bytes. `*used` of them were looked at: all, but up to 8 of an incomplete frame
 * header, or less if it stopped; they are to be given again with what follows. `*kept` bytes of
 * those are left at the front for h2o.
 */
enum frames_result
frames_scan(struct frames *f, uint8_t *at, size_t len, uint64_t now_ms, size_t *kept, size_t *used);

/* Whether the peer is in the middle of something: a frame, a header block, the preface. */
bool frames_partial(const struct frames *f);

bool frames_count(struct frames *f, enum frame_kind kind, uint32_t n); /* false: that is too many */
void frames_credit(struct frames *f, enum frame_kind kind, uint32_t n);

struct upload *frames_upload(struct frames *f, uint32_t stream); /* NULL if there is none */

/* The strict scanner of HTTP/1 request bodies: finds where one ends, and whether it may go on.
 *
 * Pure. It is fed each byte of a body once; what it passes h2o reads the same way.
 */
#pragma once

#include "http/head.h"

enum { CHUNK_EXTENSION_MAX = 256, TRAILERS_SIZE_MAX = 4096 };

struct body {
    uint64_t left;  /* bytes to come: of the body, or of the chunk */
    uint64_t total; /* bytes of all chunks announced so far */
    uint64_t limit;
    unsigned state; /* of the chunked form */
    unsigned count; /* digits of a size; bytes of an extension; of the trailers */
    bool chunked;
    const struct refusal *refusal;
};

/* After a complete head. SCAN_DONE when there is no body. */
enum scan_result body_init(struct body *body, const struct head *head, uint64_t limit);

/* `*used` is how many of the bytes belong to the body. */
enum scan_result body_scan(struct body *body, const char *at, size_t len, size_t *used);

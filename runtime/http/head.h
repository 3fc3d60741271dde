/* The strict scanner of HTTP/1 request heads, which looks at the bytes before h2o does.
 *
 * Pure: no sockets, no allocation. It is fed the bytes of one request from its start, again and
 * again as they grow, and never looks at one twice. What it passes is what RFC 9112 allows and
 * h2o reads the same way; whatever two parsers could read differently is refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { HEAD_SIZE_MAX = 16 * 1024, HEAD_HEADERS_MAX = 100 };

struct refusal {
    unsigned status;
    const char *code, *message;
};

enum head_framing { HEAD_NO_BODY, HEAD_LENGTH, HEAD_CHUNKED };

struct head_part {
    uint32_t at, len; /* within the head */
};

struct head {
    uint32_t line, next; /* where the current line starts; the next byte to look at */
    uint32_t headers;
    enum head_framing framing;
    uint64_t length;
    uint32_t end;                              /* the size of the head once it is complete */
    struct head_part method, target, host, id; /* len 0: none (yet) */
    bool begun, old_version, has_host, has_length, has_coding;
    const struct refusal *refusal;
};

enum scan_result { SCAN_MORE, SCAN_DONE, SCAN_REFUSED };

/* A name, an IPv4 address or [IPv6], with or without a port. */
bool head_host_valid(struct str host);

/* `head` is {0} at first; `at` is always the start of the request. */
enum scan_result head_scan(struct head *head, const char *at, size_t len);

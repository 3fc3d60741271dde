/* Replies of Redis as flat bytes, in the order in which they come: a list is its count, then its
 * elements. So a reply is made without a block for each part of it, and outlives its connection.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum redis_type { REDIS_NIL, REDIS_INTEGER, REDIS_LIST, REDIS_STRING, REDIS_ERROR };

struct redis_value {
    enum redis_type type;
    int64_t integer;  /* of a list: how many elements follow */
    struct str bytes; /* string, error: borrowed */
};

void redis_put(struct buf *out, const struct redis_value *value);

/* Reads the value at `at`; returns where the next one is. */
const char *redis_get(const char *at, struct redis_value *value);

/* Adds the length-prefixed parts of a command: its head, then each argument. */
void redis_put_command(struct buf *out, unsigned arguments);
void redis_put_argument(struct buf *out, struct str argument);

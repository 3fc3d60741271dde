/* A dictionary that all VMs of the process share: text keys, and values that may expire.
 *
 * Bounded in bytes: what does not fit is refused, nothing is thrown out for it. Values go in and
 * out as copies. No operation takes longer the more there is in it. Belongs to the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct loop;
struct shared;

enum { SHARED_KEY_MAX = 1024 };

/* The limit, unless told otherwise. */
#define SHARED_BYTES ((size_t)64 << 20)

struct shared_value {
    enum shared_type { SHARED_TEXT, SHARED_JSON, SHARED_NUMBER, SHARED_BOOLEAN } type;
    struct str text; /* of the first two */
    double number;
    bool flag;
};

/* `loop` NULL: what has expired goes when it is asked for. */
struct shared *shared_new(struct loop *loop, size_t limit);
void shared_free(struct shared *shared); /* NULL is fine */

/* `value->text` is borrowed until the next call. */
bool shared_get(struct shared *shared, struct str key, struct shared_value *value);

/* A ttl of 0: for ever. Codes: SHARED_FULL, INVALID_KEY. */
bool shared_set(struct shared *shared,
                struct str key,
                const struct shared_value *value,
                uint64_t ttl_ms,
                struct err *err);

/* Adds to a number; one that is not there begins at 0, and the ttl is only for that. Code
 * NOT_A_NUMBER for a value of another type.
 */
bool shared_incr(struct shared *shared,
                 struct str key,
                 double by,
                 uint64_t ttl_ms,
                 double *result,
                 struct err *err);

bool shared_delete(struct shared *shared, struct str key); /* whether it was there */

size_t shared_count(const struct shared *shared);
size_t shared_bytes(const struct shared *shared);

/* Told of each change of a key that begins with `prefix`, from inside the call that makes it; it
 * may not call back. Embedded in the watcher's struct.
 */
struct shared_watch {
    struct str prefix; /* the watcher's */
    /* `value` NULL: deleted, or expired */
    void (*changed)(struct shared_watch *watch, struct str key, const struct shared_value *value);
    struct shared_watch *prev, *next;
    struct shared *shared;
};

void shared_watch_start(struct shared *shared, struct shared_watch *watch);
void shared_watch_stop(struct shared_watch *watch); /* no-op if not started */

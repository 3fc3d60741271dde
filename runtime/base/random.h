/* Random bytes and UUIDs, all of the kernel's quality.
 *
 * A pool asks the kernel for a page of bytes at a time, which makes an id cost tens of
 * nanoseconds; bytes are wiped as they are taken. The caller owns the pool, `{0}` is ready for
 * use, and a process that forks must not use the same pool on both sides.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { RANDOM_POOL_SIZE = 4096, UUID_SIZE = 37 };

struct random_pool {
    unsigned char bytes[RANDOM_POOL_SIZE];
    size_t left;
    uint64_t last_ms; /* of uuid_v7() */
    unsigned sequence;
};

/* Straight from the kernel: for keys and seeds. Never fails. */
void random_bytes(void *out, size_t len);

void random_take(struct random_pool *pool, void *out, size_t len);

/* "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx", NUL-terminated. */
void uuid_v4(struct random_pool *pool, char out[static UUID_SIZE]);

/* By time; those of one pool sort in the order they were made. */
void uuid_v7(struct random_pool *pool, char out[static UUID_SIZE]);

#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { UUID_BYTES = 16, SEQUENCE_MAX = 0xFFF };

void random_bytes(void *out, size_t len)
{
    unsigned char *at = out;

    while (len > 0) {
        const ssize_t n = getrandom(at, len, 0);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno != EINTR) {
            abort(); /* a kernel without getrandom(): going on would mean guessable keys */
        }
    }
}

void random_take(struct random_pool *pool, void *out, size_t len)
{
    unsigned char *from;

    if (len > sizeof(pool->bytes)) {
        random_bytes(out, len);
        return;
    }
    if (len > pool->left) {
        random_bytes(pool->bytes, sizeof(pool->bytes));
        pool->left = sizeof(pool->bytes);
    }
    from = pool->bytes + sizeof(pool->bytes) - pool->left;
    memcpy(out, from, len);
    memset(from, 0, len);
    pool->left -= len;
}

static void print(const unsigned char *bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    static const unsigned char places[UUID_BYTES] = {0,  2,  4,  6,  9,  11, 14, 16,
                                                     19, 21, 24, 26, 28, 30, 32, 34};

    for (size_t i = 0; i < UUID_BYTES; i++) {
        out[places[i]] = digits[bytes[i] >> 4];
        out[places[i] + 1] = digits[bytes[i] & 15];
    }
    out[8] = out[13] = out[18] = out[23] = '-';
    out[UUID_SIZE - 1] = '\0';
}

static void mark(unsigned char *bytes, unsigned version)
{
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | version << 4);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
}

void uuid_v4(struct random_pool *pool, char out[static UUID_SIZE])
{
    unsigned char bytes[UUID_BYTES];

    random_take(pool, bytes, sizeof(bytes));
    mark(bytes, 4);
    print(bytes, out);
}

/* The time never goes back, and a full sequence borrows the next millisecond (RFC 9562, 6.2). */
static void advance(struct random_pool *pool)
{
    struct timespec now;
    uint64_t ms;

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (ms > pool->last_ms) {
        pool->last_ms = ms;
        pool->sequence = 0;
    } else if (pool->sequence < SEQUENCE_MAX) {
        pool->sequence++;
    } else {
        pool->last_ms++;
        pool->sequence = 0;
    }
}

void uuid_v7(struct random_pool *pool, char out[static UUID_SIZE])
{
    unsigned char bytes[UUID_BYTES];

    advance(pool);
    for (unsigned i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(pool->last_ms >> (40 - 8 * i));
    bytes[6] = (unsigned char)(pool->sequence >> 8);
    bytes[7] = (unsigned char)pool->sequence;
    random_take(pool, bytes + 8, 8);
    mark(bytes, 7);
    print(bytes, out);
}

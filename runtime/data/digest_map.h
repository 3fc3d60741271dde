/* A hash table whose keys are SHA-256 digests, embedded in its entries, which it does not own.
 *
 * The entries' digests are of secrets that we made, so nobody chooses where in the table they lie;
 * they are compared in constant time. `{0}` is empty; digest_map_fini() frees the table alone.
 */
#pragma once

#include <stddef.h>

enum { DIGEST_BYTES = 32 };

struct digest_node {
    unsigned char digest[DIGEST_BYTES];
    struct digest_node *next;
};

struct digest_map {
    struct digest_node **heads;
    size_t size, count; /* size: a power of two, or 0 */
};

void digest_map_add(struct digest_map *map, struct digest_node *node);
void digest_map_remove(struct digest_map *map, struct digest_node *node);
struct digest_node *digest_map_find(const struct digest_map *map,
                                    const unsigned char digest[static DIGEST_BYTES]);
void digest_map_fini(struct digest_map *map);

#include "data/digest_map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/mem.h"

enum { SIZE_MIN = 16 };

static struct digest_node **head_of(const struct digest_map *map, const unsigned char *digest)
{
    uint64_t word;

    memcpy(&word, digest, sizeof(word));
    return &map->heads[word & (map->size - 1)];
}

static void link_node(struct digest_map *map, struct digest_node *node)
{
    struct digest_node **head = head_of(map, node->digest);

    node->next = *head;
    *head = node;
}

static void grow(struct digest_map *map)
{
    const struct digest_map old = *map;

    map->size = old.size ? 2 * old.size : SIZE_MIN;
    map->heads = mem_alloc(map->size * sizeof(struct digest_node *));
    for (size_t i = 0; i < old.size; i++) {
        for (struct digest_node *node = old.heads[i], *next; node; node = next) {
            next = node->next;
            link_node(map, node);
        }
    }
    free(old.heads);
}

void digest_map_add(struct digest_map *map, struct digest_node *node)
{
    if (map->count == map->size)
        grow(map);
    link_node(map, node);
    map->count++;
}

void digest_map_remove(struct digest_map *map, struct digest_node *node)
{
    struct digest_node **at = head_of(map, node->digest);

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    map->count--;
}

struct digest_node *digest_map_find(const struct digest_map *map,
                                    const unsigned char digest[static DIGEST_BYTES])
{
    if (map->count == 0)
        return NULL;
    for (struct digest_node *node = *head_of(map, digest); node; node = node->next) {
        if (CRYPTO_memcmp(node->digest, digest, DIGEST_BYTES) == 0)
            return node;
    }
    return NULL;
}

void digest_map_fini(struct digest_map *map)
{
    free(map->heads);
    *map = (struct digest_map){.size = 0};
}

/* What libh2o's http2_internal.h needs of the khash.h that it was built with and that is not
 * installed: the layout of a table, and ways to look into one. Tables here are small and looked up
 * rarely, so a lookup goes through all of it and need not know how keys are hashed.
 *
 * For each bucket there are two bits in `flags`; if neither is set, it is taken.
 */
#pragma once

#include <stdint.h>

typedef uint32_t khint_t;
typedef khint_t khiter_t;

#define khash_t(name) struct khash_##name

#define KHASH_MAP_INIT_INT64(name, value_type)                                          \
    khash_t(name)                                                                       \
    {                                                                                   \
        khint_t n_buckets, size, n_occupied, upper_bound;                               \
        uint32_t *flags;                                                                \
        uint64_t *keys;                                                                 \
        value_type *vals;                                                               \
    };                                                                                  \
    static inline khiter_t khash_find_##name(const khash_t(name) * table, uint64_t key) \
    {                                                                                   \
        khiter_t i = 0;                                                                 \
        while (i < table->n_buckets && !(kh_taken(table, i) && table->keys[i] == key))  \
            i++;                                                                        \
        return i;                                                                       \
    }

#define kh_taken(table, i) (((table)->flags[(i) / 16] >> ((i) % 16 * 2) & 3U) == 0)
#define kh_get(name, table, key) khash_find_##name(table, key)
#define kh_end(table) ((table)->n_buckets)
#define kh_val(table, i) ((table)->vals[i])

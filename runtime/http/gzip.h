/* Text made small, with a memory of what was made small before.
 *
 * For the threads of the pool: a cache may be used by several at once. It holds so many bytes at
 * most; what was not asked for longest goes first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct gzip_cache;

struct gzip_cache *gzip_cache_new(size_t max_bytes);
void gzip_cache_free(struct gzip_cache *cache); /* NULL is fine */
size_t gzip_cache_bytes(struct gzip_cache *cache);

/* Whether bytes of that content type are worth it. */
bool gzip_is_text(struct str content_type);

/* `plain` in gzip's format; the same bytes each time. `key` names these very bytes: a path with
 * its version. False: it would not get smaller. `cache` NULL: nothing is kept.
 */
bool gzip_pack(struct gzip_cache *cache, const char *key, struct str plain, struct buf *out);

/* What the cache has of it. False: nothing yet. True and nothing in `out`: it would not get
 * smaller. */
bool gzip_kept(struct gzip_cache *cache, const char *key, struct buf *out);

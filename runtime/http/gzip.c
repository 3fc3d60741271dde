#include "http/gzip.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <zlib.h>

#include "base/mem.h"

enum { ENTRIES_MAX = 256, LEVEL = 6, GZIP_WINDOW = 15 + 16, MEMORY = 8 };

struct entry {
    char *key;
    struct buf packed; /* empty: it does not get smaller */
    uint64_t used;
};

struct gzip_cache {
    pthread_mutex_t lock;
    size_t bytes, max_bytes, len;
    uint64_t clock;
    struct entry entries[ENTRIES_MAX];
};

struct gzip_cache *gzip_cache_new(size_t max_bytes)
{
    struct gzip_cache *cache = mem_alloc(sizeof(*cache));

    pthread_mutex_init(&cache->lock, NULL);
    cache->max_bytes = max_bytes;
    return cache;
}

static size_t cost(const struct entry *entry)
{
    return entry->packed.len + strlen(entry->key);
}

static void remove_entry(struct gzip_cache *cache, size_t i)
{
    struct entry *entry = &cache->entries[i];

    cache->bytes -= cost(entry);
    free(entry->key);
    buf_fini(&entry->packed);
    *entry = cache->entries[--cache->len];
}

void gzip_cache_free(struct gzip_cache *cache)
{
    if (!cache)
        return;
    while (cache->len)
        remove_entry(cache, cache->len - 1);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

size_t gzip_cache_bytes(struct gzip_cache *cache)
{
    size_t bytes;

    pthread_mutex_lock(&cache->lock);
    bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}

/* --- with the lock held --- */

static struct entry *find(struct gzip_cache *cache, const char *key)
{
    for (size_t i = 0; i < cache->len; i++) {
        if (strcmp(cache->entries[i].key, key) == 0)
            return &cache->entries[i];
    }
    return NULL;
}

static void remove_oldest(struct gzip_cache *cache)
{
    size_t oldest = 0;

    for (size_t i = 1; i < cache->len; i++) {
        if (cache->entries[i].used < cache->entries[oldest].used)
            oldest = i;
    }
    remove_entry(cache, oldest);
}

static void keep(struct gzip_cache *cache, const char *key, struct str packed)
{
    struct entry *entry;
    const size_t size = packed.len + strlen(key);

    if (size > cache->max_bytes / 4 || find(cache, key))
        return;
    while (cache->len == ENTRIES_MAX || cache->bytes + size > cache->max_bytes)
        remove_oldest(cache);
    entry = &cache->entries[cache->len++];
    *entry = (struct entry){.key = mem_copy(key), .used = ++cache->clock};
    buf_add(&entry->packed, packed.at, packed.len);
    cache->bytes += size;
}

/* --- packing --- */

bool gzip_kept(struct gzip_cache *cache, const char *key, struct buf *out)
{
    struct entry *entry;

    pthread_mutex_lock(&cache->lock);
    entry = find(cache, key);
    if (entry) {
        entry->used = ++cache->clock;
        buf_add(out, entry->packed.data, entry->packed.len);
    }
    pthread_mutex_unlock(&cache->lock);
    return entry;
}

/* No more than `plain` has room for; empty when that does not do. */
static void pack(struct str plain, struct buf *out)
{
    z_stream z = {.zalloc = Z_NULL};

    if (deflateInit2(&z, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    z.next_in = (Bytef *)(uintptr_t)plain.at;
    z.avail_in = (uInt)plain.len;
    z.next_out = (Bytef *)buf_reserve(out, plain.len);
    z.avail_out = (uInt)plain.len;
    if (deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < plain.len)
        out->len = z.total_out;
    deflateEnd(&z);
}

bool gzip_pack(struct gzip_cache *cache, const char *key, struct str plain, struct buf *out)
{
    if (plain.len == 0 || plain.len > UINT32_MAX)
        return false;
    if (cache && gzip_kept(cache, key, out))
        return out->len > 0;
    pack(plain, out);
    if (cache) {
        pthread_mutex_lock(&cache->lock);
        keep(cache, key, buf_str(out));
        pthread_mutex_unlock(&cache->lock);
    }
    return out->len > 0;
}

bool gzip_is_text(struct str content_type)
{
    static const char *const types[] = {
        "text/",           "application/json", "application/javascript",    "application/xml",
        "application/ld+", "image/svg+xml",    "application/manifest+json", "application/wasm",
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const size_t len = strlen(types[i]);
        if (content_type.len >= len && strncasecmp(content_type.at, types[i], len) == 0)
            return true;
    }
    return false;
}

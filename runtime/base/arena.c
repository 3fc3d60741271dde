#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { CHUNK_SIZE = 4096, ALIGN = alignof(max_align_t) };

struct arena_chunk {
    struct arena_chunk *next;
    alignas(max_align_t) char bytes[];
};

static void *chunk_new(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk;

    chunk = mem_alloc(size > SIZE_MAX - sizeof(*chunk) ? SIZE_MAX : sizeof(*chunk) + size);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk->bytes;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t padded = size > SIZE_MAX - ALIGN ? size : (size + ALIGN - 1) / ALIGN * ALIGN;
    void *block;

    /* A large piece gets a chunk of its own, and the started chunk goes on being filled. */
    if (padded > CHUNK_SIZE / 4)
        return chunk_new(arena, padded);
    if (padded > arena->left) {
        arena->at = chunk_new(arena, CHUNK_SIZE);
        arena->left = CHUNK_SIZE;
    }
    block = arena->at;
    arena->at += padded;
    arena->left -= padded;
    return block;
}

char *arena_copy(struct arena *arena, struct str s)
{
    char *copy = arena_alloc(arena, s.len + 1);

    if (s.len)
        memcpy(copy, s.at, s.len);
    return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    text = arena_alloc(arena, (size_t)(len < 0 ? 0 : len) + 1);
    va_start(args, fmt);
    if (len > 0)
        vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

void arena_fini(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    *arena = (struct arena){0};
}

/* A borrowed run of bytes with a length; not NUL-terminated. `at` NULL means "absent". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *at;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool str_same_nocase(const char *a, const char *b, size_t len);

/* ASCII only. Most names that are compared differ in length already. */
static inline bool str_equal_nocase(struct str a, struct str b)
{
    return a.len == b.len && str_same_nocase(a.at, b.at, a.len);
}

bool str_starts(struct str s, struct str prefix);

/* The matcher behind vm/patterns.c: one try of a Lua pattern at one place of a subject. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

enum { PATTERN_CAPTURES_MAX = 32 };

struct capture {
    const char *at;
    ptrdiff_t len; /* CAPTURE_OPEN: its ")" has not come yet; CAPTURE_POSITION: "()" */
};

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct match {
    lua_State *L; /* errors are raised there */
    const char *begin, *end;
    int depth;
    int level; /* how many captures have begun */
    unsigned steps;
    struct capture captures[PATTERN_CAPTURES_MAX];
};

/* The end of the match of `pattern` (NUL-terminated) that begins at `at`; or NULL. */
const char *pattern_match(struct match *match, const char *at, const char *pattern);

/* Whether any character of it means more than itself. */
bool pattern_is_plain(const char *pattern, size_t len);

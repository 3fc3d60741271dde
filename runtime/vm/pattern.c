#include "vm/pattern.h"

#include <string.h>

#include <lauxlib.h>

#include "vm/watchdog.h"

enum { DEPTH_MAX = 200, STEPS_BETWEEN_CHECKS = 1 << 16 };

static const char *go(struct match *m, const char *s, const char *p);

/* --- classes: ASCII, whatever the locale --- */

static inline bool between(int c, int low, int high)
{
    return c >= low && c <= high;
}

static inline bool is_letter(int c)
{
    return between(c | 0x20, 'a', 'z');
}

static inline bool is_alnum(int c)
{
    return is_letter(c) || between(c, '0', '9');
}

/* `letter` in lower case; *known is false if it names no class. */
static inline bool is_in_class(int c, int letter, bool *known)
{
    switch (letter) {
    case 'a':
        return is_letter(c);
    case 'c':
        return c < ' ' || c == 127;
    case 'd':
        return between(c, '0', '9');
    case 'g':
        return between(c, '!', '~');
    case 'l':
        return between(c, 'a', 'z');
    case 'p':
        return between(c, '!', '~') && !is_alnum(c);
    case 's':
        return c == ' ' || between(c, '\t', '\r');
    case 'u':
        return between(c, 'A', 'Z');
    case 'w':
        return is_alnum(c);
    case 'x':
        return between(c, '0', '9') || between(c | 0x20, 'a', 'f');
    case 'z':
        return c == 0;
    default:
        *known = false;
        return false;
    }
}

/* `escaped` is what follows the "%". */
static inline bool fits_escaped(int c, int escaped)
{
    const int letter = escaped | 0x20;
    bool known = is_letter(escaped);
    const bool in = known && is_in_class(c, letter, &known);

    return known ? in == (escaped == letter) : c == escaped;
}

/* `set` is at its "[", `last` at its "]". */
static bool fits_set(int c, const char *set, const char *last)
{
    const bool wanted = set[1] != '^';

    for (set += wanted ? 1 : 2; set < last; set++) {
        if (*set == '%') {
            set++;
            if (fits_escaped(c, (unsigned char)*set))
                return wanted;
        } else if (set[1] == '-' && set + 2 < last) {
            if (between(c, (unsigned char)set[0], (unsigned char)set[2]))
                return wanted;
            set += 2;
        } else if ((unsigned char)*set == c) {
            return wanted;
        }
    }
    return !wanted;
}

/* Behind the single-character class that begins at `p`. */
static const char *class_end(struct match *m, const char *p)
{
    const char first = *p++;

    if (first == '%' && !*p)
        luaL_error(m->L, "malformed pattern (ends with '%%')");
    if (first == '%')
        return p + 1;
    if (first != '[')
        return p;
    if (*p == '^')
        p++;
    do { /* a "]" in the first place means itself */
        if (!*p)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && *p)
            p++;
    } while (*p != ']');
    return p + 1;
}

static inline bool fits(const struct match *m, const char *s, const char *p, const char *class_end)
{
    int c;

    if (s >= m->end)
        return false;
    c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return fits_escaped(c, (unsigned char)p[1]);
    case '[':
        return fits_set(c, p, class_end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* --- repetitions --- */

static inline void spend(struct match *m, size_t steps)
{
    if (steps < m->steps) {
        m->steps -= (unsigned)steps;
        return;
    }
    m->steps = STEPS_BETWEEN_CHECKS;
    watchdog_check(m->L);
}

/* As many as there are, then fewer. */
static const char *greedy(struct match *m, const char *s, const char *p, const char *rest)
{
    ptrdiff_t count = 0;

    while (fits(m, s + count, p, rest))
        count++;
    spend(m, (size_t)count);
    for (; count >= 0; count--) {
        const char *end = go(m, s + count, rest + 1);
        if (end)
            return end;
    }
    return NULL;
}

/* As few as do. */
static const char *lazy(struct match *m, const char *s, const char *p, const char *rest)
{
    for (;; s++) {
        const char *end = go(m, s, rest + 1);
        if (end)
            return end;
        if (!fits(m, s, p, rest))
            return NULL;
    }
}

/* --- captures --- */

static const char *open_capture(struct match *m, const char *s, const char *p)
{
    const bool position = p[1] == ')';
    const char *end;

    if (m->level >= PATTERN_CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->captures[m->level++] = (struct capture){s, position ? CAPTURE_POSITION : CAPTURE_OPEN};
    end = go(m, s, p + (position ? 2 : 1));
    if (!end)
        m->level--;
    return end;
}

static const char *close_capture(struct match *m, const char *s, const char *p)
{
    int i = m->level - 1;
    const char *end;

    while (i >= 0 && m->captures[i].len != CAPTURE_OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].at;
    end = go(m, s, p + 1);
    if (!end)
        m->captures[i].len = CAPTURE_OPEN;
    return end;
}

/* "%1": what the capture holds, once more. */
static const char *repeat_capture(struct match *m, const char *s, char digit)
{
    const int i = digit - '1';
    const struct capture *capture = &m->captures[i];

    if (i < 0 || i >= m->level || capture->len == CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index");
    if (capture->len < 0 || m->end - s < capture->len ||
        memcmp(capture->at, s, (size_t)capture->len) != 0)
        return NULL;
    return s + capture->len;
}

/* --- "%b()" and "%f[set]" --- */

static const char *balanced(struct match *m, const char *s, const char *pair)
{
    const char *from = s;
    size_t open = 1;

    if (!pair[0] || !pair[1])
        luaL_error(m->L, "unbalanced pattern");
    if (*s != pair[0]) /* at the end of the subject there is a NUL */
        return NULL;
    while (++s < m->end) {
        if (*s == pair[1] && --open == 0)
            break;
        if (*s == pair[0] && pair[0] != pair[1])
            open++;
    }
    spend(m, (size_t)(s - from));
    return s < m->end ? s + 1 : NULL;
}

static bool at_frontier(struct match *m, const char *s, const char *set, const char **rest)
{
    const int before = s == m->begin ? 0 : (unsigned char)s[-1];
    const int here = (unsigned char)*s;

    if (*set != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    *rest = class_end(m, set);
    return !fits_set(before, set, *rest - 1) && fits_set(here, set, *rest - 1);
}

/* --- one step after the other --- */

/* Moves s and p over an item that begins with "%" and is no class; false: *s is NULL if it does
 * not match, else it is a class.
 */
static bool over_escape(struct match *m, const char **s, const char **p)
{
    const char kind = (*p)[1];

    if (kind == 'b') {
        *s = balanced(m, *s, *p + 2);
        *p += 4;
    } else if (kind == 'f') {
        *s = at_frontier(m, *s, *p + 2, p) ? *s : NULL;
    } else if (between(kind, '0', '9')) {
        *s = repeat_capture(m, *s, kind);
        *p += 2;
    } else {
        return false;
    }
    return *s != NULL;
}

/* A class with what follows it. True: s and p have moved; else *end is what the match comes to. */
static bool over_class(struct match *m, const char **s, const char **p, const char **end)
{
    const char *rest = class_end(m, *p);
    const bool one = fits(m, *s, *p, rest);

    *end = NULL;
    switch (*rest) {
    case '?':
        if (one && (*end = go(m, *s + 1, rest + 1)))
            return false;
        *p = rest + 1;
        return true;
    case '*':
        *end = greedy(m, *s, *p, rest);
        return false;
    case '+':
        *end = one ? greedy(m, *s + 1, *p, rest) : NULL;
        return false;
    case '-':
        *end = lazy(m, *s, *p, rest);
        return false;
    default:
        ++*s;
        *p = rest;
        return one;
    }
}

static const char *walk(struct match *m, const char *s, const char *p)
{
    const char *end;

    for (;;) {
        spend(m, 1);
        switch (*p) {
        case '\0':
            return s;
        case '(':
            return open_capture(m, s, p);
        case ')':
            return close_capture(m, s, p);
        case '$':
            if (!p[1])
                return s == m->end ? s : NULL;
            break;
        case '%':
            if (over_escape(m, &s, &p))
                continue;
            if (!s)
                return NULL;
            break;
        default:
            break;
        }
        if (!over_class(m, &s, &p, &end))
            return end;
    }
}

static const char *go(struct match *m, const char *s, const char *p)
{
    const char *end;

    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    end = walk(m, s, p);
    m->depth--;
    return end;
}

const char *pattern_match(struct match *match, const char *at, const char *pattern)
{
    match->level = match->depth = 0;
    return go(match, at, pattern);
}

bool pattern_is_plain(const char *pattern, size_t len)
{
    static const bool special[256] = {
        ['^'] = true, ['$'] = true, ['*'] = true, ['+'] = true, ['?'] = true,
        ['.'] = true, ['('] = true, ['['] = true, ['%'] = true, ['-'] = true,
    };

    for (size_t i = 0; i < len; i++) {
        if (special[(unsigned char)pattern[i]])
            return false;
    }
    return true;
}

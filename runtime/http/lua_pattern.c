#include "http/lua_pattern.h"

#include <stdbool.h>
#include <stddef.h>

enum { CAPTURES_MAX = 32 }; /* LUA_MAXCAPTURES */

struct reader {
    const char *at, *end;
    bool open[CAPTURES_MAX]; /* by capture: whether its ")" is still to come */
    unsigned captures;
    const char *problem;
};

static bool bad(struct reader *r, const char *what)
{
    r->problem = what;
    return false;
}

/* After the "[". */
static bool read_set(struct reader *r)
{
    if (r->at < r->end && *r->at == '^')
        r->at++;
    do { /* a "]" that comes first stands for itself */
        if (r->at == r->end)
            break;
        if (*r->at++ == '%' && r->at < r->end)
            r->at++;
    } while (r->at < r->end && *r->at != ']');
    if (r->at == r->end)
        return bad(r, "a \"[\" without its \"]\"");
    r->at++;
    return true;
}

static bool check_reference(struct reader *r, char digit)
{
    const unsigned index = (unsigned)(digit - '1');

    return (index < r->captures && !r->open[index]) ||
           bad(r, "a back reference to a capture that is not there");
}

/* After the "%". */
static bool read_escape(struct reader *r)
{
    char c;

    if (r->at == r->end)
        return bad(r, "ends with \"%\"");
    c = *r->at++;
    if (c == 'b') {
        if (r->end - r->at < 2)
            return bad(r, "\"%b\" needs two characters");
        r->at += 2;
    } else if (c == 'f') {
        if (r->at == r->end || *r->at != '[')
            return bad(r, "\"%f\" needs a \"[\"");
    } else if (c >= '0' && c <= '9') {
        return check_reference(r, c);
    }
    return true;
}

static bool open_capture(struct reader *r)
{
    if (r->captures == CAPTURES_MAX)
        return bad(r, "more than 32 captures");
    r->open[r->captures++] = true;
    return true;
}

static bool close_capture(struct reader *r)
{
    for (unsigned i = r->captures; i-- > 0;) {
        if (r->open[i]) {
            r->open[i] = false;
            return true;
        }
    }
    return bad(r, "a \")\" without its \"(\"");
}

static bool read_one(struct reader *r)
{
    switch (*r->at++) {
    case '%':
        return read_escape(r);
    case '[':
        return read_set(r);
    case '(':
        return open_capture(r);
    case ')':
        return close_capture(r);
    default:
        return true;
    }
}

const char *lua_pattern_problem(struct str pattern)
{
    struct reader r = {.at = pattern.at, .end = pattern.at + pattern.len};

    while (r.at < r.end && read_one(&r))
        ;
    for (unsigned i = 0; i < r.captures && !r.problem; i++) {
        if (r.open[i])
            bad(&r, "a \"(\" without its \")\"");
    }
    return r.problem;
}

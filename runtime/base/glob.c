#include "base/glob.h"

/* Cuts the next segment off; false when there is none left. `at` NULL marks the end, so that
 * the empty segment behind a trailing slash counts.
 */
static bool cut(struct str *rest, struct str *segment)
{
    const char *slash;

    if (!rest->at)
        return false;
    slash = rest->len ? memchr(rest->at, '/', rest->len) : NULL;
    segment->at = rest->at;
    segment->len = slash ? (size_t)(slash - rest->at) : rest->len;
    if (slash)
        *rest = (struct str){slash + 1, rest->len - segment->len - 1};
    else
        *rest = (struct str){NULL, 0};
    return true;
}

/* Going back to the last star only is enough: an earlier one could not do better. */
static bool match_segment(struct str pattern, struct str text)
{
    size_t p = 0, t = 0, star = pattern.len, resume = 0;

    if (str_equal(pattern, STR("*")))
        return text.len > 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.at[p] == text.at[t]) {
            p++;
            t++;
        } else if (star < pattern.len) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

static bool only_stars(struct str pattern)
{
    struct str segment;

    while (cut(&pattern, &segment)) {
        if (!str_equal(segment, STR("**")))
            return false;
    }
    return true;
}

/* The same walk with segments for bytes and `**` for the star. */
bool glob_match(struct str pattern, struct str path)
{
    struct str star = {NULL, 0}, resume = {NULL, 0}, want, got;
    bool starred = false;

    while (path.at) {
        struct str next = pattern, rest = path;
        const bool more = cut(&next, &want);

        cut(&rest, &got);
        if (more && str_equal(want, STR("**"))) {
            starred = true;
            star = pattern = next;
            resume = path;
        } else if (more && match_segment(want, got)) {
            pattern = next;
            path = rest;
        } else if (starred) {
            cut(&resume, &got);
            pattern = star;
            path = resume;
        } else {
            return false;
        }
    }
    return only_stars(pattern);
}

/* Three versions and two ranges, a line each. Versions are in a total order and written as they
 * were read; ranges hold what their definitions say of the order, and "||" and " " are or and and.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/semver.h"

enum { VERSIONS = 3 };

static int sign(int by)
{
    return (by > 0) - (by < 0);
}

/* --- versions --- */

static void write_version(const struct semver *v, struct buf *out)
{
    buf_printf(out, "%llu.%llu.%llu", (unsigned long long)v->major, (unsigned long long)v->minor,
               (unsigned long long)v->patch);
    if (v->prerelease.len) {
        buf_putc(out, '-');
        buf_add_str(out, v->prerelease);
    }
    if (v->build.len) {
        buf_putc(out, '+');
        buf_add_str(out, v->build);
    }
}

static void check_written(const struct semver *v, struct str text)
{
    struct buf out = {0};

    write_version(v, &out);
    require(str_equal(buf_str(&out), text));
    buf_fini(&out);
}

static void check_order(const struct semver *v, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        require(semver_compare(&v[i], &v[i]) == 0);
        for (size_t j = 0; j < len; j++) {
            const int by = sign(semver_compare(&v[i], &v[j]));
            require(by == -sign(semver_compare(&v[j], &v[i])));
            for (size_t k = 0; k < len; k++) {
                if (by <= 0 && semver_compare(&v[j], &v[k]) <= 0)
                    require(semver_compare(&v[i], &v[k]) <= 0);
            }
        }
    }
}

/* A release is above its prereleases, and a build changes nothing. */
static void check_tail(const struct semver *v)
{
    struct semver other = *v;

    other.build = STR("other");
    require(semver_compare(v, &other) == 0);
    other.prerelease = (struct str){0};
    require(sign(semver_compare(v, &other)) == (v->prerelease.len ? -1 : 0));
}

/* --- ranges --- */

/* -1: the text is no range. */
static int test(struct str text, const struct semver *version)
{
    char *copy = exact_copy(text);
    struct semver_range *range = semver_range_parse((struct str){copy, text.len});
    int holds = -1;

    free(copy); /* it has one of its own */
    if (range)
        holds = semver_range_test(range, version);
    semver_range_free(range);
    return holds;
}

static int
test_with(const char *before, struct str text, const char *behind, const struct semver *v)
{
    struct buf range = {0};
    int holds;

    buf_puts(&range, before);
    buf_add_str(&range, text);
    buf_puts(&range, behind);
    holds = test(buf_str(&range), v);
    buf_fini(&range);
    return holds;
}

/* A comparator with a whole version is the order, prereleases aside that it does not name. */
static void check_comparators(struct str text, const struct semver *bound, const struct semver *v)
{
    const int by = semver_compare(v, bound);
    const bool same_release =
        v->major == bound->major && v->minor == bound->minor && v->patch == bound->patch;
    const bool seen = !v->prerelease.len || (bound->prerelease.len && same_release);

    require(test_with(">=", text, "", v) == (seen && by >= 0));
    require(test_with("<=", text, "", v) == (seen && by <= 0));
    require(test_with(">", text, "", v) == (seen && by > 0));
    require(test_with("<", text, "", v) == (seen && by < 0));
    require(test_with("=", text, "", v) == (seen && by == 0));
    require(test_with("", text, "", v) == (seen && by == 0));
    if (by < 0) {
        require(test_with("^", text, "", v) == 0);
        require(test_with("~", text, "", v) == 0);
    }
    if (by == 0) {
        require(test_with("^", text, "", v) == 1);
        require(test_with("~", text, "", v) == 1);
    }
    if (test_with("~", text, "", v)) /* a tilde is narrower, but where a caret may go no further */
        require(v->major == bound->major && v->minor == bound->minor);
    if (test_with("^", text, "", v))
        require(v->major == bound->major && (bound->major > 0 || v->minor == bound->minor));
}

static bool has(struct str s, char c)
{
    return s.len > 0 && memchr(s.at, c, s.len);
}

static void check_joined(struct str a, struct str b, const struct semver *v)
{
    const int in_a = test(a, v), in_b = test(b, v);
    struct buf both = {0};

    if (in_a < 0 || in_b < 0)
        return;
    buf_add_str(&both, a);
    buf_puts(&both, "||");
    buf_add_str(&both, b);
    require(test(buf_str(&both), v) == (in_a || in_b));
    require(test_with(" ", a, "\t", v) == in_a);
    if (!v->prerelease.len && !has(a, '|') && !has(b, '|') && !has(a, '-') && !has(b, '-')) {
        buf_reset(&both);
        buf_add_str(&both, a);
        buf_putc(&both, ' ');
        buf_add_str(&both, b);
        require(test(buf_str(&both), v) == (in_a && in_b));
    }
    buf_fini(&both);
}

static void check_any(const struct semver *v)
{
    require(test(STR("*"), v) == !v->prerelease.len);
    require(test(STR(""), v) == !v->prerelease.len);
    require(test(STR("<*"), v) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact_copy((struct str){(const char *)data, size});
    struct str rest = {copy, size}, texts[VERSIONS], ranges[2];
    struct semver versions[VERSIONS];
    size_t len = 0;

    for (size_t i = 0; i < VERSIONS; i++) {
        texts[len] = take_until(&rest, '\n');
        if (semver_parse(texts[len], &versions[len])) {
            check_written(&versions[len], texts[len]);
            check_tail(&versions[len]);
            len++;
        }
    }
    ranges[0] = take_until(&rest, '\n');
    ranges[1] = take_until(&rest, '\n');
    check_order(versions, len);
    for (size_t i = 0; i < len; i++) {
        check_any(&versions[i]);
        check_joined(ranges[0], ranges[1], &versions[i]);
        for (size_t j = 0; j < len; j++)
            check_comparators(texts[j], &versions[j], &versions[i]);
    }
    free(copy);
    return 0;
}

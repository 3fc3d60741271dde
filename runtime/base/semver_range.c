#include "base/semver.h"

#include <stdlib.h>

#include "base/mem.h"

enum op { OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_CARET, OP_TILDE };

struct comparator {
    enum op op; /* never CARET or TILDE: those were taken apart */
    struct semver version;
    bool last; /* of its alternative */
};

struct semver_range {
    char *text; /* the versions borrow from it */
    struct comparator *items;
    size_t len;
};

/* A version of which only the first `parts` numbers were given. */
struct partial {
    struct semver version;
    unsigned parts;
};

static const struct {
    const char *text;
    enum op op;
} ops[] = {
    {"<=", OP_LE}, {">=", OP_GE},   {"<", OP_LT},     {">", OP_GT},
    {"=", OP_EQ},  {"^", OP_CARET}, {"~>", OP_TILDE}, {"~", OP_TILDE},
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool skip_spaces(struct str *s)
{
    const size_t before = s->len;

    while (s->len && is_space(s->at[0]))
        *s = (struct str){s->at + 1, s->len - 1};
    return s->len < before;
}

static enum op take_op(struct str *s)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        const struct str text = str_of(ops[i].text);
        if (str_starts(*s, text)) {
            *s = (struct str){s->at + text.len, s->len - text.len};
            skip_spaces(s);
            return ops[i].op;
        }
    }
    return OP_EQ;
}

static struct str take_word(struct str *s)
{
    size_t len = 0;

    while (len < s->len && !is_space(s->at[len]) && s->at[len] != '|')
        len++;
    *s = (struct str){s->at + len, s->len - len};
    return (struct str){s->at - len, len};
}

static bool is_wild(struct str part)
{
    return part.len == 1 && strchr("xX*", part.at[0]);
}

static bool parse_part(struct str part, uint64_t *out)
{
    uint64_t value = 0;

    if (part.len == 0 || part.len > 15 || (part.len > 1 && part.at[0] == '0'))
        return false;
    for (size_t i = 0; i < part.len; i++) {
        if (part.at[i] < '0' || part.at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(part.at[i] - '0');
    }
    *out = value;
    return true;
}

/* "1", "1.2", "1.x", "*", "v1.2.3-rc.1": what follows a wildcard must be one too. */
static bool parse_partial(struct str word, struct partial *out)
{
    uint64_t *const numbers[] = {&out->version.major, &out->version.minor, &out->version.patch};
    bool wild = false;

    *out = (struct partial){0};
    if (word.len > 1 && word.at[0] == 'v')
        word = (struct str){word.at + 1, word.len - 1};
    if (semver_parse(word, &out->version)) {
        out->parts = 3;
        return true;
    }
    for (unsigned i = 0; i < 3; i++) {
        const char *dot = word.len ? memchr(word.at, '.', word.len) : NULL;
        const struct str part = {word.at, dot ? (size_t)(dot - word.at) : word.len};

        wild = wild || is_wild(part);
        if (wild ? !is_wild(part) : !parse_part(part, numbers[i]))
            return false;
        if (!wild)
            out->parts = i + 1;
        if (!dot)
            return true;
        word = (struct str){dot + 1, word.len - part.len - 1};
    }
    return false;
}

static void add(struct semver_range *range, enum op op, struct semver version)
{
    range->items = mem_resize(range->items, (range->len + 1) * sizeof(*range->items));
    range->items[range->len++] = (struct comparator){op, version, false};
}

/* The first version above everything that begins with `parts` numbers of `p`. The "-0" keeps
 * its prereleases out: they sort below it but belong to the next one.
 */
static struct semver above(const struct partial *p, unsigned parts)
{
    struct semver v = {.major = p->version.major, .prerelease = STR("0")};

    if (parts == 1) {
        v.major++;
        return v;
    }
    v.minor = p->version.minor + (parts == 2);
    v.patch = parts == 3 ? p->version.patch + 1 : 0;
    return v;
}

/* Caret: nothing left of the first number that is not zero may change. */
static unsigned caret_parts(const struct partial *p)
{
    if (p->version.major > 0 || p->parts < 2)
        return 1;
    return p->version.minor > 0 || p->parts < 3 ? 2 : 3;
}

static void add_span(struct semver_range *range, const struct partial *p, unsigned parts)
{
    add(range, OP_GE, p->version);
    if (parts > 0)
        add(range, OP_LT, above(p, parts));
}

static void add_nothing(struct semver_range *range)
{
    add(range, OP_LT, (struct semver){.prerelease = STR("0")});
}

/* From the release itself: a lower bound must not ask for its prereleases. */
static void add_from(struct semver_range *range, struct semver version)
{
    version.prerelease = (struct str){0};
    add(range, OP_GE, version);
}

static void add_primitive(struct semver_range *range, enum op op, const struct partial *p)
{
    const bool whole = p->parts == 3;

    if (p->parts == 0 && (op == OP_LT || op == OP_GT))
        add_nothing(range);
    else if (p->parts == 0)
        add(range, OP_GE, p->version);
    else if (op == OP_GT && !whole)
        add_from(range, above(p, p->parts));
    else if (op == OP_LE && !whole)
        add(range, OP_LT, above(p, p->parts));
    else if (op == OP_EQ && !whole)
        add_span(range, p, p->parts);
    else
        add(range, op, p->version);
}

static void add_comparator(struct semver_range *range, enum op op, const struct partial *p)
{
    if (op == OP_CARET && p->parts > 0)
        add_span(range, p, caret_parts(p));
    else if (op == OP_TILDE && p->parts > 0)
        add_span(range, p, p->parts > 2 ? 2 : p->parts);
    else
        add_primitive(range, op == OP_CARET || op == OP_TILDE ? OP_EQ : op, p);
}

/* "A - B", spaces required; false when this is none. */
static bool take_hyphen(struct str *s, struct partial *upper, bool *bad)
{
    struct str rest = *s;

    if (!skip_spaces(&rest) || rest.len < 2 || rest.at[0] != '-' || !is_space(rest.at[1]))
        return false;
    rest = (struct str){rest.at + 1, rest.len - 1};
    skip_spaces(&rest);
    *bad = !parse_partial(take_word(&rest), upper);
    *s = rest;
    return true;
}

static bool take_comparator(struct semver_range *range, struct str *s)
{
    const char *const start = s->at;
    const enum op op = take_op(s);
    const bool plain = s->at == start;
    struct partial lower, upper;
    bool bad;

    if (!parse_partial(take_word(s), &lower))
        return false;
    if (plain && take_hyphen(s, &upper, &bad)) {
        add(range, OP_GE, lower.version);
        add_primitive(range, OP_LE, &upper);
        return !bad;
    }
    add_comparator(range, op, &lower);
    return true;
}

/* An empty alternative is any version, as "*" is. */
static bool take_alternative(struct semver_range *range, struct str *s)
{
    const size_t before = range->len;

    skip_spaces(s);
    while (s->len && s->at[0] != '|') {
        if (!take_comparator(range, s))
            return false;
        skip_spaces(s);
    }
    if (range->len == before)
        add(range, OP_GE, (struct semver){0});
    range->items[range->len - 1].last = true;
    return true;
}

struct semver_range *semver_range_parse(struct str text)
{
    struct semver_range *range = mem_alloc(sizeof(*range));
    struct str rest;

    range->text = mem_copy_n(text.at, text.len);
    rest = (struct str){range->text, text.len};
    while (take_alternative(range, &rest)) {
        if (rest.len == 0)
            return range;
        if (!str_starts(rest, STR("||")))
            break;
        rest = (struct str){rest.at + 2, rest.len - 2};
    }
    semver_range_free(range);
    return NULL;
}

static bool test(const struct comparator *c, const struct semver *version)
{
    const int by = semver_compare(version, &c->version);

    switch (c->op) {
    case OP_LT:
        return by < 0;
    case OP_LE:
        return by <= 0;
    case OP_GT:
        return by > 0;
    case OP_GE:
        return by >= 0;
    default:
        return by == 0;
    }
}

static bool names_prerelease_of(const struct comparator *c, const struct semver *version)
{
    return c->version.prerelease.len > 0 && c->version.major == version->major &&
           c->version.minor == version->minor && c->version.patch == version->patch;
}

bool semver_range_test(const struct semver_range *range, const struct semver *version)
{
    bool all = true, asked_for = version->prerelease.len == 0;

    for (size_t i = 0; i < range->len; i++) {
        const struct comparator *c = &range->items[i];

        all = all && test(c, version);
        asked_for = asked_for || names_prerelease_of(c, version);
        if (!c->last)
            continue;
        if (all && asked_for)
            return true;
        all = true;
        asked_for = version->prerelease.len == 0;
    }
    return false;
}

void semver_range_free(struct semver_range *range)
{
    if (!range)
        return;
    free(range->items);
    free(range->text);
    free(range);
}

/* Lines "mPATTERN", where m stands for a method, and a last line "mPATH": what the tree finds, and
 * with which parameters, is what trying all patterns one after the other finds.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/urlpath.h"
#include "http/route.h"

enum { ROUTES_MAX = 24, PARTS_MAX = 65, CONSTRAINTS_MAX = 256, PATTERN_MAX = 300 };

/* What a pattern wants of a segment, the best first. */
enum kind { FIXED, CONSTRAINED, PARAM, STAR, REST, END };

struct part {
    enum kind kind;
    struct str text; /* of a fixed part, escapes resolved; or the constraint */
    struct str name;
};

struct naive {
    struct str method;
    int value;
    struct part parts[PARTS_MAX];
    size_t len;
};

struct table {
    struct naive routes[2 * ROUTES_MAX]; /* an optional parameter makes two of one */
    size_t len;
    struct str constraints[CONSTRAINTS_MAX]; /* as the tree was told their numbers */
    size_t constraint_count;
    struct buf plain; /* the texts of fixed parts; does not move */
};

static const char *const methods[] = {"", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "X"};

static struct str take_method(struct str *line)
{
    const unsigned char c = line->len ? (unsigned char)line->at[0] : 0;

    if (line->len)
        *line = (struct str){line->at + 1, line->len - 1};
    return str_of(methods[c % (sizeof(methods) / sizeof(methods[0]))]);
}

static struct str rest_of(struct str s, size_t used)
{
    return (struct str){s.at + used, s.len - used};
}

/* --- constraints: a value meets one if it has its first byte --- */

static bool meets(struct str constraint, struct str value)
{
    return value.len > 0 && memchr(value.at, constraint.at[0], value.len);
}

static int number(void *arg, struct str text)
{
    struct table *table = arg;

    require(table->constraint_count < CONSTRAINTS_MAX && text.len > 0);
    table->constraints[table->constraint_count] = text;
    return (int)table->constraint_count++;
}

static bool check(void *arg, int constraint, struct str value)
{
    const struct table *table = arg;

    require(constraint >= 0 && (size_t)constraint < table->constraint_count);
    require(value.len > 0 && !memchr(value.at, '/', value.len));
    return meets(table->constraints[constraint], value);
}

/* --- reading patterns that the tree has taken --- */

static struct str unescape(struct table *table, struct str s)
{
    const size_t from = table->plain.len;

    for (size_t i = 0; i < s.len; i++) {
        struct buf one = {0};
        const bool escape =
            s.at[i] == '%' && s.len - i >= 3 && percent_decode(&one, (struct str){s.at + i, 3});
        buf_putc(&table->plain, escape ? one.data[0] : s.at[i]);
        i += escape ? 2 : 0;
        buf_fini(&one);
    }
    return (struct str){table->plain.data + from, table->plain.len - from};
}

/* Up to the next slash that no braces of a parameter are around. */
static struct str take_segment(struct str *rest, bool *last)
{
    const bool param = rest->len > 0 && rest->at[0] == ':';
    size_t len = 0;

    for (int depth = 0; len < rest->len; len++) {
        const char c = rest->at[len];
        if (param)
            depth += (c == '{') - (c == '}' && depth > 0);
        if (c == '/' && depth == 0)
            break;
    }
    *last = len == rest->len;
    const struct str segment = {rest->at, len};
    *rest = rest_of(*rest, len + (*last ? 0 : 1));
    return segment;
}

static struct part read_part(struct table *table, struct str s, bool last)
{
    const char *brace;

    if (str_equal(s, STR("*")))
        return (struct part){.kind = last ? REST : STAR, .name = STR("*")};
    if (s.len == 0 || s.at[0] != ':')
        return (struct part){.kind = FIXED, .text = unescape(table, s)};
    if (s.at[s.len - 1] == '?')
        s.len--;
    s = rest_of(s, 1);
    brace = memchr(s.at, '{', s.len);
    if (!brace)
        return (struct part){.kind = PARAM, .name = s};
    return (struct part){.kind = CONSTRAINED,
                         .name = {s.at, (size_t)(brace - s.at)},
                         .text = {brace + 1, (size_t)(s.at + s.len - brace) - 2}};
}

static void learn(struct table *table, struct str method, struct str pattern, int value)
{
    struct naive route = {.method = method, .value = value};
    struct str rest = str_equal(pattern, STR("*")) ? STR("*") : rest_of(pattern, 1);
    bool optional, last = false;

    while (!last) {
        const struct str segment = take_segment(&rest, &last);
        require(route.len + 1 < PARTS_MAX);
        route.parts[route.len++] = read_part(table, segment, last);
        optional =
            last && segment.len > 0 && segment.at[0] == ':' && segment.at[segment.len - 1] == '?';
    }
    if (optional) {
        struct naive *without = &table->routes[table->len++];
        *without = route;
        if (--without->len == 0)
            without->parts[without->len++] = (struct part){.kind = FIXED, .text = STR("")};
        without->parts[without->len] = (struct part){.kind = END};
    }
    route.parts[route.len] = (struct part){.kind = END};
    table->routes[table->len++] = route;
}

/* --- trying them all --- */

/* A path in segments; the one behind the last is where its end is. */
struct path {
    struct str text;
    struct str segments[PARTS_MAX + 1], plain[PARTS_MAX + 1];
    size_t len; /* as far as any pattern can look */
    bool whole;
};

static void split(struct table *table, struct str text, struct path *path)
{
    *path = (struct path){.text = text};
    for (size_t from = 1, i = 1; i <= text.len && path->len <= PARTS_MAX; i++) {
        if (i < text.len && text.at[i] != '/')
            continue;
        path->segments[path->len] = (struct str){text.at + from, i - from};
        path->plain[path->len] = unescape(table, path->segments[path->len]);
        path->len++;
        path->whole = i == text.len;
        from = i + 1;
    }
}

static bool takes(const struct part *part, const struct path *path, size_t i)
{
    const bool there = i < path->len;

    switch (part->kind) {
    case END:
        return !there && path->whole;
    case REST:
        return true;
    case FIXED:
        return there && str_equal(part->text, path->plain[i]);
    case CONSTRAINED:
        return there && path->segments[i].len > 0 && meets(part->text, path->segments[i]);
    default:
        return there && path->segments[i].len > 0;
    }
}

static bool is_over(const struct part *part)
{
    return part->kind == END || part->kind == REST;
}

static bool matches(const struct naive *route, const struct path *path)
{
    for (size_t i = 0;; i++) {
        if (!takes(&route->parts[i], path, i))
            return false;
        if (is_over(&route->parts[i]))
            return true;
    }
}

static bool same_part(const struct part *a, const struct part *b)
{
    return a->kind == b->kind &&
           ((a->kind != FIXED && a->kind != CONSTRAINED) || str_equal(a->text, b->text));
}

static bool same_until(const struct naive *a, const struct naive *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!same_part(&a->parts[i], &b->parts[i]) || (is_over(&a->parts[i]) && i + 1 < len))
            return false;
    }
    return true;
}

/* The first route that came to this place of its pattern by the same way. */
static size_t first_there(const struct table *table, const struct naive *route, size_t len)
{
    size_t i = 0;

    while (!same_until(&table->routes[i], route, len))
        i++;
    return i;
}

/* < 0: `a` is the better of two that match; 0: they are the same pattern but for names. */
static int compare(const struct table *table, const struct naive *a, const struct naive *b)
{
    for (size_t i = 0;; i++) {
        const struct part *x = &a->parts[i], *y = &b->parts[i];
        const int kind_x = x->kind == END ? -1 : (int)x->kind;
        const int kind_y = y->kind == END ? -1 : (int)y->kind;

        if (kind_x != kind_y)
            return kind_x - kind_y;
        if (!same_part(x, y))
            return (int)first_there(table, a, i + 1) - (int)first_there(table, b, i + 1);
        if (is_over(x))
            return 0;
    }
}

static bool is_for(const struct naive *route, struct str method)
{
    return route->method.len == 0 || str_equal(route->method, method) ||
           (str_equal(method, STR("HEAD")) && str_equal(route->method, STR("GET")));
}

static bool is_better(const struct table *table,
                      const struct naive *a,
                      const struct naive *b,
                      struct str method)
{
    const int by = compare(table, a, b);
    const bool head = str_equal(method, STR("HEAD"));

    if (by != 0 || !head)
        return by < 0;
    return str_equal(a->method, method) && !str_equal(b->method, method);
}

static const struct naive *
find(const struct table *table, struct str method, const struct path *path, bool *any)
{
    const struct naive *best = NULL;

    *any = false;
    for (size_t i = 0; i < table->len; i++) {
        const struct naive *route = &table->routes[i];
        if (!matches(route, path))
            continue;
        *any = true;
        if (is_for(route, method) && (!best || is_better(table, route, best, method)))
            best = route;
    }
    return best;
}

/* --- comparing --- */

static void
check_params(const struct naive *route, const struct path *path, const struct route_match *match)
{
    size_t count = 0;

    for (size_t i = 0;; i++) {
        const struct part *part = &route->parts[i];
        if (part->kind == PARAM || part->kind == CONSTRAINED || part->kind == REST) {
            const char *end = path->text.at + path->text.len;
            const struct str rest =
                i < path->len
                    ? (struct str){path->segments[i].at, (size_t)(end - path->segments[i].at)}
                    : (struct str){end, 0};
            require(count < match->param_count);
            require(str_equal(match->params[count].name, part->name));
            require(str_equal(match->params[count].value,
                              part->kind == REST ? rest : path->segments[i]));
            count++;
        }
        if (is_over(part))
            break;
    }
    require(count == match->param_count);
}

static bool has_method(const struct table *table, const struct path *path, struct str method)
{
    static const char *const every[] = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"};
    bool is_common = false, found = false;

    for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++)
        is_common = is_common || str_equal(method, str_of(every[i]));
    for (size_t i = 0; i < table->len; i++) {
        const struct naive *route = &table->routes[i];
        if (!matches(route, path))
            continue;
        found = found || str_equal(method, STR("OPTIONS")) || str_equal(route->method, method) ||
                (route->method.len == 0 && is_common) ||
                (str_equal(method, STR("HEAD")) && str_equal(route->method, STR("GET")));
    }
    return found;
}

static void check_allow(const struct route_tree *tree, struct table *table, const struct path *path)
{
    static const char *const names[] = {"DELETE", "GET",  "HEAD", "OPTIONS",
                                        "PATCH",  "POST", "PUT",  "X"};
    struct buf want = {0};
    char out[200], small[8];
    size_t len;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (has_method(table, path, str_of(names[i])))
            buf_printf(&want, "%s%s", want.len ? ", " : "", names[i]);
    }
    len = route_allow(tree, path->text, check, table, out, sizeof(out));
    require(len == strlen(out) && str_equal((struct str){out, len}, buf_str(&want)));
    require(route_allow(tree, path->text, check, table, small, sizeof(small)) == len);
    require(strlen(small) == (len < sizeof(small) ? len : sizeof(small) - 1));
    buf_fini(&want);
}

static void
check_path(const struct route_tree *tree, struct table *table, struct str method, struct str text)
{
    struct route_match match;
    const enum route_result result = route_find(tree, method, text, check, table, &match);
    struct path path;
    bool any;
    const struct naive *route;

    if (text.len == 0 || text.at[0] != '/') {
        require(result == ROUTE_NONE);
        return;
    }
    split(table, text, &path);
    route = find(table, method, &path, &any);
    require(result == (route ? ROUTE_FOUND : any ? ROUTE_OTHER_METHOD : ROUTE_NONE));
    if (route) {
        require(match.value == route->value);
        check_params(route, &path, &match);
    }
    check_allow(tree, table, &path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact_copy((struct str){(const char *)data, size});
    struct str rest = {copy, size};
    struct table *table = calloc(1, sizeof(*table));
    struct route_tree *tree = route_tree_new();
    struct str line = take_until(&rest, '\n');

    require(table != NULL);
    buf_reserve(&table->plain, 4 * size + 1); /* patterns, and the path */
    for (int i = 0; i < ROUTES_MAX && rest.len > 0; i++, line = take_until(&rest, '\n')) {
        struct str pattern = line;
        const struct str method = take_method(&pattern);
        struct err err;
        if (pattern.len > PATTERN_MAX ||
            table->constraint_count > CONSTRAINTS_MAX - PATTERN_MAX / 4)
            continue;
        if (route_add(tree, method, pattern, i, number, table, &err))
            learn(table, method, pattern, i);
        else
            require(strcmp(err.code, "INVALID_ROUTE") == 0);
    }
    const struct str method = take_method(&line);
    check_path(tree, table, method.len ? method : STR("GET"), line);
    route_tree_free(tree);
    buf_fini(&table->plain);
    free(table);
    free(copy);
    return 0;
}

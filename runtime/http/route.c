#include "http/route.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/route_pattern.h"

enum { METHODS_MAX = 64 };

/* One registration, at the node where its pattern ends. */
struct route {
    char *method; /* "" is every method */
    size_t method_len;
    int value;
    size_t name_count;
    char *names[ROUTE_PARAMS_MAX];
    struct route *next; /* in the order of registration */
};

struct node;

/* A child reached by fixed text, in canonical form. */
struct fixed {
    char *text;
    size_t len;
    struct node *node;
};

/* A child reached by a parameter with a constraint. Equal constraints share one. */
struct constrained {
    char *text;
    size_t len;
    int constraint;
    struct node *node;
};

struct node {
    struct fixed *fixed; /* sorted by length, then bytes */
    size_t fixed_count;
    struct constrained *constrained; /* in the order of registration */
    size_t constrained_count;
    struct node *param, *star;
    struct route *ends, *rests; /* the path ends here; a last "*" takes what is left */
};

struct route_tree {
    struct node root;
};

/* --- the tree --- */

static int compare(const struct fixed *fixed, const char *text, size_t len)
{
    if (fixed->len != len)
        return fixed->len < len ? -1 : 1;
    return memcmp(fixed->text, text, len);
}

/* The index of the fixed child, or of where it would be. */
static size_t search_fixed(const struct node *node, const char *text, size_t len, bool *found)
{
    size_t from = 0, to = node->fixed_count;
    *found = false;
    while (from < to) {
        size_t middle = (from + to) / 2;
        int order = compare(&node->fixed[middle], text, len);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct node *node_new(void)
{
    return mem_alloc(sizeof(struct node));
}

static struct node *fixed_child(struct node *node, const char *text, size_t len)
{
    bool found;
    size_t at = search_fixed(node, text, len, &found);
    if (found)
        return node->fixed[at].node;
    node->fixed = mem_resize(node->fixed, (node->fixed_count + 1) * sizeof(node->fixed[0]));
    struct fixed *slot = &node->fixed[at];
    memmove(slot + 1, slot, (node->fixed_count++ - at) * sizeof(*slot));
    *slot = (struct fixed){mem_copy_n(text, len), len, node_new()};
    return slot->node;
}

static struct node *constrained_child(struct node *node, struct str text, int constraint)
{
    for (size_t i = 0; i < node->constrained_count; i++) {
        struct constrained *c = &node->constrained[i];
        if (str_equal((struct str){c->text, c->len}, text))
            return c->node;
    }
    size_t count = node->constrained_count++;
    node->constrained =
        mem_resize(node->constrained, node->constrained_count * sizeof(node->constrained[0]));
    node->constrained[count] =
        (struct constrained){mem_copy_n(text.at, text.len), text.len, constraint, node_new()};
    return node->constrained[count].node;
}

static struct node *only_child(struct node **slot)
{
    if (!*slot)
        *slot = node_new();
    return *slot;
}

static void routes_free(struct route *route)
{
    while (route) {
        struct route *next = route->next;
        for (size_t i = 0; i < route->name_count; i++)
            free(route->names[i]);
        free(route->method);
        free(route);
        route = next;
    }
}

static void node_free(struct node *node);

static void node_clear(struct node *node)
{
    for (size_t i = 0; i < node->fixed_count; i++) {
        free(node->fixed[i].text);
        node_free(node->fixed[i].node);
    }
    for (size_t i = 0; i < node->constrained_count; i++) {
        free(node->constrained[i].text);
        node_free(node->constrained[i].node);
    }
    free(node->fixed);
    free(node->constrained);
    node_free(node->param);
    node_free(node->star);
    routes_free(node->ends);
    routes_free(node->rests);
}

static void node_free(struct node *node)
{
    if (!node)
        return;
    node_clear(node);
    free(node);
}

struct route_tree *route_tree_new(void)
{
    return mem_alloc(sizeof(struct route_tree));
}

void route_tree_free(struct route_tree *tree)
{
    if (!tree)
        return;
    node_clear(&tree->root);
    free(tree);
}

/* --- adding --- */

static void append(struct route **list, struct str method, int value, const struct pattern *pattern)
{
    struct route *route = mem_alloc(sizeof(*route));
    route->method = mem_copy_n(method.at ? method.at : "", method.len);
    route->method_len = method.len;
    route->value = value;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct part *part = &pattern->parts[i];
        if (part->kind == PARAM || part->kind == REST)
            route->names[route->name_count++] =
                part->kind == REST ? mem_copy("*") : mem_copy_n(part->text.at, part->text.len);
    }
    while (*list)
        list = &(*list)->next;
    *list = route;
}

static struct node *child_for(struct node *node,
                              const struct part *part,
                              int (*number)(void *arg, struct str pattern_text),
                              void *arg)
{
    char text[SEGMENT_MAX];
    switch (part->kind) {
    case FIXED:
        return fixed_child(node, text, route_canonical(part->text, text));
    case STAR:
        return only_child(&node->star);
    default:
        if (part->constraint.at)
            return constrained_child(node, part->constraint, number(arg, part->constraint));
        return only_child(&node->param);
    }
}

bool route_add(struct route_tree *tree,
               struct str method,
               struct str pattern_text,
               int value,
               int (*number)(void *arg, struct str pattern_text),
               void *arg,
               struct err *err)
{
    struct pattern pattern = {.count = 0};
    if (!route_pattern_read(&pattern, pattern_text, err))
        return false;
    struct node *node = &tree->root;
    for (size_t i = 0; i < pattern.count; i++) {
        const struct part *part = &pattern.parts[i];
        bool last = i + 1 == pattern.count;
        if (last && part->optional) {
            /* "/:id?" without its parameter is "/", whose only segment is empty */
            struct pattern without = pattern;
            without.count--;
            append(i > 0 ? &node->ends : &fixed_child(node, "", 0)->ends, method, value, &without);
        }
        if (last && part->kind == REST) {
            append(&node->rests, method, value, &pattern);
            return true;
        }
        node = child_for(node, part, number, arg);
    }
    append(&node->ends, method, value, &pattern);
    return true;
}

/* --- finding --- */

/* What a walk looks for: the first route for `method`, or, to list them, all. */
struct search {
    struct str method;
    const char *end; /* of the path */
    bool escaped;    /* the path has a percent sign */
    route_check *check;
    void *arg;
    struct str values[SEGMENTS_MAX];
    size_t count;
    const struct route *found;
    bool other_method;
    bool (*visit)(struct search *search, const struct route *routes);
    struct str methods[METHODS_MAX];
    size_t method_count;
};

static const struct route *for_method(const struct route *routes, struct str method)
{
    for (; routes; routes = routes->next) {
        struct str own = {routes->method, routes->method_len};
        if (own.len == 0 || str_equal(own, method))
            return routes;
    }
    return NULL;
}

/* A route for HEAD itself comes first; else HEAD is GET. */
static const struct route *for_head(const struct route *routes)
{
    for (const struct route *route = routes; route; route = route->next) {
        if (str_equal((struct str){route->method, route->method_len}, STR("HEAD")))
            return route;
    }
    return for_method(routes, STR("GET"));
}

static bool take_first(struct search *search, const struct route *routes)
{
    bool head = str_equal(search->method, STR("HEAD"));
    search->found = head ? for_head(routes) : for_method(routes, search->method);
    search->other_method |= routes && !search->found;
    return search->found != NULL;
}

static const struct node *
find_fixed(const struct search *search, const struct node *node, struct str segment)
{
    char text[SEGMENT_MAX];
    if (node->fixed_count == 0)
        return NULL;
    if (search->escaped && segment.len > 0 && memchr(segment.at, '%', segment.len)) {
        segment.len = route_canonical(segment, text);
        segment.at = text;
    }
    bool found;
    size_t i = search_fixed(node, segment.at, segment.len, &found);
    return found ? node->fixed[i].node : NULL;
}

static bool walk(struct search *search, const struct node *node, const char *at);

static bool
walk_with(struct search *search, const struct node *node, const char *at, struct str value)
{
    search->values[search->count++] = value;
    if (walk(search, node, at))
        return true;
    search->count--;
    return false;
}

static bool take_rest(struct search *search, const struct node *node, const char *at)
{
    if (!node->rests)
        return false;
    search->values[search->count++] = (struct str){at, (size_t)(search->end - at)};
    if (search->visit(search, node->rests))
        return true;
    search->count--;
    return false;
}

/* The children that take any segment, but not an empty one. */
static bool
walk_open(struct search *search, const struct node *node, struct str segment, const char *next)
{
    for (size_t i = 0; i < node->constrained_count; i++) {
        const struct constrained *c = &node->constrained[i];
        if (search->check(search->arg, c->constraint, segment) &&
            walk_with(search, c->node, next, segment))
            return true;
    }
    return (node->param && walk_with(search, node->param, next, segment)) ||
           (node->star && walk(search, node->star, next));
}

/* `at` is where the next segment starts; NULL when the path is used up. */
static bool walk(struct search *search, const struct node *node, const char *at)
{
    if (!at)
        return search->visit(search, node->ends) || take_rest(search, node, search->end);
    size_t left = (size_t)(search->end - at);
    const char *slash = left > 0 ? memchr(at, '/', left) : NULL;
    const char *next = slash ? slash + 1 : NULL;
    struct str segment = {at, slash ? (size_t)(slash - at) : left};
    const struct node *fixed = find_fixed(search, node, segment);
    return (fixed && walk(search, fixed, next)) ||
           (segment.len > 0 && walk_open(search, node, segment, next)) ||
           take_rest(search, node, at);
}

/* All of it but the arrays, which are written before they are read. */
static bool run(struct search *search, const struct route_tree *tree, struct str path)
{
    if (path.len == 0 || path.at[0] != '/')
        return false;
    search->end = path.at + path.len;
    search->escaped = memchr(path.at, '%', path.len) != NULL;
    search->count = search->method_count = 0;
    search->found = NULL;
    search->other_method = false;
    return walk(search, &tree->root, path.at + 1);
}

enum route_result route_find(const struct route_tree *tree,
                             struct str method,
                             struct str path,
                             route_check *check,
                             void *arg,
                             struct route_match *match)
{
    struct search search;
    search.method = method;
    search.check = check;
    search.arg = arg;
    search.visit = take_first;
    search.other_method = false;
    if (!run(&search, tree, path))
        return search.other_method ? ROUTE_OTHER_METHOD : ROUTE_NONE;
    match->value = search.found->value;
    match->param_count = search.found->name_count;
    for (size_t i = 0; i < match->param_count; i++)
        match->params[i] = (struct route_param){str_of(search.found->names[i]), search.values[i]};
    return ROUTE_FOUND;
}

/* --- listing methods --- */

static void add_method(struct search *search, struct str method)
{
    size_t at = search->method_count;
    for (size_t i = 0; i < search->method_count; i++) {
        if (str_equal(search->methods[i], method))
            return;
    }
    if (at == METHODS_MAX)
        return;
    for (; at > 0 && strcmp(search->methods[at - 1].at, method.at) > 0; at--)
        search->methods[at] = search->methods[at - 1];
    search->methods[at] = method;
    search->method_count++;
}

static void add_methods(struct search *search, struct str method)
{
    static const char *const every[] = {"DELETE", "GET", "PATCH", "POST", "PUT"};
    if (method.len > 0)
        add_method(search, method);
    for (size_t i = 0; method.len == 0 && i < sizeof(every) / sizeof(every[0]); i++)
        add_method(search, str_of(every[i]));
    if (method.len == 0 || str_equal(method, STR("GET")))
        add_method(search, STR("HEAD"));
    add_method(search, STR("OPTIONS"));
}

/* Takes note and goes on. */
static bool collect(struct search *search, const struct route *routes)
{
    for (; routes; routes = routes->next)
        add_methods(search, (struct str){routes->method, routes->method_len});
    return false;
}

size_t route_allow(const struct route_tree *tree,
                   struct str path,
                   route_check *check,
                   void *arg,
                   char *out,
                   size_t size)
{
    struct search search;
    search.method = (struct str){0};
    search.check = check;
    search.arg = arg;
    search.visit = collect;
    search.method_count = 0;
    run(&search, tree, path);
    size_t len = 0;
    for (size_t i = 0; i < search.method_count; i++) {
        struct str parts[] = {i > 0 ? STR(", ") : STR(""), search.methods[i]};
        for (size_t j = 0; j < 2; j++) {
            for (size_t k = 0; k < parts[j].len; k++, len++) {
                if (len + 1 < size)
                    out[len] = parts[j].at[k];
            }
        }
    }
    if (size > 0)
        out[len < size ? len : size - 1] = '\0';
    return len;
}

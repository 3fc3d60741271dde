/* Route matching: a tree of path segments, pure, without Lua or sockets.
 *
 * Patterns: static segments, ":name", ":name?" (last only), ":name{pattern}", "*" (one segment in
 * the middle; at the end the rest, which may be empty). Static beats a constrained parameter beats
 * a parameter beats a wildcard, whatever the order of registration; among equals the first wins.
 * A branch that fails further on gives way to the next best. Matching is on the escaped path; a
 * route written in UTF-8 matches its percent-encoded form.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct route_tree;

enum { ROUTE_PARAMS_MAX = 32 };

struct route_param {
    struct str name;  /* "*" for the wildcard's rest */
    struct str value; /* escaped, points into the matched path */
};

struct route_match {
    int value; /* what route_add() was given */
    size_t param_count;
    struct route_param params[ROUTE_PARAMS_MAX];
};

/* Decides whether `value` satisfies constraint number `constraint` (route_add's `constraint`). */
typedef bool route_check(void *arg, int constraint, struct str value);

struct route_tree *route_tree_new(void);
void route_tree_free(struct route_tree *tree);

/* Adds `pattern` for `method` ("" = every method). `value` >= 0 is the caller's number for it.
 * `constraint` is called back for each {pattern} in order of appearance to number it:
 * it gets the text between the braces and returns the number later given to route_check.
 */
bool route_add(struct route_tree *tree,
               struct str method,
               struct str pattern,
               int value,
               int (*number)(void *arg, struct str pattern_text),
               void *arg,
               struct err *err);

enum route_result { ROUTE_NONE, ROUTE_FOUND, ROUTE_OTHER_METHOD };

/* HEAD falls back to GET. */
enum route_result route_find(const struct route_tree *tree,
                             struct str method,
                             struct str path,
                             route_check *check,
                             void *arg,
                             struct route_match *match);

/* The methods that `path` has, as for Allow: "GET, HEAD, OPTIONS, POST". "" when none.
 * Returns the length; never writes more than `size` with the NUL.
 */
size_t route_allow(const struct route_tree *tree,
                   struct str path,
                   route_check *check,
                   void *arg,
                   char *out,
                   size_t size);

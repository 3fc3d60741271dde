/* buntime.core.route: the route tree, asked with a request.
 *
 * find() reads method and path straight from the exchange and leaves the parameters on the
 * request object, so that a route without any costs no Lua value but its number.
 */
#include "bind/bind.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/request.h"
#include "data/metrics.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/call.h"
#include "vm/vm.h"

#define TYPE "buntime.route_tree"

struct lua_tree {
    const void *magic;
    struct route_tree *tree;
    int constraints;              /* how many patterns the environment table has */
    struct metric_route **series; /* by a route's number; NULL where it has none */
    size_t series_len;
};

static const char magic;

static struct lua_tree *check_tree(lua_State *L)
{
    struct lua_tree *t = lua_touserdata(L, 1);

    /* what is no full userdata has no address, or no length */
    if (!t || lua_objlen(L, 1) != sizeof(*t) || t->magic != &magic)
        luaL_typerror(L, 1, TYPE);
    if (!t->tree)
        luaL_error(L, TYPE " is closed");
    return t;
}

/* new() -> tree */
static int tree_new(lua_State *L)
{
    struct lua_tree *t = lua_newuserdata(L, sizeof(*t));

    *t = (struct lua_tree){.magic = &magic, .tree = NULL, .constraints = 0};
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2);
    t->tree = route_tree_new();
    return 1;
}

static int tree_collect(lua_State *L)
{
    struct lua_tree *t = lua_touserdata(L, 1);

    if (t->tree)
        route_tree_free(t->tree);
    t->tree = NULL;
    free(t->series);
    t->series = NULL;
    t->series_len = 0;
    return 0;
}

/* The patterns of one route on their way from the tree to Lua: nothing here may raise while
 * route_add() is at work.
 */
struct numbering {
    struct str patterns[ROUTE_PARAMS_MAX];
    int count, first;
};

static int number(void *arg, struct str pattern)
{
    struct numbering *n = arg;

    if (n->count < ROUTE_PARAMS_MAX)
        n->patterns[n->count++] = pattern;
    return n->first + n->count;
}

/* Keeps "^pattern$" in the tree's environment. The tree is at 1. */
static void keep_pattern(lua_State *L, struct lua_tree *t, struct str pattern)
{
    lua_getfenv(L, 1);
    lua_pushliteral(L, "^");
    request_push_str(L, pattern);
    lua_pushliteral(L, "$");
    lua_concat(L, 3);
    lua_rawseti(L, -2, ++t->constraints);
    lua_pop(L, 1);
}

/* Requests that end at this route are counted under its method and pattern. */
static void count_route(lua_State *L, struct lua_tree *t, size_t value)
{
    const struct instance *instance = vm_host(vm_of(L));
    struct metrics *metrics = instance ? plugins_options(instance->plugins)->metrics : NULL;
    struct str method, pattern;

    if (!metrics)
        return;
    method.at = lua_tolstring(L, 2, &method.len);
    pattern.at = lua_tolstring(L, 3, &pattern.len);
    if (value >= t->series_len) {
        t->series = mem_resize(t->series, (value + 8) * sizeof(*t->series));
        memset(t->series + t->series_len, 0, (value + 8 - t->series_len) * sizeof(*t->series));
        t->series_len = value + 8;
    }
    t->series[value] = metrics_route(metrics, instance->name, method, pattern);
}

/* add(tree, method, pattern, value, counted?) -> true, or nil and a message. Of method and pattern
 * among equals the first wins. "" is every method.
 */
static int tree_add(lua_State *L)
{
    struct lua_tree *t = check_tree(L);
    struct numbering numbers = {.count = 0, .first = t->constraints};
    struct str method, pattern;
    const int value = (int)luaL_checkinteger(L, 4);
    struct err err;

    method.at = luaL_checklstring(L, 2, &method.len);
    pattern.at = luaL_checklstring(L, 3, &pattern.len);
    luaL_argcheck(L, value >= 0, 4, "must not be negative");
    if (!route_add(t->tree, method, pattern, value, number, &numbers, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.message);
        return 2;
    }
    for (int i = 0; i < numbers.count; i++)
        keep_pattern(L, t, numbers.patterns[i]);
    if (lua_toboolean(L, 5))
        count_route(L, t, (size_t)value);
    lua_pushboolean(L, true);
    return 1;
}

/* What a constraint is held against: the tree is at 1, string.match is the first upvalue. */
static bool satisfies(void *arg, int constraint, struct str value)
{
    lua_State *L = arg;
    struct err err;
    bool ok;

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcfunction(L, request_unescape);
    request_push_str(L, value);
    if (!vm_call(L, 1, 1, &err)) {
        lua_pop(L, 1);
        return false;
    }
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, constraint); /* match value env pattern */
    lua_remove(L, -2);
    if (!vm_call(L, 2, 1, &err))
        return false;
    ok = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

static enum route_result find(lua_State *L, struct route_match *match)
{
    const struct lua_tree *t = check_tree(L);
    struct str method;

    request_live(L, 2);
    if (lua_isnoneornil(L, 3))
        method = request_method(L, 2);
    else
        method.at = luaL_checklstring(L, 3, &method.len);
    luaL_checkstack(L, 8, NULL);
    return route_find(t->tree, method, request_path(L, 2), satisfies, L, match);
}

static void keep_match(lua_State *L, const struct route_match *match)
{
    const struct lua_tree *t = lua_touserdata(L, 1);
    const struct request_ref *ref = lua_touserdata(L, 2);

    if (match->param_count)
        request_add_params(ref->slot, match, ref->changed & CHANGED_PATH);
    if ((size_t)match->value < t->series_len)
        ref->slot->series = t->series[match->value];
}

/* find(tree, req, method?) -> value; false if the path has other methods only; nil */
static int tree_find(lua_State *L)
{
    struct route_match match;

    switch (find(L, &match)) {
    case ROUTE_FOUND:
        keep_match(L, &match);
        lua_pushinteger(L, match.value);
        return 1;
    case ROUTE_OTHER_METHOD:
        lua_pushboolean(L, false);
        return 1;
    default:
        return 0;
    }
}

/* allow(tree, req) -> "GET, HEAD, OPTIONS"; "" when the tree has nothing for the path */
static int tree_allow(lua_State *L)
{
    const struct lua_tree *t = check_tree(L);
    char methods[512];
    size_t len;

    request_live(L, 2);
    luaL_checkstack(L, 8, NULL);
    len = route_allow(t->tree, request_path(L, 2), satisfies, L, methods, sizeof(methods));
    lua_pushlstring(L, methods, len);
    return 1;
}

/* depth(req) -> how many parameters are remembered, for rewind() */
static int tree_depth(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)request_live(L, 1)->param_count);
    return 1;
}

/* rewind(req, depth): forgets what find() added since */
static int tree_rewind(lua_State *L)
{
    struct bind_request *slot = request_live(L, 1);
    const lua_Integer depth = luaL_checkinteger(L, 2);

    if (depth < 0 || (size_t)depth >= slot->param_count)
        return 0;
    slot->params += slot->param_count - (size_t)depth;
    slot->param_count = (size_t)depth;
    return 0;
}

/* Both get string.match, as it is in this VM, for the constraints. */
static const luaL_Reg matchers[] = {
    {"find", tree_find},
    {"allow", tree_allow},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", tree_new},       {"add", tree_add}, {"depth", tree_depth},
    {"rewind", tree_rewind}, {NULL, NULL},
};

int bind_route_open(lua_State *L)
{
    luaL_newmetatable(L, TYPE);
    lua_pushcfunction(L, tree_collect);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    for (const luaL_Reg *matcher = matchers; matcher->name; matcher++) {
        lua_getglobal(L, "string");
        lua_getfield(L, -1, "match");
        lua_remove(L, -2);
        lua_pushcclosure(L, matcher->func, 1);
        lua_setfield(L, -2, matcher->name);
    }
    return 1;
}

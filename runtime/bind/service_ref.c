#include "bind/service.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "bind/json.h"
#include "plugin/instance.h"
#include "plugin/service.h"
#include "vm/transfer.h"
#include "vm/vm.h"

/* Values given out: `by_id` keeps each object for as long as a reference to it lives anywhere.
 * Released ids wait in a list, because they come from another VM's collector.
 */
struct links {
    int by_id, ids; /* registry references: id → object, object → id */
    int counts;     /* id → how many references other VMs hold */
    int imports;    /* "serial:id" and path text → reference, weak */
    int functions;  /* wrapping function → reference userdata, weak keys */
    int wrap;       /* Lua function that makes a function around a reference */
    int next_id;
    int *released;
    size_t released_len, released_cap;
};

static const char links_key;

struct links *links_of(lua_State *L)
{
    struct links *links;

    lua_pushlightuserdata(L, (void *)&links_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    links = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return links;
}

/* --- exports --- */

static void drop_export(lua_State *L, struct links *links, int id)
{
    int count;

    lua_rawgeti(L, LUA_REGISTRYINDEX, links->counts);
    lua_rawgeti(L, -1, id);
    count = (int)lua_tointeger(L, -1) - 1;
    lua_pop(L, 1);
    if (count > 0)
        lua_pushinteger(L, count);
    else
        lua_pushnil(L);
    lua_rawseti(L, -2, id);
    lua_pop(L, 1);
    if (count > 0)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, links->ids);
    lua_rawgeti(L, LUA_REGISTRYINDEX, links->by_id);
    lua_rawgeti(L, -1, id); /* ids by_id object */
    lua_pushnil(L);
    lua_rawset(L, -4); /* ids[object] = nil */
    lua_pushnil(L);
    lua_rawseti(L, -2, id);
    lua_pop(L, 2);
}

static void drop_released(lua_State *L, struct links *links)
{
    while (links->released_len > 0)
        drop_export(L, links, links->released[--links->released_len]);
}

/* The id of the object at `index`, one reference more. */
static int export_object(lua_State *L, struct links *links, int index)
{
    int id;

    drop_released(L, links);
    lua_rawgeti(L, LUA_REGISTRYINDEX, links->ids);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    id = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (id == 0) {
        id = ++links->next_id;
        lua_pushvalue(L, index);
        lua_pushinteger(L, id);
        lua_rawset(L, -3);
        lua_rawgeti(L, LUA_REGISTRYINDEX, links->by_id);
        lua_pushvalue(L, index);
        lua_rawseti(L, -2, id);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return id;
}

static void count_export(lua_State *L, struct links *links, int id)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, links->counts);
    lua_rawgeti(L, -1, id);
    lua_pushinteger(L, lua_tointeger(L, -1) + 1);
    lua_remove(L, -2);
    lua_rawseti(L, -2, id);
    lua_pop(L, 1);
}

/* Called by another VM's collector: only notes the id. */
static void release_later(struct links *links, int id)
{
    if (links->released_len == links->released_cap) {
        links->released_cap = links->released_cap ? links->released_cap * 2 : 16;
        links->released = mem_resize(links->released, links->released_cap * sizeof(int));
    }
    links->released[links->released_len++] = id;
}

/* --- references --- */

struct ref *ref_at(lua_State *L, int index)
{
    struct ref *ref = NULL;
    const int type = lua_type(L, index);

    if (type == LUA_TFUNCTION) {
        struct links *links = links_of(L);
        lua_pushvalue(L, index);
        lua_rawgeti(L, LUA_REGISTRYINDEX, links->functions);
        lua_insert(L, -2);
        lua_rawget(L, -2); /* functions ref */
        ref = lua_touserdata(L, -1);
        lua_pop(L, 2);
        return ref;
    }
    if (type != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, REF_TYPE);
    if (lua_rawequal(L, -1, -2))
        ref = lua_touserdata(L, index);
    lua_pop(L, 2);
    return ref;
}

const char *ref_plugin_name(const struct ref *ref)
{
    return ref->service ? ref->service->name : ref->owner->name;
}

struct instance *ref_target(const struct ref *ref, const struct instance *consumer)
{
    if (ref->service)
        return service_provider(ref->service, consumer);
    return ref->owner->vm && ref->owner->state != INSTANCE_CLOSED ? ref->owner : NULL;
}

void ref_push_value(lua_State *L, const struct ref *ref)
{
    const struct instance *instance = vm_host(vm_of(L));
    const char *key = ref->path;

    if (!ref->service) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, links_of(L)->by_id);
        lua_rawgeti(L, -1, ref->id);
        lua_remove(L, -2);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->entry[ENTRY_PROVIDED]); /* nil if LUA_NOREF */
    for (int i = 0; i < ref->path_len; i++, key += strlen(key) + 1) {
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
            return;
        }
        lua_getfield(L, -1, key);
        lua_remove(L, -2);
    }
}

static int ref_collect(lua_State *L)
{
    struct ref *ref = lua_touserdata(L, 1);

    if (!ref->owner)
        return 0;
    if (ref->owner->vm && ref->owner->links)
        release_later(ref->owner->links, ref->id);
    instance_unref(ref->owner);
    ref->owner = NULL;
    return 0;
}

static size_t path_size(const struct ref *ref)
{
    const char *end = ref->path;

    for (int i = 0; i < ref->path_len; i++)
        end += strlen(end) + 1;
    return (size_t)(end - ref->path);
}

static struct ref *new_ref(lua_State *L, size_t path_bytes)
{
    struct ref *ref = lua_newuserdata(L, sizeof(*ref) + path_bytes);

    memset(ref, 0, sizeof(*ref));
    luaL_getmetatable(L, REF_TYPE);
    lua_setmetatable(L, -2);
    return ref;
}

/* Puts a function around the reference on top; it stays known by the function. */
static void wrap_function(lua_State *L)
{
    struct links *links = links_of(L);

    lua_rawgeti(L, LUA_REGISTRYINDEX, links->wrap);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1); /* ref fn */
    lua_rawgeti(L, LUA_REGISTRYINDEX, links->functions);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -4);
    lua_rawset(L, -3); /* ref fn functions */
    lua_pop(L, 1);
    lua_remove(L, -2);
}

/* Looks for an import under the key on top, which it replaces by the import; false: stack as
 * before. */
static bool find_import(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, links_of(L)->imports);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2); /* key imports value */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 2);
        return false;
    }
    lua_replace(L, -3);
    lua_pop(L, 1);
    return true;
}

/* key import → import, remembered under the key */
static void keep_import(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, links_of(L)->imports);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_remove(L, -2);
}

void ref_push_path(
    lua_State *L, struct service *service, const struct ref *base, const char *key, bool function)
{
    const size_t base_bytes = base ? path_size(base) : 0;
    const size_t key_bytes = key ? strlen(key) + 1 : 0;
    struct ref *ref;

    lua_pushfstring(L, "%s\n%s\n", service->name, function ? "f" : "t");
    lua_pushlstring(L, base ? base->path : "", base_bytes);
    lua_pushlstring(L, key ? key : "", key_bytes);
    lua_concat(L, 3);
    if (find_import(L))
        return;
    ref = new_ref(L, base_bytes + key_bytes);
    ref->service = service;
    ref->path_len = (base ? base->path_len : 0) + (key ? 1 : 0);
    if (base_bytes)
        memcpy(ref->path, base->path, base_bytes);
    if (key_bytes)
        memcpy(ref->path + base_bytes, key, key_bytes);
    if (!function) {
        lua_newtable(L); /* the functions read from it, by key */
        lua_setfenv(L, -2);
    }
    if (function)
        wrap_function(L);
    keep_import(L);
}

/* A reference on `L` to object `id` of `owner`; counts itself in the owner's exports. */
static void push_object(lua_State *L, struct instance *owner, int id, bool function)
{
    struct ref *ref;
    bool enforced;

    lua_pushfstring(L, "%f:%d", (double)owner->serial, id);
    if (find_import(L))
        return;
    ref = new_ref(L, 0);
    enforced = vm_relax(owner->vm);
    count_export(vm_main(owner->vm), owner->links, id);
    vm_restore(owner->vm, enforced);
    ref->owner = instance_ref(owner);
    ref->id = id;
    if (function)
        wrap_function(L);
    keep_import(L);
}

/* --- transfer --- */

static void pass_on(struct transfer *t, struct ref *ref, bool function)
{
    struct instance *receiver = vm_host(vm_of(t->to));

    if (ref->service && ref->service == receiver->service) {
        ref_push_value(t->to, ref);
        return;
    }
    if (!ref->service && ref->owner == receiver) {
        ref_push_value(t->to, ref);
        return;
    }
    if (ref->service) {
        ref_push_path(t->to, ref->service, ref, NULL, function);
        return;
    }
    if (!ref->owner->vm)
        luaL_error(t->to, "plugin \"%s\" is not loaded", ref->owner->name);
    push_object(t->to, ref->owner, ref->id, function);
}

static void reference(struct transfer *t, int index)
{
    const bool function = lua_type(t->from, index) == LUA_TFUNCTION;
    struct ref *ref = ref_at(t->from, index);
    struct instance *giver = vm_host(vm_of(t->from));

    if (ref) {
        pass_on(t, ref, function);
        return;
    }
    if (lua_type(t->from, index) == LUA_TUSERDATA)
        luaL_error(t->to, "a userdata cannot cross between plugins");
    push_object(t->to, giver, export_object(t->from, giver->links, index), function);
}

void service_transfer(lua_State *from, int first, int count, lua_State *to)
{
    struct transfer t = {
        .from = from,
        .to = to,
        .reference = reference,
        .is_marked = json_is_array,
        .mark = json_mark_array,
    };

    for (int i = 0; i < count; i++)
        transfer_value(&t, first + i);
}

bool service_by_reference(lua_State *L, int index)
{
    const struct transfer t = {.from = L, .is_marked = json_is_array};

    return transfer_by_reference(&t, index);
}

/* --- opening --- */

static int new_weak_table(lua_State *L, const char *mode)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int new_table(lua_State *L)
{
    lua_newtable(L);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int links_collect(lua_State *L)
{
    struct links *links = lua_touserdata(L, 1);
    struct instance *instance = vm_host(vm_of(L));

    if (instance && instance->links == links)
        instance->links = NULL;
    free(links->released);
    links->released = NULL;
    links->released_len = links->released_cap = 0;
    return 0;
}

int links_open(lua_State *L, int wrap)
{
    struct instance *instance = vm_host(vm_of(L));
    struct links *links;

    lua_pushlightuserdata(L, (void *)&links_key);
    links = lua_newuserdata(L, sizeof(*links));
    memset(links, 0, sizeof(*links));
    lua_newtable(L);
    lua_pushcfunction(L, links_collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    links->by_id = new_table(L);
    links->ids = new_table(L);
    links->counts = new_table(L);
    links->imports = new_weak_table(L, "v");
    links->functions = new_weak_table(L, "k");
    lua_pushvalue(L, wrap);
    links->wrap = luaL_ref(L, LUA_REGISTRYINDEX);
    if (instance)
        instance->links = links;
    luaL_getmetatable(L, REF_TYPE);
    lua_pushcfunction(L, ref_collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    return 0;
}

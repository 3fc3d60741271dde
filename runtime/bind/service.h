/* What the files behind services share: references from one VM to a value of another.
 *
 * A value is reached either by a path from what the provider provides (looked up at each use, so
 * it survives the provider's reload), or as an object that a call gave out (it belongs to
 * the instance that made it). On the consumer's side a reference to a table is a userdata and one
 * to a function is a function around such a userdata.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct instance;
struct links;
struct service;

#define REF_TYPE "buntime.service"

enum { REF_PATH_MAX = 16 };

struct ref {
    struct service *service; /* by path; NULL for an object */
    struct instance *owner;  /* of the object; counted */
    int id;                  /* of the object in the owner's exports */
    int path_len;
    char path[]; /* keys, NUL-terminated, one after the other */
};

/* What one VM has given out and taken in. A userdata of that VM; NULL when it has none. */
struct links *links_of(lua_State *L);

/* The reference behind the value at `index`, be it a userdata or a function; or NULL. */
struct ref *ref_at(lua_State *L, int index);

/* The instance that a use of `ref` from `consumer` reaches. NULL: not loaded. */
struct instance *ref_target(const struct ref *ref, const struct instance *consumer);
const char *ref_plugin_name(const struct ref *ref);

/* Pushes the value that `ref` means in its own VM; nil when the path leads nowhere. May raise. */
void ref_push_value(lua_State *L, const struct ref *ref);

/* Pushes, on `L`, a reference by path: `base` with `key` added (NULL: the root of `service`). */
void ref_push_path(
    lua_State *L, struct service *service, const struct ref *base, const char *key, bool function);

/* Values between the VMs of `from` and `to`, references made and undone. Runs protected on `to`. */
void service_transfer(lua_State *from, int first, int count, lua_State *to);

/* Whether the table at `index` crosses by reference. */
bool service_by_reference(lua_State *L, int index);

/* Makes this VM's links; the function at `wrap` makes functions around references. */
int links_open(lua_State *L, int wrap);

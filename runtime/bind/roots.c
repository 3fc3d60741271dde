#include "bind/roots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "conf/settings.h"
#include "data/files.h"
#include "plugin/instance.h"
#include "plugin/plugins.h"
#include "vm/vm.h"

#define KEY "buntime.data_folder"

/* The temporary folder of a VM without a server. */
struct folder {
    struct resource resource;
    char path[];
};

static void remove_folder(struct resource *resource)
{
    struct folder *folder = (struct folder *)resource;
    char *name = strrchr(folder->path, '/');
    int fd;

    *name = '\0';
    if (files_root(folder->path, false, &fd) == 0) {
        files_remove(fd, name + 1, true);
        close(fd);
    }
    free(folder);
}

static const char *push_temporary(lua_State *L)
{
    const char *tmp = getenv("TMPDIR");
    struct folder *folder;
    char path[256];

    snprintf(path, sizeof(path), "%s/buntime-data-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(path))
        luaL_error(L, "cannot make a temporary folder: %s", path);
    folder = mem_alloc(sizeof(*folder) + sizeof(path));
    memcpy(folder->path, path, sizeof(path));
    folder->resource.kind = "data folder";
    folder->resource.close = remove_folder;
    ledger_add(vm_of(L), &folder->resource);
    lua_pushstring(L, path);
    return lua_tostring(L, -1);
}

/* <state>/data/<plugin>; what the control plane keeps is beside that. */
static const char *push_of_instance(lua_State *L, const struct instance *instance)
{
    const char *state = plugins_settings(instance->plugins)->state_dir;
    const char *data = plugins_options(instance->plugins)->data_dir;

    if (data)
        lua_pushstring(L, data);
    else if (instance->manifest)
        lua_pushfstring(L, "%s/data/%s", state, instance->name);
    else
        lua_pushfstring(L, "%s/control", state);
    return lua_tostring(L, -1);
}

const char *roots_push_data(lua_State *L)
{
    const struct instance *instance = vm_host(vm_of(L));
    const char *path;

    lua_getfield(L, LUA_REGISTRYINDEX, KEY);
    path = lua_tostring(L, -1);
    if (path)
        return path;
    lua_pop(L, 1);
    path = instance ? push_of_instance(L, instance) : push_temporary(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, KEY);
    return path;
}

/* `buntime test` names the VM after the folder that it tests. */
const char *roots_push_plugin(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *path = vm_host(vm) || vm_root(vm) ? vm_root(vm) : vm_name(vm);

    lua_pushstring(L, path);
    return path;
}

#include "vm/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

static const struct library_module *find(const char *name)
{
    for (const struct library_module *module = library_modules; module->name; module++) {
        if (strcmp(module->name, name) == 0)
            return module;
    }
    return NULL;
}

/* "buntime.api.plugins" → "DIR/buntime/api/plugins.lua", or ".../init.lua". */
static int load_source(lua_State *L, const char *dir, const char *name)
{
    static const char *const shapes[] = {"%s/%s.lua", "%s/%s/init.lua"};
    char path[512];
    const char *relative = luaL_gsub(L, name, ".", "/");

    for (size_t i = 0; i < 2; i++) {
        FILE *file;
        snprintf(path, sizeof(path), shapes[i], dir, relative);
        file = fopen(path, "re");
        if (!file)
            continue;
        fclose(file);
        if (luaL_loadfile(L, path) != 0)
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "\n\tno file for '%s' in BUNTIME_LUA_DIR", name);
    return 1;
}

int library_loader(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *dir = getenv("BUNTIME_LUA_DIR");
    const struct library_module *module;

    if (strncmp(name, "buntime", 7) != 0 || (name[7] != '\0' && name[7] != '.'))
        return 0;
    if (dir && *dir)
        return load_source(L, dir, name);
    module = find(name);
    if (!module) {
        lua_pushfstring(L, "\n\tno module '%s' in the buntime library", name);
        return 1;
    }
    if (luaL_loadbuffer(L, (const char *)module->code, module->len, module->name) != 0)
        return lua_error(L);
    return 1;
}

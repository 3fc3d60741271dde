/* The Lua library as bytecode inside the binary; generated at build time from lua/buntime/. */
#pragma once

#include <stddef.h>

#include <lua.h>

struct library_module {
    const char *name; /* "buntime.router" */
    const unsigned char *code;
    size_t len;
};

extern const struct library_module library_modules[]; /* the last has no name */

/* A package loader: finds `buntime.*` in the binary, or below $BUNTIME_LUA_DIR if that is set. */
int library_loader(lua_State *L);

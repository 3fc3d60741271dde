#include "bind/caller.h"

#include <stdio.h>
#include <string.h>

#include "vm/vm.h"

void caller_name(lua_State *L, int level, char *out, size_t size)
{
    const char *root = vm_root(vm_of(L)), *file = "?";
    lua_Debug at = {.currentline = 0};

    if (lua_getstack(L, level, &at) && lua_getinfo(L, "Sl", &at))
        file = at.source[0] == '@' ? at.source + 1 : at.short_src;
    if (root && strncmp(file, root, strlen(root)) == 0 && file[strlen(root)] == '/')
        file += strlen(root) + 1;
    if (strlen(file) > size - 12)
        file += strlen(file) - (size - 12);
    snprintf(out, size, "%s:%d", file, at.currentline);
}

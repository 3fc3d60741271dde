#include "plugin/sources.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/call.h"
#include "vm/vm.h"

enum { DEPTH_MAX = 32 };

struct compilation {
    struct vm *vm;
    struct err *err;
    bool failed;
};

static int load(lua_State *L, void *path)
{
    return luaL_loadfile(L, path) == 0 ? 0 : lua_error(L);
}

static void compile_file(struct compilation *c, char *path)
{
    struct err err;
    const size_t used = c->failed ? strlen(c->err->message) : 0;

    if (vm_protect(vm_main(c->vm), load, path, 0, &err))
        return;
    if (!c->failed)
        *c->err = err;
    else
        snprintf(c->err->message + used, sizeof(c->err->message) - used, "\n%s", err.message);
    c->failed = true;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void compile_folder(struct compilation *c, const char *dir, int depth)
{
    struct dirent **entries;
    const int count = scandir(dir, &entries, visible, alphasort);

    for (int i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", dir, entries[i]->d_name);
        const char *dot = strrchr(entries[i]->d_name, '.');
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
            compile_folder(c, path, depth + 1);
        else if (S_ISREG(st.st_mode) && dot && strcmp(dot, ".lua") == 0)
            compile_file(c, path);
        free(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static bool outcome(const struct compilation *c)
{
    if (c->failed)
        snprintf(c->err->code, sizeof(c->err->code), "LOAD_FAILED");
    return !c->failed;
}

bool sources_compile(struct vm *vm, const char *dir, struct err *err)
{
    struct compilation c = {.vm = vm, .err = err};

    compile_folder(&c, dir, 0);
    return outcome(&c);
}

bool sources_compile_file(struct vm *vm, const char *path, struct err *err)
{
    struct compilation c = {.vm = vm, .err = err};

    compile_file(&c, (char *)path);
    return outcome(&c);
}

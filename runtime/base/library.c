#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

static bool fail(const char *file, const char *code, struct err *err)
{
    return err_set(err, code, "%s cannot be loaded: %s", file, dlerror());
}

bool library_load(const char *file,
                  const struct library_function *functions,
                  size_t count,
                  void *out,
                  const char *code,
                  struct err *err)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!library)
        return fail(file, code, err);
    for (size_t i = 0; i < count; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            return fail(file, code, err);
        memcpy((char *)out + functions[i].at, &function, sizeof(function));
    }
    return true;
}

#include "data/libpq.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

struct libpq pq;

#define ROW(name) {"PQ" #name, offsetof(struct libpq, name)},

static const struct {
    const char *name;
    size_t at;
} functions[] = {LIBPQ_FUNCTIONS(ROW)};

static bool fail(struct err *err)
{
    return err_set(err, "NOT_SUPPORTED", "libpq cannot be loaded: %s", dlerror());
}

bool pq_load(struct err *err)
{
    struct libpq loaded;
    void *library;

    if (pq.connectPoll)
        return true;
    library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fail(err);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *function = dlsym(library, functions[i].name);

        if (!function)
            return fail(err);
        memcpy((char *)&loaded + functions[i].at, &function, sizeof(function));
    }
    pq = loaded;
    return true;
}

#include "data/libcurl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

struct libcurl curl;

#define ROW(name) {"curl_" #name, offsetof(struct libcurl, name)},

static const struct {
    const char *name;
    size_t at;
} functions[] = {LIBCURL_FUNCTIONS(ROW)};

static bool fail(struct err *err)
{
    return err_set(err, "FETCH_FAILED", "libcurl cannot be loaded: %s", dlerror());
}

bool curl_load(struct err *err)
{
    struct libcurl loaded;
    void *library;

    if (curl.easy_init)
        return true;
    library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fail(err);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            return fail(err);
        memcpy((char *)&loaded + functions[i].at, &function, sizeof(function));
    }
    if (loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, "FETCH_FAILED", "libcurl cannot be initialized");
    curl = loaded;
    return true;
}

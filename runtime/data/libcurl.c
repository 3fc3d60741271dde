#include "data/libcurl.h"

#include "base/library.h"

struct libcurl curl;

#define ROW(name) {"curl_" #name, offsetof(struct libcurl, name)},

static const struct library_function functions[] = {LIBCURL_FUNCTIONS(ROW)};

bool curl_load(struct err *err)
{
    struct libcurl loaded;

    if (curl.easy_init)
        return true;
    if (!library_load("libcurl.so.4", functions, sizeof(functions) / sizeof(functions[0]), &loaded,
                      "FETCH_FAILED", err))
        return false;
    if (loaded.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, "FETCH_FAILED", "libcurl cannot be initialized");
    curl = loaded;
    return true;
}

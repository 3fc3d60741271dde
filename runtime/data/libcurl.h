/* libcurl, loaded when it is first wanted: with the thirty libraries that it brings, it would cost
 * each process 7 ms at its start and 1.6 MB, the supervisor and workers included.
 */
#pragma once

#include <stdbool.h>

#include <curl/curl.h>

#include "base/err.h"

#define LIBCURL_FUNCTIONS(X) \
    X(easy_cleanup)          \
    X(easy_getinfo)          \
    X(easy_init)             \
    X(easy_pause)            \
    X(easy_reset)            \
    X(easy_setopt)           \
    X(easy_strerror)         \
    X(free)                  \
    X(global_init)           \
    X(multi_add_handle)      \
    X(multi_cleanup)         \
    X(multi_info_read)       \
    X(multi_init)            \
    X(multi_remove_handle)   \
    X(multi_setopt)          \
    X(multi_socket_action)   \
    X(multi_strerror)        \
    X(slist_append)          \
    X(slist_free_all)        \
    X(url)                   \
    X(url_cleanup)           \
    X(url_dup)               \
    X(url_get)               \
    X(url_set)               \
    X(url_strerror)

#define LIBCURL_POINTER(name) __typeof__(&curl_##name) name;

/* curl_easy_init() is curl.easy_init(), and so on. Written once, by curl_load(). */
extern struct libcurl {
    LIBCURL_FUNCTIONS(LIBCURL_POINTER)
} curl;

bool curl_load(struct err *err); /* no-op when it is there already */

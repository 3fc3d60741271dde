/* A folder as a web site: files with their precompressed siblings or
 * packed on the way, and the page of a
 * single-page application for every path that a browser may ask for.
 *
 * Answers GET and HEAD below `base`. Not served: names that begin with a dot, Lua files and the
 * manifest, which lie in the same folder.
 */
#pragma once

#include <stdbool.h>

#include "http/static_file.h"

struct exchange;
struct gzip_cache;
struct loop;
struct static_look;

struct static_site {
    const struct file_opener *opener;
    const char *dir;         /* the plugin's folder */
    const char *entry;       /* the page, below dir; its folder is what is served */
    const char *base;        /* "/notes"; "" for the root */
    struct gzip_cache *gzip; /* may be NULL: then only files that are packed already are sent so */
};

/* Looks for what the exchange asks for. NULL: `*answered` says whether the response is there
 * already (405, 308, a file that the kernel has in memory) or there is nothing. Else `done` is
 * called later, in the loop, with whether it has made the response.
 */
struct static_look *static_look_start(struct loop *loop,
                                      const struct static_site *site,
                                      struct exchange *x,
                                      void (*done)(bool answered, void *arg),
                                      void *arg,
                                      bool *answered);
void static_look_cancel(struct static_look *look); /* the exchange is gone: `done` is not called */

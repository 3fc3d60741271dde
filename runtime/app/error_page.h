/* The page that shows a plugin's error to whoever develops it, in a browser.
 *
 * One page without scripts and outside resources; every text on it is escaped. Only for
 * development: it tells the message and the traceback.
 */
#pragma once

#include <stdbool.h>

struct exchange;

struct error_page {
    unsigned status;
    const char *code, *message, *traceback; /* secrets are masked already */
    const char *plugin;
    const char *file; /* "" when unknown */
    unsigned line;
};

/* Whether the request would rather have HTML than JSON. */
bool error_page_wanted(const struct exchange *x);

void error_page_respond(struct exchange *x, const struct error_page *page);

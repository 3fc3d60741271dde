#include "app/uploads.h"

#include <string.h>

#include "app/server.h"
#include "plugin/package.h"

enum { FORM_OVERHEAD = 64 * 1024 };

/* Only as it is written in the documentation: other spellings of the path have the usual limit. */
size_t uploads_body_limit(void *app, struct str target)
{
    const struct server *server = app;
    const struct str prefix = str_of(server->settings->api_prefix);
    const char *query = memchr(target.at, '?', target.len);

    if (!str_starts(target, prefix))
        return 0;
    if (query)
        target.len = (size_t)(query - target.at);
    target.at += prefix.len;
    target.len -= prefix.len;
    return str_equal(target, STR("/api/plugins/upload")) ||
                   str_equal(target, STR("/api/workers/upload"))
               ? PACKAGE_PACKED_MAX + FORM_OVERHEAD
               : 0;
}

/* "host:port" as a manifest's permissions.net names what an app may reach: "db:5432",
 * "[::1]:6379", "*:443" (any host), "api.example.com:*" (any port). Pure text; looks up nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct hostport {
    struct str host; /* within the text; without brackets; "*": any */
    uint16_t port;   /* 0: any */
};

#define HOSTPORT_ALLOWED "\"host:port\", \"*:port\" or \"host:*\"; an IPv6 address in brackets"

bool hostport_parse(const char *text, struct hostport *out);

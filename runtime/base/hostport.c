#include "base/hostport.h"

#include <string.h>

enum { HOST_MAX = 255 };

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned number = 0;

    if (strcmp(text, "*") == 0) {
        *port = 0;
        return true;
    }
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        number = number * 10 + (unsigned)(*text - '0');
        if (number > UINT16_MAX)
            return false;
    }
    *port = (uint16_t)number;
    return number > 0;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static bool is_name(struct str host)
{
    if (str_equal(host, STR("*")))
        return true;
    for (size_t i = 0; i < host.len; i++) {
        if (!is_host_char(host.at[i]))
            return false;
    }
    return host.len > 0 && host.len <= HOST_MAX;
}

/* What inet_pton() makes of it is for those who need the address. */
static bool is_bracketed(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (host.at[i] != ':' && host.at[i] != '.' && !strchr("0123456789abcdefABCDEF", host.at[i]))
            return false;
    }
    return memchr(host.at, ':', host.len) != NULL;
}

bool hostport_parse(const char *text, struct hostport *out)
{
    const char *colon = strrchr(text, ':');

    if (!colon || !parse_port(colon + 1, &out->port))
        return false;
    out->host = (struct str){text, (size_t)(colon - text)};
    if (*text != '[')
        return is_name(out->host);
    if (out->host.len < 2 || colon[-1] != ']')
        return false;
    out->host = (struct str){text + 1, out->host.len - 2};
    return is_bracketed(out->host);
}

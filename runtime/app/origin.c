#include "app/origin.h"

#include <stddef.h>

#include <arpa/inet.h>

#include "base/str.h"
#include "http/exchange.h"

/* Host and port of an authority. */
struct site {
    struct str host; /* "[...]" for IPv6 */
    struct str port; /* digits; empty: the default */
};

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    }
    return s.len > 0;
}

/* Where the host ends: at the first ':' behind the brackets of an IPv6 address. */
static size_t host_end(struct str authority)
{
    const char *colon, *bracket = NULL;

    if (authority.len > 0 && authority.at[0] == '[') {
        bracket = memchr(authority.at, ']', authority.len);
        return bracket ? (size_t)(bracket - authority.at) + 1 : 0;
    }
    colon = authority.len > 0 ? memchr(authority.at, ':', authority.len) : NULL;
    return colon ? (size_t)(colon - authority.at) : authority.len;
}

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(".-_:[]", c));
}

static bool parse_site(struct str authority, struct site *site)
{
    const size_t end = host_end(authority);

    *site = (struct site){.host = {authority.at, end}};
    for (size_t i = 0; i < end; i++) {
        if (!is_host_byte(authority.at[i]))
            return false;
    }
    if (end == 0 || end == authority.len)
        return end > 0;
    site->port = (struct str){authority.at + end + 1, authority.len - end - 1};
    return authority.at[end] == ':' && all_digits(site->port);
}

/* --- loopback --- */

static bool copy_text(struct str s, char *out, size_t size)
{
    if (s.len >= size)
        return false;
    if (s.len > 0)
        memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return true;
}

static bool is_loopback_v4(const char *text)
{
    struct in_addr v4;

    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_loopback_v6(const char *text)
{
    static const unsigned char mapped[13] = {[10] = 0xFF, [11] = 0xFF, [12] = 127};
    struct in6_addr v6;

    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || memcmp(&v6, mapped, sizeof(mapped)) == 0;
}

static bool is_loopback_peer(struct str ip)
{
    char text[INET6_ADDRSTRLEN];

    return copy_text(ip, text, sizeof(text)) && (is_loopback_v4(text) || is_loopback_v6(text));
}

static bool is_loopback_host(struct str authority)
{
    struct site site;
    char text[INET6_ADDRSTRLEN];

    if (!parse_site(authority, &site))
        return false;
    if (site.host.at[0] == '[')
        return copy_text((struct str){site.host.at + 1, site.host.len - 2}, text, sizeof(text)) &&
               is_loopback_v6(text);
    return str_equal_nocase(site.host, STR("localhost")) ||
           (copy_text(site.host, text, sizeof(text)) && is_loopback_v4(text));
}

static bool is_proxy_header(struct str name)
{
    return str_equal(name, STR("forwarded")) || str_starts(name, STR("x-forwarded-")) ||
           str_equal(name, STR("x-real-ip"));
}

bool origin_is_local(const struct exchange *x)
{
    const size_t count = exchange_header_count(x);

    for (size_t i = 0; i < count; i++) {
        if (is_proxy_header(exchange_header_at(x, i).name))
            return false;
    }
    return is_loopback_peer(exchange_ip(x)) && is_loopback_host(exchange_authority(x));
}

/* --- cross-site requests --- */

static bool skip_scheme(struct str *origin, bool *https)
{
    static const struct str http = {"http://", 7}, secure = {"https://", 8};
    const size_t skip = str_starts(*origin, secure) ? secure.len : http.len;

    *https = skip == secure.len;
    if (!*https && !str_starts(*origin, http))
        return false; /* "null", an extension, a file */
    origin->at += skip;
    origin->len -= skip;
    return true;
}

static struct str port_or(struct str port, bool https)
{
    if (port.len > 0)
        return port;
    return https ? STR("443") : STR("80");
}

/* A Host without a port has the default of the page's scheme, as behind a proxy that ends TLS ours
 * is not what the browser saw; where we speak TLS ourselves it is that of https.
 */
static bool is_own_origin(const struct exchange *x, struct str origin)
{
    struct site from, host;
    bool https, host_https;

    if (!skip_scheme(&origin, &https) || !parse_site(origin, &from) ||
        !parse_site(exchange_authority(x), &host))
        return false;
    host_https = https || str_equal(exchange_scheme(x), STR("https"));
    return str_equal_nocase(from.host, host.host) &&
           str_equal(port_or(from.port, https), port_or(host.port, host_https));
}

static bool is_own_fetch(struct str site)
{
    return str_equal(site, STR("same-origin")) || str_equal(site, STR("none"));
}

bool origin_is_foreign(const struct exchange *x)
{
    const size_t count = exchange_header_count(x);
    unsigned origins = 0;
    bool own_origin = false, own_fetch = true;

    for (size_t i = 0; i < count; i++) {
        const struct header header = exchange_header_at(x, i);
        if (str_equal(header.name, STR("origin"))) {
            origins++;
            own_origin = is_own_origin(x, header.value);
        } else if (str_equal(header.name, STR("sec-fetch-site"))) {
            own_fetch = own_fetch && is_own_fetch(header.value);
        }
    }
    if (origins == 0)
        return !own_fetch;
    return origins > 1 || !own_origin;
}

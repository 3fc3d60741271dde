#include "worker/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/hostport.h"
#include "base/mem.h"

/* Names with many addresses that change: the oldest are forgotten. */
enum { LEARNED_MAX = 256 };

struct entry {
    char *text; /* what `is` points into */
    struct hostport is;
    bool any, literal;
    struct in6_addr address; /* of a literal; IPv4 as ::ffff:a.b.c.d */
};

struct learned {
    char *host;
    struct in6_addr address;
};

struct reach {
    struct entry *entries;
    size_t count;
    struct learned learned[LEARNED_MAX];
    size_t learned_count; /* ever */
};

static struct in6_addr mapped(struct in_addr address)
{
    struct in6_addr out = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    memcpy(&out.s6_addr[12], &address, sizeof(address));
    return out;
}

static bool same(const struct in6_addr *a, const struct in6_addr *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static bool parse_literal(struct str host, struct in6_addr *out)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr four;

    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    if (inet_pton(AF_INET, text, &four) != 1)
        return false;
    *out = mapped(four);
    return true;
}

struct reach *reach_new(const char *const *net)
{
    struct reach *reach = mem_alloc(sizeof(*reach));

    for (; net && *net; net++) {
        struct entry entry = {.text = mem_copy(*net)};

        if (!hostport_parse(entry.text, &entry.is)) {
            free(entry.text);
            continue;
        }
        entry.any = str_equal(entry.is.host, STR("*"));
        entry.literal = parse_literal(entry.is.host, &entry.address);
        reach->entries = mem_resize(reach->entries, (reach->count + 1) * sizeof(entry));
        reach->entries[reach->count++] = entry;
    }
    return reach;
}

void reach_free(struct reach *reach)
{
    if (!reach)
        return;
    for (size_t i = 0; i < reach->count; i++)
        free(reach->entries[i].text);
    for (size_t i = 0; i < LEARNED_MAX; i++)
        free(reach->learned[i].host);
    free(reach->entries);
    free(reach);
}

/* "example.com." is example.com, said in full. */
static struct str bare(const char *host)
{
    struct str name = str_of(host);

    if (name.len > 1 && name.at[name.len - 1] == '.')
        name.len--;
    return name;
}

static bool names(const struct entry *entry, const char *host)
{
    return entry->any || str_equal_nocase(entry->is.host, bare(host));
}

bool reach_name(const struct reach *reach, const char *host)
{
    for (size_t i = 0; i < reach->count; i++) {
        if (names(&reach->entries[i], host))
            return true;
    }
    return false;
}

static bool address_of(const struct sockaddr *from, struct in6_addr *address, uint16_t *port)
{
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)from;

        *address = mapped(four->sin_addr);
        *port = ntohs(four->sin_port);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;

        *address = six->sin6_addr;
        *port = ntohs(six->sin6_port);
        return true;
    }
    return false;
}

void reach_learn(struct reach *reach, const char *host, const struct sockaddr *from)
{
    struct learned *slot = &reach->learned[reach->learned_count % LEARNED_MAX];
    struct in6_addr address;
    uint16_t port;

    if (!address_of(from, &address, &port))
        return;
    for (size_t i = 0; i < LEARNED_MAX && reach->learned[i].host; i++) {
        if (same(&reach->learned[i].address, &address) && strcmp(reach->learned[i].host, host) == 0)
            return;
    }
    free(slot->host);
    *slot = (struct learned){.host = mem_copy(host), .address = address};
    reach->learned_count++;
}

static bool
found_as(const struct reach *reach, const struct entry *entry, const struct in6_addr *address)
{
    for (size_t i = 0; i < LEARNED_MAX && reach->learned[i].host; i++) {
        if (same(&reach->learned[i].address, address) && names(entry, reach->learned[i].host))
            return true;
    }
    return false;
}

bool reach_address(const struct reach *reach, const struct sockaddr *to)
{
    struct in6_addr address;
    uint16_t port;

    if (!address_of(to, &address, &port))
        return false;
    for (size_t i = 0; i < reach->count; i++) {
        const struct entry *entry = &reach->entries[i];

        if (entry->is.port != 0 && entry->is.port != port)
            continue;
        if (entry->any || (entry->literal && same(&entry->address, &address)) ||
            (!entry->literal && found_as(reach, entry, &address)))
            return true;
    }
    return false;
}

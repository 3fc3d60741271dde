/* What a URL says, as libpq's settings; ours where it says nothing. */
#include "data/postgres_impl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct setting {
    const char *name, *value;
};

/* GSSAPI would look for tickets in files while the loop waits. A server that is gone without a word
 * is noticed within the minute.
 */
static const struct setting defaults[] = {
    {"gssencmode", "disable"},     {"keepalives_idle", "30"},
    {"keepalives_interval", "10"}, {"keepalives_count", "3"},
    {"tcp_user_timeout", "15000"}, {"fallback_application_name", "buntime"},
    {"client_encoding", "UTF8"},
};

enum { DEFAULTS = sizeof(defaults) / sizeof(defaults[0]) };

/* --- lists --- */

static void add_setting(struct pg_settings *s, const char *name, const char *value)
{
    s->names = mem_resize(s->names, (s->count + 2u) * sizeof(*s->names));
    s->values = mem_resize(s->values, (s->count + 2u) * sizeof(*s->values));
    s->names[s->count] = mem_copy(name);
    s->values[s->count++] = mem_copy(value);
    s->names[s->count] = s->values[s->count] = NULL; /* libpq reads up to here */
}

void pg_settings_fini(struct pg_settings *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        free(s->names[i]);
        if (s->values[i])
            explicit_bzero(s->values[i], strlen(s->values[i])); /* one is the password */
        free(s->values[i]);
    }
    free(s->names);
    free(s->values);
    *s = (struct pg_settings){0};
}

const char *pg_setting(const struct pg_settings *s, const char *name)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (strcmp(s->names[i], name) == 0)
            return s->values[i];
    }
    return NULL;
}

/* --- the URL --- */

static bool is_url(const char *url)
{
    return strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
}

/* libpq's messages quote what they are about, which may be the password. */
static bool refuse(const char *message, struct err *err)
{
    const size_t plain = message ? strcspn(message, ":\"\n") : 0;

    return err_set(err, "INVALID_URL", "the URL is not PostgreSQL's: %.*s", (int)plain,
                   message ? message : "");
}

static void take(struct pg_settings *s, const PQconninfoOption *options)
{
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        /* Ours in any case. */
        if (option->val && strcmp(option->keyword, "client_encoding") != 0)
            add_setting(s, option->keyword, option->val);
    }
    for (size_t i = 0; i < DEFAULTS; i++) {
        if (!pg_setting(s, defaults[i].name))
            add_setting(s, defaults[i].name, defaults[i].value);
    }
}

bool pg_settings_parse(struct pg_settings *s, const char *url, struct err *err)
{
    PQconninfoOption *options;
    char *message = NULL;

    *s = (struct pg_settings){0};
    if (!is_url(url))
        return err_set(err, "INVALID_URL",
                       "the URL must begin with postgres://, as postgres://user@host:5432/name");
    options = pq.conninfoParse(url, &message);
    if (!options) {
        refuse(message, err);
        pq.freemem(message);
        return false;
    }
    take(s, options);
    pq.conninfoFree(options);
    return true;
}

static const char *or_else(const char *value, const char *other)
{
    return value && *value ? value : other;
}

void pg_settings_label(const struct pg_settings *s, char *label, size_t size)
{
    const char *host = or_else(pg_setting(s, "host"), pg_setting(s, "hostaddr"));
    const char *user = or_else(pg_setting(s, "user"), "");

    snprintf(label, size, "%s%s%s:%s/%s", user, *user ? "@" : "", or_else(host, "local"),
             or_else(pg_setting(s, "port"), "5432"), or_else(pg_setting(s, "dbname"), user));
}

/* --- hosts --- */

/* The part number `index` of a list with commas; "" when there are not so many. */
static char *part_of(const char *list, unsigned index)
{
    while (index > 0 && (list = strchr(list, ','))) {
        list++;
        index--;
    }
    return list ? mem_copy_n(list, strcspn(list, ",")) : mem_copy("");
}

static unsigned parts_in(const char *list)
{
    unsigned count = 1;

    for (; *list; list++)
        count += *list == ',';
    return count;
}

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return host[0] == '/' || host[0] == '@' || inet_pton(AF_INET, host, bytes) == 1 ||
           inet_pton(AF_INET6, host, bytes) == 1;
}

char **pg_hosts(const struct pg_settings *s, unsigned *count)
{
    const char *list = pg_setting(s, "host");
    char **hosts;
    bool names = false;

    if (!list || !*list || pg_setting(s, "hostaddr"))
        return NULL;
    *count = parts_in(list);
    hosts = mem_alloc(*count * sizeof(*hosts));
    for (unsigned i = 0; i < *count; i++) {
        hosts[i] = part_of(list, i);
        names = names || !is_address(hosts[i]);
    }
    if (names)
        return hosts;
    pg_hosts_free(hosts, *count);
    return NULL;
}

void pg_hosts_free(char **hosts, unsigned count)
{
    for (unsigned i = 0; hosts && i < count; i++)
        free(hosts[i]);
    free(hosts);
}

static void add_part(struct buf *list, const char *part)
{
    if (list->data)
        buf_putc(list, ',');
    buf_puts(list, part);
}

/* One host for each address: libpq tries them in turn. */
static void
add_hosts(const struct pg_settings *s, const struct resolve *resolve, struct pg_settings *out)
{
    const char *port_list = pg_setting(s, "port");
    struct buf hosts = {0}, addresses = {0}, ports = {0};

    for (unsigned i = 0; i < resolve->count; i++) {
        const struct resolved *found = &resolve->found[i];

        add_part(&hosts, resolve->names[found->name]);
        add_part(&addresses, found->address);
        if (port_list) {
            char *port = part_of(port_list, parts_in(port_list) > 1 ? found->name : 0);
            add_part(&ports, port);
            free(port);
        }
    }
    add_setting(out, "host", hosts.data);
    add_setting(out, "hostaddr", addresses.data);
    if (port_list)
        add_setting(out, "port", ports.data);
    buf_fini(&hosts);
    buf_fini(&addresses);
    buf_fini(&ports);
}

void pg_settings_resolved(const struct pg_settings *s,
                          const struct resolve *resolve,
                          struct pg_settings *out)
{
    *out = (struct pg_settings){0};
    for (unsigned i = 0; i < s->count; i++) {
        if (strcmp(s->names[i], "host") != 0 && strcmp(s->names[i], "port") != 0)
            add_setting(out, s->names[i], s->values[i]);
    }
    add_hosts(s, resolve, out);
}

#include "conf/env_names.h"

#include <string.h>
#include <strings.h>

enum place { WHOLE, START, END, WITHIN };

struct name_pattern {
    enum place place;
    const char *text;
};

static const struct name_pattern reserved[] = {
    {WHOLE, "APP_DIR"},
    {WHOLE, "ENTRYPOINT"},
    {WHOLE, "WORKER_ID"},
    {WHOLE, "TMPDIR"},
    {START, "RUNTIME_"},
    {START, "BUNTIME_"},
    {START, "LD_"},
    {START, "MALLOC_"},
    {START, "MIMALLOC_"},
    {START, "OPENSSL_"},
    {WHOLE, "SSL_CERT_FILE"},
    {WHOLE, "SSL_CERT_DIR"},
    {WHOLE, "GLIBC_TUNABLES"},
    {WHOLE, "GCONV_PATH"},
    {WHOLE, "GETCONF_DIR"},
    {WHOLE, "HOSTALIASES"},
    {WHOLE, "LOCALDOMAIN"},
    {WHOLE, "LOCPATH"},
    {WHOLE, "NLSPATH"},
    {WHOLE, "RES_OPTIONS"},
    {WHOLE, "TZDIR"},
    {END, "SAN_OPTIONS"},
    {WHOLE, NULL},
};

static const struct name_pattern secret[] = {
    {START, "DATABASE_"},  {START, "DB_"},      {END, "_TOKEN"},
    {END, "_SECRET"},      {END, "_PASSWORD"},  {WHOLE, "TOKEN"},
    {WHOLE, "SECRET"},     {WHOLE, "PASSWORD"}, {WITHIN, "API_KEY"},
    {START, "AWS_"},       {START, "GITHUB_"},  {START, "OPENAI_"},
    {START, "ANTHROPIC_"}, {START, "STRIPE_"},  {WHOLE, "RUNTIME_ROOT_KEY"},
    {WHOLE, "REDIS_URL"},  {WHOLE, NULL},
};

static bool fits(const struct name_pattern *p, const char *name)
{
    const size_t len = strlen(name), want = strlen(p->text);

    switch (p->place) {
    case START:
        return strncasecmp(name, p->text, want) == 0;
    case END:
        return len >= want && strcasecmp(name + len - want, p->text) == 0;
    case WITHIN:
        return strcasestr(name, p->text) != NULL;
    default:
        return strcasecmp(name, p->text) == 0;
    }
}

static bool is_one_of(const struct name_pattern *patterns, const char *name)
{
    for (; patterns->text; patterns++) {
        if (fits(patterns, name))
            return true;
    }
    return false;
}

bool env_name_is_reserved(const char *name)
{
    return is_one_of(reserved, name);
}

bool env_name_is_secret(const char *name)
{
    return is_one_of(secret, name);
}

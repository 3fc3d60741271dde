/* What the log must never show: the values of secret settings, and the passwords in URLs. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/urlpath.h"
#include "conf/settings_impl.h"

typedef void (*act_on)(const char *secret);

static void act(struct str text, bool decode, act_on on)
{
    struct buf secret = {0};

    if (!decode || !percent_decode(&secret, text))
        buf_add(&secret, text.at, text.len);
    buf_putc(&secret, '\0');
    on(secret.data);
    explicit_bzero(secret.data, secret.len);
    buf_fini(&secret);
}

/* As it is written and as it is meant: messages may have either. */
static void act_on_password(struct str password, act_on on)
{
    if (password.len == 0)
        return;
    act(password, false, on);
    if (memchr(password.at, '%', password.len))
        act(password, true, on);
}

/* scheme://user:PASSWORD@host/… and …?password=PASSWORD; any other text has none. */
static void act_on_url(const char *url, act_on on)
{
    const char *scheme = strstr(url, "://"), *user = scheme ? scheme + 3 : NULL;
    const size_t authority = user ? strcspn(user, "/?#") : 0;
    const char *at = user ? memrchr(user, '@', authority) : NULL;
    const char *colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;

    if (colon)
        act_on_password((struct str){colon + 1, (size_t)(at - colon) - 1}, on);
    for (const char *word = user; word && (word = strstr(word, "password=")); word++) {
        const char *value = word + strlen("password=");
        if (word[-1] == '?' || word[-1] == '&')
            act_on_password((struct str){value, strcspn(value, "&#")}, on);
    }
}

static void each_secret(const struct settings *settings, act_on on)
{
    for (size_t i = 0; i < SETTING_COUNT_ALL; i++) {
        const struct setting *setting = &settings_table[i];
        const char *value;

        if (setting->kind != SETTING_SECRET)
            continue;
        value = *(char *const *)((const char *)settings + setting->offset);
        if (!value)
            continue;
        on(value);
        act_on_url(value, on);
    }
}

void settings_hide(const struct settings *settings)
{
    each_secret(settings, log_secret_add);
}

void settings_forget(const struct settings *settings)
{
    each_secret(settings, log_secret_forget);
}

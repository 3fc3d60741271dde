/* Private to the settings: the table, and turning text into a field. */
#pragma once

#include "base/str.h"
#include "conf/settings.h"

enum setting_kind {
    SETTING_TEXT,
    SETTING_SECRET,
    SETTING_LIST,
    SETTING_PORT,
    SETTING_COUNT,
    SETTING_SIZE,
    SETTING_DURATION,
    SETTING_ENV,
    SETTING_LEVEL,
    SETTING_FORMAT,
    SETTING_PREFIX,
    SETTING_SANDBOX,
};

struct setting {
    const char *name; /* the variable */
    enum setting_kind kind;
    size_t offset;            /* of the field in struct settings */
    uint64_t min, max;        /* of COUNT, SIZE and DURATION; max 0: no bound */
    const char *preset;       /* as it would be written; NULL: unset, or set_presets() knows */
    const char *preset_shown; /* for --help, when `preset` does not tell it */
    const char *meaning;
};

enum { SETTING_COUNT_ALL = 32, FLAG_SIZE = 64 };

extern const struct setting settings_table[SETTING_COUNT_ALL];

/* RUNTIME_PLUGIN_DIRS → "plugin-dirs", without the dashes in front. */
void setting_flag(const struct setting *setting, char out[static FLAG_SIZE]);

/* False, and nothing changed, when the text is not allowed. */
bool setting_parse(const struct setting *setting, struct str text, struct settings *out);

/* --- settings_secrets.c: the log masks what is secret, until it is forgotten --- */
void settings_hide(const struct settings *settings);
void settings_forget(const struct settings *settings);

/* What is allowed, for messages. */
void setting_allowed(const struct setting *setting, struct buf *out);

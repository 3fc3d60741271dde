#include "conf/settings.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/suggest.h"
#include "conf/settings_impl.h"

#define CODE "SETTINGS_INVALID"

enum { KEY_FILE_MAX = 4096, DEFAULT_BODY_LIMIT = 10 * 1024 * 1024 };

struct loading {
    struct settings *out;
    struct problems *problems;
    const char *flags[SETTING_COUNT_ALL]; /* values given on the command line */
    bool given[SETTING_COUNT_ALL];        /* by flag, environment or file */
    struct dotenv *file;
};

/* Flags */

static int find_flag(struct str name)
{
    char flag[FLAG_SIZE];

    for (int i = 0; i < SETTING_COUNT_ALL; i++) {
        setting_flag(&settings_table[i], flag);
        if (str_equal(str_of(flag), name))
            return i;
    }
    return -1;
}

static void report_unknown(struct loading *l, struct str name)
{
    static char texts[SETTING_COUNT_ALL][FLAG_SIZE];
    const char *known[SETTING_COUNT_ALL + 1] = {NULL}, *near;
    char *word = mem_copy_n(name.at, name.len);

    for (size_t i = 0; i < SETTING_COUNT_ALL; i++) {
        setting_flag(&settings_table[i], texts[i]);
        known[i] = texts[i];
    }
    near = suggest(word, known);
    if (near)
        problems_add(l->problems, false, CODE, NULL, 0, 0, "unknown flag --%s; did you mean --%s?",
                     word, near);
    else
        problems_add(l->problems, false, CODE, NULL, 0, 0,
                     "unknown flag --%s; --help lists the flags", word);
    free(word);
}

/* Takes one flag, and its value from the next word when there is no "=". Returns how many words
 * that were.
 */
static int take_flag(struct loading *l, char *const *words)
{
    const char *name = words[0] + 2, *equals = strchr(name, '=');
    const struct str text = {name, equals ? (size_t)(equals - name) : strlen(name)};
    const int index = find_flag(text);

    if (index < 0) {
        report_unknown(l, text);
        return 1;
    }
    if (equals) {
        l->flags[index] = equals + 1;
        return 1;
    }
    if (!words[1] || strncmp(words[1], "--", 2) == 0) {
        problems_add(l->problems, false, CODE, NULL, 0, 0, "--%s needs a value", name);
        return 1;
    }
    l->flags[index] = words[1];
    return 2;
}

/* What follows a lone "--" is no flag. */
static void take_flags(struct loading *l, char *const *words, char **rest)
{
    size_t left = 0;
    bool open = true;

    while (words && *words) {
        if (open && strcmp(*words, "--") == 0) {
            open = false;
            words++;
        } else if (open && strncmp(*words, "--", 2) == 0) {
            words += take_flag(l, words);
        } else {
            rest[left++] = *words++;
        }
    }
    if (rest)
        rest[left] = NULL;
}

/* Values */

static const char *filled(const char *text)
{
    return text && *text ? text : NULL;
}

static const char *find_value(const struct loading *l, size_t i)
{
    const char *text = filled(l->flags[i]);

    if (!text)
        text = filled(getenv(settings_table[i].name));
    return text ? text : filled(dotenv_get(l->file, settings_table[i].name));
}

static void report_value(struct loading *l, size_t i, const char *text)
{
    const struct setting *setting = &settings_table[i];
    struct buf message = {0};
    char flag[FLAG_SIZE];

    setting_flag(setting, flag);
    if (filled(l->flags[i]))
        buf_printf(&message, "--%s (%s): ", flag, setting->name);
    else
        buf_printf(&message, "%s: ", setting->name);
    buf_json_string(&message, str_of(text));
    buf_puts(&message, " is not allowed (allowed: ");
    setting_allowed(setting, &message);
    buf_putc(&message, ')');
    problems_add(l->problems, false, CODE, NULL, 0, 0, "%s", message.data);
    buf_fini(&message);
}

static void read_value(struct loading *l, size_t i)
{
    const struct setting *setting = &settings_table[i];
    const char *text = find_value(l, i);

    l->given[i] = text != NULL;
    if (text && setting_parse(setting, str_of(text), l->out)) {
        if (setting->kind == SETTING_LIST && strchr(text, ','))
            problems_add(l->problems, true, CODE, NULL, 0, 0,
                         "%s: \"%s\" has a comma in it; the directories of a list are parted by "
                         "\":\"",
                         setting->name, text);
        return;
    }
    if (text)
        report_value(l, i, text);
    if (setting->preset)
        setting_parse(setting, str_of(setting->preset), l->out);
}

/* The environment file is a setting itself, and may hold any other. */
static void open_env_file(struct loading *l, const char *path)
{
    struct err err;

    if (!path)
        return;
    l->file = dotenv_read(path, &err);
    if (!l->file)
        problems_add(l->problems, false, CODE, NULL, 0, 0, "RUNTIME_ENV_FILE: %s", err.message);
}

static size_t find_setting(const char *name)
{
    size_t i = 0;

    while (strcmp(settings_table[i].name, name) != 0)
        i++;
    return i;
}

static bool is_given(const struct loading *l, const char *name)
{
    return l->given[find_setting(name)];
}

/* The process may use fewer cores than there are. */
static unsigned count_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* What depends on something else than the table. */
static void set_presets(struct loading *l)
{
    static const unsigned pool_sizes[] = {
        [ENV_DEVELOPMENT] = 10, [ENV_PRODUCTION] = 500, [ENV_STAGING] = 50, [ENV_TEST] = 5};
    struct settings *s = l->out;
    const bool development = s->env == ENV_DEVELOPMENT;

    if (!is_given(l, "RUNTIME_POOL_SIZE"))
        s->pool_size = pool_sizes[s->env];
    if (!is_given(l, "RUNTIME_EPHEMERAL_CONCURRENCY"))
        s->ephemeral_concurrency = count_cores() * 2;
    if (!is_given(l, "RUNTIME_LOG_LEVEL"))
        s->log_level = development ? LOG_DEBUG : LOG_INFO;
    if (!is_given(l, "RUNTIME_LOG_FORMAT"))
        s->log_format = development ? LOG_PRETTY : LOG_JSON;
    if (!s->api_prefix)
        s->api_prefix = mem_copy("");
    if (!is_given(l, "RUNTIME_BODY_LIMIT"))
        s->body_limit =
            s->body_limit_max < DEFAULT_BODY_LIMIT ? s->body_limit_max : DEFAULT_BODY_LIMIT;
}

static void check_together(struct loading *l)
{
    const struct settings *s = l->out;

    const char *limit = find_value(l, find_setting("RUNTIME_BODY_LIMIT"));
    const char *most = find_value(l, find_setting("RUNTIME_BODY_LIMIT_MAX"));

    if (limit && s->body_limit > s->body_limit_max)
        problems_add(l->problems, false, CODE, NULL, 0, 0,
                     "RUNTIME_BODY_LIMIT: \"%s\" is above RUNTIME_BODY_LIMIT_MAX (allowed: at most "
                     "%s)",
                     limit, most ? most : "100mb");
    if (!s->tls_cert != !s->tls_key)
        problems_add(l->problems, false, CODE, NULL, 0, 0,
                     "%s is set, but not %s (allowed: both or neither)",
                     s->tls_cert ? "TLS_CERT" : "TLS_KEY", s->tls_cert ? "TLS_KEY" : "TLS_CERT");
}

/* The root key */

static void read_key_file(struct loading *l)
{
    struct buf text = {0};
    struct err err;
    size_t len;

    if (!file_read(l->out->root_key_file, KEY_FILE_MAX, &text, &err)) {
        problems_add(l->problems, false, CODE, NULL, 0, 0, "RUNTIME_ROOT_KEY_FILE: %s",
                     err.message);
        return;
    }
    len = text.data ? strcspn(text.data, "\r\n") : 0;
    if (len == 0)
        problems_add(l->problems, false, CODE, NULL, 0, 0,
                     "RUNTIME_ROOT_KEY_FILE: \"%s\" has an empty first line (allowed: the key)",
                     l->out->root_key_file);
    else
        l->out->root_key = mem_copy_n(text.data, len);
    explicit_bzero(text.data, text.len);
    buf_fini(&text);
}

/* Unsetting a variable leaves its bytes where /proc/PID/environ shows them. */
static void wipe_root_key(void)
{
    char *value = getenv("RUNTIME_ROOT_KEY");

    if (value)
        explicit_bzero(value, strlen(value));
    unsetenv("RUNTIME_ROOT_KEY");
}

static void read_root_key(struct loading *l)
{
    if (!l->out->root_key && l->out->root_key_file)
        read_key_file(l);
    wipe_root_key();
}

bool settings_load(struct settings *settings,
                   char *const *flags,
                   char **rest,
                   struct problems *problems)
{
    const size_t errors = problems->errors;
    struct loading l = {.out = settings, .problems = problems};

    *settings = (struct settings){0};
    take_flags(&l, flags, rest);
    open_env_file(&l, find_value(&l, find_setting("RUNTIME_ENV_FILE")));
    for (size_t i = 0; i < SETTING_COUNT_ALL; i++)
        read_value(&l, i);
    set_presets(&l);
    check_together(&l);
    read_root_key(&l);
    settings_hide(settings);
    dotenv_free(l.file);
    return problems->errors == errors;
}

static void free_list(struct string_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->items[i]);
    free(list->items);
}

void settings_fini(struct settings *settings)
{
    settings_forget(settings);
    free_list(&settings->plugin_dirs);
    free_list(&settings->worker_dirs);
    for (size_t i = 0; i < SETTING_COUNT_ALL; i++) {
        const struct setting *setting = &settings_table[i];
        char **text = (char **)((char *)settings + setting->offset);
        if (setting->kind == SETTING_SECRET && *text)
            explicit_bzero(*text, strlen(*text));
        if (setting->kind == SETTING_TEXT || setting->kind == SETTING_SECRET ||
            setting->kind == SETTING_PREFIX)
            free(*text);
    }
    *settings = (struct settings){0};
}

bool plugin_dir_is_builtin(const char *dir)
{
    size_t len = strlen(dir), start;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    start = len;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    /* "." and ".." are directions, not names. */
    return dir[start] == '.' && len - start > 1 && !(len - start == 2 && dir[start + 1] == '.');
}

void settings_help(struct buf *out)
{
    for (size_t i = 0; i < SETTING_COUNT_ALL; i++) {
        const struct setting *setting = &settings_table[i];
        char flag[FLAG_SIZE];

        setting_flag(setting, flag);
        buf_printf(out, "  --%-24s %s (%s, default: %s)\n", flag, setting->meaning, setting->name,
                   setting->preset_shown ? setting->preset_shown : setting->preset);
    }
}

/* A byte that picks a setting, and a text: as its value, as a duration, a size, a number of YAML, a
 * "host:port", and as a file of variables. What is taken is within the bounds of the table and is
 * what slow arithmetic makes of it; messages show no secret and fit a line.
 */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/duration.h"
#include "base/hostport.h"
#include "conf/settings_impl.h"
#include "conf/yaml.h"

/* --- durations and sizes --- */

struct unit {
    const char *name;
    long double factor;
};

static const struct unit durations[] = {{"ms", 1},      {"s", 1e3},   {"m", 6e4},
                                        {"h", 36e5},    {"d", 864e5}, {"w", 6048e5},
                                        {"y", 31536e6}, {"", 1e3},    {NULL, 0}};
static const struct unit sizes[] = {{"kb", 0x1p10L}, {"mb", 0x1p20L}, {"gb", 0x1p30L},
                                    {"b", 1},        {"", 1},         {NULL, 0}};

/* What digits, a point and a unit come to; -1 when the text is not of that form. `*slack` is what
 * may be dropped of it: what is behind the sixth digit, and a part of one for each of these.
 */
static long double naive_amount(struct str text, const struct unit *units, long double *slack)
{
    long double number = 0, place = 1;
    size_t i = 0, digits = 0;
    bool point = false;

    for (; i < text.len; i++) {
        const char c = text.at[i];
        if (c == '.' && !point && digits > 0) {
            point = true;
            digits = 0;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        number = number * 10 + (c - '0');
        place *= point ? 10 : 1;
        digits++;
    }
    for (; digits > 0 && units->name; units++) {
        if (str_equal_nocase((struct str){text.at + i, text.len - i}, str_of(units->name)))
            break;
    }
    *slack = digits > 0 && units->name ? units->factor * 1e-6L + 7 : 0;
    return *slack > 0 ? number / place * units->factor : -1;
}

static void check_amount(bool ok, uint64_t got, struct str text, const struct unit *units)
{
    long double slack;
    const long double want = naive_amount(text, units, &slack);

    if (ok)
        require(want >= 0 && (long double)got <= want * (1 + 1e-15L) &&
                (long double)got >= want * (1 - 1e-15L) - slack);
    else
        require(want < 0 || want > 9.2e18L);
}

static void check_amounts(struct str text)
{
    uint64_t ms = 0;
    size_t bytes = 0;
    bool ok;

    if (text.len > 300) /* no number of more digits is exact */
        return;
    ok = duration_parse(text, &ms);
    check_amount(ok, ms, text, durations);
    ok = size_parse(text, &bytes);
    check_amount(ok, bytes, text, sizes);
}

/* --- numbers of YAML: what strtod reads, but for what is in octal --- */

static void check_yaml_number(struct str text)
{
    char *copy = exact_copy(text), *end, *c_text = calloc(1, text.len + 1);
    double number;
    const enum yaml_number kind = yaml_number((struct str){copy, text.len}, &number);
    const bool octal = text.len > 1 && text.at[0] == '0' && text.at[1] == 'o';

    require(c_text != NULL);
    if (text.len)
        memcpy(c_text, text.at, text.len);
    if (kind == YAML_NUMBER && octal) {
        require(number == (double)strtoull(c_text + 2, &end, 8) && !*end);
    } else if (kind == YAML_NUMBER) {
        require(number == strtod(c_text, &end) && end == c_text + text.len);
        require(isfinite(number));
    }
    free(c_text);
    free(copy);
}

/* --- the rest --- */

static void check_hostport(struct str text)
{
    char *c_text = calloc(1, text.len + 1);
    struct hostport got;
    struct buf again = {0};

    require(c_text != NULL);
    if (text.len)
        memcpy(c_text, text.at, text.len);
    if (hostport_parse(c_text, &got)) {
        const bool bracketed = c_text[0] == '[';
        const char *port = strrchr(c_text, ':') + 1;
        buf_puts(&again, bracketed ? "[" : "");
        buf_add_str(&again, got.host);
        buf_puts(&again, bracketed ? "]:" : ":");
        buf_puts(&again, port);
        require(str_equal(buf_str(&again), str_of(c_text)));
        require(got.host.len > 0 && (got.port == 0) == (strcmp(port, "*") == 0));
        require(got.port == 0 || got.port == strtoul(port, NULL, 10));
    }
    buf_fini(&again);
    free(c_text);
}

static void check_within(const struct setting *setting, const void *field)
{
    const uint64_t number = setting->kind == SETTING_COUNT  ? *(const unsigned *)field
                            : setting->kind == SETTING_SIZE ? *(const size_t *)field
                                                            : *(const uint64_t *)field;

    require(number >= setting->min && (setting->max == 0 || number <= setting->max));
}

static void check_list(const struct string_list *list)
{
    require(list->len > 0 && !list->items[list->len]);
    for (size_t i = 0; i < list->len; i++)
        require(*list->items[i] && !strchr(list->items[i], ':'));
}

/* A setting's text never holds a NUL: it comes from the environment. */
static void check_setting(const struct setting *setting, struct str text)
{
    struct settings settings = {0};
    const void *field = (const char *)&settings + setting->offset;
    struct buf allowed = {0};
    const bool ok = setting_parse(setting, text, &settings);

    setting_allowed(setting, &allowed);
    require(allowed.len > 0);
    switch (setting->kind) {
    case SETTING_TEXT:
    case SETTING_SECRET:
    case SETTING_PREFIX:
        require(!ok || str_equal(str_of(*(char *const *)field), text));
        break;
    case SETTING_LIST:
        if (ok)
            check_list(field);
        break;
    case SETTING_COUNT:
    case SETTING_SIZE:
    case SETTING_DURATION:
        if (ok)
            check_within(setting, field);
        break;
    default:
        break;
    }
    buf_fini(&allowed);
    settings_fini(&settings);
}

/* A file in memory. */
static int make_file(struct str text)
{
    static int fd = -1;

    if (fd < 0)
        fd = memfd_create("dotenv", MFD_CLOEXEC);
    require(fd >= 0 && ftruncate(fd, 0) == 0);
    require(pwrite(fd, text.at, text.len, 0) == (ssize_t)text.len);
    return fd;
}

static bool is_name(const char *name)
{
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return *name && !(*name >= '0' && *name <= '9') && name[strspn(name, all)] == '\0';
}

/* Written with quotes around, a variable is read back. */
static void check_quoted(const char *name, const char *value)
{
    struct buf file = {0};
    char path[64];
    struct dotenv *env;
    struct err err;

    buf_printf(&file, "export %s = \"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            buf_putc(&file, '\\');
        buf_putc(&file, *c);
    }
    buf_puts(&file, "\" # and more\n");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", make_file(buf_str(&file)));
    env = dotenv_read(path, &err);
    require(env != NULL && dotenv_count(env) == 1);
    require(strcmp(dotenv_get(env, name), value) == 0);
    dotenv_free(env);
    buf_fini(&file);
}

static void check_dotenv(struct str text)
{
    char path[64];
    struct dotenv *env;
    struct err err;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", make_file(text));
    env = dotenv_read(path, &err);
    if (!env) {
        require(err.message[0] && err.line <= text.len + 1);
        return;
    }
    for (size_t i = 0; i < dotenv_count(env); i++) {
        const char *name = dotenv_name_at(env, i), *value = dotenv_get(env, name);
        require(is_name(name) && value != NULL);
        check_quoted(name, value);
    }
    dotenv_free(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct setting *setting = &settings_table[size ? data[0] % SETTING_COUNT_ALL : 0];
    const size_t skip = size ? 1 : 0;
    char *copy = exact_copy((struct str){(const char *)data + skip, size - skip});
    const struct str text = {copy, size - skip};

    check_amounts(text);
    check_yaml_number(text);
    check_hostport(text);
    check_dotenv(text);
    if (!text.len || !memchr(text.at, '\0', text.len))
        check_setting(setting, text);
    free(copy);
    return 0;
}

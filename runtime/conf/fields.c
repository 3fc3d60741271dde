#include "conf/fields.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/decl.h"
#include "conf/yaml.h"

struct config {
    struct arena arena;
    struct manifest *manifest; /* most values lie in its memory */
    struct value *root;
    struct config_item *items;
    size_t item_count, item_cap;
};

struct resolver {
    struct config *config;
    const struct manifest *manifest;
    const struct env_source *env;
    struct report report;
};

/* What an object's own map says about one of its properties. */
struct given {
    const struct value *manifest, *preset;
};

static struct decl *
read_decls(const struct report *r, const struct manifest *manifest, size_t *count)
{
    *count = 0;
    return manifest->config ? decl_read(r, manifest->config, count) : NULL;
}

static void add_item(struct config *config, struct config_item item)
{
    if (config->item_count == config->item_cap) {
        config->item_cap = config->item_cap ? config->item_cap * 2 : 8;
        config->items = mem_resize(config->items, config->item_cap * sizeof(*config->items));
    }
    config->items[config->item_count++] = item;
}

/* From text to values */

static struct value *new_value(struct resolver *r, enum value_type type)
{
    struct value *value = arena_alloc(&r->config->arena, sizeof(*value));

    value->type = type;
    return value;
}

static struct value *string_value(struct resolver *r, struct str text)
{
    struct value *value = new_value(r, VALUE_STRING);

    value->string = (struct str){arena_copy(&r->config->arena, text), text.len};
    return value;
}

static struct value *number_value(struct resolver *r, const char *text)
{
    struct value *value = new_value(r, VALUE_NUMBER);

    return yaml_number(str_of(text), &value->number) == YAML_NUMBER ? value : NULL;
}

static struct value *boolean_value(struct resolver *r, const char *text)
{
    struct value *value = new_value(r, VALUE_BOOL);

    value->boolean = strcmp(text, "true") == 0;
    return value->boolean || strcmp(text, "false") == 0 ? value : NULL;
}

static struct value *option_value(const struct decl *decl, const char *text)
{
    struct value *found = NULL;
    struct buf option = {0};

    for (size_t i = 0; i < decl->options->list.len && !found; i++) {
        buf_reset(&option);
        value_text(decl->options->list.items[i], &option);
        if (str_equal(buf_str(&option), str_of(text)))
            found = decl->options->list.items[i];
    }
    buf_fini(&option);
    return found;
}

/* PATH style: ":" between items, empty items left out. */
static struct value *list_value(struct resolver *r, const char *text)
{
    struct value *value = new_value(r, VALUE_LIST);
    size_t most = 1;

    for (const char *at = text; *at; at++)
        most += *at == ':';
    value->list.items = arena_alloc(&r->config->arena, most * sizeof(struct value *));
    while (*text) {
        const size_t len = strcspn(text, ":");
        if (len)
            value->list.items[value->list.len++] = string_value(r, (struct str){text, len});
        text += len + (text[len] == ':');
    }
    return value;
}

/* NULL when the text is none of the type. */
static struct value *convert(struct resolver *r, const struct decl *decl, const char *text)
{
    switch (decl->type) {
    case DECL_NUMBER:
        return number_value(r, text);
    case DECL_BOOLEAN:
        return boolean_value(r, text);
    case DECL_ENUM:
        return option_value(decl, text);
    case DECL_ARRAY:
        return list_value(r, text);
    default:
        return string_value(r, str_of(text));
    }
}

/* Resolving */

static const char *expectation(struct resolver *r, const struct decl *decl)
{
    struct buf text = {0};
    const char *copy;

    decl_expectation(decl, &text);
    copy = arena_copy(&r->config->arena, buf_str(&text));
    buf_fini(&text);
    return copy;
}

static const char *shown(struct resolver *r, const struct value *value)
{
    struct buf text = {0};
    const char *copy;

    if (!value_is_scalar(value))
        return value_type_name(value->type);
    value_text(value, &text);
    copy = value->type == VALUE_STRING ? report_quote(&r->report, buf_str(&text))
                                       : arena_copy(&r->config->arena, buf_str(&text));
    buf_fini(&text);
    return copy;
}

static const struct value *from_env(struct resolver *r, const struct decl *decl, const char *text)
{
    const struct value *value = convert(r, decl, text);
    const bool secret = decl->type == DECL_PASSWORD;

    if (value && decl_accepts(decl, value))
        return value;
    report_key(&r->report, decl->entry, "%s: the environment variable %s must be %s%s%s",
               decl->path, decl->env, expectation(r, decl), secret ? "" : ", got ",
               secret ? "" : report_quote(&r->report, str_of(text)));
    return NULL;
}

static const struct value *
from_manifest(struct resolver *r, const struct decl *decl, const struct value *value)
{
    const bool secret = decl->type == DECL_PASSWORD;

    if (decl_accepts(decl, value))
        return value;
    report_at(&r->report, value, "%s: the value in the manifest must be %s%s%s", decl->path,
              expectation(r, decl), secret ? "" : ", got ", secret ? "" : shown(r, value));
    return NULL;
}

static void report_missing(struct resolver *r, const struct decl *decl)
{
    const char *wanted = expectation(r, decl);

    if (decl->env)
        report_key(&r->report, decl->entry,
                   "%s is required and not set; set the environment variable %s or %s in the "
                   "manifest to %s",
                   decl->path, decl->env, decl->path, wanted);
    else
        report_key(&r->report, decl->entry,
                   "%s is required and not set; set %s in the manifest to %s", decl->path,
                   decl->path, wanted);
}

static const char *env_get(const struct env_source *env, const char *name)
{
    const char *text = name ? env->get(env, name) : NULL;

    return text && *text ? text : NULL;
}

static const struct value *
resolve_leaf(struct resolver *r, const struct decl *decl, struct given given)
{
    const char *text = env_get(r->env, decl->env);
    const struct value *preset = given.preset ? given.preset : decl->preset;
    struct config_item item = {.key = decl->path, .env = decl->env};

    item.secret = decl->type == DECL_PASSWORD;
    if (text) {
        item.source = CONFIG_ENV;
        item.value = from_env(r, decl, text);
    } else if (given.manifest) {
        item.source = CONFIG_MANIFEST;
        item.value = from_manifest(r, decl, given.manifest);
    } else if (preset) {
        item.source = CONFIG_DEFAULT;
        item.value = preset;
    } else if (decl->required) {
        report_missing(r, decl);
    }
    add_item(r->config, item);
    return item.value;
}

static struct value *new_map(struct resolver *r, size_t most)
{
    struct value *map = new_value(r, VALUE_MAP);

    map->map.entries = arena_alloc(&r->config->arena, most * sizeof(struct value_entry));
    return map;
}

static void map_set(struct value *map, const char *key, const struct value *value)
{
    if (value)
        map->map.entries[map->map.len++] =
            (struct value_entry){.key = str_of(key), .value = (struct value *)value};
}

static const struct value *resolve(struct resolver *r, const struct decl *decl, struct given given);

/* An object is always there, so that `config.db.host` never indexes nil. */
static const struct value *
resolve_object(struct resolver *r, const struct decl *decl, struct given given)
{
    const struct value *preset = given.preset ? given.preset : decl->preset;
    struct value *map;

    if (given.manifest && !from_manifest(r, decl, given.manifest))
        return NULL;
    map = new_map(r, decl->property_count + (given.manifest ? given.manifest->map.len : 0));
    for (size_t i = 0; i < decl->property_count; i++) {
        const struct decl *property = &decl->properties[i];
        const struct given parts = {value_get(given.manifest, property->key),
                                    value_get(preset, property->key)};
        map_set(map, property->key, resolve(r, property, parts));
    }
    for (size_t i = 0; given.manifest && i < given.manifest->map.len; i++) {
        const struct value_entry *entry = &given.manifest->map.entries[i];
        const struct value *known = NULL;
        for (size_t j = 0; j < decl->property_count && !known; j++)
            known = strcmp(decl->properties[j].key, entry->key.at) == 0 ? entry->value : NULL;
        if (!known)
            map_set(map, entry->key.at, entry->value);
    }
    return map;
}

static const struct value *resolve(struct resolver *r, const struct decl *decl, struct given given)
{
    return decl->type == DECL_OBJECT ? resolve_object(r, decl, given)
                                     : resolve_leaf(r, decl, given);
}

static void add_undeclared(struct resolver *r)
{
    const struct value *root = r->manifest->root;

    for (size_t i = 0; i < root->map.len; i++) {
        const struct value_entry *entry = &root->map.entries[i];
        if (manifest_is_metadata(entry->key.at) || value_get(r->manifest->config, entry->key.at))
            continue;
        map_set(r->config->root, entry->key.at, entry->value);
        add_item(r->config, (struct config_item){.key = entry->key.at,
                                                 .value = entry->value,
                                                 .source = CONFIG_MANIFEST});
    }
}

static void resolve_all(struct resolver *r)
{
    size_t count;
    const struct decl *decls = read_decls(&r->report, r->manifest, &count);
    struct value *root = new_map(r, count + r->manifest->root->map.len + 1);

    r->config->root = root;
    for (size_t i = 0; i < count; i++) {
        const struct given given = {value_get(r->manifest->root, decls[i].key), NULL};
        map_set(root, decls[i].key, resolve(r, &decls[i], given));
    }
    add_undeclared(r);
    if (r->manifest->base)
        map_set(root, "base", string_value(r, str_of(r->manifest->base)));
}

static void each_secret(const struct config *config, void (*act)(const char *value))
{
    for (size_t i = 0; i < config->item_count; i++) {
        const struct config_item *item = &config->items[i];
        if (item->secret && item->value)
            act(item->value->string.at);
    }
}

static void destroy(struct config *config)
{
    manifest_unref(config->manifest);
    arena_fini(&config->arena);
    free(config->items);
    free(config);
}

struct config *config_resolve(const struct manifest *manifest,
                              const struct env_source *env,
                              struct problems *problems)
{
    const size_t errors = problems->errors, from = problems->len;
    struct resolver r = {
        .config = mem_alloc(sizeof(struct config)), .manifest = manifest, .env = env};

    r.report = (struct report){.arena = &r.config->arena,
                               .problems = problems,
                               .code = "CONFIG_INVALID",
                               .file = manifest->file,
                               .dir = manifest->dir};
    r.config->manifest = manifest_ref((struct manifest *)manifest);
    resolve_all(&r);
    if (problems->errors > errors) {
        problems_sort(problems, from);
        destroy(r.config);
        return NULL;
    }
    each_secret(r.config, log_secret_add);
    return r.config;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    each_secret(config, log_secret_forget);
    destroy(config);
}

const struct value *config_root(const struct config *config)
{
    return config->root;
}

size_t config_item_count(const struct config *config)
{
    return config->item_count;
}

const struct config_item *config_item_at(const struct config *config, size_t i)
{
    return &config->items[i];
}

/* The digest of what the declarations read from the environment */

static void
add_env(EVP_MD_CTX *hash, const struct env_source *env, const struct decl *decls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = env_get(env, decls[i].env);
        if (text) {
            /* The NULs keep apart what a plain joining would mix up. */
            EVP_DigestUpdate(hash, decls[i].env, strlen(decls[i].env) + 1);
            EVP_DigestUpdate(hash, text, strlen(text) + 1);
        }
        add_env(hash, env, decls[i].properties, decls[i].property_count);
    }
}

void config_env_digest(const struct manifest *manifest,
                       const struct env_source *env,
                       char out[static 65])
{
    struct arena arena = {0};
    struct problems problems = {0};
    const struct report r = {.arena = &arena, .problems = &problems, .code = "", .file = ""};
    unsigned char bytes[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned len = 0;
    size_t count;
    const struct decl *decls = read_decls(&r, manifest, &count);

    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    add_env(hash, env, decls, count);
    EVP_DigestFinal_ex(hash, bytes, &len);
    EVP_MD_CTX_free(hash);
    for (unsigned i = 0; i < len; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", bytes[i]);
    problems_fini(&problems);
    arena_fini(&arena);
}

/* Typed configuration: the `config:` block resolved against environment, manifest and default.
 *
 * The result is what the factory receives: the resolved fields, every other top-level key that is
 * not metadata, and `base`. Owns its memory; secrets are known so that they can be masked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "conf/manifest.h"
#include "conf/problems.h"
#include "conf/value.h"

struct config;

/* Where the environment comes from: real environment over RUNTIME_ENV_FILE. NULL = unset; an
 * empty value counts as unset.
 */
struct env_source {
    const char *(*get)(const struct env_source *source, const char *name);
};

enum config_source { CONFIG_NONE, CONFIG_ENV, CONFIG_MANIFEST, CONFIG_DEFAULT };

/* NULL when a value is missing or bad; the problems name key (dotted), source and expectation,
 * never a password's value. Code CONFIG_INVALID.
 */
struct config *config_resolve(const struct manifest *manifest,
                              const struct env_source *env,
                              struct problems *problems);
void config_free(struct config *config);

const struct value *config_root(const struct config *config); /* a map */

/* Each declared field, nested ones with dotted keys, and each undeclared key, in order. */
struct config_item {
    const char *key;
    const struct value *value; /* NULL when unset */
    enum config_source source;
    const char *env; /* the variable the field names, or NULL */
    bool secret;
};

size_t config_item_count(const struct config *config);
const struct config_item *config_item_at(const struct config *config, size_t i);

/* A digest (hex, NUL-terminated) of the environment values that `config:` names, for ?changed. */
void config_env_digest(const struct manifest *manifest,
                       const struct env_source *env,
                       char out[static 65]);

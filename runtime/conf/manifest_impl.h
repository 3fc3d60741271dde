/* Private to the reading of manifests: the keys of manifest.yaml and their checkers. */
#pragma once

#include "conf/manifest.h"
#include "conf/report.h"

enum { MANIFEST_KEYS_MAX = 32 };

struct manifest_key {
    const char *name;
    /* Tells what is wrong with the value, and takes what is right into the manifest. */
    void (*read)(const struct report *r, struct manifest *manifest, const struct value *value);
    bool of_workers; /* a persistent plugin may declare a field of this name for itself */
};

/* Ends with a row without a name. */
extern const struct manifest_key manifest_keys[];

const struct manifest_key *manifest_key_find(const char *name);
void manifest_key_names(const char *names[static MANIFEST_KEYS_MAX]); /* NULL-terminated */

/* The entry files: after all keys are read, because one stands in for the other. */
void manifest_read_entries(const struct report *r, struct manifest *manifest);
void manifest_read_app_entry(const struct report *r, struct manifest *manifest);

/* The checkers of conf/manifest_lists.c. */
void manifest_read_dependencies(const struct report *r,
                                struct manifest *m,
                                const struct value *value);
void manifest_read_optional_dependencies(const struct report *r,
                                         struct manifest *m,
                                         const struct value *value);
void manifest_read_public_routes(const struct report *r,
                                 struct manifest *m,
                                 const struct value *value);
void manifest_read_menus(const struct report *r, struct manifest *m, const struct value *value);
void manifest_read_env(const struct report *r, struct manifest *m, const struct value *value);
void manifest_read_permissions(const struct report *r,
                               struct manifest *m,
                               const struct value *value);

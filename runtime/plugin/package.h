/* Packages on the disk: plugins and worker apps that are installed, replaced, removed, brought
 * back.
 *
 * One struct package is one such operation, made of steps that block: for the thread pool. What
 * comes in is unpacked in a folder of its own beside the place where it is going to be
 * (".buntime-…", which discovery skips), so that one rename puts it there. Decides nothing about
 * who may do it, and loads nothing; the caller sees to it that no reload reads the folders
 * meanwhile, and that there is one operation at a time from package_settle() on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct settings;

enum package_kind {
    PACKAGE_PLUGIN, /* into the first external directory of RUNTIME_PLUGIN_DIRS */
    PACKAGE_APP,    /* of RUNTIME_WORKER_DIRS: NAME/VERSION/ */
};

enum {
    PACKAGE_PACKED_MAX = 50 << 20,
    PACKAGE_BYTES_MAX = 256 << 20,
    PACKAGE_ENTRIES_MAX = 10000,
};

struct package {
    const struct settings *settings;
    enum package_kind kind;
    char *name, *version; /* of the manifest; version may be NULL */
    char *root;           /* the package, in `stage`; once placed, what was there before */
    char *target;         /* where it is, or goes to */
    bool replaces;        /* there is one at `target` already, of this version: */
    char *old_version;    /* or NULL */
    char *stage;          /* the folder for it, or NULL */
    int lock;             /* of the stage, which a crash lets go */
    int upload;           /* the packed file, or -1 */
    char *restored;       /* a kept version that goes where `root` is */
};

void package_init(struct package *package, const struct settings *settings, enum package_kind kind);
void package_fini(struct package *package); /* blocks: removes what is left of the stage */

/* Adds to the packed file. The first one makes the stage. Codes NO_EXTERNAL_DIR, STORAGE_FULL, IO.
 */
bool package_write(struct package *package, const void *bytes, size_t len, struct err *err);

/* Unpacks, reads and completely validates the manifest. Codes: those of archive_unpack();
 * ARCHIVE_SUFFIX; MANIFEST_MISSING, MANIFEST_INVALID, NAME_MISSING, NAME_INVALID, VERSION_MISSING.
 */
bool package_unpack(struct package *package, const char *filename, struct err *err);

/* Where it goes. Codes PACKAGE_FOLDER_TAKEN, BUILT_IN_PLUGIN_REPLACE_FORBIDDEN,
 * BUILT_IN_WORKER_REPLACE_FORBIDDEN.
 */
bool package_settle(struct package *package, struct err *err);

/* Takes the path of the unpacked package out of the texts of an error about it. */
void package_hide_place(const struct package *package, struct err *err);

/* Puts it into its place in one step and keeps the plugin that it replaces. */
bool package_place(struct package *package, struct err *err);

/* The newest kept version of the plugin, or the newest kept `version`, in the place of what is
 * there, which is kept in turn. Codes PLUGIN_NOT_FOUND, VERSION_NOT_KEPT and those above.
 */
bool package_rollback(struct package *package,
                      const char *name,
                      const char *version,
                      struct err *err);

/* Takes the plugin away and keeps it. Codes PLUGIN_NOT_FOUND, BUILT_IN_PLUGIN_REMOVE_FORBIDDEN. */
bool package_remove(struct package *package, const char *name, struct err *err);

/* Removes the stages that a crash has left in the external directories. */
void packages_sweep(const struct settings *settings);
